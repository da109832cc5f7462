"""``clr range-test``: which learning rates are good?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clr_cli.cli import program_options, search_program, terminal
from clr_cli.cli.options import (
    DEFAULT_CONFIG,
    AllowCode,
    Arms,
    AsJson,
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
    RayAddress,
    Reads,
    RunEngine,
    Sets,
    TimeLimit,
    command_line,
    errors_in,
    load,
    parse_engine,
    parse_jobs,
    refuse,
    refuse_torchrun,
)
from clr_cli.cli.probes import Asked, probe, probe_length
from clr_cli.cli.probes import certify as certified_by
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.analysis.suggest import Suggestion
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.setup import Setup
    from clr_cli.execution.training_task import SweepTask
    from clr_cli.records import Sweep

DEFAULT_ARM = "clr"
MOST_AT_ONCE = 8  # tasks that a search has for several workers
USUAL_PROBES = (12, 24)

# Options of a program of the user's, and of clr's own training alone.
PROGRAM = {"cmd", "arm", "read", "metric", "mode", "unit", "start", "delta", "time_limit"}
OWN = {"schedule", "probes", "probe_epochs", "certify", "sweeps", "min_lr", "max_lr", "shape"}
OWN |= {"epochs", "iterations"}


def command(
    context: typer.Context,
    config: OptionalConfig = None,
    cmd: Command = None,
    arm: Arms = None,
    read: Reads = None,
    metric: MetricName = None,
    mode: MetricMode = None,
    unit: MetricUnit = None,
    time_limit: TimeLimit = None,
    start: Annotated[
        float | None, typer.Option(help="Of --cmd: the rate to begin at (default: 0.001).")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="Of --cmd: how far from the best is still good (default: 3 %, or 3 points)."
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="The arm, or a kind, whose rates are probed (default: clr)."),
    ] = None,
    probes: Annotated[
        str | None, typer.Option(help="on; or off: the sweeps answer, as their range has it.")
    ] = None,
    probe_epochs: Annotated[
        float | None, typer.Option(help="A probe's length (default: one cycle, or 10 epochs).")
    ] = None,
    certify: Annotated[
        int, typer.Option(min=0, help="Compare max_lr, its half and its double in N whole runs.")
    ] = 0,
    sweeps: Annotated[int | None, typer.Option(help="Sweeps, each with its own seed.")] = None,
    min_lr: Annotated[float | None, typer.Option(help="The ramp's first rate.")] = None,
    max_lr: Annotated[float | None, typer.Option(help="The ramp's last rate.")] = None,
    shape: Annotated[str | None, typer.Option(help="linear or exponential.")] = None,
    epochs: Annotated[float | None, typer.Option(help="A sweep's length in epochs.")] = None,
    iterations: Annotated[int | None, typer.Option(help="... or in iterations.")] = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    engine: RunEngine = "local",
    ray_address: RayAddress = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Which rates are good here, from where to where?

    A sweep raises the rate once, to know where to look. Then short trainings (probes), each at
    one rate, find the interval of good rates, whatever the sweep's range was. Exit code 3 if
    there is no answer; the reason and what to do are printed.
    """
    ramp = {"sweeps": sweeps, "min_lr": min_lr, "max_lr": max_lr, "shape": shape}
    own = {"probes": probes, "probe_epochs": probe_epochs}
    options = Options(
        output_dir,
        device,
        parse_jobs(jobs),
        ray_address=parse_engine(engine, ray_address),
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
    )
    if cmd is not None or program_options.is_program(config, sets or ()):
        refuse(context, "is for clr's own training, not for a program", OWN.__contains__)
        given = program_options.Given(
            *(config, sets or (), name, cmd, arm or (), read or ()),
            metric={"name": metric, "mode": mode, "unit": unit},
            time_limit=time_limit,
        )
        asked = program_options.search(given, start=start, delta=delta, allow_code=allow_code)
        raise typer.Exit(search_program.search(asked, options.check(asked), command_line()))
    refuse(context, "applies only with --cmd", PROGRAM.__contains__)
    config = config or DEFAULT_CONFIG
    keys: dict[str, Any] = ramp | own
    if epochs is not None or iterations is not None:
        # One length takes the place of the config's, whichever that is.
        lengths = {"epochs": epochs, "iterations": iterations}
        keys |= {key: "null" if value is None else value for key, value in lengths.items()}
    overrides = (f"range_test.{key}={value}" for key, value in keys.items() if value is not None)
    resolved = load(config, sets, name, *overrides)
    with errors_in(config):
        probed = resolved.schedule(schedule or DEFAULT_ARM)
        options.check(resolved)
        refuse_torchrun("range-test")
        if not resolved.range_test.probes and (schedule or certify):
            raise InputError("--probes off: a sweep is of no schedule, and nothing is certified")
        wanted = Asked(resolved, options, schedule or DEFAULT_ARM, probed)
        raise typer.Exit(_range_test(wanted, schedule, certify))


