"""A Trainer of causal models over packed texts, whose steps on a GPU are CUDA graphs."""

from typing import Any

import torch
from torch.nn import functional
from trl.trainer.sft_trainer import SFTTrainer

from ..train_config import TrainConfig
from .causal_dataset import IGNORED, EvenShares
from .cuda_graphs import RecordingTrainer, records


def graphable(config: TrainConfig) -> bool:
    """Return whether a training's steps can be recorded on this machine.

    Smoothed labels cannot: that loss is the Trainer's.
    """
    return records() and config.label_smoothing_factor == 0


def flat_shareable(config: TrainConfig) -> bool:
    """Return whether several processes can sum their gradients as `RecordingTrainer` does."""
    return graphable(config) or not (torch.cuda.is_available() or config.label_smoothing_factor)


class PackedTrainer(SFTTrainer):
    """Trains on batches of `PackedCollator`, in whose order of rows lengths play no part."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return EvenShares(lengths, self.args.train_batch_size, self.args.world_size)


class GraphedTrainer(RecordingTrainer, PackedTrainer):
    """Trains on batches that are filled up to few shapes, where steps are recorded.

    The loss is TRL's own, without its metrics of each step.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Steps are given the number of labels that they divide by.
        self.model_accepts_loss_kwargs: bool = True

    def shape_of(self, inputs: Any) -> tuple[int, ...]:
        packing = inputs["packing"]
        return (packing.prefix, *packing.rows.shape, *inputs["input_ids"].shape)

    def divisor(self, items: Any) -> Any:
        return items

    def forward_and_backward(self, model: Any, inputs: Any, divisor: Any) -> torch.Tensor:
        return forward_and_backward(model, inputs["packing"], inputs, divisor)

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Log without TRL's averages over training steps, which these have no part in."""
        self._metrics["train"].clear()
        self._metrics["eval"].pop("num_tokens", None)
        super().log(logs, *args, **options)


def forward_and_backward(model: Any, packing: Any, inputs: Any, items: Any) -> torch.Tensor:
    """Return the loss of a micro-batch, (), fp32, and add its gradients to the parameters'.

    `inputs` are its `input_ids`, `position_ids` and `labels`, (1, tokens), int64; `items`, a
    number, how many labels count in the whole step.
    """
    labels = inputs["labels"][0, 1:]
    # A mask of four dimensions is taken as it is: making one would wait for the GPU.
    mask = torch.zeros(1, 1, 1, 1, device=labels.device)
    logits = model(
        input_ids=inputs["input_ids"], position_ids=inputs["position_ids"],
        packing=packing, attention_mask=mask,
    ).logits[0, :-1]  # fmt: skip
    total = functional.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    loss = total / items
    loss.backward()
    # Detached: its graph would keep nodes that belong to a recording's stream.
    done: torch.Tensor = loss.detach()
    return done
