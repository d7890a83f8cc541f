"""The figures of a night: what is measured before it is published, and what gates can name."""

from collections.abc import Mapping
from typing import Final

from ..labels import LABELS

FIGURES: Final[Mapping[str, str]] = {
    "rows": "rows of all inputs",
    "labelled_share": "rows that have a label, of all",
    "unlabelled_share": "rows that have none",
    "empty_share": "rows without a headline",
    "invalid_share": "rows whose headline cannot be decoded or scored",
    "truncated_share": "rows scored on their beginning alone",
    "dated_share": "rows whose time can be read, of all that a time column is there for",
    "distinct_share": "different headlines, of all rows with one",
    "reused_share": "rows that needed no scoring",
    **{f"{label}_share": f"{label} rows, of those labelled" for label in LABELS},
    "mean_score": "mean sentiment score of the labelled rows",
    "mean_confidence": "mean probability of the label given",
    "estimated_accuracy": "share of labels that are right, as the probabilities have it",
    "estimated_accuracy_low": "lower end of its 95 % interval",
    "estimated_accuracy_high": "upper end of its 95 % interval",
    "psi_labels": "population stability index of the labels, against comparable nights",
    "psi_confidence": "the same of the confidence, in steps of 0.05",
    "js_labels": "Jensen–Shannon divergence of the labels in bits, against comparable nights",
    "js_confidence": "the same of the confidence",
    "volume_ratio": "rows, as a multiple of the median of comparable nights",
    "age_hours": "hours from the newest row to now, or to `--as-of`",
    "unseen_share": "different headlines that no other night or input has brought before",
    "mean_length": "characters of a headline on average",
    "letter_share": "letters A to Z, of all characters of the headlines",
    "not_english_share": "headlines that are not English by a simple rule",
    "sources": "different values of the source column",
    "missing_sources": "sources of nine in ten comparable nights that have no row tonight",
    "largest_source_move": "largest change of a source's share of the rows, against its median",
    "columns_added": "columns of the first input that the night before did not have",
    "columns_missing": "columns that it had",
    "columns_retyped": "columns that had another type",
    "alarms": "figures outside of what is usual for them",
    "least_rows": "rows of the input that has the fewest",
    "least_labelled_share": "labelled_share of the input where it is least",
    "least_dated_share": "dated_share of the input where it is least",
}
"""Each figure with what it is, in words."""
