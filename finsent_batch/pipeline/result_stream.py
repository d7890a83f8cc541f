"""The labelled rows of one source, joined with the scores, in the source's order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..arrays import to_numpy, to_strings
from ..io.result_columns import CONFIDENT_COLUMN, result_schema
from ..labels import LABEL_NUMBER_SQL, LABELS
from ..metrics.histograms import add_histograms, histograms_of
from ..store.connection import STORE_CATALOG
from ..store.store import Store
from .plan import HAS_TEXT, IS_EMPTY

STATUSES: Final = ("scored", "truncated", "empty", "invalid")
_SCORED, _TRUNCATED, _EMPTY, _INVALID = range(4)
_STATUS = f"""CAST(CASE WHEN state = {IS_EMPTY} THEN {_EMPTY}
    WHEN state <> {HAS_TEXT} THEN {_INVALID}
    WHEN truncated THEN {_TRUNCATED} WHEN p_positive IS NOT NULL THEN {_SCORED}
    WHEN invalid.headline_key IS NOT NULL THEN {_INVALID} END AS UTINYINT)"""
_ROWS = """plan.plan_rows
    LEFT JOIN (FROM {answers}) AS scores USING (headline_key)
    LEFT JOIN plan.invalid AS invalid ON invalid.headline_key = plan_rows.headline_key"""
LABELLED_ROWS: Final = f"""
    SELECT file, source, {_STATUS} AS status, {LABEL_NUMBER_SQL} AS label,
        p_negative, p_neutral, p_positive
    FROM {_ROWS.format(answers="plan.answers")}"""
"""The planned rows in no order: file, source, places in `STATUSES` and `LABELS`, probabilities."""
# Numbers in place of words: sorting rows of text takes twice as long.
_RUNS = """CREATE OR REPLACE TABLE plan.runs AS
    SELECT CAST(row_number() OVER () - 1 AS INTEGER) AS run, run_id
    FROM (SELECT DISTINCT run_id FROM plan.answers)"""
_RESULTS = f"""SELECT {LABEL_NUMBER_SQL} AS label, p_negative, p_neutral, p_positive,
        {_STATUS} AS status, answered_by, run, scored_at{{confident}}
    FROM {_ROWS.format(answers="plan.answers JOIN plan.runs USING (run_id)")}
    ORDER BY file, row_number"""
# Single precision on both sides: a probability that prints as the bound reaches it.
_CONFIDENT = f""",
        CASE WHEN greatest(p_negative, p_neutral, p_positive) >= CAST($1 AS FLOAT)
            THEN {LABEL_NUMBER_SQL} END AS confident"""


class Results:
    """The scores of all planned rows as one ordered stream, taken a given number at a time.

    `fingerprints` are those of the models, by their numbers in `plan.answers`.
    """

    def __init__(
        self, store: Store, fingerprints: Sequence[str], min_confidence: float | None = None
    ) -> None:
        self._cursor = store.connection.cursor()
        self._cursor.execute(f"USE {STORE_CATALOG}")
        self.schema = result_schema(confident=min_confidence is not None)
        confident = ""
        parameters: list[object] = []
        self._cursor.execute(_RUNS)
        runs = self._cursor.execute("SELECT run_id FROM plan.runs ORDER BY run").fetchall()
        self._runs = to_strings([run_id for (run_id,) in runs])
        self._fingerprints = to_strings(fingerprints)
        if min_confidence is not None:
            confident = _CONFIDENT
            parameters.append(min_confidence)
        sql = _RESULTS.format(confident=confident)
        self._reader = self._cursor.sql(sql, params=parameters).to_arrow_reader(65_536)
        self._rest = pa.Table.from_batches([], self._reader.schema)

    def take(self, rows: int) -> pa.RecordBatch:
        """Return the next `rows` results as one batch, fewer where there are no more."""
        while self._rest.num_rows < rows and (batch := next(self._reader, None)) is not None:
            self._rest = pa.concat_tables([self._rest, pa.Table.from_batches([batch])])
        taken = self._rest.slice(0, rows).combine_chunks().to_batches()
        self._rest = self._rest.slice(rows)
        if not taken:
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        return self._written_out(taken[0])

    def _written_out(self, numbers: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns of `schema` for the numbers that stand for them."""
        columns = [
            _LABELS.take(numbers.column("label")),
            pc.subtract(numbers.column("p_positive"), numbers.column("p_negative")),
            *(numbers.column(f"p_{label}") for label in LABELS),
            _STATUSES.take(numbers.column("status")),
            self._fingerprints.take(numbers.column("answered_by")),
            self._runs.take(numbers.column("run")),
            numbers.column("scored_at"),
        ]
        if CONFIDENT_COLUMN in self.schema.names:
            columns.append(_LABELS.take(numbers.column("confident")))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def close(self) -> None:
        """End the query; the reader would keep the store open beyond this run."""
        self._reader.close()
        self._cursor.close()


_LABELS: Final = to_strings(LABELS)
_STATUSES: Final = to_strings(STATUSES)


@dataclass(kw_only=True)
class Counts:
    """Rows published, by status, by label and over the bins of `distributions`."""

    status: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
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
        add_histograms(self.histograms, histograms_of(np.stack(columns).T))
