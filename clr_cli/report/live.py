"""The page of a comparison whose runs are not all finished: how far each is, curves, no verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from clr_cli.analysis.stuck import stuck_runs
from clr_cli.files import write_atomic, write_json
from clr_cli.format import NONE, rough_duration
from clr_cli.paths import PAGE, PROGRESS
from clr_cli.records import KNOWN, Metric, RunRecord, read
from clr_cli.records.base import Arm, Count, Number, Record, Seconds, Text
from clr_cli.report import page
from clr_cli.report.figures import svg as drawing
from clr_cli.report.figures.curves import axis_of
from clr_cli.report.figures.epochs import epoch_curves
from clr_cli.report.figures.style import arm_colors
from clr_cli.report.runs import REMEDY

RELOAD = 15  # seconds after which a browser reads the page again
# What a run's curves are: one that goes on has no end yet, like one that failed.
STATUS: dict[str, Literal["finished", "diverged"]] = {
    "finished": "finished",
    "diverged": "diverged",
}


class RunState(Record):
    """One run: its state, the rows that it has, and how many it will have if that is known."""

    arm: Arm
    seed: Count
    state: Text  # waiting, running, finished, diverged, failed
    total: Count | None = None
    rows: list[dict[str, Number | None]] = Field(default_factory=list)


class Progress(Record):
    """progress.json: what a comparison has come to so far.

    chance: the metric of a run that learned nothing, if that is known. seconds_left: by the speed
    so far. running: whether the command that makes the runs is alive.
    """

    experiment: Text
    metric: Metric
    baseline: Text
    arms: Annotated[list[Arm], Field(min_length=1)]
    seeds: list[Count]
    runs: list[RunState]
    chance: Number | None = None
    seconds_left: Seconds | None = None
    running: bool = True


def write(folder: Path, progress: Progress) -> Path:
    """Write progress.json and the page atomically; return the page's path."""
    write_json(folder / PROGRESS, progress.plain())
    write_atomic(folder / PAGE, html(progress))
    return folder / PAGE


def remake(folder: Path) -> Path:
    """Write the page again from progress.json. Raises InputError for a damaged file."""
    progress = read(Progress, folder / PROGRESS, remedy=REMEDY)
    write_atomic(folder / PAGE, html(progress))
    return folder / PAGE


def html(progress: Progress) -> str:
    """Return the page. It reloads itself until all runs have ended."""
    colors = arm_colors(progress.arms, progress.baseline)
    figures, numbers = [], {}
    records = [
        RunRecord(each.arm, each.seed, STATUS.get(each.state, "failed"), _finite(each.rows), {})
        for each in progress.runs
        if each.rows
    ]
    stuck = _stuck(progress)
    metrics = {progress.metric.name: progress.metric, "train_loss": KNOWN["train_loss"]}
    for k, (name, metric) in enumerate(metrics.items(), 1):
        axis = axis_of(records, name) if records else None
        if axis is None:
            continue
        figure = epoch_curves(records, metric, axis=axis, baseline=progress.baseline)
        caption = "Runs so far; the mean at each point is over the runs that have reached it."
        figures.append(page.draw(f"f{k}", figure, metric.heading, caption))
        numbers[f"f{k}"] = {"axes": drawing.numbers(figure), "one": "seed"}
    reload = RELOAD if progress.running else None
    by_key = {(each.arm, each.seed): each for each in progress.runs}
    grid = [
        [
            arm,
            *(
                "stuck" if (arm, seed) in stuck else _cell(by_key.get((arm, seed)))
                for seed in progress.seeds
            ),
        ]
        for arm in progress.arms
    ]
    return page.render(
        "live.html.j2",
        {"figures": numbers, "paired": True, "reload": reload},
        reload=reload,
        progress=progress,
        colors=colors,
        said=describe(progress),
        grid=(["Arm", *(f"seed {seed}" for seed in progress.seeds)], grid),
        figures=figures,
    )


def _stuck(progress: Progress) -> set[tuple[str, int]]:
    """Return the runs that finished at chance or far outside the others of their arm."""
    name, stuck = progress.metric.name, set[tuple[str, int]]()
    for arm in progress.arms:
        finals = {
            run.seed: value
            for run in progress.runs
            if run.arm == arm and run.state == "finished" and run.rows
            if (value := run.rows[-1].get(name)) is not None
        }
        found = stuck_runs([*finals.values()], chance=progress.chance)
        stuck |= {(arm, [*finals][run]) for run in found}
    return stuck


def _finite(rows: list[dict[str, float | None]]) -> list[dict[str, float]]:
    return [{key: float("nan") if v is None else v for key, v in row.items()} for row in rows]


def _cell(run: RunState | None) -> str:
    if run is None:  # no run of this arm and seed is planned
        return NONE
    if run.state != "running":
        return run.state
    return f"epoch {len(run.rows)} of {run.total}" if run.total else f"{len(run.rows)} rows"


def describe(progress: Progress) -> str:
    """Say how many runs have ended, how long the others will take, and what is not known yet."""
    ended = [each for each in progress.runs if each.state not in ("waiting", "running")]
    failed = sum(each.state in ("failed", "diverged") for each in ended)
    text = f"{len(ended)} of {len(progress.runs)} runs have ended"
    stuck = len(_stuck(progress))
    text += f", {failed} of them failed" if failed else ""
    if stuck:
        runs = "1 run" if stuck == 1 else f"{stuck} runs"
        text += f", {runs} learned nothing or ended far from the others"
    if not progress.running:
        return f"{text}; the command was stopped. Run it again to continue."
    left = progress.seconds_left
    return f"{text}; about {rough_duration(left)} to go." if left else f"{text}."
