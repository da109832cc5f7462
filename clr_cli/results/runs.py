"""Build runs from rows of tables: assign rows to runs, order them, and find how each run ended."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from clr_cli.errors import InputError, excerpt
from clr_cli.records import RunRecord
from clr_cli.results import factors
from clr_cli.results.cells import (
    COMMAS,
    Cell,
    is_missing,
    is_percent,
    is_within,
    listed,
    number,
    numbers,
    plain,
    whole,
)
from clr_cli.results.columns import RUNS, STATUS, Roles, is_long
from clr_cli.results.frame import Frame
from clr_cli.results.query import Block, Query

MOST_ARMS = 40  # more cannot be distinguished in a figure
MOST_BLOCKS = 40  # more are hardly data sets: the column has a seed or a time
MOST_STEPS = 1e15
FAILED = {
    *("failed", "fail", "failure", "crashed", "crash", "killed", "preempted", "error", "errored"),
    *("aborted", "canceled", "cancelled", "interrupted", "timeout", "timed out", "oom"),
    "out of memory",
}
DIVERGED = {"diverged", "divergence", "nan"}
GOING_ON = {"running", "pending", "scheduled", "queued", "starting"}
Status = Literal["finished", "diverged", "failed"]
Place = tuple[int, int]  # the number of a frame, and of a row in it


@dataclass
class Run:
    """One run, and the places of its rows that have a value."""

    block: str
    arm: str
    seed: int | None
    whose: int | None  # the frame, if every frame is one run
    rows: list[Place] = field(default_factory=list)
    status: str = ""


@dataclass(frozen=True)
class Built:
    """Runs by block, and the unit of their metric."""

    blocks: dict[str, Block]
    unit: str | None


@dataclass(frozen=True)
class Table:
    """The frames, with the metric and the clocks of their rows as numbers.

    Attributes:
        values: the metric by frame and row; None if it is missing.
        clocks: the clocks by frame, key and row.
    """

    frames: Sequence[Frame]
    roles: Roles
    query: Query
    values: Sequence[list[float | None]]
    clocks: Sequence[dict[str, list[float | None]]]

    def clock(self, key: str, place: Place) -> float | None:
        """Return a row's clock; None if the row has none of this key."""
        column = self.clocks[place[0]].get(key)
        return None if column is None else column[place[1]]

    def row(self, place: Place) -> dict[str, float]:
        """Return a row as a record has it: its clocks, then the metric."""
        f, i = place
        row = {key: c for key, column in self.clocks[f].items() if (c := column[i]) is not None}
        row[self.roles.metric] = self.values[f][i] or 0.0
        return row


def build(frames: Sequence[Frame], roles: Roles, query: Query) -> Built:
    """Return the runs with ordered rows. A run whose last value is not finite has diverged.

    Raises:
        InputError: a text instead of a number, a measurement that occurs twice, rows of one run
            that differ in another column than the clock, or an unknown arm.
    """
    values = [_values(frame, roles, long=is_long(frames)) for frame in frames]
    clocks = [_clocks(frame, roles, own) for frame, own in zip(frames, values, strict=True)]
    table = Table(frames, roles, query, values, clocks)
    runs = _group(table)
    factors.check(table, [run for run in runs if run.status not in GOING_ON])
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.block, []).append(run)
    if len(groups) > MOST_BLOCKS:
        raise InputError(
            f"--across {query.across}: {len(groups)} values; a comparison takes at most"
            f" {MOST_BLOCKS} data sets",
            source=query.source,
        )
    blocks = {name: _block(group, table) for name, group in groups.items()}
    return Built(blocks, "%" if _has_percents(frames, roles) else None)


def _block(runs: Sequence[Run], table: Table) -> Block:
    notes: list[str] = []
    metric = table.roles.metric
    running = [run for run in runs if run.status in GOING_ON]
    if running:
        runs = [run for run in runs if run.status not in GOING_ON]
        notes.append(f"{_are(len(running))} still running and left out: {_named(running)}.")
    if not table.roles.seed:
        notes.append("There is no column of seeds: the runs of an arm are numbered.")
    records: list[RunRecord] = []
    replaced = 0
    ends: dict[str, list[tuple[float, Run]]] = {}
    for run in runs:
        key = _clock_of(run, table)
        places, doubles = _ordered(run, table, key)
        replaced += doubles
        run.rows = []  # frees memory: there may be a million rows
        records.append(_record(run, [table.row(place) for place in places], metric))
        if key is not None and records[-1].status == "finished":
            ends.setdefault(key, []).append((table.clock(key, places[-1]) or 0.0, run))
    if replaced:
        notes.append(
            f"{replaced:,} rows were logged again at the same step; the later value counts."
        )
    notes += [text for run_ends in ends.items() if (text := _early(*run_ends))]
    notes += _failures(runs)
    if {"best", "max", "min"} & {*metric.casefold().replace("/", "_").split("_")}:
        notes.append(
            f"'{metric}' is the best value of a run, not the last one: longer and noisier"
            " runs have an advantage."
        )
    return Block(records, notes)


