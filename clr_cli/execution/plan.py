"""Which tasks a command executes, and their folders: pure values, made before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clr_cli.analysis import tuning
from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.lattice import rate as lattice_rate
from clr_cli.config.hints import did_you_mean
from clr_cli.errors import InputError
from clr_cli.paths import Experiment

if TYPE_CHECKING:  # imported where a task is made: programs are planned without torch
    from clr_cli.config.arms import ScheduleConfig
    from clr_cli.config.model import Config
    from clr_cli.execution.probe_task import ProbeTask
    from clr_cli.execution.training_task import Run, SweepTask


@dataclass(frozen=True)
class RunOptions:
    """How every task of a plan is executed, beyond its config."""

    experiment: Experiment
    device: str = "auto"
    allow_code: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which runs a comparison has.

    arms: by name, the baseline first. only: (arm, seed) of the runs to execute, where these are
    not all. cap: the most seeds, where they are added until every arm is decided.
    """

    arms: Mapping[str, Any]
    seeds: tuple[int, ...]
    only: tuple[tuple[str, int], ...] = ()
    cap: int | None = None

    @property
    def adds_seeds(self) -> bool:
        """Whether seeds are added, up to those here, until every arm is decided."""
        return self.cap is not None and not self.only

    @property
    def all_runs(self) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of every run, seed by seed: stopped early, it leaves complete pairs."""
        return tuple((arm, seed) for seed in self.seeds for arm in self.arms)

    @property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        return self.only or self.all_runs

    def first(self, count: int) -> Self:
        """The plan with the first seeds alone."""
        return replace(self, seeds=self.seeds[:count])

    def with_only(self, names: Sequence[str]) -> Self:
        """The plan that executes these runs alone, each ``arm:seed``; all where none is named.

        Raises InputError for one that it does not have.
        """
        known = {f"{arm}:{seed}": (arm, seed) for arm, seed in self.all_runs}
        for name in names:
            if name not in known:
                hint = did_you_mean(name, [*known])
                raise InputError(f"--only {name}: not a run of this plan{hint}")
        return replace(self, only=tuple(known[name] for name in names))


@dataclass(frozen=True, kw_only=True)
class Plan(Runs):
    """The runs of a comparison, and the trials that tune its arms before it.

    tuned_arms: those whose rate is searched for first, with at most tune_seeds runs at a rate.
    chosen: the rate of every arm that has been tuned.
    """

    config: Config
    options: RunOptions
    arms: Mapping[str, ScheduleConfig]
    tuned_arms: tuple[str, ...] = ()
    tune_seeds: int = 1
    chosen: Mapping[str, float] = field(default_factory=dict)

    def runs(self, threads: int | None) -> list[Run]:
        """The runs to execute, each with so many CPU threads."""
        return [self.run(arm, seed, threads) for arm, seed in self.wanted]

    def run(self, arm: str, seed: int, threads: int | None) -> Run:
        from clr_cli.execution.training_task import Run

        # A tuned arm is kept by its rate: tuning again with more trials can find another.
        places = self.options.experiment
        path = places.run(arm, seed)
        if arm in self.chosen:
            path = places.tuned_run(tuning.trial_name(arm, self.chosen[arm]), seed)
        config = self.config.for_arm(arm)
        if "split" in self.config.compare.vary:
            dataset = config.dataset.model_copy(update={"split": seed})
            config = config.model_copy(update={"dataset": dataset})
        return Run(
            config=config,
            arm=arm,
            schedule=self.arms[arm],
            seed=seed,
            path=path,
            device=self.options.device,
            threads=threads,
            allow_code=self.options.allow_code,
            overwrite=self.options.overwrite,
        )

    @property
    def folder(self) -> Path:
        """Where the comparison is written."""
        return self.options.experiment.comparison(tuned=bool(self.tuned_arms))

    def trial(self, arm: str, probe: Probe, threads: int | None) -> Run:
        """A run of the arm at one rate of the lattice, on a seed that the comparison lacks."""
        rate, seed = lattice_rate(probe[0]), tuning.FIRST_SEED + probe[1]
        name = tuning.trial_name(arm, rate)
        return replace(
            self.run(arm, seed, threads),
            arm=name,
            schedule=self.arms[arm].at_rate(rate),
            path=self.options.experiment.trial(name, seed),
        )

    def as_run(self) -> dict[str, Any]:
        """The config with the arms as they are run, bounds and tuned rates filled in."""
        schedules = {
            arm: schedule.model_dump(mode="json", exclude_none=True)
            for arm, schedule in self.arms.items()
        }
        return {**self.config.model_dump(mode="json", exclude_none=True), "schedules": schedules}

    def at(self, chosen: Mapping[str, float]) -> Plan:
        """The plan with the arms that have been tuned at the rates chosen for them."""
        tuned = {arm: self.arms[arm].at_rate(rate) for arm, rate in chosen.items()}
        return replace(self, arms={**self.arms, **tuned}, chosen=dict(chosen))


def plan(
    config: Config,
    options: RunOptions,
    arms: Mapping[str, ScheduleConfig],
    seeds: Sequence[int],
    *,
    tune: bool = False,
    tune_seeds: int = tuning.SEEDS,
    tune_arms: Sequence[str] | None = None,
    only: Sequence[str] = (),
) -> Plan:
    """The plan of a comparison.

    Args:
        tune: search for the rate of each of ``tune_arms`` (default: all arms) beforehand.
        tune_seeds: most runs at one rate, on seeds that the comparison does not use.
        only: the runs to execute, each ``arm:seed``; default: all.

    Raises:
        InputError: an option names an arm or a run that the plan does not have.
    """
    tuned: tuple[str, ...] = ()
    if tune_arms is not None and not tune:
        raise InputError("--tune-arms: give --tune as well")
    if tune:
        tuned = tuple(arms if tune_arms is None else tune_arms)
    for name in tuned:
        if name not in arms:
            raise InputError(f"--tune-arms: there is no arm {name!r}{did_you_mean(name, [*arms])}")
    whole = Plan(
        config=config,
        options=options,
        arms=arms,
        seeds=tuple(seeds),
        cap=config.compare.cap,
        tuned_arms=tuned,
        tune_seeds=tune_seeds,
    )
    return whole.with_only(only)


def sweeps(config: Config, options: RunOptions, threads: int | None) -> list[SweepTask]:
    """The sweeps of a range test."""
    from clr_cli.execution.training_task import SweepTask

    return [
        SweepTask(
            config=config,
            seed=number,
            path=options.experiment.sweep(config.range_test.ramp, number),
            device=options.device,
            threads=threads,
            allow_code=options.allow_code,
            overwrite=options.overwrite,
        )
        for number in range(config.range_test.sweep_count)
    ]


@dataclass(frozen=True)
class Probes:
    """The probes of a range test: an arm, each probe of so many iterations."""

    config: Config
    options: RunOptions
    arm: str
    schedule: ScheduleConfig
    iterations: int

    def task(self, probe: Probe, threads: int | None) -> ProbeTask:
        """The probe at a place of the lattice, with a seed that no comparison has."""
        from clr_cli.execution.probe_task import ProbeTask

        rate, seed = lattice_rate(probe[0]), tuning.FIRST_SEED + probe[1]
        name = tuning.trial_name(self.arm, rate)
        return ProbeTask(
            config=self.config.for_arm(self.arm),
            arm=self.arm,
            schedule=self.schedule.at_rate(rate),
            iterations=self.iterations,
            seed=seed,
            path=self.options.experiment.probe(name, self.iterations, seed),
            device=self.options.device,
            threads=threads,
            allow_code=self.options.allow_code,
            overwrite=self.options.overwrite,
        )
