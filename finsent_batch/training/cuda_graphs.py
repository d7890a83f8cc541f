"""A Trainer whose steps on a GPU are CUDA graphs, and whose processes share gradients at once.

A micro-batch of a few hundred tokens is some 8,000 kernels of a few microseconds each on a 7B
model. Launched one by one from Python, the GPU is idle four fifths of the time; a small encoder's
are fewer and shorter. A CUDA graph
records the launches of one forward and backward pass and replays them all with a single call
(https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/). How it works:

1. The first micro-batch of a shape runs as ever, which warms up what a recording needs.
2. The second is recorded: inputs, activations and gradients have fixed places in memory.
3. From then on inputs are copied to their place and the graph is replayed. Gradients add up in one
   flat buffer, which is zeroed instead of dropped after a step of the optimizer, and clipped as
   one. Nothing walks through the model's thousands of modules in every step, as the Trainer does to
   zero gradients, to clip them and to count operations: that took as long as the GPU.
4. Of several processes each records its own share of the batch. PyTorch's DistributedDataParallel,
   which shares gradients piece by piece within the backward pass, is left out: the buffer is
   summed over all processes once a step, by one collective behind the last micro-batch.

It replaces `training_step` of transformers' Trainer and nothing else; loss and optimizer are the
same. The price: batches are padded so that few shapes come up, a recording
holds its activations for good (`micro_batch.py` counts them twice), and nothing in a step may ask
the GPU for a number. What cannot be recorded runs as ever, with a warning.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import Trainer

from ..errors import first_line
from .layers.lora import SUM

logger = logging.getLogger(__name__)


def records() -> bool:
    """Return whether steps can be recorded on this machine.

    fp16 asks for the size of the gradients in the middle of a step, which cannot be recorded.
    """
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


class RecordingTrainer(Trainer):  # type: ignore[misc]
    """Replays forward and backward pass where a micro-batch's shape has come up before.

    What cannot be recorded, such as a model that asks the GPU for a number in its
    forward pass, runs as ever. It can be mixed into another Trainer.
    """

    def __init__(self, *args: Any, recorded: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self._seen: set[tuple[int, ...]] = set()
        self._steps: dict[tuple[int, ...], RecordedStep] = {}
        self._recordable = recorded
        # One for all recordings: one runs at a time.
        self.pool = torch.cuda.graph_pool_handle() if torch.cuda.is_available() else None
        self._trained = [p for p in self.model.parameters() if p.requires_grad]
        self._flat = torch.empty(0)
        self._gradients: list[torch.Tensor] = []
        self._operations: float | None = None
        self.model.zero_grad = self._zero
        # A base is loaded for evaluation, and an adapter around it says nothing of that.
        self.model.train()

    def shape_of(self, inputs: Any) -> tuple[int, ...]:
        """Return what micro-batches have in common that one recording serves."""
        return tuple(inputs["input_ids"].shape)

    def divisor(self, items: Any) -> Any:
        """Return what a micro-batch's loss is divided by; `items` labels count in the step."""
        return self.current_gradient_accumulation_steps

    def forward_and_backward(self, model: Any, inputs: Any, divisor: Any) -> torch.Tensor:
        """Return a micro-batch's loss, (), fp32, and add its gradients to the parameters'."""
        loss = self.compute_loss(model, dict(inputs)) / divisor
        loss.backward()
        # Detached: its graph would keep nodes that belong to a recording's stream.
        done: torch.Tensor = loss.detach()
        return done

    def create_accelerator_and_postprocess(self) -> None:
        """Let the model as it is, where DistributedDataParallel would be put around it."""
        super().create_accelerator_and_postprocess()
        prepare = self.accelerator.prepare_model
        self.accelerator.prepare_model = partial(prepare, evaluation_mode=True)
        self.accelerator.clip_grad_norm_ = self._clip

    def floating_point_ops(self, inputs: Any) -> float:
        """Return the operations of a micro-batch; they are counted once, for a token."""
        tokens = inputs["input_ids"].numel()
        if self._operations is None:
            self._operations = float(super().floating_point_ops(inputs)) / tokens
        return float(self._operations * tokens)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Compute a micro-batch's loss and add its gradients; returns the loss, fp32.

        `num_items_in_batch` labels count in the step, in all processes. Behind a step's last
        micro-batch the gradients are summed over all processes.
        """
        shape, divisor = self.shape_of(inputs), self.divisor(num_items_in_batch)
        if not model.training:
            model.train()
        self._attach_gradients()
        # The first of a shape runs as ever, and so warms up what a recording needs.
        if shape in self._seen and (shape in self._steps or self._record(shape, model, inputs)):
            loss = self._steps[shape].replay(inputs, divisor)
        else:
            self._seen.add(shape)
            with self.compute_loss_context_manager():
                loss = self.forward_and_backward(model, inputs, divisor)
        if not torch.distributed.is_initialized():
            return loss
        if self.accelerator.sync_gradients:
            torch.distributed.all_reduce(self._flat)
        return loss * self.accelerator.num_processes  # of which the Trainer logs the mean

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

    def _clip(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> torch.Tensor:
        """Scale all gradients down to a norm of `max_norm`; return what it was, (), fp32."""
        norm: torch.Tensor = torch.linalg.vector_norm(self._flat, norm_type)
        self._flat.mul_((max_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def _zero(self, set_to_none: bool = True) -> None:
        """Set the gradients to zero; they stay where they are."""
        self._flat.zero_()

    def _attach_gradients(self) -> None:
        """Let gradients add up in the flat buffer, from zero where somebody took them off."""
        if not self._gradients:
            self._make_buffer()
        if self._trained[0].grad is self._gradients[0]:
            return
        self._flat.zero_()
        for parameter, gradient in zip(self._trained, self._gradients, strict=True):
            parameter.grad = gradient
            setattr(parameter, SUM, gradient)

    def _make_buffer(self) -> None:
        first = self._trained[0]
        sizes = [p.numel() for p in self._trained]
        self._flat = torch.zeros(sum(sizes), dtype=first.dtype, device=first.device)
        parts = torch.split(self._flat, sizes)
        self._gradients = [g.view_as(p) for g, p in zip(parts, self._trained, strict=True)]
        if torch.distributed.is_initialized():  # what DistributedDataParallel begins with
            for parameter in self._trained:
                torch.distributed.broadcast(parameter.data, 0)


class WithoutCopies(TorchFunctionMode):
    """Lets a model's code make tensors of numbers on a GPU, not on the CPU to be copied.

    A copy from the CPU cannot be recorded, and masks of eager attention begin with one.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.tensor and args and isinstance(args[0], bool | int | float):
            return torch.full((), args[0], **(kwargs or {}))
        return function(*args, **(kwargs or {}))


