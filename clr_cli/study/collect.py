"""The path of every comparison: a study asks, a source has the runs, the runs are collected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from clr_cli.analysis.comparisons import decide
from clr_cli.analysis.study import Facts, Runs, Study
from clr_cli.records import RunRecord, Summary

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

    Args:
        study: what is asked.
        source: has the runs.
        execute: executes the source's tasks; not needed for a source without any.
        before: an earlier result of the same study, whose looks count.
        notify: is told what came of each look.

    Raises:
        InputError, EnvironmentFailure: a run cannot be made, or none of the baseline was finished.
    """
    looks, records, done = study.looks(before), list[RunRecord](), 0
    for n in looks if study.cap is not None else [len(study.seeds)]:
        seen, new = [k for k in looks if k <= n], study.runs(n)[done:]
        tasks = [task for key in new if (task := source.task(*key)) is not None]
        if tasks:
            execute(tasks)
        records += [record for key in new if (record := source.record(*key)) is not None]
        done += len(new)
        if study.cap is not None and _is_decided(study, records, seen, notify):
            break
    baseline = study.baseline
    if isinstance(baseline, str) and not any(
        record.arm == baseline and record.status != "failed" for record in records
    ):
        raise source.without_baseline(baseline)
    return Runs(records, source.facts(records), seen)


def _is_decided(
    study: Study, records: Sequence[RunRecord], looks: Sequence[int], notify: Notify
) -> bool:
    """Return whether every arm is decided at this look, and say which are not."""
    decisions = decide(study, records, looks)
    still = [arm for arm, decision in decisions.items() if decision.seeds is None]
    where = f"look {len(looks)}, {looks[-1]} seeds"
    if not still:
        notify(f"{where}: decided")
    elif looks[-1] == study.cap:
        notify(f"{where}: these are all that are allowed")
    else:
        notify(f"{where}: {', '.join(still)} not decided, more seeds are added")
    return not still
