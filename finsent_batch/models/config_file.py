"""A model's `config.json` as others write it: the fields that are read here, checked once.

Every other field is transformers' business. What is wrong is said by its name, with what
to write instead.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError
from ..labels import LABELS, label_index
from .label_classes import DROP, OPTION, LabelClasses, map_classes
from .reading import read_json

FILE: Final = "config.json"
# Families name the number of their positions differently.
_POSITIONS = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length",
    "n_ctx",
)  # fmt: skip
# Composed models keep the language model's part under one of these.
_TEXT_PARTS = ("text_config", "language_config", "llm_config", "decoder")
_SHOWN, _MOST_LABELS = 7, 1000
_LARGEST = 10_000_000
"""Beyond this, a number of tokens means none: tokenizers write 1e30."""
DEQUANTIZED: Final = ("fp8", "mxfp4")
"""Stored quantisations that transformers undoes while it loads, on any device."""
_BITSANDBYTES: Final = "bitsandbytes"


class ConfigFile:
    """The checked fields of one `config.json`.

    Raises:
        ConfigError: a field has another form than transformers writes.
        BadDataError: the file is no JSON object.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        self.name = name or str(folder)
        self.fields: dict[str, Any] = read_json(folder / FILE)
        self.model_type = self._text("model_type")
        self.architecture = self._architecture()
        self.dtype = self._text("dtype") or self._text("torch_dtype")
        self.positions = self._positions()
        self.quantisation = self._quantisation()

    def _wrong(self, field: str, expected: str) -> ConfigError:
        found = repr(self.fields.get(field))[:80]
        return ConfigError(
            f"{self.name}: {field} in its {FILE} is {found}, it must be {expected}: restore it"
        )

    def _text(self, field: str) -> str:
        value = self.fields.get(field) or ""
        if not isinstance(value, str):
            raise self._wrong(field, "a name")
        return value

    def _architecture(self) -> str:
        """Return the first of `architectures`; empty where the file names none."""
        value = self.fields.get("architectures") or []
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise self._wrong("architectures", "a list of names")
        return value[0] if value else ""

    def _positions(self) -> int | None:
        parts = [self.fields, *(self.fields.get(part) for part in _TEXT_PARTS)]
        for fields in (part for part in parts if isinstance(part, dict)):
            for field in _POSITIONS:
                value = fields.get(field)
                if value is None or value == -1:  # XLNet's: no limit
                    continue
                if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                    raise self._wrong(field, "a number of tokens above 0")
                return value
        return None

    def _quantisation(self) -> str | None:
        """Return how the weights are stored: `fp8`, `bitsandbytes 4-bit`, …; None as they are."""
        found = self.fields.get("quantization_config")
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self._wrong("quantization_config", "an object")
        method = found.get("quant_method")
        if method is None and (found.get("load_in_4bit") or found.get("load_in_8bit")):
            method = _BITSANDBYTES
        if not isinstance(method, str):
            raise ConfigError(
                f"{self.name}: quantization_config in its {FILE} names no quant_method: restore "
                "it, or name a checkpoint that is not quantized"
            )
        if method == _BITSANDBYTES:
            return f"{method} {'8' if found.get('load_in_8bit') else '4'}-bit"
        return method

    @property
    def labels(self) -> list[str]:
        """The names in `id2label`, by their numbers; empty where there are none.

        Raises:
            ConfigError: its keys do not count from 0.
        """
        found = self.fields.get("id2label")
        if found is None:
            return []
        if not isinstance(found, dict):
            raise self._wrong("id2label", _example(LABELS))
        if sorted(found) != sorted(map(str, range(len(found)))):
            raise ConfigError(
                f"{self.name}: the keys of id2label in its {FILE} are {', '.join(found)[:80]}; "
                f"they count from 0, such as {_example(LABELS)}"
            )
        return [str(found[str(i)]) for i in range(len(found))]

    @property
    def outputs(self) -> list[str]:
        """What a classifier's outputs are called; `LABEL_0`, … where the file does not say."""
        count = self.fields.get("num_labels", 2)
        unnamed = count if isinstance(count, int) and 0 < count < _MOST_LABELS else 2
        return self.labels or [f"LABEL_{i}" for i in range(unnamed)]

    def label_classes(self, given: Sequence[tuple[str, str]] = ()) -> LabelClasses:
        """Return the indexes of a classifier's outputs for each of `LABELS`.

        `given` says what each output means, as `map_classes` takes it; without it the outputs'
        own names do.

        Raises:
            ConfigError: they are not negative, neutral and positive, or not one of them alone.
            UsageError: what was given does not fit the outputs.
        """
        self._check_one_label()
        if given:
            return map_classes(self.name, self.outputs, given)
        labels = self.labels
        found = {label_index(label): i for i, label in enumerate(labels)}
        if len(labels) == len(LABELS) and set(found) == {0, 1, 2}:
            self._check_label2id(labels)
            return (found[0],), (found[1],), (found[2],)
        words = ", ".join(self.outputs)[:100]
        if len(self.outputs) == 1:
            raise ConfigError(
                f"{self.name}: it has one output ({words}), a number and no labels: name a "
                "classifier of negative, neutral and positive"
            )
        if len(self.outputs) != len(LABELS):
            unnamed = "" if labels else f"; its {FILE} has no id2label that names others"
            raise ConfigError(
                f"{self.name}: it has {len(self.outputs)} labels ({words}){unnamed}: say what each "
                f"of them is to finsent-batch, as in {OPTION} {_example_map(self.outputs)}"
            )
        raise ConfigError(
            f"{self.name}: its labels are {words}; they must be negative, neutral and positive: "
            f"set id2label in its {FILE} in the order that it was trained with, or name them, as "
            f"in {OPTION} {_example_map(labels)}"
        )

    def _check_label2id(self, labels: Sequence[str]) -> None:
        """Refuse a `label2id` that contradicts `id2label`.

        A model that was trained further may keep its base's labels in either of them. Names that
        mean none of `LABELS`, as transformers' own `LABEL_0`, say nothing.
        """
        names = {str(i): label for i, label in enumerate(labels)}
        other = self.fields.get("label2id")
        for label, i in other.items() if isinstance(other, dict) else ():
            known, named = label_index(label), names.get(str(i), "")
            if known is not None and label_index(named) != known:
                other_name = f"calls {named!r}" if named else "does not have"
                raise ConfigError(
                    f"{self.name}: label2id in its {FILE} gives {label!r} the number {i}, which "
                    f"id2label {other_name}: set both in the order that it was trained with, "
                    f"or name them, as in {OPTION} 0=LABEL,1=LABEL,2=LABEL, each LABEL one of "
                    f"{', '.join(LABELS)}"
                )

    def _check_one_label(self) -> None:
        problem = self.fields.get("problem_type")
        if problem not in (None, "single_label_classification"):
            raise ConfigError(
                f"{self.name}: its problem_type is {problem}: its outputs are not probabilities "
                f"of one label each text; if they are, remove problem_type from its {FILE}, else "
                "name another model"
            )


