"""What the commands do once their input is known to be good: plan, run, write, print."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clr_cli import compare as comparison
from clr_cli import console, engines, reporting
from clr_cli.compare import RunRecord
from clr_cli.config import Config, ScheduleConfig, dump
from clr_cli.engines import Run, build_state
from clr_cli.training import TrainState, resolve_device

MOST_AUTO_JOBS = 8  # more workers than this want a decision about memory


@dataclass(frozen=True)
class Options:
    """What the commands share beyond the config."""

    output_dir: Path
    device: str = "auto"
    jobs: int | None = 1  # None: auto
    overwrite: bool = False
    allow_code: bool = False
    json: bool = False
    tensorboard: bool = False

    def workers(self, config: Config, runs: int) -> tuple[int, int | None]:
        """Runs at a time, and CPU threads for each (None where they do not matter)."""
        if resolve_device(self.device).type != "cpu":
            return self.jobs or 1, config.training.threads
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = config.training.threads
        jobs = self.jobs or min(MOST_AUTO_JOBS, max(1, (cores or 1) // (threads or 1)))
        jobs = min(jobs, max(runs, 1))
        return jobs, threads or max(1, (cores or 1) // jobs)

    def run(
        self,
        config: Config,
        arm: str,
        schedule: ScheduleConfig,
        seed: int,
        threads: int | None,
        folder: str = "train",
    ) -> Run:
        return Run(
            config=config,
            arm=arm,
            schedule=schedule,
            seed=seed,
            path=self.output_dir / config.name / folder / arm / f"seed-{seed}",
            device=self.device,
            threads=threads,
            allow_code=self.allow_code,
            overwrite=self.overwrite,
        )


def train(config: Config, arm: str, schedule: ScheduleConfig, seed: int, options: Options) -> None:
    """One run with its figures. Prints the last epoch's numbers."""
    _, threads = options.workers(config, 1)
    run = options.run(config, arm, schedule, seed, threads)
    state = build_state(run)
    console.plan(
        f"clr train: {config.name}, {arm}, seed {seed}",
        [*_plan(config, state), *_schedule_rows({arm: schedule}, config, state)],
    )
    _carry_out([run], 1, config.training.epochs, [f"{arm}, seed {seed}"])
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
            [[f"{arm}, seed {seed}", *_final(final), f"{record.result['images_per_second']:,.0f}"]],
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
    bounds: Path | None = None,
) -> None:
    """Every arm with every seed, then the paired comparison, its figures and page."""
    seeds = config.compare.seed_list
    jobs, threads = options.workers(config, len(arms) * len(seeds))
    state = build_state(options.run(config, config.baseline, arms[config.baseline], 0, threads))
    count = len(arms) * len(seeds)
    console.plan(
        f"clr compare: {config.name}, {' vs '.join(arms)}",
        [
            *_plan(config, state),
            *_schedule_rows(arms, config, state),
            ("runs", f"{len(arms)} schedules x {len(seeds)} seeds = {count}, {jobs} at a time"),
        ],
    )
    costs: dict[str, dict[str, float]] = {arm: {} for arm in arms}
    tuning = None
    folder = "train"
    if tune:
        from clr_cli import tuning as tuner

        arms, tuning = tuner.tune(config, arms, tune, options, jobs, threads, _carry_out)
        for arm, seconds in tuning["seconds"].items():
            costs[arm]["tuning_seconds"] = seconds
        folder = "tuned"
    runs = [
        options.run(config, arm, schedule, seed, threads, folder)
        for seed in seeds  # seed by seed, so that stopping early leaves complete pairs
        for arm, schedule in arms.items()
    ]
    _carry_out(runs, jobs, config.training.epochs, [f"{r.arm}, seed {r.seed}" for r in runs])
    records = [read_record(run) for run in runs]
    for arm, seconds in _range_test_costs(config, options, bounds).items():
        costs[arm]["range_test_seconds"] = seconds
    summary = comparison.summarize(
        records,
        experiment=config.name,
        context=_context(config, state, records, arms),
        num_classes=state.data.num_classes,
        baseline=config.baseline,
        target=config.compare.target,
        margin=config.compare.margin,
        costs=costs,
        tuning=tuning,
    )
    directory = options.output_dir / config.name / ("compare-tuned" if tune else "compare")
    summary["reproduce"] = {"command": command_line(), "config": dump(_compared(config, arms))}
    written = reporting.write_comparison(directory, summary, records)
    if options.tensorboard:
        written += [reporting.write_tensorboard(r.path, read_record(r)) for r in runs]
    if options.json:
        print(json.dumps(summary, indent=2))
        return
    reporting.print_summary(summary)
    console.paths(written)


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
    from clr_cli.runs import read_json

    return dict.fromkeys(users, read_json(folder / "result.json")["seconds"])


