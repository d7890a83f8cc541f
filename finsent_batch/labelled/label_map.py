"""What the labels of a labelled file mean: their usual names, or what a user says of them."""

import logging
from collections import Counter
from collections.abc import Sequence

from ..config import LabelledFormat
from ..errors import BadDataError, UsageError
from ..labels import LABELS, label_index
from ..wording import counted

logger = logging.getLogger(__name__)


def label_indices(found: Sequence[str], where: object, how: LabelledFormat) -> list[int]:
    """Return the index in `LABELS` of each label of a file, by its `label_map` or usual names.

    Raises:
        UsageError: the `label_map` names an unknown label, or two for one value.
        BadDataError: a label has no meaning.
    """
    meaning = _meaning(how.label_map)
    # In another case a value is the same, unless the map tells such values apart.
    alike: dict[str, set[int]] = {}
    for value, index in meaning.items():
        alike.setdefault(value.casefold(), set()).add(index)

    def index_of(label: str) -> int | None:
        plain = label.strip()
        same = alike.get(plain.casefold())
        if plain in meaning or same is None:
            return meaning.get(plain, label_index(plain))
        return min(same) if len(same) == 1 else None

    known = {label: index_of(label) for label in {*found}}
    there = {label.strip().casefold() for label in known}
    if absent := [value for value in meaning if value.casefold() not in there]:
        logger.warning("--label-map: no row of %s is labelled %s", where, " or ".join(absent))
    indices = [known[v] for v in found]
    unknown = Counter(v for v, i in zip(found, indices, strict=True) if i is None)
    if unknown:
        shown = sorted(unknown.items())
        listed = ", ".join(f"{v!r} ({counted(n, 'row')})" for v, n in shown[:8])
        if rest := shown[8:]:
            listed += f" and {len(rest)} others ({counted(sum(n for _, n in rest), 'row')})"
        unlabelled = ["label the rows without one, or take them out"] if "" in unknown else []
        other = [f"say what they mean with {how.owner}--label-map VALUE=LABEL"]
        advice = "; ".join(unlabelled + other * (set(unknown) != {""}))
        raise BadDataError(f"{where} has labels other than {', '.join(LABELS)}: {listed}; {advice}")
    return [i for i in indices if i is not None]


def _meaning(label_map: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the index of each value that a user maps."""
    meaning: dict[str, int] = {}
    for value, label in label_map:
        index = label_index(label)
        if index is None:
            again = "; give the option once for each value" if "," in label else ""
            raise UsageError(f"--label-map: {label!r} is none of {', '.join(LABELS)}{again}")
        if meaning.setdefault(value.strip(), index) != index:
            raise UsageError(f"--label-map gives {value!r} two labels: leave one out")
    return meaning
