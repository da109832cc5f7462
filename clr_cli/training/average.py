"""A moving average of the weights, which is evaluated in their place (``training.ema``)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's parameters, without a bias to the first ones.

    After update number t (from 0 on) it moves towards the weights by (1 - d) / (1 - d^(t + 1)), so
    that it is the mean of the weights after each update so far, those of k updates ago counting
    d^k times as much as the present ones (Kingma & Ba 2015, section 3, with the same correction).
    It needs no other state than its weights: the share is a function of t.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = dict(model.named_parameters())
        self._weights = {name: p.detach().clone() for name, p in self._parameters.items()}
        # On the device, so that a CUDA graph reads it anew at every step.
        device = next(iter(self._parameters.values())).device
        self.share = torch.ones((), device=device)

    def share_at(self, iteration: int) -> float:
        """Return how far the average moves towards the weights of this update, 0..1."""
        return (1 - self._decay) / (1 - self._decay ** (iteration + 1))

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present weights, by ``share``."""
        averages = list(self._weights.values())
        changes = torch._foreach_sub([p.detach() for p in self._parameters.values()], averages)
        torch._foreach_mul_(changes, self.share)
        torch._foreach_add_(averages, changes)

    @torch.no_grad()
    def write_to_model(self) -> None:
        """Overwrite the model's parameters with their averages."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self._weights[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by the names of the parameters."""
        return self._weights

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy saved averages in. Raises KeyError for one that is missing."""
        for name, average in self._weights.items():
            average.copy_(state[name])
