"""SQL functions that score text, `sentiment(text)` and its likes, on anybody's DuckDB connection.

How it works: they are macros over one Arrow function, which DuckDB calls with the normal forms
and keys of up to 2,048 rows; several of them over one column cost one call. A model's scores in the
store are held in memory. What is not there is scored by a run of the usual kind: planned against
the store, committed and recorded there.
"""

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .config import DEFAULT_STORE, PROMOTED_MODEL, ModelConfig, ScoreConfig, StoreConfig
from .errors import MissingInputError
from .headlines import KEY_MACROS, key_halves_sql
from .labels import PROBABILITY_COLUMNS, SENTIMENT_SQL
from .models.directory import open_configured
from .models.registry import resolve_promoted_model
from .models.spec import ResolvedModel
from .models.weight_files import FileHashes
from .pipeline.text_run import SCORES_SQL, TextRun
from .python_messages import python_face
from .store.score_index import ScoreIndex
from .store.store import Store

_FUNCTION: Final = "finsent_probabilities"
_NORMAL: Final = "nullif(finsent_normal_form(text), '')"
_MACROS: Final = {
    **KEY_MACROS,
    "finsent_scores(text)": f"{_FUNCTION}({_NORMAL}, {', '.join(key_halves_sql(_NORMAL))})",
    **{f"{name}(text)": f"(finsent_scores(text)).{name}" for name in PROBABILITY_COLUMNS},
    "sentiment_score(text)": "p_positive(text) - p_negative(text)",
    "finsent_label(p_negative, p_neutral, p_positive)": SENTIMENT_SQL,
    "sentiment(text)": "finsent_label(p_negative(text), p_neutral(text), p_positive(text))",
}
"""The functions in SQL, each after those that it calls."""
# Scores that came lately are kept apart from the others until they are so many.
_MANY: Final = 65_536


