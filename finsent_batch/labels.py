"""The three labels, in the one order that every array, column and table here uses."""

from collections.abc import Sequence
from typing import Final

LABELS: Final = ("negative", "neutral", "positive")
"""Order of the columns of every logits or probabilities array: shape (n, 3)."""

PROBABILITY_COLUMNS: Final = tuple(f"p_{label}" for label in LABELS)
"""The columns of tables that hold such an array."""

NEGATIVE, NEUTRAL, POSITIVE = range(3)


def _label_sql(values: Sequence[object]) -> str:
    # Ties go to the first label in order, as numpy's argmax has it.
    return f"""CASE
    WHEN p_negative >= p_neutral AND p_negative >= p_positive THEN {values[0]}
    WHEN p_neutral >= p_positive THEN {values[1]}
    WHEN p_positive IS NOT NULL THEN {values[2]} END"""


SENTIMENT_SQL: Final = _label_sql([f"'{label}'" for label in LABELS])
"""SQL of the label of three probabilities; NULL without them."""
LABEL_NUMBER_SQL: Final = f"CAST({_label_sql(range(len(LABELS)))} AS UTINYINT)"
"""SQL of that label's place in `LABELS`."""

# Words other 3-class sentiment models use for the same three labels, lower-cased.
_SYNONYMS: Final = {
    "negative": NEGATIVE,
    "neg": NEGATIVE,
    "bearish": NEGATIVE,
    "neutral": NEUTRAL,
    "neu": NEUTRAL,
    "positive": POSITIVE,
    "pos": POSITIVE,
    "bullish": POSITIVE,
}


def label_index(name: str) -> int | None:
    """Return the index in `LABELS` of a label written in any usual way, or None if unknown."""
    return _SYNONYMS.get(name.strip().lower())
