"""A config whose arms are runs of the user's own program instead of trainings by clr."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from clr_cli.config.hints import did_you_mean
from clr_cli.config.sections import Name, Section, SeedsConfig

Value = bool | int | float | str
FILLED_IN = ("seed", "out")  # by clr; the other places are filled in by the arms
_PLACE = re.compile(r"\{([A-Za-z_]\w*)\}")


class MetricConfig(Section):
    """The number to compare by."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    mode: Literal["min", "max"] = Field("max", description="whether less or more is better")
    unit: str = Field("", max_length=20, description="written after its values")


class ProgramCompareConfig(SeedsConfig):
    """Margin and detect are in the metric's own unit."""

    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="equivalence margin, in the metric's unit; default: none is claimed"
    )
    detect: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="the difference to plan the seeds for, in the metric's unit"
    )
    paired: bool = Field(False, description="equal seeds share their randomness")


class ProgramConfig(Section):
    """``command`` is executed once for every arm and seed, without a shell."""

    name: Name = Field("experiment", description="the experiment; default: the file's name")
    command: Annotated[str, Field(min_length=1)] = Field(
        description="the program; {seed}, {out} and an arm's keys in braces are filled in"
    )
    arms: Annotated[dict[Name, dict[str, Value]], Field(min_length=1)] = Field(
        description="each arm's values of the command's places"
    )
    metric: MetricConfig
    read: str | None = Field(None, description="regular expression that finds rows in the output")
    compare: ProgramCompareConfig = ProgramCompareConfig()

    @property
    def baseline(self) -> str:
        return self.compare.baseline or next(iter(self.arms))

    @property
    def places(self) -> list[str]:
        """The names in braces in the command; other braces are the program's own."""
        return list(dict.fromkeys(_PLACE.findall(self.command)))

    def arguments(self, values: Mapping[str, Value]) -> list[str]:
        """The command as a list of arguments, its places filled in; no shell sees the values."""
        texts = {place: str(values[place]) for place in self.places}
        return [
            _PLACE.sub(lambda found: texts[found[1]], part) for part in shlex.split(self.command)
        ]

    @model_validator(mode="after")
    def _check(self) -> ProgramConfig:
        try:
            shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"command: {str(error).lower()}") from None
        if "seed" not in self.places:
            raise ValueError("command: it has no {seed}, so all its runs would be the same")
        for arm, values in self.arms.items():
            for place in self.places:
                if place not in values and place not in FILLED_IN:
                    raise ValueError(f"arms.{arm}.{place}: missing; the command has {{{place}}}")
            for key in values:
                if key not in self.places or key in FILLED_IN:
                    raise ValueError(f"arms.{arm}.{key}: not a place in the command")
        if self.baseline not in self.arms:
            hint = did_you_mean(self.baseline, list(self.arms))
            raise ValueError(f"compare.baseline: {self.baseline!r} is no arm{hint}")
        return self
