"""What the commands do once their input is known to be good: plan, run, write, print."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from clr_cli.analysis import stats, tuning
from clr_cli.analysis import summary as comparison
from clr_cli.analysis.suggest import suggest
from clr_cli.cli import terminal as console
from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.hints import did_you_mean
from clr_cli.config.model import Config
from clr_cli.config.yaml_text import dump
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution import engines
from clr_cli.execution import task as tasks
from clr_cli.execution.task import Run
from clr_cli.files import read_json
from clr_cli.records import RunRecord
from clr_cli.report import range_test as range_report
from clr_cli.report import write as reporting
from clr_cli.training import ranks
from clr_cli.training.loop import TrainState, resolve_device
from clr_cli.training.sweep import measured, validation_subset


@dataclass(frozen=True)
class Options:
    """What the commands share beyond the config."""

    output_dir: Path
    device: str = "auto"
    jobs: int | None = 1  # None: auto
    ray_address: str | None = None  # of the cluster that carries the runs out, if one does
    overwrite: bool = False
    allow_code: bool = False
    json: bool = False
    tensorboard: bool = False

    @property
    def engine(self) -> engines.Engine:
        """What carries the runs out. Raises InputError if it is not installed."""
        if self.ray_address is None:
            return engines.Local(self.device, self.jobs)
        from clr_cli.execution import cluster

        return cluster.RayCluster(self.ray_address, self.device, self.jobs)

    @property
    def here(self) -> Options:
        """What this process builds for itself, whoever carries the runs out."""
        return self if self.ray_address is None else replace(self, device="cpu")

    def run(
        self,
        config: Config,
        arm: str,
        schedule: ScheduleConfig,
        seed: int,
        threads: int | None,
        folder: str | None = None,
    ) -> Run:
        """A run, by default kept under train/<arm>."""
        folder = folder or f"train/{arm}"
        return Run(
            config=config,
            arm=arm,
            schedule=schedule,
            seed=seed,
            path=self.output_dir / config.name / folder / f"seed-{seed}",
            device=self.device,
            threads=threads,
            allow_code=self.allow_code,
            overwrite=self.overwrite,
        )


def range_test(config: Config, options: Options) -> int:
    """The sweeps, then the bounds they support. Returns the exit code: 3 without an answer."""
    _refuse_torchrun("range-test")
    count = config.range_test.sweeps
    jobs, threads = options.engine.workers(count, config.training.threads)
    directory = options.output_dir / config.name / "range-test"
    sweeps = [
        tasks.SweepTask(
            config=config,
            seed=k,
            path=directory / f"sweep-{k}",
            device=options.device,
            threads=threads,
            allow_code=options.allow_code,
            overwrite=options.overwrite,
        )
        for k in range(count)
    ]
    state = sweeps[0].build()
    _, total, interval = sweeps[0].plan()
    given = config.range_test
    points = math.ceil(total / interval)
    steps = state.data.steps_per_epoch(config.training.batch_size)
    console.plan(
        f"clr range-test: {config.name}",
        [
            *_plan(config, state, iterations=total),
            ("ramp", f"{given.shape}, {given.min_lr:g} to {given.max_lr:g}"),
            (
                "sweeps",
                f"{count} of {total:,} iterations ({total / steps:.3g} epochs); {jobs} at a time",
            ),
            ("points", f"validation every {interval} iterations on a fixed subset: {points}"),
        ],
    )
    _carry_out(sweeps, jobs, points, options.engine.carry_out(sweeps))
    _check_finished(sweeps)
    curves = [measured(sweep.seed, sweep.directory.read_metrics()) for sweep in sweeps]
    results = [sweep.directory.read_result() for sweep in sweeps]
    subset = validation_subset(state.data.val, interval * state.batch_size).labels
    suggestion = suggest(
        curves,
        num_classes=state.data.num_classes,
        chance=subset.bincount().max().item() / len(subset),
    )
    circumstances = {
        "seconds": sum(result["total_seconds"] for result in results),
        "range": {"shape": given.shape, "min_lr": given.min_lr, "max_lr": given.max_lr},
        **{key: results[0][key] for key in ("device", "precision", "threads", "versions")},
    }
    result, written = range_report.write(directory, curves, suggestion, circumstances)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        range_report.print_result(result)
        console.paths(written)
    return 3 if result["inconclusive"] else 0


def train(config: Config, arm: str, schedule: ScheduleConfig, seed: int, options: Options) -> None:
    """One run with its figures. Prints the last epoch's numbers. Under torchrun, all its ranks."""
    device = ranks.own_device(resolve_device(options.device))
    _, threads = options.engine.workers(1, config.training.threads)
    run = replace(options.run(config, arm, schedule, seed, threads), device=str(device))
    with ranks.joined(device) as group:
        if group.rank:
            group.share(None)  # rank 0 is the first to load the data, and may download them
            tasks.follow(run, group)
            return
        state = run.build()
        group.share(None)
        shared = [("ranks", f"{group.world}, each on a part of every batch")]
        console.plan(
            f"clr train: {config.name}, {arm}, seed {seed}",
            [
                *_plan(config, state),
                *(shared if group.world > 1 else []),
                *_schedule_rows({arm: schedule}, config, state),
            ],
        )
        _carry_out([run], 1, config.training.epochs, engines.local([run], 1, group))
    record = read_record(run)
    written = reporting.write_run(run.path, record, state.schedule)
    if options.tensorboard:
        written.append(reporting.write_tensorboard(run.path, record))
    if options.json:
        print(json.dumps(record.result, indent=2))
        return
    final = record.result["final"]
    if final is None:
        at = record.result["diverged"]
        print(f"\n{arm} diverged at iteration {at['iteration']} (learning rate {at['lr']:g})\n")
    else:
        console.table(
            ["run", "train loss", "test loss", "test accuracy", "images/s"],
            [[run.name, *_final(final), f"{record.result['images_per_second']:,.0f}"]],
        )
    console.paths([run.path / "result.json", run.path / "metrics.jsonl", *written])


