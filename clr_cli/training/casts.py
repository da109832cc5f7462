"""Cast all weights of a model to autocast's precision with one kernel.

Autocast itself uses one kernel for every weight and every gradient. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

LAYERS = (nn.Conv2d, nn.Linear)  # autocast casts their weights and biases


def with_cast_weights(model: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Wrap ``model`` for calls under autocast to ``dtype``."""

    def call(x: Tensor) -> Tensor:
        weights = {
            f"{place}.{name}" if place else name: weight
            for place, module in model.named_modules()
            if type(module) in LAYERS  # a derived class may do something else
            for name, weight in module.named_parameters(recurse=False)
            if name in ("weight", "bias")  # others are combined in fp32, as by weight_norm
        }
        distinct = [*dict.fromkeys(weights.values())]
        cast = dict(zip(distinct, _Cast.apply(dtype, *distinct), strict=True))
        layers = {name: cast[weight] for name, weight in weights.items()}
        # A tied weight is cast in these layers alone, not where, say, an embedding uses it.
        logits: Tensor = functional_call(model, layers, (x,), tie_weights=False)
        return logits

    return call


class _Cast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)  # an unused weight has no gradient
        return _copy(weights, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        there = _copy([each for each in gradients if each is not None], torch.float32)
        copies = iter(there)
        return None, *(None if each is None else next(copies) for each in gradients)


def _copy(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    if copies:
        torch._foreach_copy_(copies, list(tensors))
    return tuple(copies)
