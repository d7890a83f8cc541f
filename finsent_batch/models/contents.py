"""Find the files of a folder that decide a model's answers, and notice when they change."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from ..errors import BadDataError, ConfigError, FinsentError, MissingInputError, TryAgainError
from .reading import read_json

_UNOPENED_NAMES: Final = ("readme", "license", "notice", "use_policy", ".")
"""How the names of files begin that are for people, or are hidden."""
_OURS: Final = ("finsent.json", "training_log.json", "metrics.json")
"""What `train` and `evaluate` write; the card's settings are in the fingerprint by their values."""
_UNOPENED_SUFFIXES: Final = (
    ".md", ".html", ".py", ".pyc", ".sh", ".log", ".csv", ".parquet", ".duckdb", ".working", ".wal",
    ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx",
)  # fmt: skip
"""Papers, code, tables, and weights in formats that are never loaded: only safetensors are."""


@dataclass(frozen=True)
class FileState:
    """What tells one version of a file from another without reading it."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    """Cannot be set, unlike the time of modification: it says when the file was last touched."""

    @classmethod
    def of(cls, status: Any) -> "FileState":
        """Return it of what `os.stat` gave."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


ModelState = dict[str, FileState]
"""The states of a model's files by their paths."""


def model_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that a loader could open, sorted by name.

    That is every regular file, or link to one, that lies in the folder itself, whatever
    its name, except those that no loader opens: README, LICENSE, NOTICE and hidden files,
    `finsent.json`, `training_log.json` and what `evaluate` writes, documents, code, tables,
    and weights in other formats than safetensors. Folders inside of it (`checkpoints`,
    `logs`, `onnx`, …) are not opened either: names that lead there are refused.

    Raises:
        ConfigError: a pipe, socket or device lies in it.
        MissingInputError: it is gone, or may not be read.
    """
    try:
        entries = sorted(folder.iterdir())
        found = []
        for entry in entries:
            name = entry.name.lower()
            if (
                name.startswith(_UNOPENED_NAMES)
                or name in _OURS
                or name.endswith(_UNOPENED_SUFFIXES)
                or not entry.exists()
            ):
                continue
            mode = entry.stat().st_mode
            if stat.S_ISREG(mode):
                found.append(entry)
            elif not stat.S_ISDIR(mode):
                raise ConfigError(
                    f"{entry} is not a regular file: remove it from the model's folder"
                )
    except PermissionError:
        raise MissingInputError(f"{folder} may not be read by this user: chmod +rx it") from None
    except FileNotFoundError:
        raise MissingInputError(f"{folder} is gone, or changes just now: run again") from None
    return found


def folder_state(folder: Path) -> ModelState:
    """Return the states of `model_files(folder)`."""
    states = {}
    for file in model_files(folder):
        try:
            states[str(file)] = FileState.of(file.stat())
        except OSError:
            raise TryAgainError(f"{file} changes just now: run again") from None
    return states


class WatchedFolder:
    """A folder of weights that must stay what it is while a command works with it.

    As a context manager, a failure inside of the block is told as a change where there was one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.real = folder.resolve()
        self.state = folder_state(folder)

    def check(self) -> None:
        """Compare it with what it was at first.

        Raises:
            TryAgainError: a file was changed, replaced, added or removed, or a link turned.
        """
        try:
            changed = self.folder.resolve() != self.real or folder_state(self.folder) != self.state
        except FinsentError:
            changed = True
        if changed:
            raise TryAgainError(
                f"the model {self.folder} changed while it was in use: nothing was made of it, run "
                "again, with --overwrite where the training left checkpoints"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if kind is not None and issubclass(kind, Exception):
            try:
                self.check()
            except TryAgainError as changed:
                raise changed from None


def check_contents(folder: Path) -> None:
    """Refuse a folder of weights whose files name others, which nothing here would hash.

    Raises:
        ConfigError: an adapter lies beside the weights, or config.json, tokenizer_config.json
            or the index of the weights names files elsewhere.
    """
    if (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"{folder} holds weights and an adapter (adapter_config.json), which would be "
            "folded in unasked: remove adapter_config.json and adapter_model.safetensors there, or "
            "make one model of both with finsent-batch merge"
        )
    config = _optional(folder / "config.json")
    if config.get("transformers_weights"):
        raise ConfigError(
            f"{folder}: config.json chooses its weights by transformers_weights: remove that entry "
            "and name the file model.safetensors"
        )
    _check_names(folder, "config.json: configuration_files", config.get("configuration_files"))


def check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer whose settings name files elsewhere.

    Raises:
        ConfigError: they do.
    """
    settings = _optional(folder / "tokenizer_config.json")
    what = "tokenizer_config.json: fast_tokenizer_files"
    _check_names(folder, what, settings.get("fast_tokenizer_files"))
    for name, value in settings.items():
        # Stale paths of the machine that saved it are common, and opened by nobody.
        if name.endswith("_file") and isinstance(value, str) and _leads_away(folder, value):
            raise ConfigError(
                f"{folder}: tokenizer_config.json names {name} {value[:80]!r}: remove that entry "
                "and put the file into the folder"
            )


def index_names(folder: Path, index: str) -> list[str]:
    """Return the weight files that a folder's index names, sorted; none without an index.

    Raises:
        ConfigError: one lies elsewhere or is no safetensors file.
    """
    weight_map = _optional(folder / index).get("weight_map") or {}
    if not isinstance(weight_map, dict):
        raise BadDataError(f"{folder / index} has no weight_map: restore it")
    names = sorted({str(name) for name in weight_map.values()})
    _check_names(folder, index, names, suffix=".safetensors")
    return names


def _check_names(folder: Path, what: str, names: Any, suffix: str = "") -> None:
    for name in names if isinstance(names, list) else [names] if names else []:
        text = str(name)
        if text != Path(text).name or not text.endswith(suffix):
            kind = f"{suffix} file" if suffix else "file"
            raise ConfigError(
                f"{folder}: {what} names {text[:80]!r}, which is not a {kind} of that folder: "
                "restore the model's files, or save it again with save_pretrained"
            )


def _leads_away(folder: Path, name: str) -> bool:
    try:
        return Path(name).exists() and Path(name).resolve().parent != folder.resolve()
    except (OSError, ValueError):
        return False


def _optional(file: Path) -> dict[str, Any]:
    return read_json(file) if file.exists() else {}