def _carry_out(runs: Sequence[Run], jobs: int, epochs: int, names: Sequence[str]) -> None:
    with console.Progress(names, epochs) as progress:
        for event in engines.local(runs, jobs):
            progress.feed(event.index, event.kind, event.value)


def read_record(run: Run) -> RunRecord:
    """What a run left behind, as the pure side sees it."""
    directory = run.directory
    if not directory.finished:
        return RunRecord(run.arm, run.seed, "failed", directory.read_metrics(), {})
    result = directory.read_result()
    return RunRecord(run.arm, run.seed, result["status"], directory.read_metrics(), result)


def _plan(config: Config, state: TrainState) -> Iterator[tuple[str, str]]:
    data, training, optimizer = state.data, config.training, config.optimizer
    yield (
        "data",
        f"{config.dataset.name}: {len(data):,} train, {len(data.val):,} validation, "
        f"{len(data.test):,} test images of {data.height}x{data.width}x{data.channels}, "
        f"{data.num_classes} classes",
    )
    parameters = sum(p.numel() for p in state.model.parameters())
    given = config.model.model_dump(exclude={"name"}, exclude_none=True)
    sizes = "".join(f", {key} {value}" for key, value in given.items())
    yield "model", f"{config.model.name}{sizes}: {parameters:,} parameters"
    threads = f", {torch.get_num_threads()} threads" if state.device.type == "cpu" else ""
    precision = "bf16" if state.autocast else "fp32"
    yield "device", f"{engines.describe_device(state.device)}, {precision}{threads}"
    steps = data.steps_per_epoch(training.batch_size)
    yield (
        "training",
        f"{training.epochs} epochs x {steps} iterations of {training.batch_size} images = "
        f"{training.epochs * steps:,}; {optimizer.name}, momentum {optimizer.momentum:g}, "
        f"weight decay {optimizer.weight_decay:g}",
    )


def _schedule_rows(
    arms: Mapping[str, ScheduleConfig], config: Config, state: TrainState
) -> Iterator[tuple[str, str]]:
    steps = state.data.steps_per_epoch(config.training.batch_size)
    for arm, schedule in arms.items():
        made = engines.resolve_schedule(schedule, steps, config.training.epochs)
        yield arm, reporting.describe_schedule(schedule.kind, made, steps, config.training.epochs)


def _context(
    config: Config,
    state: TrainState,
    records: Sequence[RunRecord],
    arms: Mapping[str, ScheduleConfig],
) -> dict[str, Any]:
    """The contract: what is equal in all arms, and whatever is not."""
    steps = state.data.steps_per_epoch(config.training.batch_size)
    also = []
    for key in ("device", "precision", "threads", "versions"):
        seen = {json.dumps(r.result[key]) for r in records if r.result}
        if len(seen) > 1:
            also.append(f"{key}: {', '.join(sorted(seen))}")
    made = {
        arm: engines.resolve_schedule(schedule, steps, config.training.epochs)
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
        "parameters": sum(p.numel() for p in state.model.parameters()),
        "optimizer": config.optimizer.name,
        "momentum": config.optimizer.momentum,
        "weight_decay": config.optimizer.weight_decay,
        "epochs": config.training.epochs,
        "batch_size": config.training.batch_size,
        "iterations_per_epoch": steps,
        "iterations": steps * config.training.epochs,
        "precision": "bf16" if state.autocast else "fp32",
        "device": engines.describe_device(state.device),
        "threads": torch.get_num_threads() if state.device.type == "cpu" else None,
        "versions": engines.versions(),
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
