"""Gates: conditions on figures that decide an exit code, such as `accuracy>=0.80`."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import UsageError

NO_REGRESSION: Final = "no-regression"
_GATE = re.compile(r"\s*([a-z_0-9.]+)\s*(>=|<=|>|<)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, kw_only=True)
class Gate:
    """METRIC COMPARISON BOUND; only the name for `no-regression`."""

    metric: str
    comparison: str = ""
    bound: float = 0.0

    def __str__(self) -> str:
        return f"{self.metric}{self.comparison}{self.bound:g}" if self.comparison else self.metric


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """Whether a gate holds; `holds` is None where there is no value to judge."""

    gate: str
    value: float | None
    holds: bool | None
    reason: str
    """One line: what was found."""


def parse_gate(text: str, metrics: str, *, no_regression: bool = False) -> Gate:
    """Return a gate expression parsed.

    `metrics` says, in the message of an error, which metrics there are.

    Raises:
        UsageError: it does not parse; the message is the grammar.
    """
    if no_regression and text.strip() == NO_REGRESSION:
        return Gate(metric=NO_REGRESSION)
    match = _GATE.fullmatch(text)
    if not match:
        raise UsageError(
            f"--gate {text!r}: write METRIC COMPARISON NUMBER; COMPARISON is >=, <=, > or <; "
            f"METRIC is one of {metrics}" + (f"; or {NO_REGRESSION}" if no_regression else "")
        )
    return Gate(metric=match[1], comparison=match[2], bound=float(match[3]))


def check_gate(gate: Gate, metrics: Mapping[str, Any]) -> GateResult:
    """Hold a gate against figures; a dot in a metric's name goes one level down.

    Raises:
        UsageError: there is no such metric.
    """
    value = metric_value(gate.metric, metrics)
    if value is None:
        reason = f"{gate.metric} has no value: {gate} was not checked"
        return GateResult(gate=str(gate), value=None, holds=None, reason=reason)
    holds = _COMPARISONS[gate.comparison](value, gate.bound)
    found = f"{gate.metric} is {value:.6g}"
    reason = found if holds else f"{found}, not {gate.comparison} {gate.bound:g}"
    return GateResult(gate=str(gate), value=value, holds=holds, reason=reason)


def metric_value(name: str, metrics: Mapping[str, Any]) -> float | None:
    """Return a figure by its dotted name; None where it is known but has no value.

    Raises:
        UsageError: there is no such metric.
    """
    value: Any = metrics
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UsageError(f"--gate: no metric {name!r}; there are: {', '.join(_names(metrics))}")
        value = value[part]
    if value is not None and not isinstance(value, int | float):
        raise UsageError(
            f"--gate: {name!r} is not a number; there are: {', '.join(_names(metrics))}"
        )
    return None if value is None else float(value)


def _names(metrics: Mapping[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            names += _names(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, int | float):
            names.append(prefix + name)
    return names


def failures(results: Sequence[GateResult]) -> str:
    """Return what failed as one line; empty when all that could be checked holds."""
    return "; ".join(result.reason for result in results if result.holds is False)
