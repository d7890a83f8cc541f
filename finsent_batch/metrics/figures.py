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
    "least_rows": "rows of the input that has the fewest",
    "least_labelled_share": "labelled_share of the input where it is least",
    "least_dated_share": "dated_share of the input where it is least",
}
"""Each figure with what it is, in words."""