def _final(final: Mapping[str, float]) -> list[str]:
    accuracy = f"{final['test_accuracy']:.2%}"
    return [f"{final['train_loss']:.3f}", f"{final['test_loss']:.3f}", accuracy]


def compare(
    config: Config,
    arms: Mapping[str, ScheduleConfig],
    options: Options,
    *,
    tune: int = 0,
    tune_arms: Sequence[str] | None = None,
    bounds: Path | None = None,
    only: Sequence[str] = (),
) -> None:
    """Every arm with every seed, then the paired comparison, its figures and page.

    ``tune``: learning-rate trials for each of ``tune_arms`` (default: every arm) before that.
    ``only``: train no more than these runs, each ``arm:seed``, and compare nothing.
    """
    _refuse_torchrun("compare")
    tuned_arms = _tuned_arms(arms, tune, tune_arms)
    wanted = _wanted(arms, config.compare.seed_list, only)
    engine = options.engine
    with engine.connected():
        jobs, threads = engine.workers(len(wanted), config.training.threads)
        first = options.here.run(config, config.baseline, arms[config.baseline], 0, threads)
        state = first.build()
        _print_comparison_plan(config, arms, engine, state, len(wanted), jobs, threads)
        folders, tuned = {}, None
        if tune:
            at_their_best, tuned = _tune(config, tuned_arms, tune, options)
            arms = {**arms, **at_their_best}
            # A tuned arm is kept by its rate: tuning again with more trials can find another.
            for arm, best in tuned["arms"].items():
                folders[arm] = f"tuned/{tuning.trial_name(arm, best['value'])}"
        runs = [
            options.run(config, arm, arms[arm], seed, threads, folders.get(arm))
            for arm, seed in wanted
        ]
        _carry_out(runs, jobs, config.training.epochs, engine.carry_out(runs))
    if only:
        _check_finished(runs)
        console.note("\nthe same command without --only compares, once all runs are there")
        return
    costs: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    for arm, seconds in (tuned["seconds"] if tuned else {}).items():
        costs[arm]["tuning_seconds"] = seconds
    for arm, seconds in _range_test_costs(config, options, bounds).items():
        costs[arm]["range_test_seconds"] = seconds
    _conclude(config, arms, options, state, runs, costs, tuned)


def _print_comparison_plan(
    config: Config,
    arms: Mapping[str, ScheduleConfig],
    engine: engines.Engine,
    state: TrainState,
    wanted: int,
    jobs: int,
    threads: int | None,
) -> None:
    seeds = len(config.compare.seed_list)
    runs = len(arms) * seeds
    now = f"{jobs} at a time{engine.where}"
    few = "" if wanted == runs else f", of which {wanted} now"
    console.plan(
        f"clr compare: {config.name}, {' vs '.join(arms)}",
        [
            *_plan(config, state, device=engine.place(threads)),
            *_schedule_rows(arms, config, state),
            ("runs", f"{len(arms)} schedules x {seeds} seeds = {runs}{few}, {now}"),
        ],
    )
    fewest = stats.seeds_for_test(len(arms) - 1)
    if seeds < fewest:
        console.note(f"{seeds} seeds are too few to show any difference; --seeds {fewest} may\n")


