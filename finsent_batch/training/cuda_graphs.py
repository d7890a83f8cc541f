"""A Trainer whose steps on a GPU are CUDA graphs: recorded once a shape, then replayed.

A micro-batch of a few hundred tokens is some 8,000 kernels of a few microseconds each on a 7B
model. Launched one by one from Python, the GPU is idle four fifths of the time. A CUDA graph
records the launches of one forward and backward pass and replays them all with a single call
(https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/). How it works:

1. The first micro-batch of a shape runs as ever, which warms up what a recording needs.
2. The second is recorded: inputs, activations and gradients have fixed places in memory.
3. From then on inputs are copied to their place and the graph is replayed. Gradients add up in the
   same tensors, which are zeroed instead of dropped after a step of the optimizer.

It replaces `training_step` of TRL's SFTTrainer and nothing else; loss and optimizer are the same.
The price: texts are padded to a multiple of 16 tokens so that few shapes come up, a recording
holds its activations for good (`micro_batch.py` counts them twice), and nothing in a step may ask
the GPU for a number. What cannot be recorded runs as ever, with a warning.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional
from trl.trainer.sft_trainer import SFTTrainer

from ..errors import first_line
from ..train_config import TrainConfig
from .causal_dataset import IGNORED

logger = logging.getLogger(__name__)

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
        # torchrun's processes share their gradients in the backward pass, even one of them.
        and not torch.distributed.is_torchelastic_launched()
    )


class GraphedTrainer(SFTTrainer):
    """Replays forward and backward pass where a micro-batch's shape has come up before.

    Takes batches of `PackedCollator` with texts of one length. The loss is TRL's
    own, without its metrics of each step. What cannot be recorded, such as a model
    that asks the GPU for a number in its forward pass, runs as ever.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: set[tuple[int, ...]] = set()
        self._steps: dict[tuple[int, ...], RecordedStep] = {}
        self._recordable = True
        # One for all recordings: one runs at a time.
        self.pool = torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._gradients: list[torch.Tensor] = []

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Compute a micro-batch's loss and add its gradients; returns the loss, fp32."""
        packing = inputs["packing"]
        shape = (packing.inline, len(packing.lengths), *inputs["input_ids"].shape)
        # The first of a shape runs as ever, and so warms up what a recording needs.
        if shape in self._seen and num_items_in_batch is not None:
            self._attach_gradients()
            if shape in self._steps or self._record(shape, model, inputs):
                return self._steps[shape].replay(inputs, num_items_in_batch)
        self._seen.add(shape)
        return super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-untyped-call]

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Log without TRL's averages over training steps, which replayed ones have no part in."""
        self._metrics["train"].clear()
        self._metrics["eval"].pop("num_tokens", None)
        super().log(logs, *args, **options)

    def _record(self, shape: tuple[int, ...], model: Any, inputs: Any) -> bool:
        if not self._recordable:
            return False
        try:
            self._steps[shape] = RecordedStep(self, model, inputs)
        except RuntimeError as error:
            # Nothing has run: a recording only notes what it is to launch. What ended it comes
            # before what its end then said.
            reason = first_line(error.__context__ or error)
            logger.warning("training steps are not captured as CUDA graphs: %s", reason)
            self._recordable = False
            self._steps.clear()  # they draw from the random state that was put aside
        return self._recordable

    def _attach_gradients(self) -> None:
        """Let gradients add up where the graphs put them, from zero after a step of the optimizer.

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


class RecordedStep:
    """One recorded forward and backward pass, and the memory its inputs are copied to.

    Raises:
        RuntimeError: it cannot be recorded.
    """

    def __init__(self, trainer: GraphedTrainer, model: Any, inputs: Any) -> None:
        self._packing = inputs["packing"]
        self._inputs = {
            name: inputs[name].clone() for name in ("input_ids", "position_ids", "labels")
        }
        self._items = torch.ones((), device=self._packing.device)
        # What the packing computes on demand is computed before the recording.
        _ = self._packing.padded, self._packing.tokens
        model.train()
        self._launch = self._recording(trainer, model)

    def _recording(self, trainer: GraphedTrainer, model: Any) -> Callable[[], Any]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        stream = torch.cuda.current_stream()
        random = torch.cuda.default_generators[torch.cuda.current_device()]
        before = random.clone_state()
        try:
            with torch.cuda.graph(graph, pool=trainer.pool), trainer.compute_loss_context_manager():
                self._loss = self.forward_and_backward(model)
        except RuntimeError:
            # PyTorch leaves both as in a recording, and the next dropout would raise.
            torch.cuda.set_stream(stream)
            random.graphsafe_set_state(before)
            raise
        return graph.replay

    def forward_and_backward(self, model: Any) -> torch.Tensor:
        """Return the loss of the inputs, (), fp32, and add its gradients to the parameters'."""
        given = dict(self._inputs)
        labels = given.pop("labels")[0, 1:]
        # A mask of four dimensions is taken as it is: making one would wait for the GPU.
        mask = torch.zeros(1, 1, 1, 1, device=labels.device)
        logits = model(**given, packing=self._packing, attention_mask=mask).logits[0, :-1]
        total = functional.cross_entropy(
            logits.float(), labels, ignore_index=IGNORED, reduction="sum"
        )
        loss = total / self._items
        loss.backward()  # type: ignore[no-untyped-call]
        # Detached: its graph would keep nodes that belong to the recording's stream.
        return loss.detach()

    def replay(self, inputs: Any, items: Any) -> torch.Tensor:
        """Run it on inputs of the shape it was recorded with; `items` labels count in the step."""
        for name, tensor in self._inputs.items():
            tensor.copy_(inputs[name])
        self._items.fill_(items)
        self._launch()
        return self._loss.clone()
