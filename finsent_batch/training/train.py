"""Train a model: check the settings, then hand over to the family of the preset."""

import importlib.util
from dataclasses import replace
from typing import Any, Final

from ..errors import UnavailableError, UsageError
from ..hardware import cuda_available, gpu_memory
from ..optional_imports import quiet_bitsandbytes
from ..progress import Progress, StopRequest, no_progress
from ..train_config import (
    ADAPTER_SETTINGS,
    CAUSAL,
    ENCODER,
    FULL_PRESETS,
    TrainConfig,
    family_of,
    presets_of,
    settings_of,
)

_ROOMY: Final = 40e9
"""Bytes of a GPU on which an adapter's optimizer need not be paged."""
_PLURAL: Final = {CAUSAL: "causal models", ENCODER: "encoders"}


def train(
    config: TrainConfig, *, progress: Progress = no_progress, stop: StopRequest | None = None
) -> dict[str, dict[str, Any]]:
    """Train, calibrate, evaluate and write a model directory.

    Returns the metrics of each validation and test part, by `split/folder`; nothing in any but
    the first of several processes that train together. Training looks at `stop` after each
    step.

    Raises:
        BadDataError: the splits share headlines or lack a class.
        MissingInputError: a data folder or the base is not there.
        CannotCreateError: the output folder holds something already.
        ConfigError: nothing to resume, or another training than this.
        InterruptedRunError: at the `stop`; a checkpoint is kept.
        StorageError: the disk is full; the checkpoints before are kept.
        UnavailableError: a library that this preset needs is not installed.
        UsageError: a setting that this preset does not have.
    """
    progress("start", 0, None)  # importing the libraries takes longest
    quiet_bitsandbytes()
    from ..reviews.training_data import data_folders
    from .output import tidy_on_failure

    is_causal = family_of(config.preset) == CAUSAL
    if is_causal:
        _check_libraries(config)
    _check_settings(config)
    if not is_causal:
        _check_one_process(config)
    with tidy_on_failure(config.output), data_folders(config.data) as folders:
        given = replace(resolved(config), data=folders)
        if is_causal:
            from .causal import train_causal

            return train_causal(given, progress, stop or StopRequest())
        from .encoder import train_encoder

        return train_encoder(given, progress, stop or StopRequest())


def _check_settings(config: TrainConfig) -> None:
    """Refuse a setting that only the other family has, and what is no probability of dropout.

    Raises:
        UsageError: there is one.
    """
    for name in ("lora_dropout", "base_dropout"):
        value = getattr(config, name)
        if value is not None and not 0 <= value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: give a number from 0 to below 1")
    other = ENCODER if family_of(config.preset) == CAUSAL else CAUSAL
    presets = " or ".join(presets_of(other))
    for name in settings_of(other):
        if getattr(config, name) != getattr(TrainConfig, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for {_PLURAL[other]}: use --preset {presets}"
            )
    for name in ADAPTER_SETTINGS if config.preset in FULL_PRESETS else ():
        if getattr(config, name) != getattr(TrainConfig, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for adapters, and --preset {config.preset} trains "
                "all weights: use --preset mini"
            )
    if other == ENCODER and config.class_weights == "sqrt":
        raise UsageError(
            f"--class-weights sqrt is for encoders: --preset {config.preset} has none and balanced"
        )


def _check_one_process(config: TrainConfig) -> None:
    from .distributed import ProcessGroup

    if ProcessGroup.from_environment().world > 1:
        raise UsageError(
            f"--preset {config.preset} trains in one process: run it without torchrun or accelerate"
        )


def resolved(config: TrainConfig) -> TrainConfig:
    """Return settings with what `auto` leaves to this machine decided."""
    if family_of(config.preset) != CAUSAL or config.optim != TrainConfig.optim:
        return config
    if not cuda_available():
        return replace(config, optim="adamw_torch")
    # The same arithmetic: paged states leave a small GPU when memory is short, and wait for it.
    roomy = config.memory_budget is None and gpu_memory() >= _ROOMY
    paged = config.quantisation is not None and not roomy
    return replace(config, optim="paged_adamw_32bit" if paged else "adamw_torch_fused")


def _check_libraries(config: TrainConfig) -> None:
    """Ask for what is missing before anything is read; say what works without."""
    if importlib.util.find_spec("trl") is None:
        raise UnavailableError(
            f"--preset {config.preset} needs trl, and bitsandbytes for 4 bits: "
            "pip install 'finsent-batch[llm]'; --preset mini and score need neither"
        )
    if config.quantisation == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
        raise UnavailableError(
            "--quantisation nf4 needs bitsandbytes: pip install 'finsent-batch[llm]', or train on "
            "the base as it is with --quantisation none"
        )
    if "paged" in config.optim and not cuda_available():
        raise UnavailableError(f"--optim {config.optim} needs a CUDA GPU: use auto or adamw_torch")
