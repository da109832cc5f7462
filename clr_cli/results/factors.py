"""Refuse columns that distinguish the rows of one run: data sets, folds, phases.

Rows of one (arm, seed) are points of a curve only if a clock alone distinguishes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from clr_cli.errors import InputError, excerpt
from clr_cli.results.cells import Cell, is_missing, listed, number, plain, whole
from clr_cli.results.frame import Frame
from clr_cli.results.query import Query

if TYPE_CHECKING:
    from clr_cli.results.runs import Place, Run, Table

_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d+:\d\d|\d+ days?")


def check(table: Table, runs: Sequence[Run]) -> None:
    """Raise InputError if a column other than the clock distinguishes rows of a run.

    If there are steps or epochs, only texts are checked. If there are only seconds, which may be
    the duration of a whole run, whole numbers are checked too.
    """
    frames, query = table.frames, table.query
    several = [run for run in runs if len(run.rows) > 1 and not frames[run.rows[0][0]].is_log]
    if not several:
        return
    known = {"", "metric", "value"}.union(*map(table.roles.not_factors, frames))
    if query.across is not None:
        known |= {str(frame.find((query.across,))) for frame in frames}
    weak = all({*table.clocks[run.rows[0][0]]} <= {"seconds"} for run in several)
    for name in dict.fromkeys(name for frame in frames for name in frame.columns):
        if name in known or name.startswith("Unnamed: "):
            continue
        run = _divided(name, frames, several, weak=weak)
        if run is not None:
            raise InputError(
                f"arm {run.arm}, seed {run.seed} has several rows, which differ in the column"
                f" {excerpt(name)}; {_ways(name, frames, run, query)}",
                source=query.source,
            )


def _divided(name: str, frames: Sequence[Frame], runs: Sequence[Run], *, weak: bool) -> Run | None:
    """Return the first run that a column divides, if its values recur in other runs."""
    seen: dict[str, int] = {}
    first: Run | None = None
    phases = True
    unique = True
    for run in runs:
        cells = [_cell(name, frames, row) for row in run.rows]
        values = {str(cell) for cell in cells}
        if len(values) == 1:
            continue
        if any(_is_no_factor(cell, weak=weak) for cell in cells[:100]):
            return None
        first = first or run
        changes = sum(a != b for a, b in pairwise(cells))
        phases = phases and changes < len(values) < len(cells)
        unique = unique and len(values) == len(cells)
        for value in values:
            seen[value] = seen.get(value, 0) + 1
    again = sum(count > 1 for count in seen.values()) > len(seen) / 2
    divides = unique and again if weak else not phases and not (unique and not again)
    return first if divides else None


def _is_no_factor(cell: Cell, *, weak: bool) -> bool:
    """Return whether a column with this cell is a measurement or a time."""
    if is_missing(cell):
        return False
    if number(cell) is not None or isinstance(cell, bool):
        return not weak or whole(cell) is None
    return not isinstance(cell, str) or _TIME.search(cell) is not None


def twice(
    table: Table, run: Run, rows: tuple[Place, Place], clock: tuple[str, float] | None
) -> InputError:
    """Return the error for a measurement that occurs twice, with the columns that differ."""
    frames, (before, now) = table.frames, sorted(rows)
    frame = frames[now[0]]
    other = frames[before[0]]
    places = [frame.place(now[1]), other.place(before[1])]
    if other.path != frame.path:
        places[1] += f" of {plain(str(other.path))}"
    where = "" if clock is None else f", {clock[0]} {clock[1]:g}"
    hint = "several rows of a run need a column with the step or the time"
    known = table.roles.not_factors(frame)
    apart = [name for name in _apart(frames, before, now) if name not in known]
    if apart:
        hint = f"they differ in the column {excerpt(apart[0])}; "
        if len(apart) > 1:
            hint = f"they differ in the columns {listed(map(excerpt, apart), 5)}; "
        hint += _ways(apart[0], frames, run, table.query)
    elif clock is not None:
        hint = "if they are two runs, name the column of seeds: --seed-column NAME"
    return InputError(
        f"{places[0]}: arm {run.arm}, seed {run.seed}{where} also appears on {places[1]}; {hint}",
        source=frame.path,
    )


def _apart(frames: Sequence[Frame], before: Place, now: Place) -> Iterator[str]:
    """Yield the columns that differ between two rows: texts and whole numbers."""
    for name in frames[now[0]].columns:
        cells = [_cell(name, frames, row) for row in (before, now)]
        both = not any(is_missing(cell) for cell in cells) and cells[0] != cells[1]
        whole_ = all(whole(cell) is not None for cell in cells)
        text = all(isinstance(cell, str) and number(cell) is None for cell in cells)
        index = not name or name.startswith("Unnamed: ")
        if both and not index and (text or whole_) and not _TIME.search(str(cells[0])):
            yield name


def _ways(name: str, frames: Sequence[Frame], run: Run, query: Query) -> str:
    """Return what to do about such a column: choose a value, or use it as block or clock."""
    value = _cell(name, frames, run.rows[0])
    typed = str(value) if plain(str(value)) == str(value) else "VALUE"
    chosen = query.command(where=(*query.where, f"{name}={typed}"))
    number_ = " or --step-column" if whole(value) is not None else ""
    return f"choose one: {chosen} (or give it as --across{number_} {name})"


def _cell(name: str, frames: Sequence[Frame], row: Place) -> Cell:
    cells = frames[row[0]].columns.get(name)
    return frames[row[0]].constants.get(name) if cells is None else cells[row[1]]
