"""Define a config: one frozen :class:`Config` describes an experiment.

Nothing here imports torch, so a wrong config is refused at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from clr_cli import schedules
from clr_cli.config.arms import SCHEDULE_MODELS, AnySchedule, ScheduleConfig
from clr_cli.config.hints import did_you_mean, explain
from clr_cli.config.sections import (
    CompareConfig,
    DatasetConfig,
    ModelConfig,
    Name,
    OptimizerConfig,
    RangeTestConfig,
    Section,
    TrainingConfig,
)
from clr_cli.config.trees import with_values
from clr_cli.config.yaml_text import read_bounds
from clr_cli.errors import InputError
from clr_cli.paths import Experiment

# Epochs are not among them: every arm sees the same number of images.
SETTABLE = re.compile(
    r"^(model|optimizer|dataset\.augment)(\.|$)"
    r"|^training\.(batch_size|label_smoothing|precision|accumulate|clip_norm|ema)$"
)
ADAPTIVE = ("adamw", "adam", "nadam", "radam", "rmsprop")


class Config(Section):
    """An experiment: data, model, optimizer, training, and the arms that are compared."""

    name: Name = Field("experiment", description="the experiment; default: the file's name")
    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    range_test: RangeTestConfig = RangeTestConfig()
    schedules: dict[Name, AnySchedule] = Field(default_factory=dict, validate_default=True)
    compare: CompareConfig = CompareConfig()

    @model_validator(mode="before")
    @classmethod
    def _range_by_optimizer(cls, keys: Any) -> Any:
        """Set the range test's default range, which is lower for optimizers like Adam."""
        if not isinstance(keys, Mapping):
            return keys
        optimizer, ramp = keys.get("optimizer"), keys.get("range_test") or {}
        name = optimizer.get("name") if isinstance(optimizer, Mapping) else None
        if name in ADAPTIVE and isinstance(ramp, Mapping):
            return {**keys, "range_test": {"min_lr": 1e-5, "max_lr": 0.1, **ramp}}
        return keys

    @model_validator(mode="after")
    def _arms_are_whole(self) -> Config:
        for name in self.schedules:
            self.for_arm(name)
        return self

    def for_arm(self, name: str) -> Config:
        """Return the config with the keys that this arm sets for itself.

        Raises ValueError "schedules.<name>.set.<key>: what is wrong".
        """
        changes = self.schedules[name].set if name in self.schedules else None
        if not changes:
            return self
        tree = self.model_dump(mode="json")
        schedules = {other: {**arm, "set": None} for other, arm in tree["schedules"].items()}
        for key in changes:
            if not SETTABLE.match(key):
                raise ValueError(
                    f"schedules.{name}.set.{key}: an arm may set only model.*, optimizer.*, "
                    "dataset.augment.*, and training.batch_size, label_smoothing, precision, "
                    "accumulate, clip_norm or ema; all other keys are shared by all arms"
                )
        try:
            return Config.model_validate(with_values({**tree, "schedules": schedules}, changes))
        except ValidationError as error:
            reason = explain(error.errors()[0], Config, SCHEDULE_MODELS)
        except ValueError as error:
            reason = str(error)
        raise ValueError(f"schedules.{name}.set.{reason}")

    def schedule(self, name: str) -> ScheduleConfig:
        """Return the arm of that name, or a bare kind with its defaults. Raises InputError."""
        if name in self.schedules:
            return self.schedules[name]  # type: ignore[no-any-return]
        if name in SCHEDULE_MODELS:
            return SCHEDULE_MODELS[name](kind=name)
        known = list(dict.fromkeys([*self.schedules, *SCHEDULE_MODELS]))
        raise InputError(f"schedule {name!r} is unknown{did_you_mean(name, known)}")

    def arm(self, name: str, output_dir: Path, bounds: Path | None = None) -> ScheduleConfig:
        """Return an arm with the bounds of a file, or its ``auto`` rates from the range test.

        Raises InputError, naming the command to run if there are no bounds yet.
        """
        schedule = self.schedule(name)
        try:
            if bounds is not None:
                return schedule.with_bounds(read_bounds(bounds))
            if not schedule.needs_bounds:
                return schedule
            file = Experiment(output_dir, self.name).bounds(name)
            if not file.exists():
                raise InputError(
                    f"is auto, but {file} does not exist: run clr range-test with the same "
                    "--config and --name first, or pass --bounds",
                    key=f"schedules.{name}",
                )
            return schedule.with_bounds(read_bounds(file), only_auto=True)
        except ValidationError as error:
            reason = explain(error.errors()[0], Config, SCHEDULE_MODELS)
            raise InputError(reason, key=f"schedules.{name}") from None

    def arms(self, output_dir: Path, bounds: Path | None = None) -> dict[str, ScheduleConfig]:
        """Return the comparison's arms by name, the baseline first. Raises InputError."""
        names = self.compare.schedules
        if len(names) < 2 or len(set(names)) < len(names):
            raise InputError(f"{names}: give two or more different arms", key="compare.schedules")
        for name in names:
            self.schedule(name)  # a misspelled arm is named before what follows from it
        if self.baseline not in names:
            raise InputError(
                f"{self.baseline!r} is not an arm{did_you_mean(self.baseline, names)}",
                key="compare.baseline",
            )
        ordered = [self.baseline, *(name for name in names if name != self.baseline)]
        return {name: self.arm(name, output_dir, bounds) for name in ordered}

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.compare.baseline or self.compare.schedules[0]

    def for_sweep(self) -> dict[str, Any]:
        """Return what determines a sweep of the range test; the number of sweeps does not."""
        sections = {"name", "dataset", "model", "optimizer", "training", "range_test"}
        ways = {"sweeps", "probes", "probe_epochs"}
        excluded: dict[str, Any] = {"training": {"epochs"}, "range_test": ways}
        return self.model_dump(mode="json", include=sections, exclude=excluded)

    def for_probe(self, arm: str, schedule: ScheduleConfig, iterations: int) -> dict[str, Any]:
        """Return what determines a probe; range and sweeps do not, so every search can use it.

        The length of a whole run matters only if the schedule lasts the whole run.
        """
        tree = self.for_run(arm, schedule)
        if schedules.has_cycles(schedule.kind):
            del tree["training"]["epochs"]
        return {**tree, "probe": {"iterations": iterations}}

    def for_run(self, arm: str, schedule: ScheduleConfig) -> dict[str, Any]:
        """Return what determines the runs of one arm: its own config, without the other arms."""
        dumped = self.model_dump(mode="json", exclude={"compare", "range_test", "schedules"})
        keys = schedule.model_dump(mode="json", exclude_none=True, exclude={"set"})
        return {**dumped, "schedules": {arm: keys}}
