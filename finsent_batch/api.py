"""The Python API over frames: what `score` does, without files."""

import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from .config import PROMOTED_MODEL, ModelConfig, ScoreConfig, StoreConfig
from .errors import UsageError
from .frames import Frame, to_arrow
from .io.arrow import ArrowSink, ArrowSource
from .io.result_columns import RESULT_SCHEMA
from .models.spec import ResolvedModel
from .pipeline.cascade import check_cascade
from .pipeline.score import execute, open_run
from .pipeline.tasks import make_task
from .progress import StopRequest, no_progress
from .python_messages import python_face
from .scorers.base import Scorer as LoadedModel


class Scorer:
    """A model that stays loaded between calls of `score_frame`.

    The store is open during a call only: others may use it in between. If the model's files
    change, or another one is promoted, the next call loads what is there then. Calls from
    several threads wait for each other.
    """

    @python_face
    def __init__(
        self,
        model: Path | str = PROMOTED_MODEL,
        *,
        store: Path | str | None = None,
        device: str = "auto",
        weights: str = "auto",
        max_batch_tokens: int | None = None,
        first: Path | str | None = None,
        sure: float | str | None = None,
    ) -> None:
        """Say what scores; it is loaded by the first call that has something to score.

        `model`, `device`, `weights` and `max_batch_tokens` are as in `ModelConfig`, `first` and
        `sure` as in `ScoreConfig`. `store` names the DuckDB file that keeps the scores; without
        it they are kept until `close`.

        Raises:
            TypeError: an argument of another type.
            UsageError: `sure` without `first`, or beyond its range.
        """
        scorer = ModelConfig(
            model=model,  # type: ignore[arg-type]
            device=device,
            weights=weights,
            max_batch_tokens=max_batch_tokens,
        )
        self._scratch = None if store is not None else tempfile.TemporaryDirectory()
        path: Any = Path(self._scratch.name) / "store.duckdb" if self._scratch else store
        self._config = ScoreConfig(
            input="memory",
            engine="local",
            model=scorer,
            first=first,  # type: ignore[arg-type]
            sure=sure,
            store=StoreConfig(path=path),
            default_gates=False,  # the caller gets the frame, and nothing is replaced
        )
        check_cascade(self._config)
        self._loaded: list[tuple[ResolvedModel, LoadedModel]] = []
        self._turn = threading.Lock()
        self._closed = False

    @python_face
    def score_frame(
        self, frame: Frame, *, text_column: str | None = None, replace_columns: bool = False
    ) -> Frame:
        """Return the frame with the nine result columns after its own; see `fb.score_frame`."""
        config = replace(self._config, text_column=text_column, replace_columns=replace_columns)
        table, added = to_arrow(frame)
        with self._turn:
            if self._closed:
                raise UsageError("this Scorer is closed: make another one")
            scored = self._score(config, table)
        result: Frame = added(scored, RESULT_SCHEMA.names)
        return result

    def _score(self, config: ScoreConfig, table: pa.Table) -> pa.Table:
        source, sink = ArrowSource(table), ArrowSink()
        with open_run(config, no_progress, StopRequest()) as run:
            run.scorer = self._loaded_as(run.model)
            if run.cascade is not None:
                run.first_scorer = self._loaded_as(run.cascade.model)
            run.tasks = [make_task(source, sink, config, "the frame")]
            run.summary.output = "memory"
            execute(run)
            now = zip(run.models, (run.scorer, run.first_scorer), strict=False)
            self._loaded = [(model, scorer) for model, scorer in now if scorer is not None]
        assert sink.result is not None
        return sink.result

    def _loaded_as(self, model: ResolvedModel) -> LoadedModel | None:
        """Return a model that an earlier call loaded, if its files are still those."""
        return next((scorer for known, scorer in self._loaded if known == model), None)

    def close(self) -> None:
        """Let go of the model, and of the scores if no store keeps them."""
        with self._turn:
            self._closed, self._loaded = True, []
            if self._scratch is not None:
                self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def score_frame(
    frame: Frame,
    *,
    text_column: str | None = None,
    model: Path | str = PROMOTED_MODEL,
    store: Path | str | None = None,
    replace_columns: bool = False,
) -> Frame:
    """Return the frame with the nine result columns after its own; rows and order stay.

    `frame` is a DataFrame or LazyFrame of polars, a DataFrame of pandas or a Table of pyarrow;
    the result is of the same kind. `store` names the DuckDB file that keeps the scores; without
    it nothing is kept. `text_column` defaults as for the command. The model is loaded anew by
    each call: for several, make a `Scorer`.

    Raises:
        TypeError: another kind of frame, or an argument of another type.
        FinsentError: anything expected that prevents it.
    """
    with Scorer(model, store=store) as scorer:
        return scorer.score_frame(frame, text_column=text_column, replace_columns=replace_columns)
