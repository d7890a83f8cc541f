"""The labelled rows of one source, joined with the scores, in the source's order."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ..arrays import to_numpy
from ..io.result_columns import CONFIDENT_COLUMN, result_schema
from ..labels import LABELS, SENTIMENT_SQL
from ..metrics.histograms import add_histograms, histograms_of
from ..store.connection import STORE_CATALOG
from ..store.store import Store
from .plan import HAS_TEXT, IS_EMPTY

_STATUS = f"""CASE WHEN state = {IS_EMPTY} THEN 'empty' WHEN state <> {HAS_TEXT} THEN 'invalid'
    WHEN truncated THEN 'truncated' WHEN p_positive IS NOT NULL THEN 'scored'
    WHEN invalid.headline_key IS NOT NULL THEN 'invalid' END"""
_COLUMNS = f"""{SENTIMENT_SQL} AS sentiment, p_positive - p_negative AS sentiment_score,
        p_negative, p_neutral, p_positive, {_STATUS} AS score_status,
        scores.model_fingerprint, run_id, scored_at"""
_ROWS = """plan.plan_rows
    LEFT JOIN (FROM scores WHERE model_fingerprint = $1) AS scores USING (headline_key)
    LEFT JOIN plan.invalid AS invalid ON invalid.headline_key = plan_rows.headline_key"""
_RESULTS = f"SELECT {_COLUMNS}{{confident}} FROM {_ROWS} ORDER BY file, row_number"
LABELLED_ROWS = f"SELECT file, row_number, plan_rows.headline_key, {_COLUMNS} FROM {_ROWS}"
"""The same rows in no order, each with its place; takes the fingerprint."""
# Single precision on both sides: a probability that prints as the bound reaches it.
_CONFIDENT = f""",
        CASE WHEN greatest(p_negative, p_neutral, p_positive) >= CAST($2 AS FLOAT)
            THEN {SENTIMENT_SQL} END AS {CONFIDENT_COLUMN}"""


class Results:
    """The scores of all planned rows as one ordered stream, taken a given number at a time."""

    def __init__(self, store: Store, fingerprint: str, min_confidence: float | None = None) -> None:
        self._cursor = store.connection.cursor()
        self._cursor.execute(f"USE {STORE_CATALOG}")
        self.schema = result_schema(confident=min_confidence is not None)
        confident = ""
        parameters: list[object] = [fingerprint]
        if min_confidence is not None:
            confident = _CONFIDENT
            parameters.append(min_confidence)
        sql = _RESULTS.format(confident=confident)
        self._reader = self._cursor.sql(sql, params=parameters).to_arrow_reader(65_536)
        self._rest = pa.Table.from_batches([], self.schema)

    def take(self, rows: int) -> pa.RecordBatch:
        """Return the next `rows` results as one batch, fewer where there are no more."""
        while self._rest.num_rows < rows and (batch := next(self._reader, None)) is not None:
            more = pa.Table.from_batches([batch]).cast(self.schema)
            self._rest = pa.concat_tables([self._rest, more])
        taken = self._rest.slice(0, rows).combine_chunks().to_batches()
        self._rest = self._rest.slice(rows)
        return taken[0] if taken else pa.RecordBatch.from_pylist([], schema=self.schema)

    def close(self) -> None:
        """End the query; the reader would keep the store open beyond this run."""
        self._reader.close()
        self._cursor.close()


@dataclass(kw_only=True)
class Counts:
    """Rows published, by status, by label and over the bins of `distributions`."""

    status: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("scored", "truncated", "empty", "invalid"), 0)
    )
    labels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABELS, 0))
    histograms: dict[str, list[int]] = field(default_factory=dict)
    rows: int = 0
    confident: int = 0
    """Rows whose label is sure enough; 0 where no confidence was asked for."""

    def add(self, results: pa.RecordBatch) -> None:
        """Count a batch of results."""
        self.rows += results.num_rows
        for counts, name in ((self.status, "score_status"), (self.labels, "sentiment")):
            for entry in results.column(name).value_counts().to_pylist():
                if entry["values"] is not None:
                    counts[entry["values"]] += entry["counts"]
        if CONFIDENT_COLUMN in results.schema.names:
            column = results.column(CONFIDENT_COLUMN)
            self.confident += len(column) - column.null_count
        columns = [to_numpy(results.column(f"p_{label}"), np.nan) for label in LABELS]
        add_histograms(self.histograms, histograms_of(np.stack(columns, axis=1)))
