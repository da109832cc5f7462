"""Take a study's runs from clr's own training: a config's arms, one task and folder a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clr_cli.analysis import tuning
from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.analysis.study import Facts, Study
from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.config.trees import differences
from clr_cli.config.yaml_text import dump
from clr_cli.errors import EnvironmentFailure
from clr_cli.execution.range_test_tasks import ProbeTask, SweepTask
from clr_cli.execution.setup import Setup
from clr_cli.execution.task import TaskOptions
from clr_cli.execution.training_task import Run, resolve_schedule
from clr_cli.records import (
    TEST_ACCURACY,
    VAL_ACCURACY,
    ControlledVariables,
    RunRecord,
    Tuning,
)

DEFAULT_MARGIN = 0.001  # a tenth of a point


def study_of(config: Config, arms: Sequence[str]) -> Study:
    """Return the study of these arms, the baseline first, that a config's ``compare`` describes."""
    given = config.compare
    return Study(
        name=config.name,
        arms=tuple(arms),
        baseline=config.baseline,
        seeds=tuple(given.seed_list),
        metric=TEST_ACCURACY,
        cap=given.cap,
        paired=given.design == "paired",
        target=given.target,
        target_metric=VAL_ACCURACY,  # nothing is chosen on the test split
        margin=given.margin,
        default_margin=DEFAULT_MARGIN if given.margin is None else None,
        detect=given.detect,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSource:
    """The runs of a config's arms.

    Attributes:
        config: the experiment's config.
        options: options of every task.
        arms: the schedule of every arm.
        threads: CPU threads of a run.
        setups: sizes of data and model by arm; only the facts need them.
        chosen: the rate of every tuned arm.
        tuned: how these rates were chosen; None without tuning.
        costs: seconds of each arm besides its training.
    """

    config: Config
    options: TaskOptions
    arms: Mapping[str, ScheduleConfig]
    threads: int | None = None
    setups: Mapping[str, Setup] = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)
    tuned: Tuning | None = None
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def task(self, arm: str, seed: int) -> Run:
        # A tuned arm's folder is named by its rate: tuning with more trials can choose another.
        places = self.options.experiment
        path = places.run(arm, seed)
        if arm in self.chosen:
            path = places.tuned_run(tuning.trial_name(arm, self.chosen[arm]), seed)
        config = self.config.for_arm(arm)
        if "split" in self.config.compare.vary:
            dataset = config.dataset.model_copy(update={"split": seed})
            config = config.model_copy(update={"dataset": dataset})
        return Run(
            **self.options.of_task(path, self.threads),
            allow_code=self.options.allow_code,
            config=config,
            arm=arm,
            schedule=self.arms[arm],
            seed=seed,
        )

    def trial(self, arm: str, probe: Probe) -> Run:
        """Return a run of the arm at one rate of the lattice, on a seed that no comparison uses."""
        rate, seed = lattice_rate(probe[0]), tuning.FIRST_SEED + probe[1]
        name = tuning.trial_name(arm, rate)
        return replace(
            self.task(arm, seed),
            arm=name,
            schedule=self.arms[arm].at_rate(rate),
            path=self.options.experiment.trial(name, seed),
        )

    def at(self, tuned: Tuning) -> TrainingSource:
        """Return the source with the tuned arms at the rates that were chosen for them."""
        arms = {arm: self.arms[arm].at_rate(rate) for arm, rate in tuned.rates.items()}
        return replace(self, arms={**self.arms, **arms}, chosen=tuned.rates, tuned=tuned)

    def record(self, arm: str, seed: int) -> RunRecord:
        """Return a run; ``failed`` if it did not finish. Raises InputError.

        If arms have different batch sizes, its rows count images too.
        """
        task = self.task(arm, seed)
        record = task.record()
        sizes = {self.config.for_arm(each).training.batch_size for each in self.arms}
        if len(sizes) == 1:
            return record
        size = task.config.training.batch_size
        rows = [{**row, "images": size * row["iteration"]} for row in record.epochs]
        return replace(record, epochs=rows)

    def facts(self, records: Sequence[RunRecord]) -> Facts:
        return Facts(
            shared=self._shared(records),
            costs=self.costs,
            tuning=self.tuned,
            config=dump(self.as_run()),
        )

    def without_baseline(self, baseline: str) -> EnvironmentFailure:
        return EnvironmentFailure(f"no run of the baseline {baseline} finished")

    def as_run(self) -> dict[str, Any]:
        """Return the config with every arm as it is run: with its bounds and tuned rate."""
        schedules = {
            arm: schedule.model_dump(mode="json", exclude_none=True)
            for arm, schedule in self.arms.items()
        }
        return {**self.config.model_dump(mode="json", exclude_none=True), "schedules": schedules}

    def _shared(self, records: Sequence[RunRecord]) -> ControlledVariables:
        """Return the controlled variables: sizes, hyperparameters, and what the arms set."""
        setup, epochs = self.setups[self.config.baseline], self.config.training.epochs
        configs = {arm: self.config.for_arm(arm) for arm in self.arms}
        kept = {"dataset", "model", "optimizer", "training"}
        own = differences(
            {arm: each.model_dump(mode="json", include=kept) for arm, each in configs.items()}
        )
        also = [
            f"{key}: {', '.join(f'{arm} {value}' for arm, value in values.items())}"
            for key, values in own.items()
        ]
        keys = ("device", "precision", "threads", "versions")
        ran = _alike({key: r.result[key] for key in keys} for r in records if r.result)
        for key in keys:
            if key not in ran:
                seen = {json.dumps(r.result[key]) for r in records if r.result}
                also.append(f"{key}: {', '.join(sorted(seen))}")
        steps = {arm: self.setups[arm].steps_per_epoch for arm in self.arms}
        made = {arm: resolve_schedule(each, steps[arm], epochs) for arm, each in self.arms.items()}
        cycled = [arm for arm, schedule in made.items() if schedule.momentum(0) is not None]
        if cycled:
            also.append(f"momentum is cycled in {', '.join(cycled)}")
        alike = _alike(
            {
                "model": each.model.name,
                "parameters": self.setups[arm].parameters,
                "optimizer": each.optimizer.name,
                "momentum": each.optimizer.used.get("momentum"),
                "weight_decay": each.optimizer.used.get("weight_decay"),
                "batch_size": each.training.batch_size,
                "iterations_per_epoch": steps[arm],
                "iterations": steps[arm] * epochs,
            }
            for arm, each in configs.items()
        )
        weights = "" if any(key.startswith("model.") for key in own) else "initial weights, "
        crops = "" if any(key.startswith("dataset.augment.") for key in own) else ", crops"
        shared = {
            **alike,
            **ran,
            "varied": "the arms; see 'Also differs' below" if own else "the learning-rate schedule",
            "also_differs": also,
            "dataset": self.config.dataset.label,
            "train_size": setup.train_size,
            "val_size": setup.val_size,
            "test_size": setup.test_size,
            "num_classes": setup.num_classes,
            "epochs": epochs,
            "determinism": f"arms of one seed share {weights}data order{crops} and split"
            + ", which this design does not use" * (self.config.compare.design != "paired"),
            "vary": self.config.compare.vary,
        }
        return ControlledVariables.model_validate(shared)


