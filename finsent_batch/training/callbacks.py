"""Trainer callbacks: progress, checkpoints, stopping on request, early stopping, the epoch kept."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Final

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from ..errors import UsageError
from ..progress import Progress, StopRequest
from .distributed import LateAgreement, ProcessGroup

logger = logging.getLogger(__name__)


class SynchronizedShuffle(TrainerCallback):  # type: ignore[misc]
    """Shuffle an epoch alike in all processes, of which each then takes its part.

    The sampler draws from PyTorch's CPU generator, from which dropout on a CPU
    draws as well, in each process another number of times.
    """

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        from accelerate.utils import synchronize_rng_states

        synchronize_rng_states(["torch"])


class ProgressCallback(TrainerCallback):  # type: ignore[misc]
    """Report each step to the progress callback, and log the time left now and then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._loss = ""
        self._began, self._first = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # What was trained before a resume took none of this run's time.
        self._began, self._first = time.monotonic(), state.global_step
        self._progress("train", state.global_step, state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress("train", state.global_step, state.max_steps, self._loss)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        step, done = state.global_step, state.global_step - self._first
        if "loss" not in logs or not done:
            return
        self._loss = f"loss {logs['loss']:.3f}"
        left = (time.monotonic() - self._began) / done * (state.max_steps - step)
        logger.info("step %d of %d: %s, %.0f s left", step, state.max_steps, self._loss, left)


VALID_ACCURACY: Final = "eval_mean_token_accuracy"
"""What TRL calls the share of the counted tokens that a validation got right."""


KEPT_EPOCH: Final = "eval_kept_epoch"


class OneStandardErrorRule(TrainerCallback):  # type: ignore[misc]
    """Mark the latest epoch whose validation accuracy is within one standard error of the best.

    The one-standard-error rule (Breiman et al. 1984), on the accuracy of the
    answer's tokens: on a hundred rows the best epoch is mostly luck, on thousands
    the rule keeps the best. Loss would not do: a later epoch that is right more
    often, but too sure of itself, has the higher one, and calibration mends that.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
        found = [log[VALID_ACCURACY] for log in state.log_history if VALID_ACCURACY in log]
        best = max(found)
        error = math.sqrt(best * (1 - best) / self._rows)
        metrics[KEPT_EPOCH] = state.epoch if found[-1] >= best - error else 0.0


class StopOnNonFiniteLoss(TrainerCallback):  # type: ignore[misc]
    """Stop a training whose loss is NaN or infinite.

    Raises:
        UsageError: it is.
    """

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        if not math.isfinite(logs.get("loss", 0.0)):
            raise diverged(f"the loss of step {state.global_step} is {logs['loss']}")


def check_finite(model: Any) -> None:
    """Check that all trained parameters are finite.

    Raises:
        UsageError: a trained parameter is NaN or infinite.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            raise diverged(f"{name} holds values that are not finite")


def diverged(what: str) -> UsageError:
    """Return the error that a training ends with whose numbers have run away."""
    return UsageError(
        f"training diverged ({what}) and wrote no model: start again with a lower --learning-rate "
        "and --overwrite"
    )


class SaveEveryNSteps(TrainerCallback):  # type: ignore[misc]
    """Save a checkpoint every N steps besides each epoch's end, and before stopping on request.

    An epoch's last step is left to its end: a checkpoint taken before the epoch's
    validation would resume behind it, and that epoch could never be the one kept.
    """

    def __init__(self, every: int | None, stop: StopRequest, ranks: ProcessGroup) -> None:
        self._every, self._stop, self._ranks = every, stop, ranks
        self._agreement = LateAgreement(ranks)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = self._every is not None and state.global_step % self._every == 0
        ends = state.epoch == int(state.epoch) or state.global_step >= state.max_steps
        stopping = self._agreement.any(self._stop())
        if (due or stopping) and not ends:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._ranks.any(self._stop()):
            raise self._stop.error()


_OLD_NAME: Final = "SameOrder"
"""What version 0.1 calls `ResumableShuffle` in its checkpoints."""


class ResumableShuffle(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Keep the order of rows when an epoch is resumed in its middle.

    Rows are shuffled with torch's generator as it stands when an epoch begins. The
    trainer restores it as it stood at the checkpoint: the rest of the epoch would be of
    another order, with rows twice or not at all. So each checkpoint keeps, in
    `trainer_state.json`, the generator's state at the beginning of its epoch, or of the
    next where it stands at an end.
    """

    def __init__(self, resumed: dict[str, Any] | None = None) -> None:
        callbacks = (resumed or {}).get("stateful_callbacks", {})
        kept = callbacks.get(type(self).__name__) or callbacks.get(_OLD_NAME, {})
        self._began: str | None = kept.get("attributes", {}).get("began")
        self._resume = self._began is not None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._resume and self._began is not None:
            generator = torch.frombuffer(bytearray.fromhex(self._began), dtype=torch.uint8)
            torch.set_rng_state(generator)
            self._resume = False
        self._note()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._note()

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._note()  # at an epoch's end alone, and it draws from the generator

    def _note(self) -> None:
        self._began = bytes(torch.get_rng_state().tolist()).hex()

    def state(self) -> dict[str, Any]:
        return {"args": {}, "attributes": {"began": self._began}}


class StopEarly(TrainerCallback):  # type: ignore[misc]
    """Stop after a number of epochs in a row without a better validation accuracy.

    Accuracy and not loss, for the reason that `OneStandardErrorRule` has.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if stopped_early(state.log_history, self._patience):
            control.should_training_stop = True


def stopped_early(log: Sequence[dict[str, Any]], patience: int) -> bool:
    """Return whether the last `patience` validations in a trainer's log were all no better."""
    found = [entry[VALID_ACCURACY] for entry in log if VALID_ACCURACY in entry]
    return bool(found) and len(found) - 1 - found.index(max(found)) >= patience
