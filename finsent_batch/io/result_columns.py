"""The columns that `score` adds to a table, after the table's own."""

from typing import Final

import pyarrow as pa

from ..errors import BadDataError
from .columns import RowSchema

RESULT_SCHEMA = pa.schema(
    [
        ("sentiment", pa.string()),
        ("sentiment_score", pa.float32()),
        ("p_negative", pa.float32()),
        ("p_neutral", pa.float32()),
        ("p_positive", pa.float32()),
        ("score_status", pa.string()),
        ("model_fingerprint", pa.string()),
        ("run_id", pa.string()),
        ("scored_at", pa.timestamp("us")),
    ]
)
"""The added columns, in their order after the original ones."""
SCORE_COLUMNS: Final = tuple(f.name for f in RESULT_SCHEMA if pa.types.is_floating(f.type))
CONFIDENT_COLUMN: Final = "sentiment_confident"
"""After them with `--min-confidence`: the label where it is sure enough, else NULL."""


def result_schema(*, confident: bool = False) -> pa.Schema:
    """Return the added columns, `sentiment_confident` last where it was asked for."""
    if not confident:
        return RESULT_SCHEMA
    return RESULT_SCHEMA.append(pa.field(CONFIDENT_COLUMN, pa.string()))


def output_schema(
    schema: RowSchema, *, replace: bool, where: str, confident: bool = False
) -> RowSchema:
    """Return a source's schema with the result columns after it.

    Raises:
        BadDataError: the source already has one of them and `replace` is false.
    """
    # An earlier run's sentiment_confident would be about labels that are replaced.
    taken = {name.casefold() for name in (*RESULT_SCHEMA.names, CONFIDENT_COLUMN)}
    present = [name for name in schema.names if name.casefold() in taken]
    if present and not replace:
        raise BadDataError(
            f"{where} already has the column {present[0]!r}: rename it, "
            "or let it be replaced with --replace-columns"
        )
    arrow = schema.arrow
    for name in present:
        arrow = arrow.remove(arrow.get_field_index(name))
    types = {name: kind for name, kind in schema.duckdb_types.items() if name not in present}
    for added in result_schema(confident=confident):
        arrow = arrow.append(added)
    return RowSchema(arrow, types)
