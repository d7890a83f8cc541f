"""Prepare the output folder of a training, and write the trained model to it."""

import json
import shutil
from pathlib import Path
from typing import Any

from ..errors import CannotCreateError
from ..io.paths import check_folder
from ..models.manifest import MANIFEST_FILE, MODEL_FILES
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
    inputs = [*config.data, *([] if config.base is None else [Path(config.base).expanduser()])]
    if config.output.resolve() in [folder.resolve() for folder in inputs]:
        raise CannotCreateError(f"{config.output} is what this training reads: use another -o")
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        check_folder(config.output)
    except OSError as error:
        raise CannotCreateError(f"cannot create {config.output} ({error.strerror})") from None


def save_model(output: Path, model: Any, tokenizer: Any, base: str) -> None:
    """Write model and tokenizer; touch a model that stood there once they are on disk.

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
    (staged / "README.md").unlink(missing_ok=True)  # peft's; ours follows
    # Without its manifest the folder holds no model while it is half old and half new.
    (output / MANIFEST_FILE).unlink(missing_ok=True)
    # An adapter beside whole weights would be folded into them.
    for pattern in ("adapter_*", "config.json", "model*.safetensors*"):
        for stale in output.glob(pattern):
            stale.unlink()
    for file in staged.iterdir():
        target = output / file.name
        if target.is_dir():
            shutil.rmtree(target)
        file.replace(target)
    staged.rmdir()
