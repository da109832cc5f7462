"""Define the config of a user's own program: its command, its arms, its metric."""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from clr_cli.config.hints import did_you_mean
from clr_cli.config.sections import Name, Rate, Section, SeedsConfig
from clr_cli.errors import InputError

OURS = ("seed", "out")  # placeholders that clr fills for every run
RATE = "lr"  # the placeholder of the rate that is searched for
DEFAULT_START = 1e-3  # where a search for rates starts

# Names that rows and tables of runs use already.
TAKEN = ("arm", "seed", "status", "iteration", "step", "iter", "epoch")
UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

Value = Annotated[str, Field(max_length=10_000)]


def parse_duration(text: Any) -> Any:
    """Return a duration such as 90, 30m or 1.5h in seconds. Raises PydanticCustomError.

    >>> parse_duration("30m"), parse_duration("1.5h"), parse_duration(90)
    (1800.0, 5400.0, 90)
    """
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text)
    if match is None or match[2] not in UNITS:
        raise PydanticCustomError("duration", "not a duration; write 90s, 30m or 1.5h")
    return float(match[1]) * UNITS[match[2]]


Duration = Annotated[
    float, BeforeValidator(parse_duration), Field(gt=0, le=1e9, allow_inf_nan=False)
]


class MetricConfig(Section):
    """The number that is compared, and whether lower or higher is better."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_./-]{0,99}$")]
    mode: Literal["min", "max"] = Field("min", description="whether lower or higher is better")
    unit: Annotated[str, Field(max_length=30)] = Field(
        "", description="% for fractions, which are shown in percent"
    )

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name in TAKEN:
            raise PydanticCustomError(
                "taken", "this name is reserved for a column that identifies a row"
            )
        return name


class ProgramCompare(SeedsConfig):
    """How the runs of a program are compared."""

    baseline: str | None = Field(None, description="default: the first arm")
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None,
        description="the largest difference that does not matter; default: no arm is ever called "
        "equivalent",
    )
    target: Annotated[float, Field(allow_inf_nan=False)] | Literal["auto"] = "auto"
    detect: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    paired: bool = Field(False, description="whether runs of one seed share their randomness")


class ProgramSection(Section):
    """A program, and the number that each of its runs reports."""

    name: Name = "program"
    command: Annotated[str, Field(min_length=1, max_length=10_000)]
    read: list[str] = Field(
        default_factory=list, description="patterns with named groups for what the program prints"
    )
    metric: MetricConfig
    time_limit: Duration | None = Field(
        None, description="a run is stopped after this time, such as 30m, and its rows count"
    )

    @model_validator(mode="after")
    def _program_fits(self) -> ProgramSection:
        known = placeholders(self.command)
        if "seed" not in known:
            raise ValueError("command: {seed} is missing: all runs of an arm would be the same")
        if "out" not in known and not self.read:
            raise ValueError(
                "command: {out} is missing, the file to which the program writes its rows; add it, "
                "or give read: patterns that find the numbers in what it prints"
            )
        groups = {each for pattern in patterns(self.read) for each in pattern.groupindex}
        if self.read and self.metric.name not in groups:
            hint = did_you_mean(self.metric.name, sorted(groups))
            raise ValueError(
                f"metric.name: no pattern of read has a group {self.metric.name}{hint}"
            )
        return self

    def check_values(self, where: str, values: Mapping[str, str], filled: Sequence[str]) -> None:
        """Raise ValueError "where.key: what is wrong" unless the values fit the command.

        filled: the placeholders that clr fills.
        """
        known = placeholders(self.command)
        for name in known:
            if name not in filled and name not in values:
                raise ValueError(f"{where}: the command contains {{{name}}}; give {name} a value")
        for key in values:
            if key in filled or key not in known:
                hint = did_you_mean(key, [each for each in known if each not in filled])
                raise ValueError(f"{where}.{key}: not a placeholder of the command{hint}")


class ProgramConfig(ProgramSection):
    """A comparison: one command under several arms."""

    arms: dict[Name, dict[Name, Value]]
    compare: ProgramCompare = ProgramCompare()

    @field_validator("arms", mode="before")
    @classmethod
    def _as_text(cls, arms: Any) -> Any:
        """Return the values as text for the command line."""
        if not isinstance(arms, Mapping):
            return arms
        return {
            arm: as_text(values or {}) if isinstance(values, Mapping | None) else values
            for arm, values in arms.items()
        }

    @model_validator(mode="after")
    def _arms_fit(self) -> ProgramConfig:
        for arm, values in self.arms.items():
            self.check_values(f"arms.{arm}", values, OURS)
        if len(self.arms) < 2:
            raise ValueError("arms: a comparison needs two or more")
        if self.baseline not in self.arms:
            hint = did_you_mean(self.baseline, [*self.arms])
            raise ValueError(f"compare.baseline: {self.baseline!r} is not an arm{hint}")
        return self

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.compare.baseline or next(iter(self.arms))

    @property
    def ordered(self) -> dict[str, dict[str, str]]:
        """The arms, the baseline first."""
        return {self.baseline: self.arms[self.baseline], **self.arms}


class ProgramSearch(ProgramSection):
    """A search for a program's good rates. values: of the other placeholders."""

    values: dict[Name, Value] = Field(default_factory=dict)
    start: Rate = DEFAULT_START
    delta: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @field_validator("values", mode="before")
    @classmethod
    def _as_text(cls, values: Any) -> Any:
        return as_text(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _values_fit(self) -> ProgramSearch:
        if RATE not in placeholders(self.command):
            raise ValueError(
                f"command: {{{RATE}}} is missing, the learning rate that is searched for"
            )
        self.check_values("arm", self.values, (*OURS, RATE))
        return self


def as_text(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for a command line: numbers and booleans become text.

    >>> as_text({"lr": 0.0003, "amp": True})
    {'lr': '0.0003', 'amp': 'True'}
    """
    return {k: str(v) if isinstance(v, bool | int | float) else v for k, v in values.items()}


def placeholders(command: str) -> list[str]:
    """Return the names in braces, once each. Raises ValueError "command: what is wrong".

    >>> placeholders("python train.py --lr {lr} --seed {seed} --dict {{}}")
    ['lr', 'seed']
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"command: {error}; close the quotes, or escape the sign") from None
    try:
        fields = [field for word in words for field in string.Formatter().parse(word)]
    except ValueError as error:
        raise ValueError(
            f"command: {error}; double braces that do not enclose a placeholder"
        ) from None
    if not words:
        raise ValueError("command: empty")
    names = [name for _, name, _, _ in fields if name is not None]
    for _, name, form, conversion in fields:
        if name is not None and (not name.isidentifier() or form or conversion):
            raise ValueError(
                f"command: {{{name}}} is not a placeholder: write a name in braces, "
                "and double all other braces"
            )
    return list(dict.fromkeys(names))


def patterns(texts: Sequence[str]) -> list[re.Pattern[str]]:
    """Compile the patterns for a program's output. Raises ValueError "read: what is wrong".

    >>> patterns([r"step (?P<step>[0-9]+): loss (?P<loss>.+)"])[0].groups
    2
    """
    made = []
    for text in texts:
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise ValueError(f"read: {text!r} is not a regular expression: {error}") from None
        if not pattern.groupindex:
            raise ValueError(f"read: {text!r} has no named group, such as (?P<val_loss>[0-9.]+)")
        made.append(pattern)
    return made


def arguments(command: str, values: Mapping[str, str]) -> list[str]:
    """Return the words of a command with its placeholders filled in; no shell sees them.

    >>> arguments("train '--note=a b' --lr={lr}", {"lr": "3e-4; rm x"})
    ['train', '--note=a b', '--lr=3e-4; rm x']
    """
    return [word.format_map(values) for word in shlex.split(command)]


def parse_arms(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the arms of ``--arm name:key=value,key=value``. Raises InputError.

    >>> parse_arms(["base:lr=3e-4", "new:lr=1e-3,wd=0.1"])
    {'base': {'lr': '3e-4'}, 'new': {'lr': '1e-3', 'wd': '0.1'}}
    """
    arms: dict[str, dict[str, str]] = {}
    for text in texts:
        name, colon, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        if not colon or not name or not all(key and equals for key, equals, _ in pairs):
            raise InputError(f"--arm {text!r}: write it as name:key=value,key=value")
        if name in arms:
            raise InputError(f"--arm {name}: this arm is given twice")
        arms[name] = {}
        for key, _, value in pairs:
            if key in arms[name]:
                raise InputError(f"--arm {name}: {key} is given twice")
            arms[name][key] = value
    return arms
