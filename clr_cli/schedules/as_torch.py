"""A schedule as a PyTorch scheduler. The only module of the package that imports torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clr_cli.schedules.base import Schedule


class ScheduleLR(LRScheduler):
    """Steps once per update. A group's rate is the schedule's times the group's ratio."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        self.schedule = schedule
        self.ratios = ratios(optimizer)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        rate, momentum = self.schedule.lr(self.last_epoch), self.schedule.momentum(self.last_epoch)
        if momentum is not None:
            set_momentum(self.optimizer, momentum)
        return [rate * ratio for ratio in self.ratios]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; the schedule itself is made again, as the optimizer is."""
        return {key: value for key, value in super().state_dict().items() if key != "schedule"}


def ratios(optimizer: Optimizer) -> list[float]:
    """Each group's rate over the optimizer's (``optimizer.defaults["lr"]``) at the beginning.

    Raises ValueError if that is not above 0.
    """
    groups = optimizer.param_groups
    base = float(getattr(optimizer, "defaults", {}).get("lr", groups[0]["lr"]))
    if base <= 0:
        raise ValueError(f"lr: the optimizer's is {base:g}; ratios to it need one above 0")
    return [float(group.get("initial_lr", group["lr"])) / base for group in groups]


def set_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Write the momentum (beta1 where there are betas) into every group that has one."""
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif "momentum" in group:
            group["momentum"] = momentum
