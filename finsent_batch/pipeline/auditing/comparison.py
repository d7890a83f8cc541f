"""A night beside those before it: what is usual for each figure, and what is not tonight."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, Final

from ...metrics.bands import Band, comparable, share_noise, usual_band
from ...metrics.drift import jensen_shannon, population_stability_index
from ...store.nights import Night

NIGHTS_COMPARED: Final = 90
"""How many nights of a feed a night is compared with at most."""

_JUDGED: Final[dict[str, tuple[str, bool, bool]]] = {
    "rows": ("count", True, True),
    "labelled_share": ("share", True, False),
    "truncated_share": ("share", False, True),
    "distinct_share": ("share", True, False),
    "unseen_share": ("share", True, False),
    "not_english_share": ("share", False, True),
    "letter_share": ("share", True, True),
    "mean_length": ("length", True, True),
    "mean_score": ("score", True, True),
    "mean_confidence": ("score", True, True),
    "psi_labels": ("drift", False, True),
    "psi_confidence": ("drift", False, True),
    "js_labels": ("drift", False, True),
    "js_confidence": ("drift", False, True),
}
"""Figures that have a band: their scale, and whether they can be too low or too high."""
OF_THE_MODEL: Final = ("mean_score", "mean_confidence", "psi_", "js_")
"""Beginnings of the figures that are compared among nights of the same model alone."""


def compare(
    figures: dict[str, float | None],
    details: dict[str, Any],
    before: Sequence[Night],
    night: date,
    fingerprint: str,
) -> dict[str, Any]:
    """Add to a night's figures those that the nights before it give, and say what is unusual.

    Returns `nights` (how many it was compared with), `bands` by figure and `unusual`, the names
    of the figures outside of theirs.
    """
    same_model = [n for n in before if n.model_fingerprint == fingerprint]
    figures |= _drift(details, same_model, night)
    bands: dict[str, Band] = {}
    for name, (scale, low, high) in _JUDGED.items():
        value = figures.get(name)
        nights = same_model if name.startswith(OF_THE_MODEL) else before
        history = [(n.night.weekday(), v) for n in nights if (v := n.figures.get(name)) is not None]
        if value is None:
            continue
        noise = _noise(scale, figures["rows"] or 0)
        band = usual_band(history, night.weekday(), scale, noise=noise, low=low, high=high)
        if band is not None:
            bands[name] = band
    rows = bands.get("rows")
    figures["volume_ratio"] = (figures["rows"] or 0) / rows.usual if rows and rows.usual else None
    unusual = [name for name, band in bands.items() if not band.holds(figures[name] or 0.0)]
    figures["alarms"] = len(unusual)
    return {
        "nights": len(before),
        "bands": {name: asdict(band) for name, band in bands.items()},
        "unusual": unusual,
    }


def _noise(scale: str, rows: float) -> float:
    """Return the deviation that so few rows explain alone."""
    if scale == "share":
        return share_noise(rows)
    return 2 * share_noise(rows) if scale in ("score", "drift") else 0.0


def _drift(
    details: dict[str, Any], before: Sequence[Night], night: date
) -> dict[str, float | None]:
    """Compare labels and confidence with the comparable nights' together."""
    others, _ = comparable([(n.night.weekday(), n) for n in before], night.weekday())
    found: dict[str, float | None] = {}
    for name in ("labels", "confidence"):
        now = details[name]
        total = [sum(counts) for counts in zip(*(n.details[name] for n in others), strict=True)]
        found[f"psi_{name}"] = population_stability_index(now, total) if total else None
        found[f"js_{name}"] = jensen_shannon(now, total) if total else None
    return found
