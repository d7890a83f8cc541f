"""A causal model's LoRA layers and norms arranged for training: the same arithmetic, fewer kernels.

With batches of a few hundred tokens a GPU waits for launches, not for arithmetic: peft's LoRA
layers, autocast and transformers' norms launch some 12,000 kernels a step on a 7B model. How it
works:

1. A linear layer and its adapter are one autograd operation, `_AdaptedProduct`, with forward and
   backward written out: x W.T + b + dropout(x) A.T B.T * scale. W is frozen, so that the backward
   pass computes gradients for x, A and B alone.
2. A 4-bit W is dequantized in the forward pass and again in the backward pass, and not kept between
   them (QLoRA, Dettmers et al. 2023); where memory is plenty it is dequantized once and kept, which
   changes no number.
3. Inputs are cast to the compute type once a layer, instead of by autocast at every operation,
   and all of the adapter's parameters at once, before each forward pass of the model.
4. Where a trainer keeps a buffer for a parameter's gradient (`SUM`), the product that is the
   gradient is added to it in fp32 as it is computed.
5. A norm is PyTorch's own fused `rms_norm`.

It replaces the `forward` of peft's LoraLayer and of every module with a `variance_epsilon`; peft
still holds the parameters and saves them. The price: one adapter a layer, plain LoRA only, and two
names of other libraries that tests/test_third_party_internals.py watches.
"""

from functools import partial
from inspect import signature
from typing import Any, Final

import torch
from peft.tuners.lora import LoraLayer
from torch.nn import functional

from ...errors import ConfigError
from ...scorers.causal.linear import dequantize

_UNPACKED = "finsent_unpacked"
_COPIES = "finsent_copies"
SUM: Final = "finsent_gradient_sum"
"""Attribute of a parameter: the tensor that its gradient is added to, instead of `grad`."""


class _AdaptedProduct(torch.autograd.Function):
    """x @ W.T + b + dropout(x) @ A.T @ B.T * scale; W frozen (LoRA, Hu et al. 2021).

    `own` are the parameters A and B, which get the gradients, `copies` the same in x's type. W is
    unpacked again for the backward pass, not kept (QLoRA, Dettmers et al. 2023).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Any, own_a: Any, own_b: Any, copies: Any, layer: Any, scale: float, drop: float
    ) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        a, b = copies
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        out = functional.linear(rows, _dense(layer, x.dtype), bias)
        kept, mask = torch.native_dropout(rows, drop, True) if drop else (rows, None)
        low = _scaled_product(kept, a.t(), scale)
        out.addmm_(low, b.t())
        ctx.save_for_backward(kept, mask, low)
        # Not saved: another forward pass in between casts the same parameters into them again.
        ctx.copies = copies
        ctx.layer, ctx.scale, ctx.drop = layer, scale, drop
        ctx.sums = getattr(own_a, SUM, None), getattr(own_b, SUM, None)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        kept, mask, low = ctx.saved_tensors
        a, b = ctx.copies
        [given] = gradients
        rows = given.reshape(-1, given.shape[-1])
        into_low = _scaled_product(rows, b, ctx.scale)
        for_a = _gradient(ctx.sums[0], into_low.t(), kept)
        for_b = _gradient(ctx.sums[1], rows.t(), low)
        for_x = None
        if ctx.needs_input_grad[0]:
            through = into_low @ a
            if mask is not None:
                grown = 1 / (1 - ctx.drop)
                through = torch.ops.aten.native_dropout_backward(through, mask, grown)
            for_x = through.addmm_(rows, _dense(ctx.layer, given.dtype))
            for_x = for_x.view(*given.shape[:-1], -1)
        return for_x, for_a, for_b, None, None, None, None


def _scaled_product(left: torch.Tensor, right: torch.Tensor, scale: float) -> torch.Tensor:
    """Return left @ right * scale, by one kernel."""
    empty = left.new_empty(left.shape[0], right.shape[1])
    return empty.addmm_(left, right, beta=0, alpha=scale)


def _gradient(total: Any, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """Return left @ right in fp32, or add it to `total` where there is one."""
    if total is None:
        return (left @ right).float()
    if left.is_cuda and left.dtype != total.dtype:  # bf16: by one kernel, and without rounding
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.add_(left @ right)
    return None


def _dense(layer: Any, dtype: torch.dtype) -> torch.Tensor:
    kept: torch.Tensor | None = getattr(layer, _UNPACKED, None)
    if kept is not None and kept.dtype == dtype:
        return kept
    state = getattr(layer.weight, "quant_state", None)
    if state is None:
        weight: torch.Tensor = layer.weight.to(dtype)
        return weight
    return dequantize(layer.weight.data, state, dtype)


def keep_unpacked(model: Any, dtype: torch.dtype) -> None:
    """Dequantize a peft model's adapted 4-bit layers for good, beside their 4 bits."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            layer = module.get_base_layer()
            if getattr(layer.weight, "quant_state", None) is not None:
                # No parameter or buffer: it is not saved.
                object.__setattr__(layer, _UNPACKED, _dense(layer, dtype))


