"""The folder that training writes to."""

from pathlib import Path

from ..errors import CannotCreateError
from ..io.paths import check_folder
from ..models.manifest import CARD_FILE, MODEL_FILES
from ..train_config import TrainConfig


def check_output(config: TrainConfig) -> None:
    """Make the output folder.

    Raises:
        CannotCreateError: it holds a model or data already, or cannot be made.
    """
    held = (CARD_FILE,) if config.resume else MODEL_FILES
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
