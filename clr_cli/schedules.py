"""Learning-rate schedules as pure functions of the iteration; only math, no torch.

A schedule is a frozen dataclass; `lr(i)` is the rate of the i-th update (0-based), so resuming,
previews, plots and training share one definition and there is no state to save.
To add one: write a class here and list it in KINDS at the bottom.
"""

from __future__ import annotations

import difflib
import operator
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from itertools import pairwise
from math import ceil, isfinite, pi, sin
from typing import Any, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Parameter:
    """One config key of a schedule kind; `type` is a type hint.

    A `duration` may be given as `name` (iterations) or as `name_epochs` (may be fractional); its
    `default` is None where it follows from the run's length (`help` says how).
    """

    name: str
    type: Any
    default: Any
    required: bool
    duration: bool
    help: str

    @property
    def epochs_type(self) -> Any:
        """The type hint of `name_epochs`: a tuple for milestones, otherwise a number."""
        return tuple[float, ...] if get_origin(self.type) is tuple else float


_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _param(help: str, default: Any, *, key: str | None = None, **limits: float) -> Any:
    """A config key, named as the field unless `key` is given; `limits` as in _LIMITS."""
    return field(default=default, metadata={"help": help, "limits": limits, "key": key})


def _duration(help: str, resolve: Callable[[int, int], Any] | None = None, **kwargs: Any) -> Any:
    """A field in iterations; resolve(iterations per epoch, of the run) is its default in make()."""
    return field(metadata={"help": help, "limits": {"ge": 1}, "resolve": resolve}, **kwargs)


def _lr() -> Any:
    """The config's `lr`; the field has another name because `lr` is the method."""
    return _param("learning rate at the start", 0.05, key="lr", gt=0)


def _momentum(end: str) -> Any:
    return _param(f"momentum at the {end} rate (default: it does not cycle)", None, ge=0, lt=1)


def _key(item: Field[Any]) -> str:
    return item.metadata.get("key") or item.name


