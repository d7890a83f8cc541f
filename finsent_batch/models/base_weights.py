"""The weight files of a model folder: that they are there, whole, and safetensors."""

from pathlib import Path
from typing import Final

from ..errors import ConfigError, MissingInputError
from .config_file import FILE as CONFIG_FILE
from .contents import check_contents, index_names
from .reading import read_json
from .weight_files import check_safetensors, integer_weights

FROM_DISK: Final = {"local_files_only": True, "trust_remote_code": False}
"""Given to every `from_pretrained`: files that are here, and no code that lies among them."""
WEIGHTS_FROM_DISK: Final = {**FROM_DISK, "use_safetensors": True}
"""Given to those that read weights: never a pickle."""


_INDEX: Final = "model.safetensors.index.json"


def weight_files(folder: Path) -> list[Path]:
    """Return a model folder's safetensors files, sorted by name.

    Raises:
        BadDataError: one is not what its name says.
        ConfigError: the folder has weights in another format only, or as integers of which
            `config.json` does not say what they stand for, or its files name others.
        MissingInputError: it has none, or not all that its index names.
    """
    check_contents(folder)
    named = {folder / name for name in index_names(folder, _INDEX)}
    files = sorted({*folder.glob("model*.safetensors"), *(f for f in named if f.exists())})
    for file in files:
        check_safetensors(file)
        _check_numbers(folder, file)
    if files or named:
        absent = absent_files(folder)
        if absent:
            raise MissingInputError(
                f"{folder} lacks {listed(absent)}: its download or copy was cut short; get it "
                "again, a model of the Hub with 'hf download'"
            )
        return files
    if pickled_files(folder):
        raise pickled_only(str(folder))
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise ConfigError(
            f"{folder} has pickled weights only, which can run code when loaded: convert them to "
            "safetensors (save_pretrained of transformers, in a place you trust) and name that "
            "directory"
        )
    raise MissingInputError(f"{folder} holds no model.safetensors: name the directory that does")


def _check_numbers(folder: Path, file: Path) -> None:
    """Refuse integers without a word of their scale: taken as they are they make no sense."""
    named = integer_weights(file)
    if named and not (read_json(folder / CONFIG_FILE)).get("quantization_config"):
        raise ConfigError(
            f"{folder}: {listed(named)} in {file.name} are stored as integers, and its "
            f"{CONFIG_FILE} has no quantization_config that says what they stand for: get the "
            "original checkpoint"
        )


def pickled_files(folder: Path) -> list[Path]:
    """Return a folder's weights in torch's pickle format, sorted by name."""
    return sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("adapter_model.bin")])


def pickled_only(name: str) -> ConfigError:
    """Return the error of a model that has no safetensors but pickles, and how to convert them."""
    return ConfigError(
        f"{name} has pickled weights only, which can run code when loaded: convert them to "
        f"safetensors with 'finsent-batch models convert {name} -o DIR' and name that directory"
    )


def absent_files(folder: Path) -> list[str]:
    """Return the weight files that a model folder should have and has not, by its own index."""
    if (folder / "adapter_config.json").exists():
        names = {"adapter_model.safetensors"}
    elif (folder / "model.safetensors").exists():
        return []
    elif (folder / _INDEX).exists():
        names = set(index_names(folder, _INDEX))
    elif any(folder.glob("model-*-of-*.safetensors")):
        names = {_INDEX}
    else:
        names = {"model.safetensors"}
    return sorted(name for name in names if not (folder / name).exists())


def listed(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
