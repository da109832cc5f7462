"""Run ``clr compare``: is one arm better than another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clr_cli.cli import (
    compare_results,
    compare_training,
    comparison,
    options,
    program_options,
    progress,
)
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect
    from clr_cli.config.program import ProgramConfig

# Options for runs that clr does not train itself, and for its own training only.
NOT_TRAINING = {"source", "arm", "read", "metric", "mode", "unit", "paired"}
TABLE = {"arm_column", "seed_column", "step_column", "where", "across", "run_name"}
PROGRAM = {"cmd", "time_limit"}
TRAINING = {"schedules", "vary", "tune", "tune_seeds", "tune_arms", "bounds", "tensorboard"}
TRAINING |= {"design"}
WHOLE = {"as_json", "tensorboard", "expect"}


def command(
    context: typer.Context,
    config: options.Configs = None,
    source: options.Results = None,
    arm_column: options.ArmColumn = None,
    seed_column: options.SeedColumn = None,
    step_column: options.StepColumn = None,
    where: options.Where = None,
    across: options.Across = None,
    run_name: options.RunName = None,
    cmd: options.Command = None,
    arm: options.Arms = None,
    read: options.Reads = None,
    metric: options.MetricName = None,
    mode: options.MetricMode = None,
    unit: options.MetricUnit = None,
    paired: options.Paired = False,
    time_limit: options.TimeLimit = None,
    dry_run: options.DryRun = False,
    schedules: Annotated[
        str | None,
        typer.Option(
            help="The arms to compare, for example constant,clr,one_cycle."
            ' A name with a comma is quoted: "a,b",c.',
            autocompletion=options.complete_arms,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="A number of seeds, a list such as 0,1,7, or auto[:CAP]: until decided,"
            " at most CAP (30)."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The arm to compare with; with --from, also a number.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The value to reach, such as 0.9, or auto: the baseline's median."),
    ] = None,
    design: Annotated[
        str | None,
        typer.Option(
            help="paired (default), or unpaired; with --seeds auto, unpaired gives noisier arms "
            "more runs."
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="A difference that does not matter (accuracy: 0.001 = 0.1 points)."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            help="What every arm must be: better, or not-worse. If not, exit with 4 (or 3)."
        ),
    ] = None,
    detect: Annotated[
        float | None,
        typer.Option(
            help="Print how many seeds it takes to detect this difference (accuracy: 0.01 = 1 "
            "point)."
        ),
    ] = None,
    vary: Annotated[
        str | None, typer.Option(help="What differs from seed to seed: seed, or seed,split.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="First search for the best learning rate of every arm.")
    ] = False,
    tune_seeds: Annotated[
        int,
        typer.Option(
            min=2, max=20, help="The most runs at one rate, on seeds that are not compared."
        ),
    ] = 3,
    tune_arms: Annotated[
        str | None, typer.Option(help="Tune only these arms, for example constant.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Train only this run of the plan, arm:seed. Repeatable."),
    ] = None,
    bounds: options.Bounds = None,
    sets: options.Sets = None,
    name: options.ExperimentName = None,
    output_dir: options.OutputDir = Path("outputs"),
    device: options.Device = "auto",
    jobs: options.Jobs = "auto",
    engine: options.RunEngine = "local",
    ray_address: options.RayAddress = None,
    overwrite: options.Overwrite = False,
    allow_code: options.AllowCode = False,
    tensorboard: options.Tensorboard = False,
    as_json: options.AsJson = False,
) -> None:
    """Is one arm better than another? By how much, how certain, how much sooner?"""
    expected = _expected(expect)
    if only:
        options.refuse(context, "is for a whole comparison; leave it out with --only", WHOLE)
    chosen_arms = [] if schedules is None else options.parse_list(schedules)
    if source is not None:
        why = "is for runs that clr starts; leave it out with --from"
        names = {str(param.name) for param in context.command.params}
        options.refuse(context, why, names - compare_results.OPTIONS)
        from clr_cli.results import Query

        given = {"mode": mode, "unit": unit, "baseline": baseline, "target": target, "name": name}
        sizes = {"margin": margin, "detect": detect}
        repeated = [*given.items(), *sizes.items()]
        others = [f"--{key}={value}" for key, value in repeated if value is not None]
        query = Query(
            tuple(source),
            tuple(options.parse_list(arm_column)) if arm_column else (),
            *(seed_column, step_column, metric, tuple(where or ()), across, run_name),
            arms=tuple(chosen_arms) or None,
            others=(*others, *["--paired"] * paired),
        )
        compare_results.compare(
            compare_results.Request(
                query,
                mode=mode,
                unit=unit,
                paired=paired,
                baseline=baseline,
                target=target,
                margin=margin,
                detect=detect,
                expect=expected,
                name=name,
                output_dir=output_dir,
                as_json=as_json,
            )
        )
        return
    options.refuse(context, "works only with --from", TABLE)
    chosen = options.Options(
        output_dir,
        device,
        options.parse_jobs(jobs),
        ray_address=options.parse_engine(engine, ray_address),
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
        tensorboard=tensorboard,
        expect=expected,
    )
    files = config or []
    if cmd is not None or any(program_options.is_program(each, sets or ()) for each in files):
        options.refuse(context, "is for clr's own training; leave it out for a program", TRAINING)
        if len(files) > 1:
            raise InputError("--config: a program takes only one; several are for clr's training")
        arguments = program_options.ProgramArguments(
            *(next(iter(files), None), sets or (), name, cmd, arm or (), read or ()),
            metric={"name": metric, "mode": mode, "unit": unit},
            compare={
                "seeds": program_options.parse_seeds(seeds),
                "baseline": baseline,
                "target": program_options.parse_target(target),
                "margin": margin,
                "detect": detect,
                "paired": paired or None,
            },
            time_limit=time_limit,
        )
        program = program_options.comparison(arguments, allow_code=allow_code)
        _compare_program(program, chosen.check(program), only or (), dry_run=dry_run)
        return
    options.refuse(context, "works only with --cmd", PROGRAM)
    options.refuse(context, "works only with --from or --cmd", NOT_TRAINING)
    files = files or [options.DEFAULT_CONFIG]
    keys = {
        "schedules": chosen_arms or None,
        "seeds": program_options.parse_seeds(seeds),
        "baseline": baseline,
        "target": program_options.parse_target(target),
        "design": design,
        "margin": margin,
        "detect": detect,
        "vary": None if vary is None else options.parse_list(vary),
    }
    values = {f"compare.{key}": value for key, value in keys.items() if value is not None}
    own = name if len(files) == 1 else None  # with several, --name names the combination
    configs = [(file, options.load(file, sets, own, values)) for file in files]
    if tune_arms is not None and not tune:
        raise InputError("--tune-arms works only with --tune; add it")
    tuned = None if not tune else options.parse_list(tune_arms) if tune_arms else []
    asked = compare_training.Asked(chosen, bounds, tuple(only or ()), tuned, tune_seeds, dry_run)
    compare_training.compare(configs, asked, name)


def _compare_program(
    config: ProgramConfig, chosen: options.Options, names: Sequence[str], *, dry_run: bool
) -> None:
    """Run the program under every arm and seed, then compare, write and print."""
    from clr_cli.analysis import expectation
    from clr_cli.cli.dry_run import try_first
    from clr_cli.cli.live import LivePage
    from clr_cli.execution.program import FirstRuns
    from clr_cli.study.program import ProgramSource, study_of

    tasks = chosen.for_tasks(config)
    study, source = study_of(config), ProgramSource(config=config, options=tasks)
    expectation.check(study, chosen.expect)
    keys, engine = comparison.only_these(names, study), chosen.engine
    place = comparison.Place(tasks.experiment.comparison(), chosen.overwrite)
    with engine.connected():
        jobs, threads = engine.workers(len(keys or study.runs()), None)
        source = replace(source, threads=threads, alone=jobs == 1)
        rows = [
            ("command", config.command),
            *((arm, _values(values)) for arm, values in config.ordered.items()),
        ]
        rows.append(comparison.runs_row(study, keys, jobs, engine.where))
        comparison.print_plan(study, rows, comparison.CAN_PAIR)
        comparison.print_outlook(study, place.before)
        if dry_run:
            try_first(study, source, engine, jobs)
            return
        page = None if keys else LivePage(study, place.folder)
        watch = None if keys else FirstRuns(study.arms)
        execute = progress.with_program_progress(engine, config.metric.name, watch, page)
        if keys:
            comparison.execute_only(keys, source, execute)
            return
        result = comparison.compare(study, source, place, execute)
    comparison.print_result(*result, chosen.expect, as_json=chosen.json)


def _expected(text: str | None) -> Expect | None:
    """Return what ``--expect`` says. Raises InputError."""
    if text is None:
        return None
    from clr_cli.analysis.expectation import Expect

    try:
        return Expect(text)
    except ValueError:
        raise InputError(f"--expect {text}: give {' or '.join(Expect)}") from None


def _values(values: Mapping[str, str]) -> str:
    return (
        ", ".join(f"{key} {value}" for key, value in values.items()) or "the command without values"
    )
