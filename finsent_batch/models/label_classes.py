"""What a classifier's outputs mean where their names do not say it: merged, renamed or dropped."""

from collections.abc import Sequence
from typing import Final

from ..errors import UsageError
from ..labels import LABELS, label_index

LabelClasses = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""For each of `LABELS`, the indexes of the outputs whose probabilities add up to its own."""

PLAIN: Final[LabelClasses] = ((0,), (1,), (2,))
DROP: Final = "drop"
"""Stands for a label where an output is left out: the others share its probability."""
OPTION: Final = "--model-labels"


def map_classes(
    name: str, outputs: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> LabelClasses:
    """Return which outputs make up each label, by what was said of each of them.

    `outputs` are a classifier's own names of its outputs, in order; a pair holds such a name,
    or its number from 0, and a label or `drop`.

    Raises:
        UsageError: an output is unknown, named twice or not at all, or fewer than two labels
            are left to choose from.
    """
    found: dict[int, int | None] = {}
    for key, value in pairs:
        index = _output(name, outputs, key)
        label = label_index(value)
        if label is None and value.strip().lower() != DROP:
            raise UsageError(
                f"{OPTION} {key}={value}: an output is {', '.join(LABELS)}, or {DROP} to leave "
                "it out"
            )
        if index in found:
            raise UsageError(f"{OPTION} names output {index} of {name} ({outputs[index]}) twice")
        found[index] = label
    if silent := [i for i in range(len(outputs)) if i not in found]:
        raise UsageError(
            f"{OPTION} says nothing of output {silent[0]} of {name} ({outputs[silent[0]]}): add "
            f"{silent[0]}=LABEL, or {silent[0]}={DROP} to leave it out"
        )
    negative, neutral, positive = (
        tuple(sorted(i for i, label in found.items() if label == wanted))
        for wanted in range(len(LABELS))
    )
    if sum(map(bool, (negative, neutral, positive))) < 2:
        raise UsageError(f"{OPTION} leaves {name} fewer than two labels to choose from")
    return negative, neutral, positive


def _output(name: str, outputs: Sequence[str], key: str) -> int:
    """Return the index of the output that a key names."""
    text = key.strip()
    named = {i for i, own in enumerate(outputs) if own.strip().lower() == text.lower()}
    if text.isdecimal() and int(text) < len(outputs):
        named.add(int(text))
    if len(named) == 1:
        return named.pop()
    own = ", ".join(f"{i} ({label})" for i, label in enumerate(outputs))[:200]
    problem = "means more than one output" if named else "is none of the outputs"
    raise UsageError(f"{OPTION} {text}=…: {text!r} {problem} of {name}, which has {own}")


def absent_labels(classes: LabelClasses) -> list[str]:
    """Return the labels that no output means."""
    return [label for label, outputs in zip(LABELS, classes, strict=True) if not outputs]


def identity(classes: LabelClasses) -> list[int] | list[list[int]]:
    """Return the classes as fingerprints hold them: a number each where outputs are single."""
    if all(len(outputs) == 1 for outputs in classes):
        return [outputs[0] for outputs in classes]
    return [list(outputs) for outputs in classes]


def said(outputs: Sequence[str], classes: LabelClasses) -> str:
    """Return in words which output means which label."""
    means = {i: LABELS[label] for label, chosen in enumerate(classes) for i in chosen}
    return "; ".join(f"{i} {own!r} → {means.get(i, 'left out')}" for i, own in enumerate(outputs))


def to_card(classes: LabelClasses, outputs: int) -> dict[str, str]:
    """Return the classes as a manifest keeps them: every output's number with its label."""
    means = {i: LABELS[label] for label, chosen in enumerate(classes) for i in chosen}
    return {str(i): means.get(i, DROP) for i in range(outputs)}
