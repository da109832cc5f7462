"""``clr range-test --cmd``: which learning rates are good for your own program?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from clr_cli.cli import terminal
from clr_cli.cli.compare_program import follow
from clr_cli.cli.options import Options
from clr_cli.cli.searching import Quest, search_all
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.config.program import ProgramSearch
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.program import Program
    from clr_cli.execution.task import Task

MOST_AT_ONCE = 8  # runs that a search has for several workers
USUAL_PROBES = (10, 24)


def search(config: ProgramSearch, options: Options, command: str) -> int:
    """Search, write and print. Returns the exit code: 3 without an answer.

    Raises InputError, EnvironmentFailure.
    """
    from clr_cli import __version__
    from clr_cli.analysis.probing import SEEDS
    from clr_cli.analysis.scoring import Scoring, described, shown
    from clr_cli.execution.program_plan import ProgramProbes
    from clr_cli.records import Metric
    from clr_cli.report import rates

    metric = Metric(**config.metric.model_dump())
    scoring, places = Scoring(metric, config.delta), options.for_runs(config)
    probes, engine = ProgramProbes(config=config, options=places), options.engine

    def score(task: Task) -> float | None:
        final = _final(task)  # type: ignore[arg-type]
        try:
            return scoring.score(final)
        except ValueError as error:
            raise InputError(f"--delta: {error}") from None

    with engine.connected():
        jobs, threads = engine.workers(MOST_AT_ONCE, None)
        _print_plan(config, scoring.within, jobs, engine)
        quest = Quest(
            start=config.start,
            scale=scoring.scale,
            task=partial(probes.task, threads=threads, alone=jobs == 1),
            score=score,
            seeds=SEEDS,
            show=lambda each: shown(metric, scoring.value(each)),
        )
        found, tasks = search_all({"": quest}, partial(_execute, metric.name, engine))
    answer = {
        **scoring.answer(found[""], config.start),
        "experiment": config.name,
        "seconds": sum(_seconds(task) for task in tasks[""]),
        "command": command,
        "versions": {"clr": __version__, "python": sys.version.split()[0]},
    }
    result, written = rates.write(places.experiment.rates, answer)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print()
        for name, text in described(result):
            terminal.hanging(f"{name:<12}  ", text)
        print()
        terminal.paths(written)
    return 3 if result["doubt"] else 0


def _execute(metric: str, engine: Engine, runs: Sequence[Program]) -> None:
    """Raises InputError where all of several rates fail before their first row."""
    follow(runs, metric, engine)
    rates = {run.arm for run in runs}
    if len(rates) > 2 and not any(
        run.directory.finished or run.directory.read_metrics() for run in runs
    ):
        raise InputError(
            f"the program failed at {', '.join(sorted(rates))} before its first row; see "
            f"{runs[0].log} (or give another --start, where all of these rates are far too high)"
        )


def _final(task: Program) -> float | None:
    """The metric at the end of a run; None for one that failed."""
    record = task.record()
    value = record.result["final"][task.metric] if record.status == "finished" else None
    return None if value is None else float(value)


def _seconds(task: Task) -> float:
    finished = task.directory.finished
    return float(task.directory.read_result()["train_seconds"]) if finished else 0.0


def _print_plan(config: ProgramSearch, within: str, jobs: int, engine: Engine) -> None:
    few, many = USUAL_PROBES
    better = "less" if config.metric.mode == "min" else "more"
    values = "".join(f", {key} {value}" for key, value in config.values.items())
    terminal.plan(
        f"clr range-test: {config.name}",
        [
            ("command", config.command + (f" (with {values[2:]})" if values else "")),
            ("metric", f"{config.metric.name}, {better} is better"),
            ("good", f"within {within} of the best"),
            (
                "runs",
                f"from lr {config.start:g} outwards, usually {few} to {many} of them; "
                f"{jobs} at a time{engine.where}",
            ),
        ],
    )