def _alike(trees: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keys that have one value in all of these."""
    first, *others = trees
    return {k: value for k, value in first.items() if all(each[k] == value for each in others)}


def sweeps(config: Config, options: TaskOptions, threads: int | None) -> list[SweepTask]:
    """Return the sweeps of a range test."""
    ramp, places = config.range_test.ramp, options.experiment
    return [
        SweepTask(
            **options.of_task(places.sweep(ramp, number), threads),
            allow_code=options.allow_code,
            config=config,
            seed=number,
        )
        for number in range(config.range_test.sweeps)
    ]


@dataclass(frozen=True)
class Probes:
    """The probes of a range test: an arm, and the iterations of a probe."""

    config: Config
    options: TaskOptions
    arm: str
    schedule: ScheduleConfig
    iterations: int
    threads: int | None

    def task(self, probe: Probe) -> ProbeTask:
        """Return the probe at a place of the lattice, with a seed that no comparison uses."""
        rate, seed = lattice_rate(probe[0]), tuning.FIRST_SEED + probe[1]
        name = tuning.trial_name(self.arm, rate)
        path = self.options.experiment.probe(name, self.iterations, seed)
        return ProbeTask(
            **self.options.of_task(path, self.threads),
            allow_code=self.options.allow_code,
            config=self.config.for_arm(self.arm),
            arm=self.arm,
            schedule=self.schedule.at_rate(rate),
            iterations=self.iterations,
            seed=seed,
        )
