"""Define a query of results, and its answer."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clr_cli.records import RunRecord


@dataclass(frozen=True)
class Query:
    """The options that select runs from files.

    Attributes:
        sources: paths, folders, and patterns with named parts.
        arm_columns: the columns whose joined values name an arm; empty: the column ``arm``.
        seed_column, step_column, metric: None: search by name.
        where: ``column=value``; rows with another value are left out.
        across: the column that names the block (data set, task).
        run_name: a pattern for the names of runs, such as ``{arm}-{seed}``.
        arms: use only these; None: all.
        others: further options of the command, which `command` repeats.
    """

    sources: tuple[str, ...]
    arm_columns: tuple[str, ...] = ()
    seed_column: str | None = None
    step_column: str | None = None
    metric: str | None = None
    where: tuple[str, ...] = ()
    across: str | None = None
    run_name: str | None = None
    arms: tuple[str, ...] | None = None
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A name for the results: a file's stem, a folder, or the fixed part of a pattern."""
        first = self.sources[0]
        fixed = re.split(r"[{*?]", first)[0]
        path = Path(first) if fixed == first else Path(fixed + "x").parent
        name = path.name or path.absolute().name
        return name.partition(".")[0] or name if fixed == first and not path.is_dir() else name

    def command(self, *more: str, **changes: Any) -> str:
        """Return the command line of this query with changes, to paste."""
        asked = replace(self, **changes)
        options = [("--from", source) for source in asked.sources]
        options += [("--arm-column", ",".join(asked.arm_columns))] * bool(asked.arm_columns)
        options += [
            (option, value)
            for option, value in (
                ("--seed-column", asked.seed_column),
                ("--step-column", asked.step_column),
                ("--metric", asked.metric),
                *(("--where", condition) for condition in asked.where),
                ("--across", asked.across),
                ("--run-name", asked.run_name),
                ("--schedules", None if asked.arms is None else ",".join(asked.arms)),
            )
            if value is not None
        ]
        parts = [part for pair in options for part in pair]
        return shlex.join(["clr", "compare", *parts, *asked.others, *more])

    @property
    def source(self) -> str:
        """The sources, for a message."""
        more = f" and {len(self.sources) - 1} more" if len(self.sources) > 1 else ""
        return self.sources[0] + more


@dataclass(frozen=True)
class Block:
    """The runs of one data set or task, and sentences on them for the page."""

    records: list[RunRecord]
    notes: list[str]


@dataclass(frozen=True)
class Results:
    """The runs that a query found.

    Attributes:
        metric: the name of the metric's column.
        unit: "%" if the cells have a percent sign (their values are fractions then), else None.
        blocks: the runs by the value of ``across``; without it, one block "".
        file_notes: sentences on the files for every page.
        numbered: whether the seeds only number the runs, so that runs cannot be paired.
        sha256: the digest of the contents of all files.
        files: the number of files.
    """

    metric: str
    unit: str | None
    blocks: dict[str, Block]
    file_notes: list[str]
    numbered: bool
    sha256: str
    files: int

    @property
    def records(self) -> list[RunRecord]:
        """The runs of all blocks."""
        return [run for block in self.blocks.values() for run in block.records]

    @property
    def notes(self) -> list[str]:
        """The sentences on the files and on the runs of all blocks."""
        return [*self.file_notes, *(note for b in self.blocks.values() for note in b.notes)]
