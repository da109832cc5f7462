"""Run a comparison at the prompt, from any source of runs: print plan, outlook and result."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from clr_cli.cli import terminal
from clr_cli.cli.options import command_line

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect
    from clr_cli.analysis.study import Key, Study
    from clr_cli.records import RunRecord, Summary
    from clr_cli.records.base import R
    from clr_cli.study.collect import Execute, Source


REMEDY = "give --overwrite to replace it"
CAN_PAIR = " (if runs of equal seeds share their randomness, add --paired)"


@dataclass(frozen=True)
class Place:
    """The place where a comparison is written.

    Attributes:
        folder: the folder of summary.json and the page.
        overwrite: whether to ignore an earlier result there.
        also: writes further files of the runs, and returns their paths.
    """

    folder: Path
    overwrite: bool = False
    also: Callable[[Sequence[RunRecord]], list[Path]] = lambda records: []

    @property
    def before(self) -> Summary | None:
        """Return the earlier result, or None. Raises InputError if it is damaged."""
        from clr_cli.paths import SUMMARY
        from clr_cli.records import Summary, read_if_any

        if self.overwrite:
            return None
        return read_if_any(Summary, self.folder / SUMMARY, remedy=REMEDY)


def print_plan(study: Study, rows: Iterable[tuple[str, str]], hint: str = "") -> None:
    """Print the plan of a comparison.

    Args:
        study: what is asked.
        rows: those of the source of its runs.
        hint: follows an unpaired design.
    """
    from clr_cli.analysis.study import DESIGNS

    metric, design = study.metric, DESIGNS[study.design]
    if study.design == "unpaired":
        design += hint
    title = " vs ".join(study.arms) if len(study.arms) <= 6 else f"{len(study.arms)} arms"
    judged = [("metric", f"{metric.label}, {metric.direction}"), ("design", design)]
    terminal.plan(f"clr compare: {study.name}, {title}", [*rows, *judged])


def runs_row(study: Study, only: Sequence[Key], jobs: int, where: str) -> tuple[str, str]:
    """Return the plan's row on the number of runs; ``only``: those that are executed now."""
    seeds, runs = len(study.seeds), len(study.runs())
    most = "at most " if study.cap is not None else ""
    now = f", of which {len(only)} now" if only else ""
    counted = f"{len(study.arms)} arms x {most}{seeds} seeds = {most}{runs}{now}"
    return "runs", f"{counted}, {jobs} at a time{where}"


def print_outlook(study: Study, before: Summary | None) -> None:
    """Print what the planned seeds can show, given the noise of an earlier result."""
    for line in _outlook(study, before):
        terminal.note(f"{line}\n")


def _outlook(study: Study, before: Summary | None) -> Iterable[str]:
    n, few = len(study.seeds), study.fewest
    paired = study.design == "paired"
    kind = "seeds" if paired else "runs per arm"
    if n < few:
        yield (
            f"{n} {kind} are too few to show any difference; you need at least {few} "
            f"(--seeds {few})"
        )
        return
    smallest = study.smallest_detectable((1.0,) * study.sides, (n,) * study.sides)
    if smallest is None:
        return
    of = "of the paired differences" if paired else "between runs"
    text = (
        f"power: with {n} {kind}, a true difference of {smallest:.1f} standard deviations ({of}) "
        "is detected 80 % of the time"
    )
    noise = None if before is None else _noise(study, before)
    if noise is None or before is None:
        yield text
        return
    scale = before.scale
    size = scale.bare(smallest * noise) + scale.points
    text += f", which is {size} with the noise of the earlier result"
    if study.detect is not None:
        needed = study.seeds_needed(study.detect, (noise,) * study.sides)
        size = scale.bare(study.detect) + scale.points
        text += f"; detecting {size} "
        text += f"would take too many {kind}" if needed is None else f"takes {needed} {kind}"
    yield text


def _noise(study: Study, before: Summary) -> float | None:
    """Return the largest standard deviation in an earlier result, of differences or of runs."""
    if study.design == "paired":
        groups = [each.difference.values for each in before.comparisons]
    else:
        groups = [arm.metrics[before.metric.name].values for arm in before.arms]
    known = [[value for value in group.values() if value is not None] for group in groups]
    return max((statistics.stdev(values) for values in known if len(values) > 1), default=None)


def only_these(names: Sequence[str], study: Study) -> list[Key]:
    """Return the runs of ``--only arm:seed``. Raises InputError for one outside the plan."""
    from clr_cli.config.hints import did_you_mean
    from clr_cli.errors import InputError

    known = {f"{arm}:{seed}": (arm, seed) for arm, seed in study.runs()}
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: not a run of this plan{did_you_mean(name, [*known])}")
    return [known[name] for name in names]


def execute_only(keys: Sequence[Key], source: Source, execute: Execute) -> None:
    """Execute these runs alone. Raises EnvironmentFailure if one of them did not finish."""
    from clr_cli.execution.task import check_finished

    tasks = [task for key in keys if (task := source.task(*key)) is not None]
    execute(tasks)
    check_finished(tasks)
    terminal.note("\nwhen all runs are finished, the same command without --only compares them")


def compare(
    study: Study, source: Source, place: Place, execute: Execute | None = None
) -> tuple[Summary, list[Path]]:
    """Collect the runs, compare them, write result and page, and return result and paths."""
    from clr_cli.records import Reproduce
    from clr_cli.report import index, write
    from clr_cli.study.collect import analysed, collect, needs_no_engine

    run = execute or needs_no_engine
    runs = collect(study, source, run, before=place.before, notify=terminal.note)
    again = Reproduce(command=command_line(), config=runs.facts.config)
    with analysed(study, runs, place.folder, remedy=REMEDY, overwrite=place.overwrite) as found:
        summary = found.model_copy(update={"reproduce": again})
        written = write.write_comparison(place.folder, summary, runs.records)
    index.write(place.folder.parents[1])
    return summary, [*written, *place.also(runs.records)]


def print_result(
    summary: Summary, written: Sequence[Path], expect: Expect | None, *, as_json: bool
) -> None:
    """Print the result: as JSON, or table, sentences and paths.

    Raises:
        typer.Exit: the result is not as expected (exit code 4), or cannot tell (3).
    """
    from clr_cli.analysis import expectation
    from clr_cli.cli.show import print_summary

    judged = None if expect is None else expectation.verdict(summary, expect)
    conclude(summary, print_summary, written, judged, as_json=as_json)


def conclude(
    result: R,
    show: Callable[[R], None],
    written: Sequence[Path],
    judged: tuple[int, str] | None,
    *,
    as_json: bool,
) -> None:
    """Print a result: as JSON, or by ``show`` and with the paths that were written.

    Raises:
        typer.Exit: with the code of ``judged``, unless that is 0; its text is the error.
    """
    if as_json:
        print(json.dumps(result.plain(), indent=2))
    else:
        show(result)
        terminal.paths(written)
    code, text = judged or (0, "")
    if code:
        terminal.error(text)
        raise typer.Exit(code)
