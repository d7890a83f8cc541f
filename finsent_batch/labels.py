"""The three labels, in the one order that every array, column and table here uses."""

from typing import Final

LABELS: Final = ("negative", "neutral", "positive")
"""Order of the columns of every logits or probabilities array: shape (n, 3)."""

PROBABILITY_COLUMNS: Final = tuple(f"p_{label}" for label in LABELS)
"""The columns of tables that hold such an array."""

NEGATIVE, NEUTRAL, POSITIVE = range(3)

# Ties go to the first label in order, as numpy's argmax has it.
SENTIMENT_SQL: Final = f"""CASE
    WHEN p_negative >= p_neutral AND p_negative >= p_positive THEN '{LABELS[0]}'
    WHEN p_neutral >= p_positive THEN '{LABELS[1]}'
    WHEN p_positive IS NOT NULL THEN '{LABELS[2]}' END"""
"""SQL of the label of three probabilities; NULL without them."""

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