def _example(labels: tuple[str, ...]) -> str:
    return "{" + ", ".join(f'"{i}": "{label}"' for i, label in enumerate(labels)) + "}"


def _example_map(outputs: Sequence[str]) -> str:
    """Return what `--model-labels` could say of some outputs, never against their names.

    Where no name says anything, numbers that count up mostly go from the worst to the best.
    """
    if len(outputs) > _SHOWN:
        return "0=negative,1=drop,…"
    known = [label_index(name) for name in outputs]
    counts = [re.findall(r"-?\d+", name) for name in outputs]
    numbers = [int(found[0]) for found in counts if len(found) == 1]
    if set(known) == {None} and len(numbers) == len(outputs) and numbers == sorted(set(numbers)):
        steps = max(1, len(outputs) - 1)
        said = [LABELS[round(2 * i / steps)] for i in range(len(outputs))]
    else:
        unknown = DROP if len({*known} - {None}) > 1 else "LABEL"
        said = [unknown if label is None else LABELS[label] for label in known]
    named = ",".join(f"{i}={label}" for i, label in enumerate(said))
    return named + (f", each LABEL one of {', '.join(LABELS)}, {DROP}" if "LABEL" in said else "")


def tokenizer_limit(folder: Path) -> int | None:
    """Return `model_max_length` of a folder's tokenizer_config.json where it means anything."""
    file = folder / "tokenizer_config.json"
    value = read_json(file).get("model_max_length") if file.exists() else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 1 <= value < _LARGEST else None
