"""Define a schedule: a frozen model of its parameters and a pure function of the iteration.

The fields of a class are its config keys, with type, limits, default and help. The config, its JSON
Schema, the help and the checks are derived from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, pi, sin
from numbers import Integral, Real
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from clr_cli.schedules.as_torch import ScheduleLR

Rate = Annotated[float, Field(gt=0)]
FinalRate = Annotated[float, Field(ge=0)]
Factor = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)] | None
Iterations = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Lasts:
    """Mark a field as a duration, with its default in ``make``.

    ``epochs`` is a number of epochs; ``run`` is one or several shares of the run after the warm-up.
    If both are None, the default does not depend on the run.
    """

    epochs: int | None = None
    run: Fraction | tuple[Fraction, ...] | None = None

    def iterations(self, key: str, per_epoch: int | None, run: int | None) -> Any:
        """Return the default in iterations. Raises ValueError if the run is unknown."""
        if self.epochs is not None:
            if per_epoch is None:
                raise ValueError(f"{key}: give it in iterations, or give iterations_per_epoch")
            return self.epochs * per_epoch
        if run is None:
            raise ValueError(f"{key}: give it in iterations, or give total_iterations")
        if isinstance(self.run, tuple):
            return tuple(ceil(run * share) for share in self.run)
        return ceil(run * self.run) if self.run is not None else None


WHOLE_RUN = Lasts(run=Fraction(1))


def plain(value: Any) -> Any:
    """Convert NumPy's numbers to Python's; return anything else as it is.

    >>> import numpy as np
    >>> plain(np.int64(3)), plain([np.float32(0.5), 2]), plain("auto")
    (3, [0.5, 2], 'auto')
    """
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


_ORDERED = (("min_lr", "initial_lr"), ("base_lr", "max_lr"), ("base_momentum", "max_momentum"))


class Schedule(BaseModel):
    """The interface of all schedules. Constructing one checks its fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _plain_numbers(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        return {key: plain(value) for key, value in fields.items()}

    @model_validator(mode="after")
    def _ordered(self) -> Schedule:
        for low, high in _ORDERED:
            if {low, high} <= type(self).model_fields.keys():
                bottom, top = getattr(self, low), getattr(self, high)
                if (bottom is None) != (top is None):
                    raise ValueError(f"{low}: give {low} and {high}, both or neither")
                if bottom is not None and bottom > top:
                    high = high.removeprefix("initial_")
                    raise ValueError(f"{high}: {top} is below {low} {bottom}")
        return self

    def lr(self, iteration: int) -> float:
        """Return the learning rate of one update.

        Args:
          iteration: the number of the update, from 0 on.

        Returns:
          The rate. It does not depend on earlier calls.
        """
        raise NotImplementedError

    def momentum(self, iteration: int) -> float | None:
        """Return the momentum of one update.

        Args:
          iteration: the number of the update, from 0 on.

        Returns:
          The momentum (beta1 for optimizers like Adam), or None to leave the optimizer's alone.
        """
        return None

    def cycles(self, total_iterations: int) -> float | None:
        """Return the number of cycles of a run.

        Args:
          total_iterations: the length of the run.

        Returns:
          The number, which is whole if the last cycle completes; None if there are no cycles.
        """
        return None

    def first_cycle(self) -> int | None:
        """Return the length of the first cycle, with the warm-up before it.

        Returns:
          Iterations; None if the schedule has no cycles but lasts the whole run.
        """
        return None

    def torch(self, optimizer: Optimizer) -> ScheduleLR:
        """Make a PyTorch scheduler of this schedule, for your own training loop.

        Call its ``step()`` after every update, not after every epoch. The parameter group with
        the highest rate gets the schedule's rate; the others keep their ratios to it, and groups
        that are added later join. It has a ``state_dict`` like PyTorch's schedulers, which may
        be loaded before the optimizer's or after it.

        Args:
          optimizer: its rates, and its momentum if this schedule cycles it, are set here.

        Returns:
          A ``torch.optim.lr_scheduler.LRScheduler``.

        >>> import torch
        >>> from clr_cli import schedules
        >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=1.0)
        >>> cyclic = schedules.make("clr", base_lr=0.1, max_lr=0.5, step_size=2)
        >>> scheduler = cyclic.torch(optimizer)
        >>> for iteration in range(3):
        ...     print(f"{scheduler.get_last_lr()[0]:.1f}")
        ...     optimizer.step()
        ...     scheduler.step()
        0.1
        0.3
        0.5
        """
        from clr_cli.schedules.as_torch import ScheduleLR

        return ScheduleLR(optimizer, self)


KINDS: dict[str, type[Schedule]] = {}
FIXED: dict[str, dict[str, Any]] = {}  # the fields that the name of a kind fixes
AnyClass = TypeVar("AnyClass", bound=type[Schedule])


def kind(name: str, **fixed: Any) -> Callable[[AnyClass], AnyClass]:
    """Register a class as a schedule kind; ``fixed`` fields are not keys of this kind."""

    def add(schedule: AnyClass) -> AnyClass:
        KINDS[name], FIXED[name] = schedule, fixed
        return schedule

    return add


def has_cycles(kind: str) -> bool:
    """Return whether a kind has cycles whose length does not depend on the run's.

    >>> has_cycles("clr"), has_cycles("one_cycle")
    (True, False)
    """
    return KINDS[kind].first_cycle is not Schedule.first_cycle


def half_cosine(left: float) -> float:
    """Return (1 - cos(pi left)) / 2, from 0 to 1, without cancellation near 0."""
    return sin(pi * left / 2) ** 2


def against(base: float | None, top: float | None, height: float) -> float | None:
    """Return the momentum that falls as the rate rises (Smith 2018, section 4.3).

    ``height`` is that of the rate between its bounds, 0..1.
    """
    return None if base is None or top is None else top - (top - base) * height
