"""The one sentence about a run that stands at the top of its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.gates import GateResult
from ..wording import counted
from .night_section import unusual
from .run_data import RunData


def verdict(
    data: RunData, drift: Mapping[str, Any], gates: Sequence[GateResult]
) -> tuple[str, str]:
    """Return the state, `good`, `bad` or neither, and one sentence that says why."""
    assert data.run is not None
    if data.run["status"] == "held":
        why = "; ".join(gate["reason"] for gate in data.run_gates if gate["holds"] is False)
        return "bad", f"Held back, not published: {why}. What it would have replaced is as it was."
    failed = [gate.reason for gate in gates if gate.holds is False]
    if failed:
        return "bad", f"Gate failed: {'; '.join(failed)}."
    if data.published_anyway:
        return "", f"Published by hand: a gate had held back run {data.published_anyway}."
    if data.run["status"] != "done":
        said = "failed" if data.run["status"] == "failed" else f"was {data.run['status']}"
        return "bad", f"This run {said}: it published {counted(data.rows.get('read', 0), 'row')}."
    if not data.rows.get("read"):
        return "", "This run read no rows: there was nothing to score."
    if not data.labelled:
        return "", "No row of this run has a label: all were empty or invalid."
    if told := unusual(data):
        return "bad", f"Published, but unlike the nights before: {'; '.join(told)}."
    if drift["psi"] is None:
        return "good", "Published. There is no earlier run of this model to compare it with."
    return _drift_state(drift)


def _drift_state(drift: Mapping[str, Any]) -> tuple[str, str]:
    """Judge by what is beyond chance: of few rows, a high index alone says nothing."""
    pairs = [(drift[f"psi_{name}"], drift[f"chance_{name}"]) for name in ("labels", "confidence")]
    worst = max(
        (psi for psi, chance in pairs if psi is not None and psi > (chance or 0)), default=0
    )
    found = f"(PSI {drift['psi']:.2f})"
    if worst >= 0.2:
        return "bad", f"Published, but it differs from earlier runs {found}: see Drift."
    if worst >= 0.1:
        return "", f"Published. It differs somewhat from earlier runs {found}."
    if drift["psi"] >= 0.1:
        return (
            "good",
            f"Published. With so few rows, chance alone explains its drift {found}.",
        )
    return "good", "Published, and its labels are spread as in earlier runs."
