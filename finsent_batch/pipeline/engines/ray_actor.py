"""The scorer as an actor of Ray: what runs on the nodes, one loaded model each.

Imports no Ray: an actor is a plain class.
"""

import os
import platform
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ...arrays import BoolArray, FloatArray
from ...config import ModelConfig
from ...errors import ConfigError, FinsentError, TryAgainError, UnavailableError, first_line
from ...hardware import limit_cores
from ...models.directory import open_configured
from ...models.spec import ResolvedModel
from ...models.weight_files import FileHashes
from ...scorers.base import Scorer
from ...scorers.load import load_scorer


@dataclass(frozen=True, kw_only=True)
class ActorConfig:
    """Which model an actor loads, and what it may take of its node."""

    config: ModelConfig
    """Names the model as every node finds it."""
    model: ResolvedModel
    """What the run itself has hashed: an actor answers as this model, or not at all."""
    cores: int
    host: str = platform.node()
    """The machine of the run itself, whose files were hashed."""
    near_tie: float | None = None
    """The model's margin for near-ties, where it was measured before; see `Scorer`."""
    expected: int = 0
    """How many headlines an actor will score, about."""


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """What an actor says of one block of headlines, in the order of its headlines."""

    start: int
    """Position of the block's first headline in the plan."""
    probabilities: FloatArray
    """As in `ScoredBatch`, shape (n, 3), float32."""
    truncated: BoolArray
    """Shape (n,), bool."""
    tokens: int
    batching: str
    near_tie: float | None
    """The scorer's margin for near-ties."""
    actor: str
    """Which actor: its host and process."""
    vram_mb: float
    """The most GPU memory the actor has held, in MB; 0 without a GPU."""


@dataclass(frozen=True, kw_only=True)
class ActorFailure:
    """Why an actor has no answer, in one line that names the node."""

    reason: str
    again: bool = False
    """Whether it is that the model changed: the same command will work."""
    bug: bool = False
    """Whether nobody foresaw it; the reason is then a traceback."""

    def error(self) -> Exception:
        """Return what the run ends with."""
        kind = RuntimeError if self.bug else TryAgainError if self.again else UnavailableError
        return kind(self.reason)


class ScoringActor:
    """One loaded model, wherever Ray put it, called with a block at a time.

    Two calls may run at once: one block is tokenized while the other is scored. A
    model that cannot be loaded is told by `ready`, because of an actor that fails to
    start nobody could say whether another one would.
    """

    def __init__(self, assignment: ActorConfig) -> None:
        self._turn = threading.Lock()
        self._failure: ActorFailure | None = None
        self._check: Callable[[], None] = lambda: None
        self._cores = assignment.cores if assignment.model.device == "cpu" else None
        if self._cores:
            limit_cores(self._cores)
        try:
            self._scorer = self.load(assignment)
        except Exception as error:  # noqa: BLE001 - told to the run, which ends with it
            kind = "" if isinstance(error, FinsentError) else f"{type(error).__name__}: "
            self._failure = ActorFailure(
                reason=f"the model cannot be loaded on node {platform.node()}: "
                f"{kind}{first_line(error)}",
                again=isinstance(error, TryAgainError),
            )

    def ready(self) -> ActorFailure | None:
        """Answer once the model is loaded, or cannot be."""
        return self._failure

    def load(self, assignment: ActorConfig) -> Scorer:
        """Load the model as it is on this node, if it is the one that the run has hashed.

        Ray starts actors again, hours later at times, and on any node.

        Raises:
            TryAgainError: it has changed since, or does so while it is loaded.
            FinsentError: it is not here, cannot be loaded, or is another one.
        """
        run, spec = assignment.model, open_configured(assignment.config)
        found = replace(run, spec=spec, files=spec.state())
        here = platform.node() == assignment.host
        known = here and (found.files, found.settings) == (run.files, run.settings)
        if not known and spec.fingerprint(run.weights, FileHashes()) != run.fingerprint:
            if here:
                raise TryAgainError(
                    f"model {spec.name} changed while it was in use: run the same command again"
                )
            raise ConfigError(
                f"{spec.name} differs from that of {assignment.host}: give every node the "
                "same files and the same version of finsent-batch"
            )
        scorer = load_scorer(found, near_tie=assignment.near_tie, expected=assignment.expected)
        self._check = found.check_unchanged
        return scorer

    def score(self, start: int, headlines: pa.Array) -> BlockResult | ActorFailure:
        """Score the block of headlines that begins at position `start` of the plan."""
        probabilities = np.empty((len(headlines), 3), dtype=np.float32)
        truncated = np.empty(len(headlines), dtype=np.bool_)
        tokens, node = 0, platform.node()
        try:
            tokenized = self._scorer.tokenize(headlines.to_pylist())
            with self._turn:
                self._take_share()
                for batch in self._scorer.score_tokenized(tokenized):
                    probabilities[batch.positions] = batch.probabilities
                    truncated[batch.positions] = batch.truncated
                    tokens += batch.tokens
            self._check()
        except FinsentError as error:
            again = isinstance(error, TryAgainError)
            return ActorFailure(reason=f"on node {node}: {error}", again=again)
        except Exception:  # noqa: BLE001 - Ray would tell neither what it was nor where
            return ActorFailure(reason=f"on node {node}: {traceback.format_exc()}", bug=True)
        return BlockResult(
            start=start,
            probabilities=probabilities,
            truncated=truncated,
            tokens=tokens,
            batching=self._scorer.batching,
            near_tie=self._scorer.near_tie,
            actor=f"{node}:{os.getpid()}",
            vram_mb=_peak_vram_mb(),
        )

    def _take_share(self) -> None:
        """Give PyTorch this actor's cores; it counts them by thread."""
        torch = sys.modules.get("torch")
        if self._cores and torch is not None:
            torch.set_num_threads(self._cores)


def _peak_vram_mb() -> float:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0.0
    return float(round(torch.cuda.max_memory_allocated() / 1e6, 1))
