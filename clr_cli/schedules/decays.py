"""Define schedules that never rise: constant, in steps, smooth, and with a plateau."""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from math import sqrt
from typing import Annotated, Literal

from pydantic import Field, model_validator

from clr_cli.schedules.base import (
    WHOLE_RUN,
    Factor,
    FinalRate,
    Iterations,
    Lasts,
    Rate,
    Schedule,
    half_cosine,
    kind,
)


class Decay(Schedule):
    """A schedule that starts at ``lr``. The field has another name, as ``lr`` is the method."""

    initial_lr: Rate = Field(0.05, alias="lr", description="learning rate at the start")


@kind("constant")
class Constant(Decay):
    """The same rate throughout.

    >>> Constant(lr=0.1).lr(1000)
    0.1
    """

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return self.initial_lr


@kind("step")
class Step(Decay):
    """lr * gamma^floor(i / step_size).

    >>> [Step(lr=1.0, gamma=0.5, step_size=10).lr(i) for i in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """

    gamma: Factor = Field(0.1, description="factor at each step")
    step_size: Annotated[Iterations, Lasts(run=Fraction(1, 3))] = Field(
        description="length of a step (default run / 3)"
    )

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return float(self.initial_lr * self.gamma ** (iteration // self.step_size))


@kind("multistep")
class MultiStep(Decay):
    """lr * gamma^(milestones passed); the defaults are those of He et al. 2016, section 4.2.

    >>> [MultiStep(lr=1.0, milestones=(10, 20)).lr(i) for i in (9, 10)]
    [1.0, 0.1]
    """

    gamma: Factor = Field(0.1, description="factor at each milestone")
    milestones: Annotated[tuple[Iterations, ...], Lasts(run=(Fraction(1, 2), Fraction(3, 4)))] = (
        Field(description="when the rate drops (default run / 2, run * 3 / 4)")
    )

    @model_validator(mode="after")
    def _increasing(self) -> MultiStep:
        if sorted(self.milestones) != list(self.milestones):
            raise ValueError(f"milestones: {list(self.milestones)} must increase")
        return self

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return float(self.initial_lr * self.gamma ** bisect_right(self.milestones, iteration))


@kind("exponential")
class Exponential(Decay):
    """lr * gamma^(i / step_size): a smooth fall.

    >>> [Exponential(lr=1.0, gamma=0.25, step_size=10).lr(i) for i in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """

    gamma: Factor = Field(0.95, description="factor per step_size")
    step_size: Annotated[Iterations, Lasts(epochs=1)] = Field(
        description="length of a fall by gamma (default 1 epoch)"
    )

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return float(self.initial_lr * self.gamma ** (iteration / self.step_size))


@kind("inverse")
class Inverse(Decay):
    """lr * (1 + gamma * i)^(-power): Caffe's "inv" policy, with the defaults of its LeNet.

    >>> Inverse(lr=1.0, gamma=0.01, power=0.5).lr(300)
    0.5
    """

    gamma: Annotated[float, Field(gt=0)] = Field(1e-4, description="decay per iteration")
    power: Annotated[float, Field(gt=0)] = Field(0.75, description="exponent")

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return float(self.initial_lr * (1 + self.gamma * iteration) ** -self.power)


class Ending(Decay):
    """A schedule that falls from ``lr`` to ``min_lr`` within ``total``, and stays there."""

    min_lr: FinalRate = Field(0.0, description="rate at the end")
    total: Annotated[Iterations, WHOLE_RUN] = Field(
        description="length of the schedule (default the run)"
    )

    def height(self, left: float) -> float:
        """Return the height of the rate above min_lr, 1..0, if ``left``, 1..0, of total remains."""
        raise NotImplementedError

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        left = (self.total - min(iteration, self.total)) / self.total
        return self.min_lr + (self.initial_lr - self.min_lr) * self.height(left)


@kind("linear", power=1.0)
@kind("polynomial")
class Polynomial(Ending):
    """From lr to min_lr as (1 - i / total)^power; ``linear`` is power 1.

    >>> [Polynomial(lr=1.0, total=100, power=2.0).lr(i) for i in (0, 50, 100)]
    [1.0, 0.25, 0.0]
    """

    power: Annotated[float, Field(gt=0)] = Field(1.0, description="exponent")

    def height(self, left: float) -> float:
        """Return the height of the rate above min_lr; see ``Ending``."""
        return float(left**self.power)


@kind("cosine")
class Cosine(Ending):
    """From lr to min_lr along a half cosine (Loshchilov & Hutter 2017, eq. 5).

    >>> [round(Cosine(lr=1.0, total=100).lr(i), 3) for i in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """

    def height(self, left: float) -> float:
        """Return the height of the rate above min_lr; see ``Ending``."""
        return half_cosine(left)


@kind("wsd")
class WarmupStableDecay(Ending):
    """A plateau at lr, then a fall to min_lr over the last ``decay_share`` of the run.

    The schedule is that of Hu et al. 2024 ("MiniCPM"), section 4, with the forms of the fall of
    Hägele et al. 2024, section 3.

    If u, 0..1, is the finished part of the fall, the rate is above min_lr by (lr - min_lr) times
    1 - u (linear), (1 + cos(pi u)) / 2 (cosine) or 1 - sqrt(u) (sqrt). The warm-up is that
    of every kind: ``warmup`` or ``warmup_epochs``; ``total`` begins after it.

    >>> [WarmupStableDecay(lr=1.0, total=100, decay="linear").lr(i) for i in (0, 80, 90, 100)]
    [1.0, 1.0, 0.5, 0.0]
    """

    decay: Literal["linear", "cosine", "sqrt"] = Field("sqrt", description="form of the fall")
    decay_share: Factor = Field(0.2, description="part of total that the fall takes")

    def height(self, left: float) -> float:
        """Return the height of the rate above min_lr; see ``Ending``."""
        to_go = min(1.0, left / self.decay_share)
        if self.decay == "sqrt":
            return 1 - sqrt(1 - to_go)
        return half_cosine(to_go) if self.decay == "cosine" else to_go
