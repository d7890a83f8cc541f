"""Checkpoints of a training: which one to resume, and which training they belong to.

A checkpoint's folder is written by transformers, `trainer_state.json` last: one
without it was cut short. `training.json` beside them says which training they are
of, so that `--resume` cannot mix two.
"""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..errors import CannotCreateError, ConfigError, TryAgainError
from ..io.atomic import replacing
from ..models.contents import WatchedFolder
from ..train_config import TrainConfig
from .distributed import ProcessGroup

CHECKPOINTS: Final = "checkpoints"
TRANSFER: Final = "transfer"
"""The folder beside them of the rows that are trained on."""
_IDENTITY: Final = "training.json"
_STATE: Final = "trainer_state.json"
# What of a model's settings decides how training goes on; versions and figures do not.
_DECIDES: Final = ("quantisation", "prompt", "label_token_ids", "max_length")


def start_checkpoints(config: TrainConfig, card: dict[str, Any]) -> None:
    """Prepare the checkpoint folder for the training that `card`, its `finsent.json`, describes.

    To resume, check that those that are there are of this very training, and drop
    what was cut short; else drop all that `overwrite` allows to.

    Raises:
        CannotCreateError: an unfinished training's are there, and neither is asked for.
        ConfigError: there is nothing to resume, or it is another training's.
    """
    folder = config.output / CHECKPOINTS
    last = last_checkpoint(folder)
    if config.resume:
        if last is None:
            raise ConfigError(f"--resume: {folder} holds no complete checkpoint: train without it")
        _check_identity(folder, card)
        for other in folder.glob("checkpoint-[0-9]*"):
            if state_of(other) is None:
                shutil.rmtree(other)
        return
    if last is not None and not config.overwrite:
        raise CannotCreateError(
            f"{config.output} holds an unfinished training ({last.name}): --resume continues "
            "it, --overwrite starts again"
        )
    for other in folder.glob("*"):
        if other.name != TRANSFER:
            shutil.rmtree(other, ignore_errors=True)
    with replacing(folder / _IDENTITY, parents=True) as temporary:
        temporary.write_text(json.dumps(_identity(card), indent=2) + "\n", "utf-8")


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint."""
    steps = {int(p.name.rpartition("-")[2]): p for p in folder.glob("checkpoint-[0-9]*")}
    return next((steps[n] for n in sorted(steps, reverse=True) if state_of(steps[n])), None)


def state_of(checkpoint: Path) -> dict[str, Any] | None:
    """Return the trainer's state in a checkpoint; None where it was cut short."""
    try:
        state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return state if checkpoint.name == f"checkpoint-{state.get('global_step')}" else None


def check_base(base: WatchedFolder, output: Path) -> None:
    """Compare the base with what it was at first; if it changed, drop what was trained on it.

    Raises:
        TryAgainError: it changed; the same command starts anew.
    """
    try:
        base.check()
    except TryAgainError:
        shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
        with suppress(OSError):  # it held something before
            output.rmdir()
        raise


def how_to_go_on(folder: Path) -> str:
    """Return the advice after a training was stopped, by what it left in its output `folder`."""
    last = last_checkpoint(folder / CHECKPOINTS)
    if last is None:
        return "run the same command again"
    return f"the same command with --resume continues after step {last.name.rpartition('-')[2]}"


def _identity(card: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same to resume, flat, under the names that users know."""
    flat = {name: card.get(name) for name in _DECIDES}
    training = card["training"]
    # Where the base lies is no matter, its weights are.
    flat |= {"base": card["base"]["files"], "data": training["data_sha256"]}
    flat |= training["hyperparameters"]
    if "soft_labels" in training:
        flat["soft_labels"] = training["soft_labels"]
    # Each process takes its part of every batch, so that their number decides the order of rows.
    flat["processes"] = ProcessGroup.from_environment().world
    # Through JSON, so that tuples compare equal to the lists that are read back.
    found: dict[str, Any] = json.loads(json.dumps(flat))
    return found


def _check_identity(folder: Path, card: dict[str, Any]) -> None:
    try:
        before = json.loads((folder / _IDENTITY).read_text("utf-8"))
    except (OSError, ValueError):
        raise ConfigError(
            f"--resume: {folder} does not say what was trained: train without it"
        ) from None
    now = _identity(card)
    before.setdefault("processes", 1)
    other = [name for name in now if now[name] != before.get(name)]
    if other:
        names = ", ".join(_difference(name, before.get(name), now[name]) for name in other)
        raise ConfigError(
            f"--resume: the checkpoints in {folder} are of another training ({names}): set it as "
            "it was then, or start again with --overwrite"
        )


def _difference(name: str, before: object, now: object) -> str:
    """Return a setting's name, with both values where they are short enough to show."""
    plain = all(isinstance(v, str | int | float | None) for v in (before, now))
    if name == "data" or not plain:
        return f"other {name}"
    return f"{name.replace('_', '-')} was {before}, not {now}"
