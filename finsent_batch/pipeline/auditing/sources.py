"""The sources of a night: each one's volume and mood, and which moved most."""

from collections.abc import Sequence
from datetime import date
from statistics import median
from typing import Any, Final

from ...metrics.bands import FEWEST_NIGHTS, comparable
from ...store.nights import Night

_MOVERS: Final = 5
_ALWAYS: Final = 0.9
"""Who was there on this share of the comparable nights is missed."""


def compare_sources(
    found: dict[str, dict[str, float | None]] | None, before: Sequence[Night], night: date
) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Return the figures of a night's sources and the sources that moved most, the first most.

    A move is the change of a source's share of the rows against the median of the comparable
    nights. Missing is who had rows on nine of ten of them and has none tonight.
    """
    names = ("sources", "missing_sources", "largest_source_move")
    figures: dict[str, float | None] = dict.fromkeys(names)
    if found is None:
        return figures, []
    figures["sources"] = len(found)
    dated = [(n.night.weekday(), n.details["sources"]) for n in before if n.details.get("sources")]
    others, _ = comparable(dated, night.weekday())
    if len(others) < FEWEST_NIGHTS:
        return figures, []
    movers = [_moved(name, found, others) for name in {*found, *(s for o in others for s in o)}]
    movers.sort(key=lambda m: (-abs(m["share"] - m["usual_share"]), m["source"]))
    missing = [m for m in movers if not m["rows"] and m["nights"] >= _ALWAYS * len(others)]
    figures["missing_sources"] = len(missing)
    if movers:
        figures["largest_source_move"] = abs(movers[0]["share"] - movers[0]["usual_share"])
    told = [*movers[:_MOVERS], *(m for m in missing if m not in movers[:_MOVERS])]
    return figures, told


def _moved(
    name: str,
    found: dict[str, dict[str, float | None]],
    others: Sequence[dict[str, dict[str, float | None]]],
) -> dict[str, Any]:
    here = found.get(name, {"rows": 0, "labelled": 0, "mean_score": None})
    there = [night[name] for night in others if name in night]
    moods = [s["mean_score"] for s in there if s["mean_score"] is not None]
    return {
        "source": name,
        "rows": here["rows"],
        "share": round((here["rows"] or 0) / _rows(found), 6),
        "usual_share": round(
            median((night.get(name, {}).get("rows") or 0) / _rows(night) for night in others), 6
        ),
        "mean_score": here["mean_score"],
        "usual_mean_score": round(median(moods), 6) if moods else None,
        "nights": len(there),
    }


def _rows(sources: dict[str, dict[str, float | None]]) -> float:
    return sum(source["rows"] or 0 for source in sources.values()) or 1
