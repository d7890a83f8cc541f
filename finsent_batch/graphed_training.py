"""SFTTrainer whose steps on a GPU are CUDA graphs: recorded once a shape, then replayed.

A micro-batch of a few hundred tokens is some 8,000 kernels of a few microseconds
each on a 7B model; launched one by one, the GPU is idle four fifths of the time
(https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/).
"""

from typing import Any

import torch
from torch.nn import functional
from trl.trainer.sft_trainer import SFTTrainer

from .causal_data import IGNORED
from .config import TrainConfig

LENGTHS = 16
"""Texts are padded to a multiple of this, so that few shapes come up."""


def graphable(config: TrainConfig) -> bool:
    """Return whether a training's steps can be recorded on this machine.

    fp16 asks for the size of the gradients in the middle of a step, which cannot be
    recorded; nor can recomputing activations, which asks for the random state.
    """
    return (
        torch.cuda.is_available()
        and torch.cuda.is_bf16_supported(including_emulation=False)
        and config.label_smoothing_factor == 0
    )


class GraphedTrainer(SFTTrainer):
    """Replays forward and backward pass where a micro-batch's shape has come up before.

    Takes batches of `PackedCollator` with texts of one length. The loss is TRL's
    own, without its metrics of each step.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: set[tuple[int, ...]] = set()
        self._steps: dict[tuple[int, ...], _Step] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._gradients: list[torch.Tensor] = []

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Compute a micro-batch's loss and add its gradients; returns the loss, fp32."""
        shape = (*inputs["input_ids"].shape, len(inputs["packing"].lengths))
        if shape not in self._seen or num_items_in_batch is None:
            # The first of a shape runs as ever, and so warms up what a recording needs.
            self._seen.add(shape)
            return super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]
        self._attach_gradients()
        if shape not in self._steps:
            self._steps[shape] = _Step(self, model, inputs, self._pool)
        return self._steps[shape].replay(inputs, num_items_in_batch)

    def _attach_gradients(self) -> None:
        """Let gradients add up where the graphs put them, from zero after a step of the optimiser.

        The Trainer takes them off its parameters instead of zeroing them.
        """
        if not self._gradients:
            self._gradients = [torch.zeros_like(p) for p in self._trained]
        found = [p.grad for p in self._trained]
        if found[0] is self._gradients[0]:
            return
        torch._foreach_zero_(self._gradients)
        if found[0] is not None:  # of a micro-batch that ran as ever
            torch._foreach_add_(self._gradients, found)
        for parameter, gradient in zip(self._trained, self._gradients, strict=True):
            parameter.grad = gradient


class _Step:
    """One recorded forward and backward pass, and the memory its inputs are copied to."""

    def __init__(self, trainer: GraphedTrainer, model: Any, inputs: Any, pool: Any) -> None:
        self._packing = inputs["packing"]
        self._inputs = {
            name: inputs[name].clone() for name in ("input_ids", "position_ids", "labels")
        }
        self._items = torch.ones((), device=self._packing.device)
        self._touch()
        model.train()
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(self._graph, pool=pool), trainer.compute_loss_context_manager():
            loss = self._forward(model)
            loss.backward()  # type: ignore[no-untyped-call]
        # Detached: its graph would keep nodes that belong to the recording's stream.
        self._loss = loss.detach()

    def _touch(self) -> None:
        """Have what the packing computes on demand computed before the recording."""
        _ = self._packing.padded, self._packing.tokens

    def _forward(self, model: Any) -> torch.Tensor:
        given = dict(self._inputs)
        labels = given.pop("labels")[0, 1:]
        # A mask of four dimensions is taken as it is: making one would wait for the GPU.
        mask = torch.zeros(1, 1, 1, 1, device=labels.device)
        logits = model(**given, packing=self._packing, attention_mask=mask).logits[0, :-1]
        total = functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORED, reduction="sum"
        )
        return total / self._items

    def replay(self, inputs: Any, items: Any) -> torch.Tensor:
        for name, tensor in self._inputs.items():
            tensor.copy_(inputs[name])
        self._items.fill_(items)
        self._graph.replay()
        return self._loss.clone()
