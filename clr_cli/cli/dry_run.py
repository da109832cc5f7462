"""``clr compare --cmd ... --dry-run``: what would be run, and one trial run of it."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from clr_cli.cli import terminal
from clr_cli.errors import InputError
from clr_cli.format import duration

if TYPE_CHECKING:
    from clr_cli.analysis.study import Study
    from clr_cli.execution.engines import Engine
    from clr_cli.study.program import ProgramSource

SHOWN = 3  # rows at the beginning and at the end


def try_first(study: Study, source: ProgramSource, engine: Engine, jobs: int) -> None:
    """Run the study's first run in a folder that is deleted afterwards, and print what it gives.

    Raises InputError where the program fails or the metric is not found.
    """
    from clr_cli.execution.rows import numbers

    runs = study.runs()
    first = source.task(*runs[0])
    terminal.note(f"first command line, in {first.folder}:\n  {shlex.join(first.argv)}\n")
    terminal.note(f"trial run of {first.name}, with {{out}} in a folder of its own ...")
    with tempfile.TemporaryDirectory(prefix="clr-dry-run-") as folder:
        trial = replace(first, path=Path(folder))
        for event in engine.execute([trial]):
            if event.kind == "note":
                terminal.note(str(event.value))
        record = trial.record()
        if record.status == "failed":
            raise InputError("the trial run failed; mend the command")
        seconds = float(record.result["train_seconds"])
    rows, metric = record.epochs, study.metric.name
    names = numbers(rows)
    shown = rows if len(rows) <= 2 * SHOWN else [*rows[:SHOWN], {}, *rows[-SHOWN:]]
    terminal.table(
        names, [[f"{row[key]:.6g}" if key in row else "" for key in names] for row in shown]
    )
    most = "at most " if study.cap is not None else ""
    count = len(runs)
    print(f"{len(rows)} rows; the last {metric} is {record.result['final'][metric]:.6g}.")
    print(
        f"The trial took {duration(seconds)}; {most}{count} runs, {jobs} at a time, would "
        f"take {most}{duration(seconds * -(-count // jobs))}."
    )
