"""Run ``clr compare --cmd ... --dry-run``: show the plan, and try one run."""

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
    """Execute the study's first run in a temporary folder, and print its rows.

    Raises InputError if the program fails or does not report the metric.
    """
    from clr_cli.execution.rows import numbers

    runs = study.runs()
    first = source.task(*runs[0])
    terminal.note(f"first command line, in {first.folder}:\n  {shlex.join(first.argv)}\n")
    terminal.note(f"trial run of {first.name}, with {{out}} in a temporary folder ...")
    with tempfile.TemporaryDirectory(prefix="clr-dry-run-") as folder:
        trial = replace(first, path=Path(folder))
        for event in engine.execute([trial]):
            if event.kind == "note":
                terminal.note(str(event.value))
        record = trial.record()
        if record.status == "failed":
            raise InputError("the trial run failed; fix the command and try again")
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
