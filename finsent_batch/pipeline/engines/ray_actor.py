"""The scorer as an actor of Ray Data: what runs on the nodes, one loaded model each.

Imports no Ray: an actor is a plain class, and what goes to and from it is Arrow.
"""

import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ...config import ModelConfig
from ...errors import ConfigError, FinsentError, TryAgainError, first_line
from ...hardware import limit_cores
from ...models.directory import open_configured
from ...models.spec import ResolvedModel
from ...models.weight_files import FileHashes
from ...scorers.base import ScoredBatch, Scorer
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


@dataclass(frozen=True, kw_only=True)
class BlockResult:
    """What an actor says of one block of headlines."""

    start: int
    """Position of the block's first headline in the plan."""
    scored: ScoredBatch | None
    """The whole block's answers, in the order of its headlines; None with a `failure`."""
    batching: str
    ready_at: float
    """When the actor had its model, by the monotonic clock of the process that reads this; a
    little late at worst."""
    actor: str
    """Which actor: its host and process."""
    vram_mb: float
    """The most GPU memory the actor has held, in MB; 0 without a GPU."""
    failure: str | None
    """Why there are no answers, in one line that names the node."""
    again: bool
    """Whether the failure is that the model changed: the same command will work."""
    bug: str | None
    """Where no reason was foreseen, the traceback."""


_SCHEMA = pa.schema(
    [
        ("start", pa.int64()),
        ("probabilities", pa.large_list(pa.float32())),
        ("truncated", pa.large_list(pa.bool_())),
        ("tokens", pa.int64()),
        ("batching", pa.string()),
        ("ready_seconds", pa.float64()),
        ("actor", pa.string()),
        ("vram_mb", pa.float64()),
        ("failure", pa.string()),
        ("again", pa.bool_()),
        ("bug", pa.string()),
    ]
)


def block_table(start: int, headlines: pa.Array) -> pa.Table:
    """Return a block for an actor: one row, so that Ray neither cuts nor joins blocks."""
    offsets = pa.array([0, len(headlines)], pa.int64())
    texts = pa.LargeListArray.from_arrays(offsets, headlines)
    return pa.table({"start": pa.array([start], pa.int64()), "headlines": texts})


def reports_of(table: pa.Table) -> list[BlockResult]:
    """Return the rows that actors gave, one a block."""
    reports = []
    for batch in table.to_batches():
        for i in range(batch.num_rows):
            row = {name: batch[name][i] for name in _SCHEMA.names}
            values = row["probabilities"].values.to_numpy().reshape(-1, 3)
            failed = row["failure"].as_py() or row["bug"].as_py()
            scored = ScoredBatch(
                positions=np.arange(len(values), dtype=np.int64),
                probabilities=values,
                truncated=row["truncated"].values.to_numpy(zero_copy_only=False),
                tokens=row["tokens"].as_py(),
            )
            names = ("start", "batching", "actor", "vram_mb", "failure", "again", "bug")
            told = {name: row[name].as_py() for name in names}
            reports.append(
                BlockResult(
                    scored=None if failed else scored,
                    ready_at=time.monotonic() - row["ready_seconds"].as_py(),
                    **told,
                )
            )
    return reports


class ScoringActor:
    """One loaded model, wherever Ray put it, called with a block at a time.

    Two calls may run at once: one block is tokenized while the other is scored. A
    model that cannot be loaded is told in the answer to the first block, because an
    actor that fails to start is started again.
    """

    def __init__(self, assignment: ActorConfig) -> None:
        self._turn = threading.Lock()
        self._failure: str | None = None
        self._again = False
        self._check: Callable[[], None] = lambda: None
        self._cores = assignment.cores if assignment.model.device == "cpu" else None
        if self._cores:
            limit_cores(self._cores)
        try:
            self._scorer = self.load(assignment)
        except Exception as error:  # noqa: BLE001 - told to the run, which ends with it
            self._again = isinstance(error, TryAgainError)
            kind = "" if isinstance(error, FinsentError) else f"{type(error).__name__}: "
            self._failure = (
                f"the model cannot be loaded on node {platform.node()}: {kind}{first_line(error)}"
            )
        self._ready = time.monotonic()

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
        scorer = load_scorer(found)
        self._check = found.check_unchanged
        return scorer

    def __call__(self, block: pa.Table) -> pa.Table:
        """Score a `block_table`; returns one row, as `reports_of` reads it."""
        start = block["start"][0].as_py()
        if self._failure:
            return self._answer(start, failure=self._failure, again=self._again)
        headlines = block["headlines"][0].as_py()
        probabilities = np.empty((len(headlines), 3), dtype=np.float32)
        truncated = np.empty(len(headlines), dtype=np.bool_)
        tokens = 0
        try:
            tokenized = self._scorer.tokenize(headlines)
            with self._turn:
                self._take_share()
                for batch in self._scorer.score_tokenized(tokenized):
                    probabilities[batch.positions] = batch.probabilities
                    truncated[batch.positions] = batch.truncated
                    tokens += batch.tokens
            self._check()
        except FinsentError as error:
            again = isinstance(error, TryAgainError)
            return self._answer(start, failure=f"on node {platform.node()}: {error}", again=again)
        except Exception:  # noqa: BLE001 - Ray would tell neither what it was nor where
            return self._answer(start, bug=f"on node {platform.node()}: {traceback.format_exc()}")
        return self._answer(start, probabilities, truncated, tokens)

    def _take_share(self) -> None:
        """Give PyTorch this actor's cores; it counts them by thread."""
        torch = sys.modules.get("torch")
        if self._cores and torch is not None:
            torch.set_num_threads(self._cores)

    def _answer(
        self,
        start: int,
        probabilities: np.ndarray | None = None,
        truncated: np.ndarray | None = None,
        tokens: int = 0,
        failure: str | None = None,
        again: bool = False,
        bug: str | None = None,
    ) -> pa.Table:
        torch = sys.modules.get("torch")
        vram = 0.0
        if torch is not None and torch.cuda.is_available():
            vram = torch.cuda.max_memory_allocated() / 1e6
        row: dict[str, Any] = {
            "start": start,
            "probabilities": [] if probabilities is None else probabilities.ravel(),
            "truncated": [] if truncated is None else truncated,
            "tokens": tokens,
            "batching": "" if failure or bug else self._scorer.batching,
            "ready_seconds": time.monotonic() - self._ready,
            "actor": f"{platform.node()}:{os.getpid()}",
            "vram_mb": round(vram, 1),
            "failure": failure,
            "again": again,
            "bug": bug,
        }
        return pa.table({name: [value] for name, value in row.items()}, schema=_SCHEMA)
