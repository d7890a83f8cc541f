"""Check what an `adapter_config.json` says before a library acts on it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import ConfigError
from .reading import read_json

ADAPTER_FILE: Final = "adapter_config.json"
_PATTERNS: Final = ("target_modules", "exclude_modules", "layers_pattern")
"""Names of layers, which peft takes for a regular expression where they are one string."""
_BY_PATTERN: Final = ("rank_pattern", "alpha_pattern")
"""Numbers by such names."""
_LONGEST: Final = 2_000


def check_adapter(name: str, folder: Path) -> None:
    """Refuse an adapter whose settings would run code, fill the memory or never end.

    peft imports the module that `megatron_config` names, makes matrices of the rank that is
    stated before it looks at the file's own, and searches with any pattern it is given.

    Raises:
        ConfigError: one of these.
    """
    config = read_json(folder / ADAPTER_FILE)
    if config.get("megatron_config"):
        raise ConfigError(
            f"{name}: {ADAPTER_FILE} has megatron_config, which imports code by name: "
            "train it with finsent-batch train"
        )
    for field, pattern in _patterns(config):
        if not _ends_soon(pattern):
            raise ConfigError(
                f"{name}: {field} in {ADAPTER_FILE} is a pattern that may take for ever "
                f"({pattern[:60]!r}): list the layers' names instead"
            )
    _check_ranks(name, folder, config)


def _patterns(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for field in (*_PATTERNS, *_BY_PATTERN):
        value = config.get(field)
        # A list of names for target_modules is compared, not searched with.
        searched = (dict, list) if field == "layers_pattern" else dict
        listed = value if isinstance(value, searched) else ()
        for text in [value] if isinstance(value, str) else listed:
            yield field, str(text)


def _ends_soon(pattern: str) -> bool:
    """Whether a search with this regular expression is quick whatever it searches.

    Python's `re` goes back and forth over repetitions of repetitions, and over many in a row:
    no group is repeated here, and few other things are.
    """
    plain = re.sub(r"\[[^\]]*\]", "x", re.sub(r"\\.", "x", pattern, flags=re.S))
    plain = re.sub(r"([*+}?])[?+]", r"\1", plain)  # lazy and possessive ones count once
    return (
        len(pattern) <= _LONGEST
        and not re.search(r"\(\?[aiLmsux-]|\)\s*[*+{]", plain)
        and len(re.findall(r"[*+{]", plain)) <= 3
        and len(re.findall(r"(?<!\()\?", plain)) <= 6
    )


def _check_ranks(name: str, folder: Path, config: dict[str, Any]) -> None:
    """Refuse a rank larger than that of the matrices in the file."""
    from safetensors import safe_open

    rank, by_pattern = config.get("r"), config.get("rank_pattern")
    if config.get("peft_type", "LORA") == "LORA" and not (isinstance(rank, int) and rank >= 1):
        raise ConfigError(f"{name}: {ADAPTER_FILE} has no rank r: restore the adapter's files")
    stated = [rank, *(by_pattern.values() if isinstance(by_pattern, dict) else ())]
    ranks = [rank for rank in stated if isinstance(rank, int | float)]
    with safe_open(folder / "adapter_model.safetensors", framework="np") as file:
        parts = [key for key in file.keys() if "lora_A" in key]  # noqa: SIM118
        shapes = [file.get_slice(key).get_shape() for key in parts]
    # A of a layer is (rank, in), that of an embedding (rank, tokens).
    largest = max((shape[0] for shape in shapes if shape), default=0)
    if shapes and ranks and max(ranks) > largest:
        raise ConfigError(
            f"{name}: {ADAPTER_FILE} says rank {max(ranks)}, and the adapter's matrices are of "
            f"rank {largest}: restore its files"
        )
