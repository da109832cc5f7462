"""Make a schedule from a config's keys, and list a schedule's keys."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_origin

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from clr_cli.errors import reason
from clr_cli.schedules.base import FIXED, KINDS, Factor, Iterations, Lasts, Schedule, plain


class Warmup(Schedule):
    """A linear rise to the first rate of `schedule`, which starts after it.

    The source is Goyal et al. 2017, section 2.2.

    >>> constant = make("constant", lr=1.0, warmup=100, warmup_start_factor=0.5)
    >>> [constant.lr(i) for i in (0, 50, 100)]
    [0.5, 0.75, 1.0]
    """

    schedule: Schedule
    warmup: Annotated[Iterations, Lasts()] = Field(
        description="length of a linear warm-up before the schedule"
    )
    warmup_start_factor: Factor = Field(
        0.01, description="the warm-up's first rate / the schedule's"
    )

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        part = min(1.0, iteration / self.warmup)
        factor = self.warmup_start_factor * (1 - part) + part
        return self.schedule.lr(max(0, iteration - self.warmup)) * factor

    def momentum(self, iteration: int) -> float | None:
        """Return the momentum of one update, or None."""
        return self.schedule.momentum(max(0, iteration - self.warmup))

    def cycles(self, total_iterations: int) -> float | None:
        """Return the number of cycles of a run."""
        return self.schedule.cycles(total_iterations - self.warmup)

    def first_cycle(self) -> int | None:
        """Return the length of the first cycle."""
        length = self.schedule.first_cycle()
        return None if length is None else self.warmup + length


@dataclass(frozen=True)
class Parameter:
    """One config key of a schedule kind; `type` is a type hint with its limits.

    A `duration` is given as `name`, in iterations, or as `name_epochs`, possibly fractional. Its
    `default` is None if it depends on the run's length; `help` says how.
    """

    name: str
    type: Any
    default: Any
    duration: bool
    help: str

    @property
    def epochs_type(self) -> Any:
        """The type hint of `name_epochs`: a tuple for milestones, otherwise a number."""
        epochs = Annotated[float, Field(ge=0)]
        return tuple[epochs, ...] if _is_list(self.type) else epochs


def _is_list(hint: Any) -> bool:
    return get_origin(getattr(hint, "__origin__", hint)) is tuple


def _lasts(field: FieldInfo) -> Lasts | None:
    return next((mark for mark in field.metadata if isinstance(mark, Lasts)), None)


def _fields(kind: str) -> dict[str, tuple[str, FieldInfo]]:
    """Return config key -> field name and field, of a kind and of the warm-up before it."""
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(KINDS)}"
        raise ValueError(f"kind: {kind!r} is not a schedule; {hint}")
    items = [*KINDS[kind].model_fields.items(), *list(Warmup.model_fields.items())[1:]]
    fixed = FIXED.get(kind, {})
    return {field.alias or name: (name, field) for name, field in items if name not in fixed}


def parameters(kind: str) -> tuple[Parameter, ...]:
    """Return the config keys of a kind.

    Args:
      kind: a key of KINDS.

    Returns:
      Its keys, those of the warm-up last.

    Raises:
      ValueError: for an unknown kind.

    >>> [p.name for p in parameters("cosine")]
    ['lr', 'min_lr', 'total', 'warmup', 'warmup_start_factor']
    """
    return tuple(
        Parameter(
            name=key,
            type=Annotated[field.annotation, *field.metadata]
            if field.metadata
            else field.annotation,
            default=None if field.is_required() else field.default,
            duration=_lasts(field) is not None,
            help=field.description or "",
        )
        for key, (_, field) in _fields(kind).items()
    )


_LENGTH: Any = TypeAdapter(Annotated[int, Field(ge=1, strict=True)] | None)
_FACTOR = TypeAdapter(Annotated[Factor, Field(strict=True)])
_EPOCHS = TypeAdapter(Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)])
_WARMUP = TypeAdapter(Annotated[int, Field(ge=0, strict=True)])


def make(
    kind: str,
    params: Mapping[str, Any] | None = None,
    *,
    iterations_per_epoch: int | None = None,
    total_iterations: int | None = None,
    **more: Any,
) -> Schedule:
    """Make the schedule of a config entry, its durations resolved to iterations.

    Outside a run of clr, give every duration in iterations, or give the lengths of an epoch and of
    the run. A duration that is the whole run by default is ``total_iterations`` less the warm-up.

    Args:
      kind: a key of KINDS.
      params: the entry's keys without ``kind``; None counts as missing.
      iterations_per_epoch: for durations in epochs.
      total_iterations: for durations that follow from the length of the run.
      **more: keys as in ``params``.

    Returns:
      The schedule; its ``lr(i)`` is the rate of the i-th update, from 0 on.

    Raises:
      ValueError: "key: what is wrong".

    >>> make("clr", base_lr=0.25, max_lr=0.75, step_size=100).lr(50)
    0.5
    >>> make("cosine", {"lr": 0.2, "total_epochs": 2}, iterations_per_epoch=50).lr(0)
    0.2
    >>> make("linear", lr=1.0, total_iterations=400).lr(300)
    0.25
    """
    items = _fields(kind)
    iterations_per_epoch = _checked(_LENGTH, "iterations_per_epoch", plain(iterations_per_epoch))
    total_iterations = _checked(_LENGTH, "total_iterations", plain(total_iterations))
    both = {**(params or {}), **more}
    keys = {key: plain(value) for key, value in both.items() if value is not None}
    durations = {key: mark for key, (_, field) in items.items() if (mark := _lasts(field))}
    for key in keys:
        if key not in items and key.removesuffix("_epochs") not in durations:
            raise ValueError(f"{key}: not a key of schedule kind {kind}")
    for key in durations:
        if (name := f"{key}_epochs") in keys:
            if key in keys:
                raise ValueError(f"{key}: give {key} or {name}, not both")
            keys[key] = _in_iterations(name, keys.pop(name), iterations_per_epoch)
        if isinstance(keys.get(key), list):
            keys[key] = tuple(keys[key])

    warmup = _checked(_WARMUP, "warmup", keys.pop("warmup", 0))
    if total_iterations is not None and warmup >= total_iterations:
        raise ValueError(
            f"warmup: {warmup} must be less than the run's {total_iterations} iterations"
        )
    left = None if total_iterations is None else total_iterations - warmup
    factor = _checked(_FACTOR, "warmup_start_factor", keys.pop("warmup_start_factor", 0.01))
    for key, mark in durations.items():
        if key not in keys and items[key][1].is_required() and key != "warmup":
            keys[key] = mark.iterations(key, iterations_per_epoch, left)
    fixed = FIXED.get(kind, {})
    schedule = _built(KINDS[kind], {**keys, **fixed})
    if not warmup:
        return schedule
    return _built(Warmup, {"schedule": schedule, "warmup": warmup, "warmup_start_factor": factor})


def _built(model: type[Schedule], values: Mapping[str, Any]) -> Schedule:
    try:
        return model(**values)
    except ValidationError as error:
        raise ValueError(_said(error)) from None


def _said(error: ValidationError, key: str = "") -> str:
    first = error.errors()[0]
    key = key or (str(first["loc"][0]) if first["loc"] else "")
    return f"{key}: {reason(first)}" if key else reason(first)


def _checked(adapter: TypeAdapter[Any], key: str, value: Any) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValueError(_said(error, key)) from None


def _in_iterations(key: str, epochs: Any, per_epoch: int | None) -> Any:
    if isinstance(epochs, list | tuple):
        return tuple(_in_iterations(key, each, per_epoch) for each in epochs)
    if per_epoch is None:
        raise ValueError(f"{key}: give it in iterations, or give iterations_per_epoch")
    iterations = round(_checked(_EPOCHS, key, epochs) * per_epoch)
    if epochs and not iterations:
        raise ValueError(f"{key}: {epochs} is less than one iteration")
    return iterations


def resolved(kind: str, schedule: Schedule) -> dict[str, Any]:
    """Return the keys of a schedule as plain values, for a file.

    Args:
      kind: the kind it was made as.
      schedule: a schedule from ``make``.

    Returns:
      ``kind`` and the keys with durations in iterations; ``make`` reads them back.

    >>> resolved("constant", make("constant", lr=0.1))
    {'kind': 'constant', 'lr': 0.1}
    """
    inner: BaseModel = getattr(schedule, "schedule", schedule)
    values = vars(schedule) | vars(inner)
    plain = {"kind": kind} | {key: values.get(name) for key, (name, _) in _fields(kind).items()}
    lists = {key: list(value) for key, value in plain.items() if isinstance(value, tuple)}
    return {key: value for key, value in (plain | lists).items() if value is not None}