def _conclude(
    config: Config,
    arms: Mapping[str, ScheduleConfig],
    options: Options,
    state: TrainState,
    runs: Sequence[Run],
    costs: Mapping[str, Mapping[str, float]],
    tuned: dict[str, Any] | None,
) -> None:
    """The comparison of runs that are there: written, and printed."""
    records = [read_record(run) for run in runs]
    if not any(r.arm == config.baseline and r.status != "failed" for r in records):
        raise EnvironmentFailure(f"no run of the baseline {config.baseline} could be finished")
    summary = comparison.summarize(
        records,
        experiment=config.name,
        context=_context(config, state, records, arms),
        num_classes=state.data.num_classes,
        baseline=config.baseline,
        target=config.compare.target,
        margin=config.compare.margin,
        costs=costs,
        tuning=tuned,
    )
    directory = options.output_dir / config.name / ("compare-tuned" if tuned else "compare")
    summary["reproduce"] = {"command": command_line(), "config": dump(_compared(config, arms))}
    written = reporting.write_comparison(directory, summary, records)
    if options.tensorboard:
        written += [
            reporting.write_tensorboard(run.path, record)
            for run, record in zip(runs, records, strict=True)
        ]
    if options.json:
        print(json.dumps(summary, indent=2))
        return
    reporting.print_summary(summary)
    console.paths(written)


def _wanted(
    arms: Mapping[str, ScheduleConfig], seeds: Sequence[int], only: Sequence[str]
) -> list[tuple[str, int]]:
    """The plan's runs, or those of --only. Raises InputError for a run that is not in the plan."""
    # Seed by seed, so that stopping early leaves complete pairs.
    plan = {f"{arm}:{seed}": (arm, seed) for seed in seeds for arm in arms}
    for name in only:
        if name not in plan:
            raise InputError(f"--only {name}: no run of this plan{did_you_mean(name, list(plan))}")
    return [plan[name] for name in only or plan]


def _refuse_torchrun(command: str) -> None:
    if ranks.launched() > 1:
        raise InputError(f"torchrun splits one run: use it with clr train, not with clr {command}")


def _tuned_arms(
    arms: Mapping[str, ScheduleConfig], tune: int, names: Sequence[str] | None
) -> dict[str, ScheduleConfig]:
    """The arms that --tune is to try. Raises InputError."""
    if names is None:
        return dict(arms)
    if not tune:
        raise InputError("--tune-arms: say with --tune N how many trials each of them gets")
    for name in names:
        if name not in arms:
            raise InputError(f"--tune-arms: {name!r} is no arm{did_you_mean(name, list(arms))}")
    return {name: arms[name] for name in names}


def _tune(
    config: Config, arms: Mapping[str, ScheduleConfig], trials: int, options: Options
) -> tuple[dict[str, ScheduleConfig], dict[str, Any]]:
    """Every arm's trials, and the arms at their best rates."""
    rates = tuning.grid(config, trials)
    engine = options.engine
    jobs, threads = engine.workers(len(arms) * trials, config.training.threads)
    runs = [
        options.run(
            config,
            tuning.trial_name(arm, rate),
            tuning.trial(schedule, rate),
            tuning.FIRST_SEED,
            threads,
            f"tuning/{tuning.trial_name(arm, rate)}",
        )
        for rate in rates
        for arm, schedule in arms.items()
    ]
    console.note(f"tuning: {trials} trials for each of {', '.join(arms)}: {rates}")
    _carry_out(runs, jobs, config.training.epochs, engine.carry_out(runs))
    chosen = tuning.choose(arms, rates, [read_record(run) for run in runs])
    for arm, best in chosen["arms"].items():
        edge = "; at the edge of the grid: a better one may lie outside" if best["edge"] else ""
        console.note(
            f"  {arm}: {best['key']} {best['value']:g} "
            f"({best['val_accuracy']:.2%} validation accuracy){edge}"
        )
    tuned = {
        arm: tuning.trial(schedule, chosen["arms"][arm]["value"]) for arm, schedule in arms.items()
    }
    return tuned, chosen


def _range_test_costs(config: Config, options: Options, bounds: Path | None) -> dict[str, float]:
    """Seconds of the range test, charged to every arm that uses its bounds."""
    users = [
        name
        for name in config.compare.schedules
        if (bounds and {"base_lr", "max_lr"} & set(type(config.schedule(name)).model_fields))
        or config.schedule(name).needs_bounds
    ]
    folder = bounds.parent if bounds else options.output_dir / config.name / "range-test"
    if not users or not (folder / "result.json").exists():
        return {}
    return dict.fromkeys(users, read_json(folder / "result.json")["seconds"])


def _carry_out(
    runs: Sequence[tasks.AnyTask], jobs: int, epochs: int, events: Iterator[tasks.Event]
) -> None:
    with console.Progress([run.name for run in runs], epochs, jobs) as progress:
        for event in events:
            progress.feed(event.index, event.kind, event.value)


