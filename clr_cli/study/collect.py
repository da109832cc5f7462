"""The path of every comparison: a study asks, a source has the runs, the runs are collected."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clr_cli.analysis.judgement import final_values, first_look, judge, next_counts
from clr_cli.analysis.study import Facts, Key, Runs, Study
from clr_cli.analysis.summary import analyse
from clr_cli.files import locked
from clr_cli.paths import SUMMARY
from clr_cli.records import Look, RunRecord, Summary, read_if_any

if TYPE_CHECKING:
    from clr_cli.execution.task import Task

Execute = Callable[[Sequence["Task"]], None]  # executes tasks to their end
Notify = Callable[[str], None]  # takes a line for the person who waits


class Source(Protocol):
    """Where the runs of a study come from: training, a program, functions, a table of results."""

    def task(self, arm: str, seed: int) -> Task | None:
        """Return the task that makes a run; None if no engine is needed to have it."""

    def record(self, arm: str, seed: int) -> RunRecord | None:
        """Return a run after its task has ended; None if the source has no such run."""

    def facts(self, records: Sequence[RunRecord]) -> Facts:
        """Return what page and verdict must know of these runs."""

    def without_baseline(self, baseline: str) -> Exception:
        """Return the error that says why there is no run of the baseline."""


def needs_no_engine(tasks: Sequence[Task]) -> None:
    """Execute the tasks of a source that has none."""
    raise AssertionError(f"{len(tasks)} tasks, and no engine to execute them")


def collect(
    study: Study,
    source: Source,
    execute: Execute = needs_no_engine,
    *,
    before: Summary | None = None,
    notify: Notify = lambda line: None,
) -> Runs:
    """Collect the runs of a study; if it adds seeds, look by look until every arm is decided.

    An arm that is decided gets no more runs.

    Args:
        study: what is asked.
        source: has the runs.
        execute: executes the source's tasks; not needed for a source without any.
        before: the earlier result; arms or a design that were chosen by it are corrected for.
        notify: is told what came of each look.

    Raises:
        InputError, EnvironmentFailure: a run cannot be made, or none of the baseline was finished.
    """
    records: dict[Key, RunRecord] = {}

    def fetch(keys: Sequence[Key]) -> None:
        tasks = [task for key in keys if (task := source.task(*key)) is not None]
        if tasks:
            execute(tasks)
        found = ((key, source.record(*key)) for key in keys)
        records.update({key: record for key, record in found if record is not None})

    if study.cap is None:
        fetch(study.runs())
        counts = [sum(arm == each for each, _ in records) for arm in study.arms]
        seen = [Look(n=min(counts), runs=dict.fromkeys(study.arms, len(study.seeds)))]
    else:
        seen = _until_decided(study, before, fetch, records, notify)
    found = list(records.values())
    baseline = study.baseline
    if isinstance(baseline, str) and not any(
        record.arm == baseline and record.status != "failed" for record in found
    ):
        raise source.without_baseline(baseline)
    return Runs(found, source.facts(found), seen)


@contextlib.contextmanager
def analysed(
    study: Study, runs: Runs, folder: Path, *, remedy: str, overwrite: bool = False
) -> Iterator[Summary]:
    """Give the comparison of the runs, to be written to its folder in the block.

    The looks of the result that is there count, and no other process writes one meanwhile: of two
    commands at once, the second counts the look of the first.

    Args:
        study: what was asked.
        runs: the runs so far.
        folder: of the comparison.
        remedy: what to do about a result that is damaged.
        overwrite: whether to ignore the result that is there.

    Raises InputError, EnvironmentFailure.
    """
    with locked(folder):
        before = None if overwrite else read_if_any(Summary, folder / SUMMARY, remedy=remedy)
        yield analyse(study.after(before, runs.records), runs)


def _until_decided(
    study: Study,
    before: Summary | None,
    fetch: Callable[[Sequence[Key]], None],
    records: Mapping[Key, RunRecord],
    notify: Notify,
) -> list[Look]:
    """Fetch runs look by look; return the looks."""
    seen, look = list[Look](), first_look(study)
    while True:
        most = look.most
        wanted = ((arm, n) for n in range(most) for arm in study.arms if n < look.runs[arm])
        fetch([key for arm, n in wanted if (key := (arm, study.seed(n))) not in records])
        seen.append(look)
        found = [*records.values()]
        values, _ = final_values(study, found)
        judged = judge(study.after(before, found).with_margin(values), values, seen)
        still = [arm for arm, each in judged.items() if each.is_open]
        where = f"look {len(seen)}, {_counted(look, study)}"
        if not still:
            vain = [arm for arm, each in judged.items() if each.futile]
            ended = f"more seeds would hardly show a difference for {', '.join(vain)}"
            notify(f"{where}: {ended if vain else 'decided'}")
            return seen
        if look.n == study.cap:
            notify(f"{where}: the seed limit is reached")
            return seen
        notify(f"{where}: {', '.join(still)} not decided, more seeds are added")
        look = next_counts(study, values, judged, look)


def _counted(look: Look, study: Study) -> str:
    if study.paired:
        return f"{look.n} seeds"
    return ", ".join(f"{arm} {count} runs" for arm, count in look.runs.items())