def _has_percents(frames: Sequence[Frame], roles: Roles) -> bool:
    name = "value" if is_long(frames) else roles.metric
    columns = (frame.columns.get(str(frame.find((name,))), []) for frame in frames)
    texts = (cell for cells in columns for cell in cells if isinstance(cell, str) and "%" in cell)
    return any(is_percent(cell) for cell in texts)


def _values(frame: Frame, roles: Roles, *, long: bool) -> list[float | None]:
    """Return the metric of every row; None if it is missing."""
    name = "value" if long else str(frame.find((roles.metric,)))
    if name not in frame.columns:
        return [None] * frame.rows
    cells: Sequence[Cell] = frame.columns[name]
    if long:
        named = zip(frame.columns["metric"], cells, strict=True)
        cells = [cell if str(metric).strip() == roles.metric else None for metric, cell in named]
    values = numbers(cells, comma=frame.comma)
    if isinstance(values, int):
        cell = cells[values]
        comma = isinstance(cell, str) and number(cell, comma=True) is not None
        why = f"; {COMMAS}" if comma else ""
        raise frame.error(values, f"{roles.metric} {excerpt(cell)} is not a number{why}")
    return values


def _clocks(
    frame: Frame, roles: Roles, values: Sequence[float | None]
) -> dict[str, list[float | None]]:
    """Return the clocks of the rows by key; rows without a value are not checked."""
    columns_by_key: dict[str, list[float | None]] = {}
    for key, names in roles.clocks.items():
        name = frame.find([name for name in names if frame.find((name,)) in frame.columns])
        if name is None:
            continue
        cells = frame.columns[name]
        column = numbers(cells, comma=frame.comma)
        if isinstance(column, int):
            column = numbers(
                [c if v is not None else None for c, v in zip(cells, values, strict=True)],
                comma=frame.comma,
            )
        if isinstance(column, int):
            raise frame.error(column, f"{name} {excerpt(cells[column])} is not a number")
        if not is_within([clock for clock in column if clock is not None], 0, MOST_STEPS):
            for row, (clock, value) in enumerate(zip(column, values, strict=True)):
                if not (clock is None or value is None or 0 <= clock <= MOST_STEPS):
                    cell = excerpt(cells[row])
                    raise frame.error(row, f"{name} {cell}: expected a number from 0 to 1e15")
        columns_by_key[key] = [c if c is None or c % 1 else int(c) for c in column]
    return columns_by_key


