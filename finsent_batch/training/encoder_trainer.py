"""Fit an encoder's adapter: transformers' Trainer with soft targets and weighted rows."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from ..arrays import FloatArray
from ..labels import LABELS
from ..progress import Progress, StopRequest
from ..scorers.batching import length_sorted_batches, pad
from ..train_config import TrainConfig
from .arguments import common_arguments, one_gpu, total_steps
from .callbacks import (
    ProgressCallback,
    ResumableShuffle,
    SaveEveryNSteps,
    StopOnNonFiniteLoss,
)
from .checkpoints import CHECKPOINTS, last_checkpoint, state_of
from .cuda_graphs import RecordingTrainer, records
from .distributed import ProcessGroup
from .transfer_set import TokenRows

logger = logging.getLogger(__name__)


def encode(tokenizer: Any, headlines: list[str], max_length: int) -> dict[str, list[list[int]]]:
    encoded = tokenizer(headlines, truncation=True, max_length=max_length)
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def count_cut(tokenizer: Any, headlines: list[str], max_length: int) -> int:
    """Return how many headlines `encode` would cut."""
    return sum(len(ids) > max_length for ids in tokenizer(headlines)["input_ids"])


@torch.inference_mode()
def logits_of(model: Any, tokenizer: Any, headlines: list[str], max_length: int) -> FloatArray:
    """Return logits in the order given, shape (n, 3), float32."""
    model.eval()
    ids = encode(tokenizer, headlines, max_length)["input_ids"]
    logits = np.zeros((len(ids), len(LABELS)), dtype=np.float32)
    for batch in length_sorted_batches([len(row) for row in ids], 2048):
        padded, mask = pad([ids[i] for i in batch], tokenizer.pad_token_id)
        output = model(
            input_ids=torch.from_numpy(padded).to(model.device),
            attention_mask=torch.from_numpy(mask).to(model.device),
        )
        logits[batch] = output.logits.float().cpu().numpy()
    return logits


class _WeightedTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose labels are probabilities and whose loss weighs each row by its `weight`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The loss is a batch's mean: of several batches a step the Trainer takes the mean again.
        self.model_accepts_loss_kwargs: bool = False

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        weight, labels = inputs.pop("weight"), inputs.pop("labels")
        outputs = model(**inputs)
        each = torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="none")
        loss = (each * weight).mean()
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Draw batches of like length, as `train_sampling_strategy` does for datasets in memory."""
        rows = train_dataset or self.train_dataset
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(size, lengths=rows.lengths)


class _RecordingTrainer(RecordingTrainer, _WeightedTrainer):
    """The same, whose steps on a GPU are CUDA graphs."""


_MEAN: Final = "running_mean"


class _Average(TrainerCallback):  # type: ignore[misc]
    """Keep a running mean of the trained weights and leave it in the model at the end.

    Exponential moving average; steadier than the last step's weights (Polyak and
    Juditsky 1992). The early steps weigh less, so that short runs forget their start.
    """

    def __init__(self, model: Any, decay: float) -> None:
        self._weights = [p for p in model.parameters() if p.requires_grad]
        self._means: list[torch.Tensor] = []
        self._decay = decay

    def on_train_begin(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any
    ) -> None:
        # Not before: only now are the weights on the device that they are trained on.
        kept = [optimizer.state.get(p, {}).get(_MEAN) for p in self._weights]
        self._means = [
            p.detach().clone() if mean is None else mean
            for p, mean in zip(self._weights, kept, strict=True)
        ]

    def on_step_end(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any
    ) -> None:
        # In the optimizer's state, which the checkpoints hold.
        for weight, mean in zip(self._weights, self._means, strict=True):
            if weight in optimizer.state:
                optimizer.state[weight][_MEAN] = mean
        decay = min(self._decay, (1 + state.global_step) / (10 + state.global_step))
        with torch.no_grad():
            torch._foreach_lerp_(self._means, [p.detach() for p in self._weights], 1 - decay)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for weight, mean in zip(self._weights, self._means, strict=True):
            weight.data.copy_(mean)


class _Validate(TrainerCallback):  # type: ignore[misc]
    """Measure the held-out rows after each epoch, without drawing a random number."""

    def __init__(self, model: Any, tokenizer: Any, rows: pl.DataFrame, max_length: int) -> None:
        self._model, self._tokenizer, self._max_length = model, tokenizer, max_length
        self._headlines = rows["headline"].to_list()
        self._truth = torch.tensor([LABELS.index(label) for label in rows["label"]])

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._headlines:
            return
        found = logits_of(self._model, self._tokenizer, self._headlines, self._max_length)
        logits = torch.from_numpy(found)
        loss = torch.nn.functional.cross_entropy(logits, self._truth).item()
        accuracy = (logits.argmax(-1) == self._truth).float().mean().item()
        self._model.train()
        state.log_history.append(
            {"epoch": state.epoch, "step": state.global_step, "eval_loss": loss,
             "eval_accuracy": accuracy}
        )  # fmt: skip


def fit(
    config: TrainConfig,
    model: Any,
    tokenizer: Any,
    rows: TokenRows,
    held_out: pl.DataFrame,
    progress: Progress,
    stop: StopRequest,
) -> list[dict[str, float]]:
    """Train `model` in place on the rows of one epoch, over `num_train_epochs` of them.

    With `resume` goes on from the last checkpoint of those that `start_checkpoints` has found fit.
    Returns the Trainer's log: training loss every few steps, loss and accuracy of the
    `held_out` rows after each epoch.

    Raises:
        InterruptedRunError: at the `stop` asked for, once a checkpoint is written.
    """
    folder = config.output.resolve() / CHECKPOINTS
    last = last_checkpoint(folder) if config.resume else None
    state = None if last is None else state_of(last)
    arguments = _arguments(config, folder, len(rows))
    one_gpu(arguments)
    if state is not None and state["global_step"] >= state["max_steps"]:
        arguments.num_train_epochs = state["epoch"]  # it was over: no step is added
    trainer = (_RecordingTrainer if records() else _WeightedTrainer)(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=_as_it_is,
        callbacks=[
            ProgressCallback(progress),
            StopOnNonFiniteLoss(),
            ResumableShuffle(state),
            SaveEveryNSteps(config.save_steps, stop, ProcessGroup.from_environment()),
            *([_Average(model, config.ema_decay)] if config.ema_decay else []),
            _Validate(model, tokenizer, held_out, config.max_length),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    # cuDNN's attention makes a plan for every shape that comes up, at milliseconds a layer.
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    return list(trainer.state.log_history)


def _arguments(config: TrainConfig, folder: Path, rows: int) -> TrainingArguments:
    size, accumulation = config.per_device_train_batch_size, config.gradient_accumulation_steps
    total = total_steps(config, rows, size * accumulation)
    return TrainingArguments(
        **common_arguments(config, folder, rows, size=size, accumulation=accumulation),
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        # A copy that waits for the GPU would keep the next step from being prepared meanwhile.
        accelerator_config={"non_blocking": True},
        logging_nan_inf_filter=False,  # it would wait for the GPU in every step
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        save_strategy="epoch",
        save_total_limit=1,
        logging_steps=max(1, min(25, round(total / 40))),
    )


def _as_it_is(batch: Any) -> Any:
    return batch