def _number(key: str, value: Any, whole: bool, limits: Mapping[str, float]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ValueError(f"{key}: {value!r} is not a {'whole ' if whole else ''}number")
    if not isfinite(value):
        raise ValueError(f"{key}: {value} is not finite")
    for name, limit in limits.items():
        if not getattr(operator, name)(value, limit):
            raise ValueError(f"{key}: {value} must be {_LIMITS[name]} {limit}")
    return value if whole else float(value)


def _checked(key: str, value: Any, hint: Any, limits: Mapping[str, float]) -> Any:
    """`value` as its type hint wants it, or ValueError "key: what is wrong"."""
    options = (True, False) if hint is bool else get_args(hint)
    if hint is bool or get_origin(hint) is Literal:
        if type(value) is not type(options[0]) or value not in options:
            raise ValueError(f"{key}: {value!r} is not one of {', '.join(map(str, options))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{key}: {value!r} is not a list")
        return tuple(_number(key, item, int in options, limits) for item in value)
    if value is None and type(None) in options:
        return None
    return _number(key, value, int in (hint, *options), limits)


_ORDERED = (("min_lr", "initial_lr"), ("base_lr", "max_lr"), ("base_momentum", "max_momentum"))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What every schedule offers. Constructing one checks its fields: ValueError "key: reason"."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            if item.metadata:
                value, limits = getattr(self, item.name), item.metadata["limits"]
                value = _checked(_key(item), value, hints[item.name], limits)
                object.__setattr__(self, item.name, value)
        for low, high in _ORDERED:
            if low in hints and high in hints:
                bottom, top = getattr(self, low), getattr(self, high)
                if (bottom is None) != (top is None):
                    raise ValueError(f"{low}: give {low} and {high}, both or neither")
                if bottom is not None and bottom > top:
                    high = high.removeprefix("initial_")
                    raise ValueError(f"{high}: {top} is below {low} {bottom}")

    def lr(self, iteration: int) -> float:
        """The learning rate of update `iteration` (0-based)."""
        raise NotImplementedError

    def momentum(self, iteration: int) -> float | None:
        """The momentum of update `iteration`, or None to leave the optimizer's alone."""
        return None

    def cycles(self, total_iterations: int) -> float | None:
        """Cycles in a run (whole: the last one completes), or None if it does not cycle."""
        return None


def _inverse(base: float | None, top: float | None, height: float) -> float | None:
    """Momentum against the rate (Smith 2018, section 4.3); `height` is the rate's, 0..1."""
    return None if base is None or top is None else top - (top - base) * height


def _cosine(left: float) -> float:
    """The half cosine, 0 at left = 0 and 1 at left = 1: (1 - cos(pi left)) / 2, without its
    cancellation near 0."""
    return sin(pi * left / 2) ** 2


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same rate throughout."""

    initial_lr: float = _lr()

    def lr(self, iteration: int) -> float:
        return self.initial_lr


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """lr * gamma^floor(i / step_size)."""

    initial_lr: float = _lr()
    gamma: float = _param("factor at each step", 0.1, gt=0, le=1)
    step_size: int = _duration(
        "length of a step (default run / 3)", lambda epoch, run: ceil(run / 3)
    )

    def lr(self, iteration: int) -> float:
        return float(self.initial_lr * self.gamma ** (iteration // self.step_size))


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """lr * gamma^(milestones passed); the defaults are those of He et al. 2016, section 4.2."""

    initial_lr: float = _lr()
    gamma: float = _param("factor at each milestone", 0.1, gt=0, le=1)
    milestones: tuple[int, ...] = _duration(
        "when the rate drops (default run / 2, run * 3 / 4)",
        lambda epoch, run: (ceil(run / 2), ceil(run * 3 / 4)),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if sorted(self.milestones) != list(self.milestones):
            raise ValueError(f"milestones: {list(self.milestones)} must increase")

    def lr(self, iteration: int) -> float:
        return float(self.initial_lr * self.gamma ** bisect_right(self.milestones, iteration))


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """lr * gamma^(i / step_size): a smooth fall."""

    initial_lr: float = _lr()
    gamma: float = _param("factor per step_size", 0.95, gt=0, le=1)
    step_size: int = _duration(
        "length of a fall by gamma (default 1 epoch)", lambda epoch, run: epoch
    )

    def lr(self, iteration: int) -> float:
        return float(self.initial_lr * self.gamma ** (iteration / self.step_size))


@dataclass(frozen=True, kw_only=True)
class Inverse(Schedule):
    """lr * (1 + gamma * i)^(-power): Caffe's "inv" policy, with the defaults of its LeNet."""

    initial_lr: float = _lr()
    gamma: float = _param("decay per iteration", 1e-4, gt=0)
    power: float = _param("exponent", 0.75, gt=0)

    def lr(self, iteration: int) -> float:
        return float(self.initial_lr * (1 + self.gamma * iteration) ** -self.power)


@dataclass(frozen=True, kw_only=True)
class Polynomial(Schedule):
    """From lr to min_lr as (1 - i / total)^power, then min_lr; power 1 is linear."""

    initial_lr: float = _lr()
    min_lr: float = _param("rate at the end", 0.0, ge=0)
    power: float = _param("exponent", 1.0, gt=0)
    total: int = _duration("length of the decay (default the run)", lambda epoch, run: run)

    def lr(self, iteration: int) -> float:
        left = float((1 - min(iteration, self.total) / self.total) ** self.power)
        return self.min_lr + (self.initial_lr - self.min_lr) * left


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """From lr to min_lr along a half cosine, then min_lr (Loshchilov & Hutter 2017, eq. 5)."""

    initial_lr: float = _lr()
    min_lr: float = _param("rate at the end", 0.0, ge=0)
    total: int = _duration("length of the decay (default the run)", lambda epoch, run: run)

    def lr(self, iteration: int) -> float:
        left = _cosine(1 - min(iteration, self.total) / self.total)
        return self.min_lr + (self.initial_lr - self.min_lr) * left


# The rate's height (0..1) from the triangle's (up, then down) and the part of the cycle left.
_SHAPES: dict[str, Callable[[float, float], float]] = {
    "triangle": lambda triangle, left: triangle,
    "sine": lambda triangle, left: _cosine(triangle),
    "cosine": lambda triangle, left: _cosine(left),
    "sawtooth": lambda triangle, left: left,
}


@dataclass(frozen=True, kw_only=True)
class Cyclic(Schedule):
    """base_lr + (max_lr - base_lr) * shape * amplitude (Smith 2017, section 3).

    The cycle is step_size + step_size_down long. `triangle` and `sine` rise from base_lr and fall
    back; `cosine` and `sawtooth` fall from max_lr over the whole cycle and restart.
    """

    shape: Literal["triangle", "sine", "cosine", "sawtooth"] = _param("form of a cycle", "triangle")
    amplitude: Literal["constant", "halved", "exponential"] = _param("how it shrinks", "constant")
    base_lr: float = _param("lower bound", 0.001, gt=0)
    max_lr: float = _param("upper bound", 0.14, gt=0)
    step_size: int = _duration("half a cycle (default 5 epochs)", lambda epoch, run: 5 * epoch)
    step_size_down: int | None = _duration("the way down (default step_size)", default=None)
    gamma: float | None = _param(
        "factor per iteration of an exponential amplitude (default 0.99994)", None, gt=0, le=1
    )
    base_momentum: float | None = _momentum("highest")
    max_momentum: float | None = _momentum("lowest")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.amplitude == "exponential":
            object.__setattr__(self, "gamma", self.gamma or 0.99994)  # Smith 2017, table 2
        elif self.gamma is not None:
            raise ValueError(f"gamma: only for amplitude exponential, not {self.amplitude}")

    @property
    def _length(self) -> int:
        return self.step_size + (self.step_size_down or self.step_size)

    def _height(self, iteration: int) -> float:
        cycle, position = divmod(iteration, self._length)
        left = self._length - position
        rising = position <= self.step_size
        triangle = position / self.step_size if rising else left / (self._length - self.step_size)
        halved = self.amplitude == "halved"
        scale = 0.5**cycle if halved else float((self.gamma or 1.0) ** iteration)
        return _SHAPES[self.shape](triangle, left / self._length) * scale

    def lr(self, iteration: int) -> float:
        return self.base_lr + (self.max_lr - self.base_lr) * self._height(iteration)

    def momentum(self, iteration: int) -> float | None:
        return _inverse(self.base_momentum, self.max_momentum, self._height(iteration))

    def cycles(self, total_iterations: int) -> float | None:
        return total_iterations / self._length


@dataclass(frozen=True, kw_only=True)
class Sgdr(Schedule):
    """Half cosines from max_lr to base_lr, each t_mult times longer (Loshchilov & Hutter 2017)."""

    base_lr: float = _param("rate at the end of a cycle", 0.001, ge=0)
    max_lr: float = _param("rate at each restart", 0.14, gt=0)
    t_0: int = _duration("length of cycle 1 (default 10 epochs)", lambda epoch, run: 10 * epoch)
    t_mult: int = _param("how many times longer each cycle is than the one before", 1, ge=1)
    base_momentum: float | None = _momentum("highest")
    max_momentum: float | None = _momentum("lowest")

    def _place(self, iteration: int) -> tuple[int, float]:
        """(cycles done, part of the present one done)"""
        done, length = 0, self.t_0
        if self.t_mult == 1:
            done, iteration = divmod(iteration, length)
        while iteration >= length:
            done, iteration, length = done + 1, iteration - length, length * self.t_mult
        return done, iteration / length

    def _height(self, iteration: int) -> float:
        return _cosine(1 - self._place(iteration)[1])

    def lr(self, iteration: int) -> float:
        return self.base_lr + (self.max_lr - self.base_lr) * self._height(iteration)

    def momentum(self, iteration: int) -> float | None:
        return _inverse(self.base_momentum, self.max_momentum, self._height(iteration))

    def cycles(self, total_iterations: int) -> float | None:
        return sum(self._place(total_iterations))


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """From max_lr / div_factor to max_lr, then far down (Smith & Topin 2018; as torch's)."""

    max_lr: float = _param("highest rate", 0.14, gt=0)
    div_factor: float = _param("max_lr / first rate", 25.0, ge=1)
    final_div_factor: float = _param("first rate / last rate", 1e4, ge=1)
    pct_start: float = _param("part of the cycle spent rising", 0.3, ge=0, le=1)
    anneal: Literal["cos", "linear"] = _param("form of each phase", "cos")
    three_phase: bool = _param("fall as fast as it rose, then on to the last rate", False)
    total: int = _duration("length of the cycle (default the run)", lambda epoch, run: run)
    base_momentum: float | None = _momentum("highest")
    max_momentum: float | None = _momentum("lowest")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.three_phase and self.pct_start > 0.5:
            raise ValueError(f"pct_start: {self.pct_start} must be at most 0.5 with three_phase")

    def _along(self, iteration: int, first: float, top: float, last: float) -> float:
        up = self.pct_start * self.total - 1  # torch counts the phases' ends so
        knots = [(0.0, first), (up, top), (2 * up, first), (self.total - 1.0, last)]
        if not self.three_phase:
            del knots[2]
        at = min(iteration, self.total - 1)
        (start, a), (end, b) = next(pair for pair in pairwise(knots) if at <= pair[1][0])
        left = (end - at) / (end - start) if end > start else 0.0
        return b + (a - b) * (_cosine(left) if self.anneal == "cos" else left)

    def lr(self, iteration: int) -> float:
        first = self.max_lr / self.div_factor
        return self._along(iteration, first, self.max_lr, first / self.final_div_factor)

    def momentum(self, iteration: int) -> float | None:
        return _inverse(self.base_momentum, self.max_momentum, self._along(iteration, 0, 1, 0))

    def cycles(self, total_iterations: int) -> float | None:
        return min(1.0, total_iterations / self.total)


@dataclass(frozen=True, kw_only=True)
class Warmup(Schedule):
    """A linear rise to the first rate of `schedule`, which starts after it (Goyal et al. 2017)."""

    schedule: Schedule
    warmup: int = _duration("length of a linear warm-up before the schedule", lambda epoch, run: 0)
    warmup_start_factor: float = _param(
        "the warm-up's first rate / the schedule's", 0.01, gt=0, le=1
    )

    def lr(self, iteration: int) -> float:
        part = min(1.0, iteration / self.warmup)
        factor = self.warmup_start_factor * (1 - part) + part
        return self.schedule.lr(max(0, iteration - self.warmup)) * factor

    def momentum(self, iteration: int) -> float | None:
        return self.schedule.momentum(max(0, iteration - self.warmup))

    def cycles(self, total_iterations: int) -> float | None:
        return self.schedule.cycles(total_iterations - self.warmup)


KINDS: dict[str, type[Schedule]] = {
    "constant": Constant,
    "clr": Cyclic,
    "triangular": Cyclic,
    "triangular2": Cyclic,
    "exp_range": Cyclic,
    "cyclic": Cyclic,
    "sgdr": Sgdr,
    "one_cycle": OneCycle,
    "cosine": Cosine,
    "step": Step,
    "multistep": MultiStep,
    "exponential": Exponential,
    "polynomial": Polynomial,
    "inverse": Inverse,
}

# Kinds that are points of a family: what their name fixes.
_FIXED: dict[str, dict[str, Any]] = {
    "clr": {"shape": "triangle", "amplitude": "constant", "gamma": None},
    "triangular": {"shape": "triangle", "amplitude": "constant", "gamma": None},
    "triangular2": {"shape": "triangle", "amplitude": "halved", "gamma": None},
    "exp_range": {"shape": "triangle", "amplitude": "exponential"},
}


def _keys(kind: str) -> dict[str, Field[Any]]:
    """Config key -> field, of the kind and of the warm-up that may go before it."""
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KINDS)}"
        raise ValueError(f"kind: {kind!r} is not a schedule; {hint}")
    fixed = _FIXED.get(kind, {})
    items = (*fields(KINDS[kind]), *fields(Warmup))
    return {_key(item): item for item in items if item.metadata and item.name not in fixed}