def _group(table: Table) -> list[Run]:
    """Return the runs in the order of their first rows, numbered if there are no seeds."""
    roles, query = table.roles, table.query
    runs: dict[Hashable, Run] = {}
    known: dict[str, None] = {}
    for f, frame in enumerate(table.frames):
        arms = _arms(frame, roles)
        seeds = _seeds(frame, roles)
        blocks = _blocks(frame, query)
        told = frame.find(STATUS)
        status = frame.cells(told)
        own = {name for name in (*roles.arms, *roles.seed) if frame.find((name,)) in frame.columns}
        names = [frame.find((alias,)) for alias in RUNS]
        name = next((n for n in names if n in frame.columns and n not in own), None)
        ids: Sequence[Hashable]
        if roles.seed:
            ids = seeds
        elif frame.is_log and not own:
            ids = [f] * frame.rows
        elif not table.clocks[f]:
            ids = [(f, row) for row in range(frame.rows)]
        elif name is not None:
            ids = [(f, str(cell)) for cell in frame.columns[name]]
        else:
            ids = [-1 if own else f] * frame.rows
        whose = None if own else f
        for row, (arm, id_, block, value) in enumerate(
            zip(arms, ids, blocks, table.values[f], strict=True)
        ):
            known[arm] = None
            if query.arms is not None and arm not in query.arms:
                continue
            if query.across is not None and not block:
                raise frame.error(row, f"no {query.across}: the data set of the row is not known")
            run = runs.get((block, arm, id_))
            if run is None:
                seed = seeds[row] if roles.seed else None
                run = runs[block, arm, id_] = Run(block, arm, seed, whose)
            elif run.whose != whose:
                raise _two_files(table, run, f)
            if value is not None:
                run.rows.append((f, row))
            if told is not None and not is_missing(status[row]):
                run.status = _label(status[row]).casefold()
        if not frame.rows:  # a run that logged nothing
            _add_empty(frame, f, roles, query, runs)
    for arm in query.arms or ():
        if arm not in known:
            raise InputError(f"--schedules: {arm!r} is not an arm; the arms are {listed(known)}")
    counts: dict[tuple[str, str], int] = {}
    for run in runs.values():
        if run.seed is None:
            run.seed = counts.get((run.block, run.arm), 0)
            counts[run.block, run.arm] = run.seed + 1
    count = len({run.arm for run in runs.values()})
    if count > MOST_ARMS:
        raise InputError(
            f"{count} arms; a comparison takes at most {MOST_ARMS}: choose some with --schedules",
            source=query.source,
        )
    return list(runs.values())


def _add_empty(frame: Frame, f: int, roles: Roles, query: Query, runs: dict[Hashable, Run]) -> None:
    """Add the run of a frame without rows, if constants identify the run."""
    across = () if query.across is None else (query.across,)
    names = [frame.find((name,)) for name in (*roles.arms, *across)]
    if any(name is None or is_missing(frame.constants.get(name)) for name in names):
        return
    one = Frame(frame.path, {"": [None]}, frame.constants, frame.place)
    arm, seed = _arms(one, roles)[0], next(iter(_seeds(one, roles)), None)
    block = _blocks(one, query)[0]
    status = _label(frame.constants.get(frame.find(STATUS) or "")).casefold()
    if query.arms is None or arm in query.arms:
        id_: Hashable = seed if roles.seed else f
        runs.setdefault((block, arm, id_), Run(block, arm, seed, f, status=status))


def _blocks(frame: Frame, query: Query) -> list[str]:
    """Return the block of every row. Raises InputError for a frame that does not have it."""
    if query.across is None:
        return [""] * frame.rows
    name = frame.find((query.across,))
    if name is None:
        raise InputError(f"no column '{query.across}', but other files have one", source=frame.path)
    return [_label(cell) for cell in frame.cells(name)]


def _arms(frame: Frame, roles: Roles) -> list[str]:
    """Return the arm of every row: a text, or ``name=value`` of numbers and of several columns."""
    names = [str(frame.find((arm,))) for arm in roles.arms]
    columns = [frame.cells(name) for name in names]
    known: dict[tuple[Cell, ...], str] = {}
    arms = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        try:
            arm = known.get(cells)
        except TypeError:  # a list in JSON
            raise frame.error(row, f"arm {excerpt(cells[0])} is not a name") from None
        if arm is None:
            parts = []
            for name, cell in zip(names, cells, strict=True):
                text = _label(cell)
                plain = len(names) == 1 and (name.casefold() == "arm" or number(cell) is None)
                last = name.replace("/", ".").rpartition(".")[2]
                parts.append(text if plain else f"{last}={text}")
            arm = known[cells] = " ".join(parts)
            missing = len(names) == 1 and not _label(cells[0])
            if missing or len(arm) > 200 or not arm.isprintable():
                raise frame.error(row, f"arm {excerpt(arm)} is not a name")
        arms.append(arm)
    return arms


def _seeds(frame: Frame, roles: Roles) -> list[int]:
    """Return the seed of every row; empty without a column of seeds."""
    if not roles.seed:
        return []
    cells = frame.cells(frame.find(roles.seed))
    texts = list(map(str, cells))
    known: dict[str, int] = {}
    for text in dict.fromkeys(texts):
        seed = whole(text)
        if seed is None:
            row = texts.index(text)
            raise frame.error(
                row,
                f"seed {excerpt(cells[row])} is not a whole number of at most 18 digits; number the"
                " runs of an arm 0, 1, 2, ...",
            )
        known[text] = seed
    return [known[text] for text in texts]


