"""Prepare the output folder of a training, and put the trained model in its place."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import CannotCreateError
from ..io.atomic import make_folder
from ..io.whole.folders import replacing_folder
from ..io.whole.protected import check_free_folder, protected
from ..models.contents import model_files
from ..models.manifest import MANIFEST_FILE, MODEL_FILES, TRAINING_LOG, write_manifest
from ..models.model_card import write_card
from ..models.weight_files import share_weights
from ..train_config import TrainConfig
from .checkpoints import CHECKPOINTS


def check_output(config: TrainConfig) -> None:
    """Make the output folder.

    Raises:
        CannotCreateError: it holds a model or data already, or cannot be made.
    """
    held = (MANIFEST_FILE,) if config.resume else MODEL_FILES
    if any((config.output / name).exists() for name in held) and not config.overwrite:
        raise CannotCreateError(
            f"{config.output} holds a model already: "
            + (
                "--resume with --overwrite goes on with the training that replaces it"
                if config.resume
                else "use --overwrite or another -o"
            )
        )
    read = protected(
        inputs=[*config.data, *config.soft_labels, *config.exclude],
        models=[] if config.base is None else [Path(config.base)],
    )
    check_free_folder(config.output, (), read)
    try:
        make_folder(config.output)
    except OSError as error:
        raise CannotCreateError(f"cannot create {config.output} ({error.strerror})") from None


@contextmanager
def tidy_on_failure(output: Path) -> Iterator[None]:
    """Remove the folders that a training which fails in this block has made and left empty."""
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        yield
    except BaseException:
        shutil.rmtree(output / CHECKPOINTS / "final", ignore_errors=True)
        with suppress(OSError):
            for folder in (output / CHECKPOINTS, *made):
                if folder.is_dir():
                    folder.rmdir()
        raise


def save_model(output: Path, model: Any, tokenizer: Any, base: str) -> Path:
    """Write model and tokenizer to a folder among the checkpoints, and return it.

    `adapter_config.json` names the base as `base` does and not by this machine's path.
    """
    staged = output / CHECKPOINTS / "final"
    shutil.rmtree(staged, ignore_errors=True)
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    file = staged / "adapter_config.json"
    if file.exists():
        adapter = json.loads(file.read_text("utf-8"))
        adapter["base_model_name_or_path"] = base
        file.write_text(json.dumps(adapter, indent=2, sort_keys=True) + "\n", "utf-8")
    share_weights(staged / "tokenizer_config.json")
    return staged


def publish_model(output: Path, staged: Path, card: dict[str, Any], log: Any) -> None:
    """Let what `save_model` wrote, with its card and log, take an earlier model's place at once.

    Raises:
        CannotCreateError, StorageError, TryAgainError: see `replacing_folder`.
    """
    old = {file.name for file in model_files(output)}

    def is_old(entry: Path) -> bool:
        return entry.name in old

    with replacing_folder(output, index=MANIFEST_FILE, obsolete=is_old) as folder:
        for file in staged.iterdir():
            if file.name != "README.md":  # peft's
                file.replace(folder / file.name)
        (folder / TRAINING_LOG).write_text(json.dumps(log, indent=1) + "\n", "utf-8")
        write_manifest(folder, card)
        write_card(folder, card)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