def parameters(kind: str) -> tuple[Parameter, ...]:
    """The config keys of a kind, those of the warm-up last; ValueError for an unknown kind."""
    items = _keys(kind)
    hints = get_type_hints(Warmup) | get_type_hints(KINDS[kind])
    return tuple(
        Parameter(
            name=key,
            type=hints[item.name],
            default=None if item.default is MISSING else item.default,
            required=item.default is MISSING and "resolve" not in item.metadata,
            duration="resolve" in item.metadata,
            help=item.metadata["help"],
        )
        for key, item in items.items()
    )


def make(
    kind: str, params: Mapping[str, Any], *, iterations_per_epoch: int, total_iterations: int
) -> Schedule:
    """The schedule of a config entry, its durations resolved to iterations.

    `params` are the entry's keys without `kind`; None counts as not given. Durations that are not
    given follow from the run: what is left of `total_iterations` after the warm-up.
    Raises ValueError "key: what is wrong".
    """
    items = _keys(kind)
    given = {key: value for key, value in params.items() if value is not None}
    durations = {key: item for key, item in items.items() if "resolve" in item.metadata}
    for key in given:
        if key not in items and key.removesuffix("_epochs") not in durations:
            raise ValueError(f"{key}: the schedule kind {kind} has no such key")

    def whole(key: str, epochs: Any) -> int:
        iterations: int = round(_number(key, epochs, False, {"ge": 0}) * iterations_per_epoch)
        if epochs and not iterations:
            raise ValueError(f"{key}: {epochs} is less than one iteration")
        return iterations

    for key in durations:
        if (name := f"{key}_epochs") in given:
            if key in given:
                raise ValueError(f"{key}: give {key} or {name}, not both")
            epochs = given.pop(name)
            many = isinstance(epochs, list | tuple)
            given[key] = [whole(name, each) for each in epochs] if many else whole(name, epochs)

    warmup = _number("warmup", given.pop("warmup", 0), True, {"ge": 0})
    if warmup >= total_iterations:
        raise ValueError(
            f"warmup: {warmup} leaves nothing of the run's {total_iterations} iterations"
        )
    factor = given.pop("warmup_start_factor", 0.01)
    for key, item in durations.items():
        if key != "warmup" and key not in given and item.metadata["resolve"]:
            given[key] = item.metadata["resolve"](iterations_per_epoch, total_iterations - warmup)
    values = {items[key].name: value for key, value in given.items()} | _FIXED.get(kind, {})
    schedule = KINDS[kind](**values)
    if not warmup:
        return schedule
    return Warmup(schedule=schedule, warmup=warmup, warmup_start_factor=factor)


def resolved(kind: str, schedule: Schedule) -> dict[str, Any]:
    """`kind` and the plain values (iterations) of a schedule from make(), which reads them back."""
    values = vars(schedule) | vars(getattr(schedule, "schedule", schedule))
    plain = {"kind": kind} | {key: values.get(item.name) for key, item in _keys(kind).items()}
    lists = {key: list(value) for key, value in plain.items() if isinstance(value, tuple)}
    return {key: value for key, value in (plain | lists).items() if value is not None}
