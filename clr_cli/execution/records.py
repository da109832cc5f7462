"""What finished tasks left behind, as the pure side sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clr_cli.errors import EnvironmentFailure
from clr_cli.execution.task import Task
from clr_cli.execution.training_task import Run
from clr_cli.records import RunRecord


def read_record(run: Run) -> RunRecord:
    """Read a run's metrics and result; status ``failed`` where it did not finish.

    Raises:
        InputError: its files are damaged, or it was trained on other code or data than this
            process has: one of several that share a comparison may have read them later.
    """
    directory = run.directory
    directory.check_origin(run.origin())
    if not directory.finished:
        return RunRecord(run.arm, run.seed, "failed", directory.read_metrics(), {})
    result = directory.read_result()
    return RunRecord(run.arm, run.seed, result["status"], directory.read_metrics(), result)


def read_records(runs: Sequence[Run]) -> list[RunRecord]:
    """All of them; where batches are of several sizes, rows tell their images too."""
    records = [read_record(run) for run in runs]
    sizes = [run.config.training.batch_size for run in runs]
    if len(set(sizes)) == 1:
        return records
    return [
        replace(
            record, epochs=[{**row, "images": size * row["iteration"]} for row in record.epochs]
        )
        for record, size in zip(records, sizes, strict=True)
    ]


def check_finished(tasks: Sequence[Task]) -> None:
    """Raises EnvironmentFailure, naming the tasks that could not be finished."""
    failed = [task.name for task in tasks if not task.directory.finished]
    if failed:
        raise EnvironmentFailure(f"{', '.join(failed)} could not be finished")
