"""Describe an arm of a config: a schedule kind with its keys, and other keys that it sets.

The model of each kind is derived from ``schedules.parameters(kind)``.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from clr_cli import schedules
from clr_cli.config.sections import Section

# Keys that are rates, and the bound of a range test that ``auto`` stands for.
RATES = {"lr": "max_lr", "max_lr": "max_lr", "min_lr": "base_lr", "base_lr": "base_lr"}

BASE_SHARE = 100.0  # base_lr is max_lr divided by this, unless the config says otherwise


class ScheduleConfig(Section):
    """The keys of one arm."""

    kind: str
    set: dict[str, Any] | None = Field(
        None, description="keys of the config that differ in this arm, as section.key: value"
    )

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.model_dump(exclude_none=True),)  # pickle finds no generated class

    @property
    def params(self) -> dict[str, Any]:
        """The keys that the config sets, without ``kind``, as ``schedules.make`` takes them."""
        return self.model_dump(exclude={"kind", "set"}, exclude_none=True)

    @property
    def automatic(self) -> list[str]:
        """The keys that wait for a range test."""
        return [key for key in RATES if self.params.get(key) == "auto"]

    @property
    def needs_bounds(self) -> bool:
        """Whether a rate waits for a range test."""
        return bool(self.automatic)

    def with_bounds(
        self, bounds: Mapping[str, float], *, only_auto: bool = False
    ) -> ScheduleConfig:
        """Return this arm with its ``auto`` rates from a range test.

        Without ``only_auto``, base_lr and max_lr are replaced as well, if its kind has them.
        """
        names = dict.fromkeys(self.automatic)
        if not only_auto:
            names |= dict.fromkeys({"base_lr", "max_lr"} & type(self).model_fields.keys())
        return self.with_params({name: bounds[RATES[name]] for name in names})

    def with_params(self, params: Mapping[str, Any]) -> ScheduleConfig:
        """Return this arm with other values of some keys. Raises pydantic's ValidationError."""
        return type(self).model_validate({**self.model_dump(exclude_none=True), **params})

    @property
    def rate_key(self) -> str:
        """The key of the arm's highest rate: max_lr where the kind has one, else lr."""
        return "max_lr" if "max_lr" in type(self).model_fields else "lr"

    @property
    def rate(self) -> float | None:
        """The arm's highest rate; None while it is ``auto``."""
        rate = self.params.get(self.rate_key)
        if rate is None:
            rate = next(
                p.default for p in schedules.parameters(self.kind) if p.name == self.rate_key
            )
        return None if rate == "auto" else float(rate)

    def at_rate(self, rate: float) -> ScheduleConfig:
        """Return this arm with all its rates scaled, so that the highest is ``rate``.

        A base_lr that is missing or ``auto`` becomes rate / BASE_SHARE.
        """
        keys = type(self).model_fields
        scaled: dict[str, float] = {self.rate_key: rate}
        for key in ("base_lr", "min_lr"):
            value = self.params.get(key)
            if isinstance(value, float) and self.rate is not None:
                scaled[key] = value * rate / self.rate
            elif isinstance(value, float):
                scaled[key] = min(value, rate)
            elif value == "auto" or (key == "base_lr" and key in keys):
                scaled[key] = rate / BASE_SHARE
        return self.with_params(scaled)

    def base_at(self, rate: float) -> float:
        """Return the base_lr that belongs to this rate."""
        base = self.at_rate(rate).params.get("base_lr")
        return rate / BASE_SHARE if base is None else float(base)

    @model_validator(mode="after")
    def _check(self) -> ScheduleConfig:
        unknown = {"min_lr", "base_lr", "lr", "max_lr"} if self.needs_bounds else {}
        numbers = {k: v for k, v in self.params.items() if k not in unknown}
        # Data and model are not known yet, so check the values against a very long run.
        schedules.make(self.kind, numbers, iterations_per_epoch=10**6, total_iterations=10**15)
        return self


def _rebuild(keys: dict[str, Any]) -> ScheduleConfig:
    return SCHEDULE_MODELS[keys["kind"]].model_validate(keys)


def _schedule_model(kind: str) -> type[ScheduleConfig]:
    fields: dict[str, Any] = {"kind": (Literal[kind], kind)}
    for p in schedules.parameters(kind):
        hint: Any = p.type | Literal["auto"] if p.name in RATES else p.type
        fields[p.name] = (hint | None, Field(None, description=p.help))
        if p.duration:
            epochs = Field(None, description=f"{p.name}, in epochs")
            fields[f"{p.name}_epochs"] = (p.epochs_type | None, epochs)
    return create_model(f"{kind}_schedule", __base__=ScheduleConfig, **fields)


SCHEDULE_MODELS = {kind: _schedule_model(kind) for kind in schedules.KINDS}


_union: Any = functools.reduce(operator.or_, SCHEDULE_MODELS.values())
AnySchedule = Annotated[_union, Field(discriminator="kind")]