class Answers:
    """The probabilities of texts, from memory, the store or the model.

    Knows nothing of the connection that asks: DuckDB keeps what it calls for as long as the
    connection, and would keep the connection too.
    """

    def __init__(self, config: ScoreConfig) -> None:
        """Settle which model answers, and read the scores that it has in the store."""
        config, model, self._known = _settled(config)
        self._run = TextRun(config, model)
        self._recent = ScoreIndex.empty()
        self._turn = threading.Lock()

    @property
    def model_fingerprint(self) -> str:
        """The fingerprint of the model that answers."""
        return self._run.model.fingerprint

    def close(self) -> None:
        """Let go of the model and of its scores."""
        with self._turn:
            self._run.scorer = None
            self._recent = self._known = ScoreIndex.empty()

    def chunk(self, text: Any, high: Any, low: Any) -> pa.StructArray:
        """Return a chunk's probabilities: a struct a row, its fields NULL where there are none."""
        keys = [half.fill_null(0).to_numpy(zero_copy_only=False) for half in (high, low)]
        given = text.is_valid().to_numpy(zero_copy_only=False)
        probabilities, found = self._look_up(*keys)
        if not (found | ~given).all():
            with self._turn:
                _, found = self._look_up(*keys)  # another thread may have scored them meanwhile
                missing = pa.array(np.flatnonzero(given & ~found))
                if len(missing):
                    self._score(pc.unique(text.take(missing)))
            probabilities, _ = self._look_up(*keys)
        none = ~given | ~np.isfinite(probabilities).all(axis=1)
        columns = [
            pa.array(probabilities[:, i], mask=none) for i in range(len(PROBABILITY_COLUMNS))
        ]
        return pa.StructArray.from_arrays(columns, names=list(PROBABILITY_COLUMNS))

    def _look_up(self, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return keys' probabilities, shape (n, 3), and whether they are known, shape (n,)."""
        recent, known = self._recent, self._known  # in this order: see `_score`
        at, found = known.find(high, low)
        probabilities = known.probabilities[at]
        at, lately = recent.find(high, low)
        probabilities[lately] = recent.probabilities[at[lately]]
        return probabilities, found | lately

    def _score(self, texts: pa.Array) -> None:
        """Score distinct normal forms that memory lacks, those alone that the store lacks too."""
        self._recent = self._recent.joined(self._run.score(texts))
        if len(self._recent) > _MANY:
            # In this order: a reader in between finds a score twice rather than never.
            self._known = self._known.joined(self._recent)
            self._recent = ScoreIndex.empty()


class SqlFunctions:
    """What `register` made: the functions of one connection, until `close`.

    Several threads may use them at once; while the model scores for one, others wait.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, config: ScoreConfig) -> None:
        self._connection = connection
        self._answers = Answers(config)
        self._drop()
        connection.create_function(
            _FUNCTION,
            self._answers.chunk,
            ["VARCHAR", "UBIGINT", "UBIGINT"],
            duckdb.struct_type(dict.fromkeys(PROBABILITY_COLUMNS, "FLOAT")),
            type="arrow",
            null_handling="special",
        )
        for signature, body in _MACROS.items():
            connection.execute(f"CREATE TEMP MACRO {signature} AS {body}")

    @property
    def model_fingerprint(self) -> str:
        """The fingerprint of the model that answers."""
        return self._answers.model_fingerprint

    def close(self) -> None:
        """Take the functions out of the connection; let go of the model and of its scores."""
        self._drop()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drop(self) -> None:
        for signature in reversed(_MACROS):
            self._connection.execute(f"DROP MACRO IF EXISTS temp.{signature.partition('(')[0]}")
        with suppress(duckdb.InvalidInputException):  # raised where there is none
            self._connection.remove_function(_FUNCTION)


def _settled(config: ScoreConfig) -> tuple[ScoreConfig, ResolvedModel, ScoreIndex]:
    """Return the settings with the model that they mean now, that model, and its scores."""
    try:
        with Store.open(config.store, read_only=True) as store:
            config = replace(config, model=resolve_promoted_model(config.model, store))
            model = _resolved(config.model, FileHashes(store.connection))
            return (
                config,
                model,
                ScoreIndex.of_rows(store.connection, SCORES_SQL, model.fingerprint),
            )
    except MissingInputError:
        if config.store.path.expanduser().exists():
            raise
    config = replace(config, model=resolve_promoted_model(config.model, None))
    return config, _resolved(config.model, FileHashes()), ScoreIndex.empty()


def _resolved(config: ModelConfig, hashes: FileHashes) -> ResolvedModel:
    return open_configured(config).resolve(config, hashes)


@python_face
def register(
    connection: duckdb.DuckDBPyConnection,
    *,
    model: Path | str = PROMOTED_MODEL,
    store: Path | str = DEFAULT_STORE,
    device: str = "auto",
    weights: str = "auto",
    lock_wait: float = 60.0,
) -> SqlFunctions:
    """Give a DuckDB connection SQL functions that score text; return what takes them away again.

    `sentiment(text)` is the label, `sentiment_score(text)` p_positive - p_negative, and
    `p_negative(text)`, `p_neutral(text)` and `p_positive(text)` are FLOAT; NULL without text.
    `finsent_normal_form(text)` and `finsent_key(text)` give what the store keeps scores by. The
    functions are the connection's own, in place of those of an earlier call.

    The model is the one meant now, as in `ModelConfig`, for as long as the functions exist. Text
    that `store` has no score of is scored when a query meets it, and kept there; `lock_wait` is
    how many seconds such a query waits for another run to end.

    Raises:
        TypeError: an argument of another type.
        FinsentError: anything expected that prevents it; within a query, DuckDB tells its message.
    """
    if not isinstance(connection, duckdb.DuckDBPyConnection):
        raise TypeError(f"connection must be a DuckDB connection, not {type(connection).__name__}")
    path: Any = store
    return SqlFunctions(
        connection,
        ScoreConfig(
            input="sql",
            engine="local",
            model=ModelConfig(model=model, device=device, weights=weights),  # type: ignore[arg-type]
            store=StoreConfig(path=path, lock_wait=lock_wait),
        ),
    )
