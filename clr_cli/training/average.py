"""Average the weights over the steps; the average is evaluated (``training.ema``)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a model's parameters, without a bias to the first ones.

    At update number t (from 0 on) it moves toward the weights by (1 - d) / (1 - d^(t + 1)). So it
    is the mean of the weights after each update, in which weights of k updates ago count d^k
    times as much as the present ones; the bias correction is that of Kingma & Ba 2015, section 3.
    Its only state is its weights: the share is a function of t.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = dict(model.named_parameters())
        self._weights = {name: p.detach().clone() for name, p in self._parameters.items()}
        # On the device, so that a CUDA graph reads its present value.
        device = next(iter(self._parameters.values())).device
        self.share = torch.ones((), device=device)

    def share_at(self, iteration: int) -> float:
        """Return how far the average moves toward the weights at this update, 0..1."""
        return (1 - self._decay) / (1 - self._decay ** (iteration + 1))

    @torch.no_grad()
    def update(self) -> None:
        """Move toward the present weights, by ``share``."""
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
        """Restore saved averages. Raises KeyError for a missing one."""
        for name, average in self._weights.items():
            average.copy_(state[name])
