"""Define schedules that rise and fall: cyclical rates, warm restarts, one cycle."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from clr_cli.schedules.base import (
    WHOLE_RUN,
    Factor,
    FinalRate,
    Iterations,
    Lasts,
    Momentum,
    Rate,
    Schedule,
    against,
    half_cosine,
    kind,
)


class CyclesMomentum(Schedule):
    """A schedule that may also cycle the momentum, against the rate."""

    base_momentum: Momentum = Field(
        None, description="momentum at the highest rate (default: constant)"
    )
    max_momentum: Momentum = Field(
        None, description="momentum at the lowest rate (default: constant)"
    )

    def height(self, iteration: int) -> float:
        """Return the height of the rate between its bounds, 0..1."""
        raise NotImplementedError

    def momentum(self, iteration: int) -> float | None:
        """Return the momentum of one update, or None."""
        return against(self.base_momentum, self.max_momentum, self.height(iteration))


# The rate's height (0..1) from the triangle's (up, then down) and the part of the cycle left.
_SHAPES: dict[str, Callable[[float, float], float]] = {
    "triangle": lambda triangle, left: triangle,
    "sine": lambda triangle, left: half_cosine(triangle),
    "cosine": lambda triangle, left: half_cosine(left),
    "sawtooth": lambda triangle, left: left,
}


@kind("cyclic")
@kind("exp_range", shape="triangle", amplitude="exponential")
@kind("triangular2", shape="triangle", amplitude="halved", gamma=None)
@kind("triangular", shape="triangle", amplitude="constant", gamma=None)
@kind("clr", shape="triangle", amplitude="constant", gamma=None)
class Cyclic(CyclesMomentum):
    """base_lr + (max_lr - base_lr) * shape * amplitude (Smith 2017, section 3).

    The cycle is step_size + step_size_down long. `triangle` and `sine` rise from base_lr and fall
    back; `cosine` and `sawtooth` fall from max_lr over the whole cycle and restart.

    >>> clr = Cyclic(base_lr=0.1, max_lr=0.5, step_size=100)
    >>> [round(clr.lr(i), 3) for i in (0, 50, 100, 150, 200)]
    [0.1, 0.3, 0.5, 0.3, 0.1]
    """

    shape: Literal["triangle", "sine", "cosine", "sawtooth"] = Field(
        "triangle", description="form of a cycle"
    )
    amplitude: Literal["constant", "halved", "exponential"] = Field(
        "constant", description="how the cycles shrink"
    )
    base_lr: Rate = Field(0.001, description="lower bound")
    max_lr: Rate = Field(0.14, description="upper bound")
    step_size: Annotated[Iterations, Lasts(epochs=5)] = Field(
        description="half a cycle (default 5 epochs)"
    )
    step_size_down: Annotated[Iterations | None, Lasts()] = Field(
        None, description="length of the fall (default step_size)"
    )
    gamma: Factor | None = Field(
        None, description="factor per iteration of an exponential amplitude (default 0.99994)"
    )

    @model_validator(mode="after")
    def _gamma_for_exponential(self) -> Cyclic:
        if self.amplitude == "exponential":
            # Smith 2017, table 2
            object.__setattr__(self, "gamma", self.gamma or 0.99994)
        elif self.gamma is not None:
            raise ValueError(
                f"gamma: only for amplitude exponential, not {self.amplitude}; leave it out"
            )
        return self

    @property
    def _length(self) -> int:
        return self.step_size + (self.step_size_down or self.step_size)

    def height(self, iteration: int) -> float:
        """Return the height of the rate between its bounds, 0..1."""
        cycle, position = divmod(iteration, self._length)
        left = self._length - position
        rising = position <= self.step_size
        triangle = position / self.step_size if rising else left / (self._length - self.step_size)
        halved = self.amplitude == "halved"
        scale = 0.5**cycle if halved else float((self.gamma or 1.0) ** iteration)
        return _SHAPES[self.shape](triangle, left / self._length) * scale

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return self.base_lr + (self.max_lr - self.base_lr) * self.height(iteration)

    def cycles(self, total_iterations: int) -> float | None:
        """Return the number of cycles of a run."""
        return total_iterations / self._length

    def first_cycle(self) -> int | None:
        """Return the length of the first cycle."""
        return self._length


@kind("sgdr")
class Sgdr(CyclesMomentum):
    """Half cosines from max_lr to base_lr, each t_mult times longer (Loshchilov & Hutter 2017).

    >>> sgdr = Sgdr(base_lr=0.0, max_lr=1.0, t_0=100)
    >>> [round(sgdr.lr(i), 3) for i in (0, 50, 99, 100)]
    [1.0, 0.5, 0.0, 1.0]
    """

    base_lr: FinalRate = Field(0.001, description="rate at the end of a cycle")
    max_lr: Rate = Field(0.14, description="rate at each restart")
    t_0: Annotated[Iterations, Lasts(epochs=10)] = Field(
        description="length of cycle 1 (default 10 epochs)"
    )
    t_mult: Annotated[int, Field(ge=1)] = Field(
        1, description="how many times longer each cycle is than the one before"
    )

    def _place(self, iteration: int) -> tuple[int, float]:
        """Return the number of finished cycles, and the finished part of the current one."""
        done, length = 0, self.t_0
        if self.t_mult == 1:
            done, iteration = divmod(iteration, length)
        while iteration >= length:
            done, iteration, length = done + 1, iteration - length, length * self.t_mult
        return done, iteration / length

    def height(self, iteration: int) -> float:
        """Return the height of the rate between its bounds, 0..1."""
        return half_cosine(1 - self._place(iteration)[1])

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return self.base_lr + (self.max_lr - self.base_lr) * self.height(iteration)

    def cycles(self, total_iterations: int) -> float | None:
        """Return the number of cycles of a run."""
        return sum(self._place(total_iterations))

    def first_cycle(self) -> int | None:
        """Return the length of the first cycle."""
        return self.t_0


@kind("one_cycle")
class OneCycle(CyclesMomentum):
    """From max_lr / div_factor to max_lr, then far down (Smith & Topin 2018; as torch's).

    >>> one = OneCycle(max_lr=1.0, total=101, pct_start=51 / 101)
    >>> [round(one.lr(i), 6) for i in (0, 50, 100)]
    [0.04, 1.0, 4e-06]
    """

    max_lr: Rate = Field(0.14, description="highest rate")
    div_factor: Annotated[float, Field(ge=1)] = Field(25.0, description="max_lr / first rate")
    final_div_factor: Annotated[float, Field(ge=1)] = Field(
        1e4, description="first rate / last rate"
    )
    pct_start: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="part of the cycle spent rising"
    )
    anneal: Literal["cos", "linear"] = Field("cos", description="form of each phase")
    three_phase: bool = Field(
        False, description="fall as fast as it rose, then on to the last rate"
    )
    total: Annotated[Iterations, WHOLE_RUN] = Field(
        description="length of the cycle (default the run)"
    )

    @model_validator(mode="after")
    def _phases_fit(self) -> OneCycle:
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(f"pct_start: {self.pct_start} must be at most 0.5 with three_phase")
        return self

    def _along(self, iteration: int, first: float, top: float, last: float) -> float:
        up = self.pct_start * self.total - 1  # as torch computes the ends of the phases
        knots = [(0.0, first), (up, top), (2 * up, first), (self.total - 1.0, last)]
        if not self.three_phase:
            del knots[2]
        at = min(iteration, self.total - 1)
        (start, a), (end, b) = next(pair for pair in pairwise(knots) if at <= pair[1][0])
        left = (end - at) / (end - start) if end > start else 0.0
        return b + (a - b) * (half_cosine(left) if self.anneal == "cos" else left)

    def height(self, iteration: int) -> float:
        """Return the height of the rate between its bounds, 0..1."""
        return self._along(iteration, 0, 1, 0)

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        first = self.max_lr / self.div_factor
        return self._along(iteration, first, self.max_lr, first / self.final_div_factor)

    def cycles(self, total_iterations: int) -> float | None:
        """Return the number of cycles of a run."""
        return min(1.0, total_iterations / self.total)
