"""``clr compare``: does one schedule beat another?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clr_cli.cli import compare_program, compare_results, program_options, terminal
from clr_cli.cli.looks import looks_of, power_note, until_decided
from clr_cli.cli.options import (
    DEFAULT_CONFIG,
    Across,
    AllowCode,
    ArmColumn,
    Arms,
    AsJson,
    Bounds,
    Command,
    Device,
    ExperimentName,
    Jobs,
    MetricMode,
    MetricName,
    MetricUnit,
    OptionalConfig,
    Options,
    OutputDir,
    Overwrite,
    Paired,
    RayAddress,
    Reads,
    Results,
    RunEngine,
    RunName,
    SeedColumn,
    Sets,
    StepColumn,
    Tensorboard,
    Where,
    command_line,
    errors_in,
    listed,
    load,
    parse_engine,
    parse_jobs,
    refuse,
    refuse_torchrun,
)

if TYPE_CHECKING:
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.plan import Plan
    from clr_cli.execution.setup import Setup
    from clr_cli.execution.training_task import Run
    from clr_cli.records import RunRecord


# Options of runs that are not clr's own training, and of clr's own training alone.
ELSEWHERE = {"source", "cmd", "arm", "read", "metric", "mode", "unit", "paired"}
TABLES = {"arm_column", "seed_column", "step_column", "where", "across", "run_name"}
OWN = {"schedules", "vary", "tune", "tune_seeds", "tune_arms", "bounds", "tensorboard"}


def command(
    context: typer.Context,
    config: OptionalConfig = None,
    source: Results = None,
    cmd: Command = None,
    arm: Arms = None,
    read: Reads = None,
    arm_column: ArmColumn = None,
    seed_column: SeedColumn = None,
    step_column: StepColumn = None,
    where: Where = None,
    across: Across = None,
    run_name: RunName = None,
    metric: MetricName = None,
    mode: MetricMode = None,
    unit: MetricUnit = None,
    paired: Paired = False,
    schedules: Annotated[
        str | None, typer.Option(help="The arms, e.g. constant,clr,one_cycle,cosine.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many paired seeds, a list such as 0,1,7, or auto[:CAP].")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The arm to compare with; with --from also a number.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Value to be reached (validation accuracy: 0.9), or auto.")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Differences that do not matter (accuracy: 0.001 = 0.1 points)."),
    ] = None,
    detect: Annotated[
        float | None, typer.Option(help="Say how many seeds show this many points of accuracy.")
    ] = None,
    vary: Annotated[
        str | None, typer.Option(help="What differs from seed to seed: seed, or seed,split.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="First search for the best rate of every arm.")
    ] = False,
    tune_seeds: Annotated[
        int, typer.Option(min=2, max=20, help="Runs of a rate at most, on seeds of their own.")
    ] = 3,
    tune_arms: Annotated[
        str | None, typer.Option(help="Tune only these arms, e.g. constant.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Train this run of the plan, arm:seed, and no other."),
    ] = None,
    bounds: Bounds = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    engine: RunEngine = "local",
    ray_address: RayAddress = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    tensorboard: Tensorboard = False,
    as_json: AsJson = False,
) -> None:
    """Is one schedule better than another here? By how much, how surely, how much sooner?"""
    if source is not None:
        why = "trains runs; it does not apply with --from"
        refuse(context, why, lambda name: name not in compare_results.OPTIONS)
        shared = (schedules, baseline, target, margin, detect, name, output_dir, as_json)
        columns = (arm_column, seed_column, step_column, where, across, run_name)
        compare_results.compare(
            compare_results.Request(source, metric, mode, unit, paired, *shared), *columns
        )
        return
    refuse(context, "applies only with --from", TABLES.__contains__)
    options = Options(
        output_dir,
        device,
        parse_jobs(jobs),
        ray_address=parse_engine(engine, ray_address),
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
        tensorboard=tensorboard,
    )
    if cmd is not None or program_options.is_program(config, sets or ()):
        refuse(context, "is for clr's own training, not for a program", OWN.__contains__)
        given = program_options.Given(
            *(config, sets or (), name, cmd, arm or (), read or ()),
            metric={"name": metric, "mode": mode, "unit": unit},
            compare={
                "seeds": program_options.parse_seeds(seeds),
                "baseline": baseline,
                "target": program_options.parse_target(target),
                "margin": margin,
                "detect": detect,
                "paired": paired or None,
            },
        )
        own = program_options.comparison(given, allow_code=allow_code)
        compare_program.compare(own, options.check(own), only or (), command_line())
        return
    refuse(context, "applies only with --from or --cmd", ELSEWHERE.__contains__)
    config = config or DEFAULT_CONFIG
    keys = {
        "schedules": listed(schedules),
        "seeds": seeds if seeds is None or re.match(r"\d+$|auto", seeds) else listed(seeds),
        "baseline": baseline,
        "target": target,
        "margin": margin,
        "detect": detect,
        "vary": listed(vary),
    }
    overrides = (f"compare.{key}={value}" for key, value in keys.items() if value is not None)
    resolved = load(config, sets, name, *overrides)
    with errors_in(config):
        arms = resolved.arms(output_dir, bounds)
        options.check(resolved)
        refuse_torchrun("compare")
        from clr_cli.execution.plan import plan

        planned = plan(
            resolved,
            options.for_runs(resolved),
            arms,
            resolved.compare.seed_list,
            tune=tune,
            tune_seeds=tune_seeds,
            tune_arms=None if tune_arms is None else tune_arms.split(","),
            only=only or (),
        )
        _compare(planned, options, bounds)


def _compare(plan: Plan, options: Options, bounds: Path | None) -> None:
    """Execute the plan, then compare, write and print. With --only: execute those runs alone."""
    from dataclasses import replace

    from clr_cli.cli.tuning import tune_arms
    from clr_cli.execution.records import check_finished, read_records
    from clr_cli.execution.setup import measure

    config, engine = plan.config, options.engine
    with engine.connected():
        first = plan.run(config.baseline, 0, config.training.threads)
        jobs, threads = engine.workers(len(plan.wanted), config.training.threads, first)
        first = replace(first, threads=threads)
        # What this process builds for itself, whoever executes the runs.
        here = options.device if options.ray_address is None else "cpu"
        setup = measure(replace(first, device=here))
        setups = {  # an arm that cannot be built is refused before anything is trained
            arm: setup
            if config.for_arm(arm) == config.for_arm(config.baseline)
            else measure(replace(plan.run(arm, 0, threads), device=here))
            for arm in plan.arms
        }
        _print_plan(plan, engine, setups, jobs, threads)
        tuned = None
        if plan.tuned_arms:
            tuned = tune_arms(plan, engine, setup)
            plan = plan.at({arm: best["value"] for arm, best in tuned["arms"].items()})

        def execute(batch: Plan, done: int) -> None:
            new = batch.runs(threads)[done:]
            terminal.follow(new, jobs, config.training.epochs, engine.execute(new))

        def read(batch: Plan) -> list[RunRecord]:
            return read_records(batch.runs(threads))

        rule = {"baseline": config.baseline, "margin": config.compare.margin, "cap": plan.cap}
        plan, looks = until_decided(plan, looks_of(plan), execute, read, rule)
    runs = plan.runs(threads)
    if plan.only:
        check_finished(runs)
        terminal.note("\nonce all runs are finished, the same command without --only compares them")
        return
    _conclude(plan, options, setups, runs, _costs(plan, tuned, bounds), tuned, looks)


def _print_plan(
    plan: Plan, engine: Engine, setups: Mapping[str, Setup], jobs: int, threads: int | None
) -> None:
    from clr_cli.analysis import stats
    from clr_cli.cli import setup as describe

    arms, seeds, runs, now = plan.arms, len(plan.seeds), len(plan.all_runs), len(plan.wanted)
    few = "" if now == runs else f", of which {now} now"
    most = "at most " if plan.adds_seeds else ""
    terminal.plan(
        f"clr compare: {plan.config.name}, {' vs '.join(arms)}",
        [
            *describe.rows(
                plan.config.for_arm(plan.config.baseline),
                setups[plan.config.baseline],
                place=engine.place(threads),
            ),
            *describe.schedule_rows(arms, plan.config, setups),
            (
                "runs",
                f"{len(arms)} schedules x {most}{seeds} seeds = {most}{runs}{few}, "
                f"{jobs} at a time{engine.where}",
            ),
        ],
    )
    if len(arms) > 1:
        terminal.note(power_note(plan))
    fewest = stats.seeds_for_test(len(arms) - 1)
    if seeds < fewest:
        terminal.note(
            f"{seeds} seeds are too few to show any difference; it takes at least {fewest} "
            f"(--seeds {fewest})\n"
        )


def _costs(
    plan: Plan, tuned: Mapping[str, Any] | None, bounds: Path | None
) -> dict[str, dict[str, float]]:
    """Seconds besides training: tuning, and the range test for every arm that uses its bounds."""
    from clr_cli.paths import RESULT
    from clr_cli.records import RangeTestResult, read

    config = plan.config
    costs: dict[str, dict[str, float]] = {arm: {} for arm in plan.arms}
    for arm, seconds in (tuned["seconds"] if tuned else {}).items():
        costs[arm]["tuning_seconds"] = seconds
    folder = bounds.parent if bounds else plan.options.experiment.range_test
    if (folder / RESULT).exists():
        seconds = read(RangeTestResult, folder / RESULT, remedy="run clr range-test again").seconds
        for arm in config.compare.schedules:
            given = config.schedule(arm)
            bounded = {"base_lr", "max_lr"} & set(type(given).model_fields)
            if (bounds and bounded) or given.needs_bounds:
                costs[arm]["range_test_seconds"] = seconds
    return costs


def _conclude(
    plan: Plan,
    options: Options,
    setups: Mapping[str, Setup],
    runs: Sequence[Run],
    costs: Mapping[str, Mapping[str, float]],
    tuned: dict[str, Any] | None,
    looks: Sequence[int],
) -> None:
    """The comparison of runs that are there: written, and printed."""
    from clr_cli.analysis.summary import summarize
    from clr_cli.cli import results
    from clr_cli.config.yaml_text import dump
    from clr_cli.errors import EnvironmentFailure
    from clr_cli.execution.controlled import controlled_variables
    from clr_cli.execution.records import read_records
    from clr_cli.execution.tensorboard import write_tensorboard
    from clr_cli.report import write

    config = plan.config
    records = read_records(runs)
    if not any(r.arm == config.baseline and r.status != "failed" for r in records):
        raise EnvironmentFailure(f"no run of the baseline {config.baseline} could be finished")
    summary = summarize(
        records,
        experiment=config.name,
        context=controlled_variables(plan, setups, records),
        num_classes=setups[config.baseline].num_classes,
        baseline=config.baseline,
        target=config.compare.target,
        margin=config.compare.margin,
        detect=None if config.compare.detect is None else config.compare.detect / 100,
        looks=looks,
        cap=plan.cap,
        costs=costs,
        tuning=tuned,
    )
    summary["reproduce"] = {"command": command_line(), "config": dump(plan.as_run())}
    folder = plan.options.experiment.comparison(tuned=tuned is not None)
    written = write.write_comparison(folder, summary, records)
    if options.tensorboard:
        written += [
            write_tensorboard(run.path, record) for run, record in zip(runs, records, strict=True)
        ]
    if options.json:
        print(json.dumps(summary, indent=2))
        return
    results.print_summary(summary)
    terminal.paths(written)