def arrange_for_training(model: Any, compute: torch.dtype) -> None:
    """Let a peft model's adapted layers and norms compute in `compute`, in place.

    The adapter's parameters stay in fp32, and so do the sums between layers if the
    model's embeddings are.
    """
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.forward = partial(_adapted, layer, compute)
        # No buffers: they are not saved.
        copies = [own.to(compute, copy=True) for own in _matrices(layer)]
        object.__setattr__(layer, _COPIES, copies)
    for module in model.modules():
        if hasattr(module, "variance_epsilon") and _is_rms_norm(module):
            module.forward = partial(_normed, module, compute)
    model.register_forward_pre_hook(partial(_copy_adapter, layers))


@torch.no_grad()
def _copy_adapter(layers: list[Any], *_: Any) -> None:
    """Cast all layers' A and B to the type they compute in, into the same memory every time."""
    torch._foreach_copy_(
        [copy for layer in layers for copy in getattr(layer, _COPIES)],
        [own for layer in layers for own in _matrices(layer)],
    )


def _matrices(layer: Any) -> list[torch.Tensor]:
    [name] = layer.active_adapters
    return [layer.lora_A[name].weight.data, layer.lora_B[name].weight.data]


def check_layers(base: str, model: Any) -> None:
    """Refuse an adapter on layers whose arithmetic is another than a linear layer's.

    Raises:
        ConfigError: a layer is of another kind, such as GPT-2's Conv1D.
    """
    adapted = (m.get_base_layer() for m in model.modules() if isinstance(m, LoraLayer))
    kinds = torch.nn.Linear | torch.nn.Embedding
    strange = {type(layer).__name__ for layer in adapted if not isinstance(layer, kinds)}
    if strange:
        raise ConfigError(
            f"{base}: its layers are {', '.join(sorted(strange))}, which an adapter here does not "
            "go on: name a base whose layers are linear ones, such as a Llama"
        )


def _is_rms_norm(module: Any) -> bool:
    """Return whether a norm is the plain root-mean-square one; Cohere's subtracts a mean, too."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 1 or len(signature(module.forward).parameters) != 1:
        return False  # with a gate, too, as in Mamba's kin
    # Seeds of the training are not touched: any numbers that are not zero on average will do.
    x = torch.linspace(-1.0, 3.0, len(weight), device=weight.device)[None]
    with torch.no_grad():
        own = module(x).float()
        plain = functional.rms_norm(x, (len(weight),), weight.float(), module.variance_epsilon)
    return bool(torch.allclose(own, plain, rtol=1e-2, atol=1e-2))


def _adapted(module: Any, compute: torch.dtype, x: torch.Tensor) -> torch.Tensor:
    [name] = module.active_adapters
    dropout = getattr(module.lora_dropout[name], "p", 0.0) if module.training else 0.0
    result: torch.Tensor = _AdaptedProduct.apply(  # type: ignore[no-untyped-call]
        x.to(compute),
        module.lora_A[name].weight,
        module.lora_B[name].weight,
        getattr(module, _COPIES),
        module.get_base_layer(),
        module.scaling[name],
        dropout,
    )
    return result


def _normed(module: Any, compute: torch.dtype, x: torch.Tensor) -> torch.Tensor:
    """Root-mean-square norm (Zhang and Sennrich 2019), in fp32 until its result."""
    weight = module.weight.float()
    wide = functional.rms_norm(x.float(), tuple(weight.shape), weight, module.variance_epsilon)
    return wide.to(compute)
