"""The probes of a range test: their length, the search, and what certifies its answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clr_cli.cli import terminal

if TYPE_CHECKING:
    from clr_cli.analysis.lattice import Found
    from clr_cli.cli.options import Options
    from clr_cli.config.arms import ScheduleConfig
    from clr_cli.config.model import Config
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.setup import Setup
    from clr_cli.execution.task import Task

DOUBLINGS = 2  # of the probes' length, where little was learned


@dataclass(frozen=True)
class Asked:
    """The arm whose rates are asked for, by its name."""

    config: Config
    options: Options
    name: str
    arm: ScheduleConfig


def probe_length(asked: Asked, sizes: Setup, doubled: int = 0) -> int:
    """Iterations of a probe after so many doublings; a whole run's at most."""
    from clr_cli.execution.training_task import resolve_schedule
    from clr_cli.training.probe import length

    steps, epochs = sizes.steps_per_epoch, asked.config.training.epochs
    whole = resolve_schedule(asked.arm.at_rate(1.0), steps, epochs)
    once = length(whole, steps, steps * epochs, asked.config.range_test.probe_epochs)
    return int(min(once * 2**doubled, steps * epochs))


def probe(
    asked: Asked, engine: Engine, jobs: int, threads: int | None, sizes: Setup, start: float
) -> tuple[Found, int, float]:
    """The search's answer, the probes' length in iterations, and the seconds they took.

    Where little was learned, probes of twice the length follow, at most DOUBLINGS times.
    """
    from clr_cli.analysis.lattice import DELTA, Scale
    from clr_cli.analysis.probing import SEEDS
    from clr_cli.cli.searching import Quest, followed, search_all
    from clr_cli.execution.plan import Probes

    scale = Scale(DELTA, chance=sizes.chance, images=sizes.val_size)
    places, seconds = asked.options.for_runs(asked.config), 0.0
    for doubled in range(DOUBLINGS + 1):
        length, longer = (probe_length(asked, sizes, k) for k in (doubled, doubled + 1))
        probes = Probes(asked.config, places, asked.name, asked.arm, length)
        quest = Quest(
            start=start,
            scale=scale,
            task=partial(probes.task, threads=threads),
            score=lambda task: _result(task)["score"],
            seeds=SEEDS,
            show="{:.1%}".format,
        )
        rows = math.ceil(length / sizes.steps_per_epoch)
        answers, tasks = search_all({asked.name: quest}, followed(engine, jobs, rows))
        found, results = answers[asked.name], map(_result, tasks[asked.name])
        seconds += sum(result["total_seconds"] for result in results)
        if found.learned or longer == length:
            break
        if doubled < DOUBLINGS:
            terminal.note(f"{found.doubt}: again with probes of {longer:,} iterations")
    return found, length, seconds


def _result(task: Task) -> dict[str, Any]:
    return task.directory.read_result()


def certify(
    asked: Asked, engine: Engine, sizes: Setup, max_lr: float, seeds: int, folder: Path
) -> list[dict[str, Any]]:
    """max_lr, its half and its double in whole runs with paired seeds, as a comparison.

    Its page is written below ``folder``.

    Returns:
        For half and double: rate, verdict, and mean, low and high of the difference from max_lr.
    """
    from clr_cli.analysis.summary import summarize
    from clr_cli.config.sections import CompareConfig
    from clr_cli.execution.controlled import controlled_variables
    from clr_cli.execution.plan import plan
    from clr_cli.execution.records import check_finished, read_record
    from clr_cli.report import write

    rates = {f"{asked.name}-{rate:g}": rate for rate in (max_lr, max_lr / 2, 2 * max_lr)}
    arms = {name: asked.arm.at_rate(rate) for name, rate in rates.items()}
    compare = CompareConfig(schedules=[*arms], baseline=next(iter(arms)), seeds=seeds)
    config = asked.config.for_arm(asked.name).model_copy(
        update={"compare": compare, "schedules": arms}
    )
    planned = plan(config, asked.options.for_runs(config), arms, compare.seed_list)
    like = planned.run(config.baseline, 0, config.training.threads)
    jobs, threads = engine.workers(len(planned.wanted), config.training.threads, like)
    runs = planned.runs(threads)
    terminal.follow(runs, jobs, config.training.epochs, engine.execute(runs))
    check_finished(runs)
    records = [read_record(run) for run in runs]
    summary = summarize(
        records,
        experiment=config.name,
        context=controlled_variables(planned, dict.fromkeys(arms, sizes), records),
        num_classes=sizes.num_classes,
        baseline=config.baseline,
        looks=[seeds],
    )
    write.write_comparison(folder / "certify", summary, records)
    return [
        {
            "rate": rates[each["arm"]],
            "verdict": each["verdict"],
            "sentence": each["sentence"],
            **{key: each["difference"][key] for key in ("mean", "low", "high")},
        }
        for each in summary["comparisons"]
    ]
