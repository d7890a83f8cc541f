"""The story of `train`: which kind of model a preset makes, and what that needs here."""

import importlib.util
import os
from typing import Any

from .config import CAUSAL_PRESETS, TrainConfig
from .errors import UnavailableError, UsageError
from .libraries import quiet_bitsandbytes
from .planning import Progress
from .runs import no_progress


def train(config: TrainConfig, *, progress: Progress = no_progress) -> dict[str, dict[str, Any]]:
    """Train, calibrate, evaluate and write a model directory.

    Returns the metrics of each validation and test part, by `split/folder`; nothing in any but
    the first of several processes that train together.

    Raises:
        BadDataError: the splits share headlines or lack a class.
        MissingInputError: a data folder or the base is not there.
        CannotCreateError: the output folder holds something already.
        UnavailableError: a library that this preset needs is not installed.
        UsageError: a setting that this preset does not have.
    """
    quiet_bitsandbytes()
    if config.preset in CAUSAL_PRESETS:
        if importlib.util.find_spec("trl") is None:
            raise UnavailableError(
                f"--preset {config.preset} needs trl and bitsandbytes: "
                "pip install 'finsent-batch[llm]'"
            )
        from .causal_training import train_causal

        return train_causal(config, progress)
    foreign = ("resume", "save_steps", "early_stopping_patience", "quantisation", "memory_budget")
    for name in foreign:
        if getattr(config, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for causal models: use --preset "
                f"{' or '.join(CAUSAL_PRESETS)}"
            )
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise UsageError(
            f"--preset {config.preset} trains in one process: run it without torchrun or accelerate"
        )
    from .encoder_training import train_encoder

    return train_encoder(config, progress)