def _two_files(table: Table, run: Run, f: int) -> InputError:
    roles, query, other = table.roles, table.query, table.frames[f]
    first = table.frames[run.rows[0][0]] if run.rows else other
    apart = [
        name
        for name in other.constants
        if name in first.constants and first.constants[name] != other.constants[name]
        if name not in (*roles.arms, *roles.seed, "run")
    ]
    names = [plain(str(each.constants.get("run") or each.path)) for each in (first, other)]
    hint = (
        ""
        if not apart
        else f"; they differ in {listed(map(excerpt, apart), 5)}: "
        + query.command(arm_columns=(*roles.arms, apart[0]))
    )
    return InputError(
        f"arm {run.arm}, seed {run.seed} is both {names[0]} and {names[1]}{hint}",
        source=query.source,
    )


def _clock_of(run: Run, table: Table) -> str | None:
    """Return the clock that orders a run's rows: the first one that all rows have."""
    some: tuple[str, Place] | None = None
    for key in table.clocks[run.rows[0][0]] if run.rows else ():
        gap = next((place for place in run.rows if table.clock(key, place) is None), None)
        if gap is None:
            return key
        if some is None and any(table.clock(key, place) is not None for place in run.rows):
            some = key, gap
    if some is not None and len(run.rows) > 1:
        key, (f, i) = some
        raise table.frames[f].error(i, f"no {key}, although other rows of the run have one")
    return None


def _ordered(run: Run, table: Table, key: str | None) -> tuple[list[Place], int]:
    """Return a run's rows in the order of the clock, and the number of replaced rows."""
    if key is None:
        if len(run.rows) > 1 and not all(table.frames[f].is_log for f, _ in run.rows):
            raise factors.twice(table, run, (run.rows[0], run.rows[1]), None)
        return run.rows, 0
    at = [table.clock(key, place) or 0.0 for place in run.rows]
    if all(a < b for a, b in pairwise(at)):
        return run.rows, 0
    last_at: list[int] = []
    for k in sorted(range(len(at)), key=at.__getitem__):
        if last_at and at[k] == at[last_at[-1]]:
            before, now = run.rows[last_at[-1]], run.rows[k]
            if not table.frames[now[0]].is_log:
                raise factors.twice(table, run, (before, now), (key, at[k]))
            last_at[-1] = k
        else:
            last_at.append(k)
    return [run.rows[k] for k in last_at], len(at) - len(last_at)


def _record(run: Run, rows: list[dict[str, float]], metric: str) -> RunRecord:
    seed = run.seed or 0
    status: Status = "finished"
    if not rows or run.status in FAILED:
        return RunRecord(run.arm, seed, "failed", [], {})
    if run.status in DIVERGED or not math.isfinite(rows[-1][metric]):
        status = "diverged"
    final = {"final": {metric: rows[-1][metric]}} if status == "finished" else {}
    return RunRecord(run.arm, seed, status, rows, final)


def _early(key: str, ends: list[tuple[float, Run]]) -> str:
    """Return a sentence if runs end at different steps, else an empty text."""
    last, first = max(end for end, _ in ends), min(end for end, _ in ends)
    if key == "seconds" or first == last:
        return ""
    noun = "step" if key == "iteration" else key
    longest: dict[str, float] = {}
    for end, run in ends:
        longest[run.arm] = max(end, longest.get(run.arm, end))
    early = [f"{run.arm} seed {run.seed} at {end:g}" for end, run in ends if end < longest[run.arm]]
    arms = {f"{arm} at {end:g}" for arm, end in longest.items()}
    which = listed(early, 6) if early else listed(sorted(arms), 6)
    return f"Runs end at {noun} {first:g} to {last:g}: {which}."


def _failures(runs: Sequence[Run]) -> list[str]:
    bad = [run for run in runs if run.status in FAILED | DIVERGED]
    if not bad:
        return []
    names = listed((f"{run.arm} seed {run.seed} ({run.status})" for run in bad), 6)
    return [f"{_are(len(bad))} failed by their status: {names}."]


def _named(runs: Sequence[Run]) -> str:
    return listed((f"{run.arm} seed {run.seed}" for run in runs), 6)


def _are(count: int) -> str:
    return f"{count} run is" if count == 1 else f"{count} runs are"


def _label(cell: Cell) -> str:
    return " ".join(str("" if cell is None else cell).split())
