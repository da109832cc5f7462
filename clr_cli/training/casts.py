"""Cast all weights of a model to autocast's precision with one kernel.

Autocast itself uses one kernel for every weight and every gradient. The bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

CAST = (nn.Conv2d, nn.Linear)  # layers of which autocast casts all parameters


def with_cast_weights(model: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Wrap ``model`` for calls under autocast to ``dtype``."""

    def call(x: Tensor) -> Tensor:
        weights = {
            f"{place}.{name}" if place else name: weight
            for place, module in model.named_modules()
            if type(module) in CAST  # a derived class may do something else
            for name, weight in module.named_parameters(recurse=False)
        }
        cast = _Cast.apply(dtype, *weights.values())
        logits: Tensor = functional_call(model, dict(zip(weights, cast, strict=True)), (x,))
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
