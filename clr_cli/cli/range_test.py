"""``clr range-test``: which learning rates are good?"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clr_cli.cli import comparison, options, program_options, progress, show, terminal
from clr_cli.errors import InputError
from clr_cli.paths import PROGRAM_LOG

if TYPE_CHECKING:
    from clr_cli.analysis.lattice import Probe, RatesFound
    from clr_cli.analysis.rates import Scoring
    from clr_cli.analysis.study import Study
    from clr_cli.config.arms import ScheduleConfig
    from clr_cli.config.model import Config
    from clr_cli.config.program import ProgramSearch
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.setup import Setup
    from clr_cli.execution.task import Task, TaskOptions
    from clr_cli.records import Certified, RateAnswer, Sweep

DEFAULT_ARM = "clr"
MOST_AT_ONCE = 8  # tasks that a search has for several workers
USUAL_PROBES = (12, 24)
NOTHING_LEARNED = "the model learned nothing during the sweep; try another range or a longer sweep"
DOUBLINGS = 2  # of the probes' length, where they learn too little

# Options of a program of the user's, and of clr's own training alone.
PROGRAM = {"cmd", "arm", "read", "metric", "mode", "unit", "start", "delta", "time_limit"}
TRAINING = {"schedule", "probes", "probe_epochs", "certify", "sweeps", "min_lr", "max_lr", "shape"}
TRAINING |= {"epochs", "iterations"}


def command(
    context: typer.Context,
    config: options.OptionalConfig = None,
    cmd: options.Command = None,
    arm: options.Arms = None,
    read: options.Reads = None,
    metric: options.MetricName = None,
    mode: options.MetricMode = None,
    unit: options.MetricUnit = None,
    time_limit: options.TimeLimit = None,
    start: Annotated[
        float | None, typer.Option(help="For --cmd: the rate to begin at (default: 0.001).")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="For --cmd: how far from the best is still good (default: 3 %, or 3 points)."
        ),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="The arm, or a kind, whose rates are probed (default: clr).")
    ] = None,
    probes: Annotated[
        str | None,
        typer.Option(help="on, or off to answer from the sweep alone, as the original post did."),
    ] = None,
    probe_epochs: Annotated[
        float | None, typer.Option(help="A probe's length (default: one cycle, or 10 epochs).")
    ] = None,
    certify: Annotated[
        int, typer.Option(min=0, help="Compare max_lr, its half and its double in N whole runs.")
    ] = 0,
    sweeps: Annotated[
        int | None, typer.Option(help="How many sweeps, each with its own seed.")
    ] = None,
    min_lr: Annotated[float | None, typer.Option(help="The sweep's first rate.")] = None,
    max_lr: Annotated[float | None, typer.Option(help="The sweep's last rate.")] = None,
    shape: Annotated[str | None, typer.Option(help="linear or exponential.")] = None,
    epochs: Annotated[float | None, typer.Option(help="A sweep's length in epochs.")] = None,
    iterations: Annotated[
        int | None, typer.Option(help="A sweep's length in iterations, instead of --epochs.")
    ] = None,
    sets: options.Sets = None,
    name: options.ExperimentName = None,
    output_dir: options.OutputDir = Path("outputs"),
    device: options.Device = "auto",
    jobs: options.Jobs = "auto",
    engine: options.RunEngine = "local",
    ray_address: options.RayAddress = None,
    overwrite: options.Overwrite = False,
    allow_code: options.AllowCode = False,
    as_json: options.AsJson = False,
) -> None:
    """Which range of learning rates works here?

    A sweep raises the rate once, to know where to look. Then short trainings (probes), each at
    one rate, find the interval of good rates, whatever the sweep's range was. Exit code 3 if
    there is no answer; the reason and what to do are printed.
    """
    ramp = {"sweeps": sweeps, "min_lr": min_lr, "max_lr": max_lr, "shape": shape}
    own: dict[str, Any] = {"probes": probes, "probe_epochs": probe_epochs}
    chosen = options.Options(
        output_dir,
        device,
        options.parse_jobs(jobs),
        ray_address=options.parse_engine(engine, ray_address),
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
    )
    if cmd is not None or program_options.is_program(config, sets or ()):
        options.refuse(context, "is for clr's own training, not for a program", TRAINING)
        arguments = program_options.ProgramArguments(
            *(config, sets or (), name, cmd, arm or (), read or ()),
            metric={"name": metric, "mode": mode, "unit": unit},
            time_limit=time_limit,
        )
        program = program_options.search(arguments, start=start, delta=delta, allow_code=allow_code)
        raise typer.Exit(_search_program(program, chosen.check(program)))
    options.refuse(context, "works only with --cmd", PROGRAM)
    config = config or options.DEFAULT_CONFIG
    keys = {key: value for key, value in (ramp | own).items() if value is not None}
    if epochs is not None or iterations is not None:
        # One length takes the place of the config's, whichever that is.
        keys |= {"epochs": epochs, "iterations": iterations}
    values = {f"range_test.{key}": value for key, value in keys.items()}
    resolved = options.load(config, sets, name, values)
    with options.errors_in(config):
        probed = resolved.schedule(schedule or DEFAULT_ARM)
        chosen.check(resolved)
        options.refuse_torchrun("range-test")
        if not resolved.range_test.probes and (schedule or certify):
            raise InputError("--probes off: a sweep has no schedule, and nothing is certified")
        request = _Request(resolved, chosen, schedule or DEFAULT_ARM, probed, certify)
        raise typer.Exit(_range_test(request, schedule))


def _search_program(config: ProgramSearch, chosen: options.Options) -> int:
    """Search for a program's rates. Return the exit code: 3 without an answer.

    Raises InputError, EnvironmentFailure.
    """
    from clr_cli.analysis.rates import Scoring
    from clr_cli.records import Metric
    from clr_cli.study.functions import versions
    from clr_cli.study.program import ProgramProbes
    from clr_cli.study.rates import RateSearch, search_rates

    scoring = Scoring(Metric(**config.metric.model_dump()), config.delta)
    probes, engine = ProgramProbes(config=config, options=chosen.for_tasks(config)), chosen.engine

    def value(probe: Probe) -> float | None:
        record = probes.task(probe).record()
        return record.result["final"][config.metric.name] if record.status == "finished" else None

    with engine.connected():
        jobs, threads = engine.workers(MOST_AT_ONCE, None)
        probes = replace(probes, threads=threads, alone=jobs == 1)
        values = "".join(f", {key} {value}" for key, value in config.values.items())
        terminal.plan(
            f"clr range-test: {config.name}",
            [
                ("command", config.command + (f" (with {values[2:]})" if values else "")),
                ("metric", f"{scoring.metric.label}, {scoring.metric.direction}"),
                ("good", f"within {scoring.within} of the best"),
                ("runs", f"from lr {config.start:g} outwards, {_usual(jobs, engine)}"),
            ],
        )
        show = progress.with_program_progress(engine, config.metric.name)

        def execute(tasks: Sequence[Task]) -> None:
            show(tasks)
            _check_any_began(tasks)

        search = RateSearch(start=config.start, scoring=scoring, task=probes.task, value=value)
        try:
            found, scoring, tried = search_rates({"": search}, execute, terminal.note)[""]
        except InputError as error:
            raise error.as_option() from None
    answer = scoring.answer(
        found,
        config.start,
        experiment=config.name,
        seconds=sum(_seconds(probes.task(probe)) for probe in tried),
        command=options.command_line(),
        versions=versions(),
    )
    return _finish(chosen.for_tasks(config).experiment.rates, answer, (), chosen)


def _check_any_began(tasks: Sequence[Task]) -> None:
    """Raise InputError if all runs of several rates failed before their first row."""
    names = dict.fromkeys(task.name.partition(",")[0] for task in tasks)
    begun = (task.directory.finished or task.directory.read_metrics() for task in tasks)
    if len(names) > 2 and not any(begun):
        log = tasks[0].path / PROGRAM_LOG
        raise InputError(
            f"the program failed at {', '.join(names)} before its first row; see {log}"
            " (or give another --start, if all of these rates are far too high)"
        )


def _seconds(task: Task) -> float:
    finished = task.directory.finished
    return float(task.directory.read_result()["train_seconds"]) if finished else 0.0


def _usual(jobs: int, engine: Engine) -> str:
    few, many = USUAL_PROBES
    return f"usually {few} to {many} of them; {jobs} at a time{engine.where}"


@dataclass(frozen=True)
class _Request:
    """The arm whose rates are asked for, by its name; certify: seeds of whole runs, or 0."""

    config: Config
    options: options.Options
    name: str
    arm: ScheduleConfig
    certify: int

    @property
    def tasks(self) -> TaskOptions:
        return self.options.for_tasks(self.config)

    def probe_length(self, own: Setup, doubled: int = 0) -> int:
        """Return the iterations of a probe after so many doublings; a whole run's at most.

        ``own`` are the arm's sizes: it may set its batch size.
        """
        from clr_cli.execution.training_task import resolve_schedule
        from clr_cli.training.probe import length

        steps, epochs = own.steps_per_epoch, self.config.training.epochs
        whole = resolve_schedule(self.arm.at_rate(1.0), steps, epochs)
        once = length(whole, steps, steps * epochs, self.config.range_test.probe_epochs)
        return int(min(once * 2**doubled, steps * epochs))


def _range_test(request: _Request, named: str | None) -> int:
    """Make sweeps and probes, write and print. Return the exit code: 3 without an answer."""
    from clr_cli.analysis.rates import Scoring
    from clr_cli.analysis.sweeps import peak
    from clr_cli.execution.setup import measure
    from clr_cli.execution.task import check_finished
    from clr_cli.format import rounded_lr
    from clr_cli.records import VAL_ACCURACY, Peak, Ramp, RateAnswer, SweepEnd, SweepSummary
    from clr_cli.study import training
    from clr_cli.training import sweep

    config, engine, ramp = request.config, request.options.engine, request.config.range_test
    folder = request.tasks.experiment.answer(named)
    _check_certify(request)
    with engine.connected():
        (like, *_) = training.sweeps(config, request.tasks, config.training.threads)
        jobs, threads = engine.workers(MOST_AT_ONCE, config.training.threads, like)
        tasks = training.sweeps(config, request.tasks, threads)
        sizes = measure(tasks[0])
        probed = config.for_arm(request.name)
        own = sizes if probed is config else measure(replace(tasks[0], config=probed))
        scoring = Scoring(VAL_ACCURACY, chance=own.chance, images=own.val_size)
        length = sweep.plan(ramp, sizes.steps_per_epoch)
        _print_plan(request, engine, sizes, own, jobs)
        progress.with_progress(engine, jobs, length.points, unit="point")(tasks)
        check_finished(tasks)
        curves = [sweep.measured(task.seed, task.directory.read_metrics()) for task in tasks]
        ended = [task.directory.read_result() for task in tasks]
        highest: Peak | None = peak(curves, sizes.chance)
        about: dict[str, Any] = {
            "experiment": config.name,
            "command": options.command_line(),
            "chance": sizes.chance,
            "seconds": sum(result["train_seconds"] for result in ended),
            "sweep": SweepSummary(
                range=Ramp(shape=ramp.shape, min_lr=ramp.min_lr, max_lr=ramp.max_lr),
                ends=[SweepEnd(seed=each.seed, stopped=each.stopped) for each in curves],
                peak=highest,
            ),
            **{key: ended[0][key] for key in ("device", "precision", "threads", "versions")},
        }
        start = highest.lr if highest else math.sqrt(ramp.min_lr * ramp.max_lr)
        if ramp.probes:
            found, seconds, about_probes = _probe(
                request, engine, jobs, threads, own, scoring, start, swept=highest is not None
            )
            about["seconds"] += seconds
            answer = scoring.answer(found, start, **about, **about_probes)
            if answer.max_lr is not None:
                base = rounded_lr(request.arm.base_at(answer.max_lr))
                answer = answer.model_copy(update={"base_lr": base})
            if request.certify and not answer.inconclusive and answer.max_lr is not None:
                certified = _certify(request, engine, own, answer.max_lr, folder)
                answer = answer.model_copy(update={"certified": certified})
        else:
            answer = RateAnswer(
                **scoring.question(start),
                **about,
                max_lr=rounded_lr(highest.lr) if highest else None,
                base_lr=ramp.min_lr if highest else None,
                key=request.arm.rate_key,
                schedule=request.name,
                kind=request.arm.kind,
                inconclusive=None if highest else NOTHING_LEARNED,
            )
    return _finish(folder, answer, curves, request.options)


def _finish(
    folder: Path, answer: RateAnswer, curves: Sequence[Sweep], chosen: options.Options
) -> int:
    """Write and print the answer. Return the exit code: 3 without an answer."""
    from clr_cli.report import index, rates

    written = rates.write(folder, answer, curves)
    index.write(chosen.output_dir)
    if chosen.json:
        print(json.dumps(answer.plain(), indent=2))
    else:
        show.print_rates(answer, folder)
        terminal.paths(written)
    return 3 if answer.inconclusive else 0


def _print_plan(request: _Request, engine: Engine, sizes: Setup, own: Setup, jobs: int) -> None:
    """Print the plan: the sizes of sweeps, and the own ones of the arm that is probed."""
    from clr_cli.cli import setup
    from clr_cli.format import epochs
    from clr_cli.training import sweep

    ramp, steps = request.config.range_test, sizes.steps_per_epoch
    length = sweep.plan(ramp, steps)
    one, at_once = ramp.sweeps == 1, f"; {jobs} at a time{engine.where}"
    rows = [
        *setup.rows(request.config, sizes, iterations=length.total, place=engine.place(None)),
        ("ramp", f"{ramp.shape}, {ramp.min_lr:g} to {ramp.max_lr:g}"),
        (
            "sweeps",
            f"{ramp.sweeps} sweep{'' if one else 's'} of {length.total:,} iterations "
            f"({epochs(length.total / steps)}), validated {length.points} times"
            + ("" if one else at_once),
        ),
    ]
    if ramp.probes:
        probe = request.probe_length(own)
        each = probe / own.steps_per_epoch
        few, many = (number * each / (length.total / steps) for number in USUAL_PROBES)
        rows.append(
            (
                "probes",
                f"of {request.name}, {probe:,} iterations ({epochs(each)}) each; "
                f"{_usual(jobs, engine)}, the time of {few:.2g} to {many:.2g} sweeps",
            )
        )
    if request.certify:
        whole = epochs(request.config.training.epochs)
        runs = f"3 rates x {request.certify} seeds, whole runs of {whole}"
        rows.append(("certify", runs))
    terminal.plan(f"clr range-test: {request.config.name}", rows)


def _probe(
    request: _Request,
    engine: Engine,
    jobs: int,
    threads: int | None,
    own: Setup,
    scoring: Scoring,
    start: float,
    *,
    swept: bool,
) -> tuple[RatesFound, float, dict[str, Any]]:
    """Search with probes; if they learned too little, again with probes of twice the length.

    Longer probes are made only where there is a sign that they learn: one in the probes, or a
    sweep that has learned (``swept``).

    Returns:
        What the search came to, the seconds of all probes, and what the answer says of them.
    """
    from clr_cli.execution.task import check_finished
    from clr_cli.study.rates import RateSearch, search_rates
    from clr_cli.study.training import Probes

    seconds, steps = 0.0, own.steps_per_epoch
    for doubled in range(DOUBLINGS + 1):
        length, longer = (request.probe_length(own, k) for k in (doubled, doubled + 1))
        probes = Probes(request.config, request.tasks, request.name, request.arm, length, threads)

        def result(probe: Probe, probes: Probes = probes) -> dict[str, Any]:
            task = probes.task(probe)
            check_finished([task])
            return task.directory.read_result()

        search = RateSearch(
            start=start,
            scoring=scoring,
            task=probes.task,
            value=lambda probe: result(probe)["score"],
        )
        execute = progress.with_progress(engine, jobs, math.ceil(length / steps))
        found, _, tried = search_rates({"": search}, execute, terminal.note)[""]
        seconds += sum(result(probe)["train_seconds"] for probe in tried)
        hopeful = found.too_short or (swept and not found.learned)
        if not hopeful or longer == length:
            break
        if doubled < DOUBLINGS:
            terminal.note(f"{found.inconclusive}: again with probes of {longer:,} iterations")
    return (
        found,
        seconds,
        {
            "key": request.arm.rate_key,
            "schedule": request.name,
            "kind": request.arm.kind,
            "iterations": length,
            "epochs": length / steps,
        },
    )


def _certify_study(request: _Request, max_lr: float) -> tuple[Study, dict[str, float]]:
    """Return the comparison of a rate with its half and its double, and the rates by arm."""
    from clr_cli.config.sections import CompareConfig
    from clr_cli.study.training import study_of

    rates = {f"{request.name}-{rate:g}": rate for rate in (max_lr, max_lr / 2, 2 * max_lr)}
    compare = CompareConfig(schedules=[*rates], baseline=next(iter(rates)), seeds=request.certify)
    config = request.config.model_copy(update={"compare": compare})
    return study_of(config, [*rates]), rates


def _check_certify(request: _Request) -> None:
    """Raise InputError if so few seeds can never show a difference."""
    if request.certify:
        study, _ = _certify_study(request, 1.0)
        if request.certify < study.fewest:
            raise InputError(
                f"--certify {request.certify}: too few seeds to tell three rates apart; give "
                f"{study.fewest} or more"
            )


def _certify(
    request: _Request, engine: Engine, own: Setup, max_lr: float, folder: Path
) -> list[Certified]:
    """Compare max_lr with its half and its double in whole runs, on a page below ``folder``."""
    from clr_cli.execution.task import check_finished
    from clr_cli.records import Certified
    from clr_cli.report import write
    from clr_cli.study.collect import analysed, collect
    from clr_cli.study.training import TrainingSource

    study, rates = _certify_study(request, max_lr)
    arms = {name: request.arm.at_rate(rate) for name, rate in rates.items()}
    config = request.config.for_arm(request.name)
    compare = config.compare.model_copy(update={"schedules": [*arms], "baseline": study.baseline})
    config = config.model_copy(update={"compare": compare, "schedules": arms})
    source = TrainingSource(
        config=config,
        options=request.tasks,
        arms=arms,
        setups=dict.fromkeys(arms, own),
        threads=config.training.threads,
    )
    like = source.task(*study.runs()[0])
    jobs, threads = engine.workers(len(study.runs()), config.training.threads, like)
    source = replace(source, threads=threads)
    show = progress.with_progress(engine, jobs, config.training.epochs)

    def execute(tasks: Sequence[Task]) -> None:
        show(tasks)
        check_finished(tasks)

    study = replace(study, chance=1 / own.num_classes)
    runs = collect(study, source, execute)
    place = comparison.Place(folder / "certify", request.options.overwrite)
    with analysed(
        study, runs, place.folder, remedy=comparison.REMEDY, overwrite=place.overwrite
    ) as summary:
        write.write_comparison(place.folder, summary, runs.records)
    return [
        Certified(
            rate=rates[each.arm],
            verdict=each.verdict,
            sentence=each.sentence,
            mean=each.difference.mean,
            low=each.difference.low,
            high=each.difference.high,
        )
        for each in summary.comparisons
    ]