class RecordedStep:
    """One recorded forward and backward pass, and the memory its inputs are copied to.

    Raises:
        RuntimeError: it cannot be recorded.
    """

    def __init__(self, trainer: RecordingTrainer, model: Any, inputs: Any) -> None:
        self._pass = trainer.forward_and_backward
        self._inputs = {
            name: value.clone() if hasattr(value, "copy_") else value
            for name, value in inputs.items()
        }
        self._divisor = torch.ones((), device=inputs["input_ids"].device)
        self._launch = self._recording(trainer, model)

    def _recording(self, trainer: RecordingTrainer, model: Any) -> Callable[[], Any]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        stream = torch.cuda.current_stream()
        random = torch.cuda.default_generators[torch.cuda.current_device()]
        before = random.clone_state()
        try:
            with (
                # Other threads may ask the GPU meanwhile: the one that watches collectives does.
                torch.cuda.graph(graph, pool=trainer.pool, capture_error_mode="thread_local"),
                torch.device(self._divisor.device),
                WithoutCopies(),
                trainer.compute_loss_context_manager(),
            ):
                self._loss = self.run(model)
        except RuntimeError:
            # PyTorch leaves both as in a recording, and the next dropout would raise.
            torch.cuda.set_stream(stream)
            random.graphsafe_set_state(before)
            raise
        return graph.replay

    def run(self, model: Any) -> torch.Tensor:
        """Run it on the inputs in their place; see `RecordingTrainer.forward_and_backward`."""
        return self._pass(model, self._inputs, self._divisor)

    def replay(self, inputs: Any, divisor: Any) -> torch.Tensor:
        """Run it on inputs of the shape it was recorded with; the loss is divided by `divisor`."""
        for name, value in self._inputs.items():
            if hasattr(value, "copy_"):
                value.copy_(inputs[name])
        self._divisor.fill_(divisor)
        self._launch()
        return self._loss.clone()
