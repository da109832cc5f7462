"""Wrap a schedule as a PyTorch scheduler. No other module of this package imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clr_cli.schedules.base import Schedule


class ScheduleLR(LRScheduler):
    """A scheduler that is stepped once per update.

    The group with the highest rate at the beginning gets the schedule's rate, and the other groups
    keep their ratios to it. A group that is added later joins at the next step, with the ratio of
    its own rate to that highest one.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        self.schedule = schedule
        self.highest = highest_rate(optimizer)
        self.ratios: list[float] = []
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of every group at ``last_epoch``, which counts updates here."""
        for group in self.optimizer.param_groups[len(self.ratios) :]:
            first = _first_rate(group)
            group.setdefault("initial_lr", first)
            self.ratios.append(first / self.highest)
        rate, momentum = self.schedule.lr(self.last_epoch), self.schedule.momentum(self.last_epoch)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
        return [rate * ratio for ratio in self.ratios]

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, without the schedule: it is constructed anew."""
        return {key: value for key, value in super().state_dict().items() if key != "schedule"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at the saved update, and set its rate and momentum now.

        The optimizer's own state may be loaded before this or after it.
        """
        super().load_state_dict({**state_dict, "ratios": list(state_dict["ratios"])})
        rates = [float(rate) for rate in self.get_lr()]
        set_rates(self.optimizer, rates)
        self._last_lr: list[float | Tensor] = list(rates)


def highest_rate(optimizer: Optimizer) -> float:
    """Return the highest rate of an optimizer's groups at the beginning.

    Raises:
        ValueError: it is not above 0, so no group has a ratio to it.
    """
    highest = max(map(_first_rate, optimizer.param_groups))
    if not highest > 0:
        raise ValueError(f"lr: {highest:g} in every parameter group; expected one above 0")
    return highest


def ratios(optimizer: Optimizer) -> list[float]:
    """Return each group's rate over the highest one, both at the beginning.

    Raises:
        ValueError: the highest rate is not above 0.
    """
    highest = highest_rate(optimizer)
    return [_first_rate(group) / highest for group in optimizer.param_groups]


def _first_rate(group: dict[str, Any]) -> float:
    # A scheduler stores the first rate as initial_lr, also in the optimizer's state_dict.
    return float(group.get("initial_lr", group["lr"]))


def set_rates(optimizer: Optimizer, rates: Sequence[float]) -> None:
    """Write the rate of every group, in place if it is a tensor."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Write the momentum, or beta1 of optimizers with betas, into every group that has one."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = momentum