def _check_finished(carried_out: Sequence[tasks.AnyTask]) -> None:
    failed = [task.name for task in carried_out if not task.directory.finished]
    if failed:
        raise EnvironmentFailure(f"{', '.join(failed)} could not be finished")


def read_record(run: Run) -> RunRecord:
    """What a run left behind, as the pure side sees it."""
    directory = run.directory
    if not directory.finished:
        return RunRecord(run.arm, run.seed, "failed", directory.read_metrics(), {})
    result = directory.read_result()
    return RunRecord(run.arm, run.seed, result["status"], directory.read_metrics(), result)


def _plan(
    config: Config, state: TrainState, iterations: int | None = None, device: str | None = None
) -> Iterator[tuple[str, str]]:
    data, training, optimizer = state.data, config.training, config.optimizer
    yield (
        "data",
        f"{config.dataset.name}: {len(data):,} train, {len(data.val):,} validation, "
        f"{len(data.test):,} test images of {data.height}x{data.width}x{data.channels}, "
        f"{data.num_classes} classes",
    )
    given = config.model.model_dump(exclude={"name"}, exclude_none=True)
    sizes = "".join(f", {key} {value}" for key, value in given.items())
    yield "model", f"{config.model.name}{sizes}: {state.parameters:,} parameters"
    threads = f", {torch.get_num_threads()} threads" if state.device.type == "cpu" else ""
    here = f"{tasks.describe_device(state.device)}, {state.precision}{threads}"
    yield "device", device or here
    steps = data.steps_per_epoch(training.batch_size)
    length = (
        f"{training.epochs} epochs x {steps} iterations = {training.epochs * steps:,}"
        if iterations is None
        else f"{iterations:,} iterations"
    )
    yield (
        "training",
        f"{length} of {training.batch_size} images; {optimizer.name}, "
        f"momentum {optimizer.momentum:g}, "
        f"weight decay {optimizer.weight_decay:g}",
    )


def _schedule_rows(
    arms: Mapping[str, ScheduleConfig], config: Config, state: TrainState
) -> Iterator[tuple[str, str]]:
    steps = state.data.steps_per_epoch(config.training.batch_size)
    for arm, schedule in arms.items():
        made = tasks.resolve_schedule(schedule, steps, config.training.epochs)
        yield arm, reporting.describe_schedule(schedule.kind, made, steps, config.training.epochs)


def _context(
    config: Config,
    state: TrainState,
    records: Sequence[RunRecord],
    arms: Mapping[str, ScheduleConfig],
) -> dict[str, Any]:
    """The contract: what is equal in all arms, and whatever is not."""
    steps = state.data.steps_per_epoch(config.training.batch_size)
    ran = next(r.result for r in records if r.result)
    also = []
    for key in ("device", "precision", "threads", "versions"):
        seen = {json.dumps(r.result[key]) for r in records if r.result}
        if len(seen) > 1:
            also.append(f"{key}: {', '.join(sorted(seen))}")
    made = {
        arm: tasks.resolve_schedule(schedule, steps, config.training.epochs)
        for arm, schedule in arms.items()
    }
    cycled = [arm for arm, schedule in made.items() if schedule.momentum(0) is not None]
    if cycled:
        also.append(f"momentum is cycled in {', '.join(cycled)}")
    return {
        "varied": "the learning-rate schedule",
        "also_differs": also,
        "dataset": config.dataset.name,
        "train_size": len(state.data),
        "val_size": len(state.data.val),
        "test_size": len(state.data.test),
        "num_classes": state.data.num_classes,
        "model": config.model.name,
        "parameters": state.parameters,
        "optimizer": config.optimizer.name,
        "momentum": config.optimizer.momentum,
        "weight_decay": config.optimizer.weight_decay,
        "epochs": config.training.epochs,
        "batch_size": config.training.batch_size,
        "iterations_per_epoch": steps,
        "iterations": steps * config.training.epochs,
        **{key: ran[key] for key in ("precision", "device", "threads", "versions")},
        "determinism": "arms of one seed share initial weights, data order and crops",
    }


def _compared(config: Config, arms: Mapping[str, ScheduleConfig]) -> dict[str, Any]:
    """The config with the arms as they were run, bounds and tuned rates filled in."""
    schedules = {
        arm: schedule.model_dump(mode="json", exclude_none=True) for arm, schedule in arms.items()
    }
    return {**config.model_dump(mode="json", exclude_none=True), "schedules": schedules}


def command_line() -> str:
    """The command as it was typed, for the report."""
    return shlex.join(["clr", *sys.argv[1:]])