def _range_test(asked: Asked, named: str | None, certify: int) -> int:
    """Sweeps, probes, files, and what is printed. Returns the exit code: 3 without an answer."""
    from clr_cli.analysis.lattice import DELTA
    from clr_cli.analysis.suggest import first_guess
    from clr_cli.cli import results
    from clr_cli.execution import plan
    from clr_cli.execution.setup import measure
    from clr_cli.records.metric import VAL_ACCURACY
    from clr_cli.report import range_test as report

    config, options, engine = asked.config, asked.options, asked.options.engine
    folder = options.for_runs(config).experiment.answer(named)
    with engine.connected():
        (like, *_) = plan.sweeps(config, options.for_runs(config), config.training.threads)
        jobs, threads = engine.workers(MOST_AT_ONCE, config.training.threads, like)
        tasks = plan.sweeps(config, options.for_runs(config), threads)
        sizes = measure(tasks[0])
        _print_plan(asked, engine, sizes, jobs, certify)
        curves, suggestion, circumstances = _sweep(tasks, engine, jobs, sizes)
        answer = None
        if config.range_test.probes:
            start = first_guess(suggestion, curves)
            found, length, seconds = probe(asked, engine, jobs, threads, sizes, start)
            circumstances["seconds"] += seconds
            answer = report.answer(
                found,
                metric=VAL_ACCURACY,
                delta=DELTA,
                base_lr=asked.arm.base_at,
                schedule=asked.name,
                kind=asked.arm.kind,
                iterations=length,
                epochs=length / sizes.steps_per_epoch,
                chance=sizes.chance,
            )
            if certify and found.doubt is None:
                at = answer["max_lr"]
                answer["certified"] = certified_by(asked, engine, sizes, at, certify, folder)
    result, written = report.write(folder, curves, suggestion, circumstances, answer)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        results.print_range_test(result)
        terminal.paths(written)
    return 3 if result["inconclusive"] else 0


def _print_plan(asked: Asked, engine: Engine, sizes: Setup, jobs: int, certify: int) -> None:
    from clr_cli.cli import setup
    from clr_cli.training import sweep

    given, steps = asked.config.range_test, sizes.steps_per_epoch
    ramp = sweep.plan(given, steps)
    rows = [
        *setup.rows(asked.config, sizes, iterations=ramp.total, place=engine.place(None)),
        ("ramp", f"{given.shape}, {given.min_lr:g} to {given.max_lr:g}"),
        (
            "sweeps",
            f"{given.sweep_count} of {ramp.total:,} iterations ({ramp.total / steps:.3g} epochs), "
            f"validation {ramp.points} times on a fixed subset; {jobs} at a time{engine.where}",
        ),
    ]
    if given.probes:
        length = probe_length(asked, sizes)
        few, many = USUAL_PROBES
        times = f"{few * length / ramp.total:.2g} to {many * length / ramp.total:.2g}"
        rows.append(
            (
                "probes",
                f"of {asked.name}, {length:,} iterations ({length / steps:.3g} epochs) each; "
                f"usually {few} to {many} of them, the time of {times} sweeps",
            )
        )
    if certify:
        runs = f"3 rates x {certify} seeds, whole runs of {asked.config.training.epochs} epochs"
        rows.append(("certify", runs))
    terminal.plan(f"clr range-test: {asked.config.name}", rows)


def _sweep(
    tasks: Sequence[SweepTask], engine: Engine, jobs: int, sizes: Setup
) -> tuple[Sequence[Sweep], Suggestion, dict[str, Any]]:
    """The sweeps' curves, what they suggest, and under what circumstances."""
    from clr_cli.analysis.suggest import suggest
    from clr_cli.execution.records import check_finished
    from clr_cli.training import sweep

    config = tasks[0].config
    given, length = config.range_test, sweep.plan(config.range_test, sizes.steps_per_epoch)
    terminal.follow(tasks, jobs, length.points, engine.execute(tasks))
    check_finished(tasks)
    curves = [sweep.measured(task.seed, task.directory.read_metrics()) for task in tasks]
    finished = [task.directory.read_result() for task in tasks]
    images, _ = tasks[0].images()
    subset = sweep.validation_subset(images.val, length.interval * config.training.batch_size)
    suggestion = suggest(curves, num_classes=sizes.num_classes, chance=sweep.chance(subset))
    circumstances = {
        "seconds": sum(result["total_seconds"] for result in finished),
        "range": {"shape": given.shape, "min_lr": given.min_lr, "max_lr": given.max_lr},
        **{key: finished[0][key] for key in ("device", "precision", "threads", "versions")},
    }
    return curves, suggestion, circumstances
