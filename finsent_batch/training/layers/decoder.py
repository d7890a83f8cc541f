"""A Llama-like decoder's layers arranged for training: what lies between products is fused.

Replaces the `forward` of a layer, its attention and its MLP, as transformers has them in the
families that `decoders.packable` names. On a GPU residual addition with norm, SwiGLU, and rotation
with the way into rows are one Triton kernel each, with backward passes of their own; elsewhere they
are PyTorch's operations. The products are the adapted ones of `lora.py`, called as modules. The
price: batches must be `PackedRows`, and norms are frozen.
"""

from functools import partial
from typing import Any

import torch
from torch.nn import functional

from ...hardware import kernels_usable
from ...scorers.causal.layers import rotated
from ...scorers.causal.packed_rows import PackedRows, attend_in_rows, attend_rows


def arrange_decoder(model: Any, compute: torch.dtype) -> None:
    """Let a packable model's layers, arranged by `arrange_for_training`, run fused, in place."""
    layers = model.get_base_model().model.layers
    fused = _fused(type(layers[0]), compute)
    for layer in layers:
        layer.self_attn.forward = partial(_attention, layer.self_attn)
        layer.mlp.forward = partial(_mlp, layer.mlp)
        layer.__class__ = fused


def _fused(kind: Any, compute: torch.dtype) -> Any:
    """Return a class of layers with the fused forward pass.

    Not one layer's own: transformers wraps the class's to recompute activations.
    """

    def forward(layer: Any, hidden_states: torch.Tensor, **given: Any) -> torch.Tensor:
        return _layer(layer, compute, hidden_states, **given)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def _layer(
    layer: Any, compute: torch.dtype, hidden_states: torch.Tensor, **given: Any
) -> torch.Tensor:
    hidden, entering = _normed_sum(hidden_states, None, layer.input_layernorm, compute)
    mixed = layer.self_attn(entering, **given)
    hidden, entering = _normed_sum(hidden, mixed, layer.post_attention_layernorm, compute)
    result: torch.Tensor = hidden + layer.mlp(entering)
    return result


def _attention(
    module: Any,
    entering: torch.Tensor,
    *,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    packing: PackedRows,
    **_: Any,
) -> torch.Tensor:
    """Return (1, tokens, hidden) for the same; cosines and sines are (1, tokens, head size)."""
    projections = module.q_proj, module.k_proj, module.v_proj
    query, key, value = (
        project(entering)[0].unflatten(1, (-1, module.head_dim)) for project in projections
    )
    if hasattr(module, "q_norm"):
        query, key = module.q_norm(query), module.k_norm(key)
    turns = position_embeddings[0][0], position_embeddings[1][0]
    if kernels_usable(value):
        rows = _RotatedRows.apply(query, key, value, *turns, packing)  # type: ignore[no-untyped-call]
        mixed = attend_rows(packing, rows[0], rows[1], rows[2], module.scaling)
    else:
        query, key = rotated(query, key, *turns)
        mixed = attend_in_rows(packing, query, key, value, module.scaling)
    result: torch.Tensor = module.o_proj(mixed.flatten(1)[None])
    return result


def _mlp(module: Any, entering: torch.Tensor) -> torch.Tensor:
    gate, up = module.gate_proj(entering), module.up_proj(entering)
    fused = kernels_usable(gate)
    gated = _Swiglu.apply(gate, up) if fused else functional.silu(gate) * up  # type: ignore[no-untyped-call]
    result: torch.Tensor = module.down_proj(gated)
    return result


def _normed_sum(
    hidden: torch.Tensor, added: torch.Tensor | None, norm: Any, compute: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return hidden + added, and its norm in `compute`, (1, tokens, hidden) each."""
    if hidden.is_cuda and compute != torch.float32:
        pair: tuple[torch.Tensor, torch.Tensor] = _NormedSum.apply(  # type: ignore[no-untyped-call]
            hidden, added, norm.weight, norm.variance_epsilon, compute
        )
        return pair
    total = hidden if added is None else hidden + added
    return total, norm(total)


class _NormedSum(torch.autograd.Function):
    """Residual addition and RMS norm (Zhang and Sennrich 2019)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Any, added: Any, weight: Any, epsilon: float, compute: torch.dtype
    ) -> Any:
        from .kernels import normed_sum

        ctx.set_materialize_grads(False)
        rows = hidden.flatten(0, 1)
        more = None if added is None else added.flatten(0, 1)
        total, out = normed_sum(rows, more, weight, epsilon, compute)
        ctx.save_for_backward(total, weight)
        ctx.epsilon, ctx.added = epsilon, None if added is None else added.dtype
        return total.view_as(hidden), out.view_as(hidden)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        from .kernels import normed_sum_back

        total, weight = ctx.saved_tensors
        into_total, into_out = gradients  # the products behind a norm always give the second
        shape = into_out.shape
        into_out = into_out.reshape(total.shape).contiguous()
        if into_total is not None:
            into_total = into_total.reshape(total.shape).contiguous()
        into_hidden, into_added = normed_sum_back(
            total, weight, ctx.epsilon, into_total, into_out, ctx.added
        )
        into_added = None if into_added is None else into_added.view(shape)
        return into_hidden.view(shape), into_added, None, None, None


class _Swiglu(torch.autograd.Function):
    """SiLU of the gate times the up projection (Shazeer 2020)."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        from .kernels import swiglu

        ctx.save_for_backward(gate, up)
        return swiglu(gate, up)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        from .kernels import swiglu_back

        gate, up = ctx.saved_tensors
        return swiglu_back(gate, up, gradients[0].contiguous())


class _RotatedRows(torch.autograd.Function):
    """A packed batch's queries, keys and values in their rows, rotated (Su et al. 2021)."""

    @staticmethod
    def forward(
        ctx: Any, query: Any, key: Any, value: Any, cosine: Any, sine: Any, packing: PackedRows
    ) -> Any:
        from .row_kernels import rotated_rows

        ctx.packing, ctx.turns = packing, (cosine, sine)
        return rotated_rows((query, key, value), cosine, sine, packing.rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        from .row_kernels import rotated_rows_back

        query, key, value = (given.contiguous() for given in gradients)
        packing, (cosine, sine) = ctx.packing, ctx.turns
        own = rotated_rows_back((query, key, value), cosine, sine, packing.places, packing.prefix)
        return *own, None, None, None
