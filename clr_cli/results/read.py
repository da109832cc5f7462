"""Read runs from files of results."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clr_cli.errors import InputError, excerpt
from clr_cli.results import kinds, mlflow, sources, tensorboard
from clr_cli.results.cells import Cell, listed, number
from clr_cli.results.columns import RUNS, SEEDS, metrics_of, resolve
from clr_cli.results.frame import Frame
from clr_cli.results.query import Query, Results
from clr_cli.results.runs import build

FORM = "a table has the columns arm, seed and the metric, and may have a step, epoch or seconds"
MOST_NAME = 200


def read_results(query: Query) -> Results:
    """Return the runs that a query selects.

    Raises:
        InputError: a file cannot be read, a value does not fit its column, or the role of a column
            is ambiguous; the message names file, line and value, or a command.
    """
    return runs_of(load(query), query)


@dataclass(frozen=True)
class Loaded:
    """The frames of all files, after --where and --run-name."""

    frames: list[Frame]
    notes: list[str]
    paths: list[Path]


def load(query: Query) -> Loaded:
    """Read the files, and add the columns of paths and sidecars to each frame."""
    frames: list[Frame] = []
    skipped: list[str] = []
    paths = []
    for found in sources.find(query.sources):
        try:
            read = kinds.read(found.path)
            if not any(frame.rows for frame in read) and not frames_may_be_empty(read):
                raise InputError(f"contains no rows; {FORM}", source=found.path)
        except InputError as error:
            if not found.walked:
                raise
            skipped.append(str(error))
            continue
        if found.walked and not metrics_of(read):
            continue
        paths.append(found.path)
        for frame in read:
            _check_names(frame)
            _add_constants(frame, found, query)
        frames += read
    frames = _one_kind(frames, query)
    if not frames:
        why = f": {skipped[0]}" if skipped else ""
        raise InputError(f"no file of results can be read{why}", source=query.source)
    notes = [f"{len(skipped)} files cannot be read and are left out: {listed(skipped, 3)}."]
    frames, more = _named(_where(frames, query), query)
    used = {frame.path for frame in frames}
    return Loaded(
        frames, [*(notes if skipped else []), *more], [p for p in paths if p in used] or paths
    )


def runs_of(loaded: Loaded, query: Query) -> Results:
    """Return the runs of loaded frames. Raises InputError."""
    roles = resolve(loaded.frames, query)
    if query.across is not None and all(f.find((query.across,)) is None for f in loaded.frames):
        names = dict.fromkeys(name for frame in loaded.frames for name in frame.names)
        there = listed(map(excerpt, names), 20)
        raise InputError(f"--across {query.across}: not a column; the columns are {there}")
    built = build(loaded.frames, roles, query)
    return Results(
        roles.metric,
        built.unit,
        built.blocks,
        loaded.notes,
        not roles.seed,
        _digest(loaded.paths),
        len(loaded.paths),
    )


def frames_may_be_empty(frames: Sequence[Frame]) -> bool:
    """Return whether these are runs that logged nothing, not tables without rows."""
    return bool(frames) and all(frame.is_log and frame.constants for frame in frames)


def _check_names(frame: Frame) -> None:
    for name in frame.names:
        if len(name) > MOST_NAME or not (name.isprintable() or name == ""):
            raise InputError(f"the column name {excerpt(name)} is not printable", source=frame.path)


def _add_constants(frame: Frame, file: sources.Found, query: Query) -> None:
    identity = ("arm", *SEEDS, *query.arm_columns, *RUNS[:3])
    beside: dict[str, Cell] = {}
    if not any(frame.find((name,)) in frame.columns for name in identity):
        beside = sources.sidecars(file.path)
    frame.constants = {**beside, **frame.constants, **file.constants}


def _one_kind(frames: list[Frame], query: Query) -> list[Frame]:
    """Return the frames of one kind, as tools often log the same runs in two ways."""
    if len({frame.kind for frame in frames}) < 2 or not any(
        Path(source).is_dir() for source in query.sources
    ):
        return frames
    metric = (query.metric or "").casefold()
    having = [f for f in frames if not metric or metric in {n.casefold() for n in f.columns}]
    special = [frame for frame in having if frame.kind not in ("table", "JSON")]
    left = list(dict.fromkeys(frame.kind for frame in special or having or frames))
    if len(left) > 1:
        paths = [next(f.path for f in frames if f.kind == kind) for kind in left]
        examples = listed((f"{kind} ({path})" for kind, path in zip(left, paths, strict=True)), 5)
        raise InputError(
            f"several kinds of results: {examples}; choose one by a pattern:"
            f" --from '{query.sources[0].rstrip('/')}/**/{paths[0].name}'",
            source=query.source,
        )
    return [frame for frame in frames if frame.kind == left[0]]


def _where(frames: list[Frame], query: Query) -> list[Frame]:
    """Return the frames with the rows that --where selects."""
    wanted: dict[str, list[str]] = {}
    for condition in query.where:
        name, equals, value = condition.partition("=")
        if not equals or not name:
            raise InputError(f"--where {condition}: write it as column=value")
        wanted.setdefault(name, []).append(value)
    for name, values in wanted.items():
        there: dict[str, None] = {}
        selected = []
        for frame in frames:
            column = frame.find((name,))
            if column is None:
                continue
            cells = frame.cells(column) if frame.rows else [frame.constants.get(column)]
            rows = [i for i, cell in enumerate(cells) if _equals(cell, values)]
            there |= dict.fromkeys(str(cell) for cell in cells[:10_000])
            if len(rows) == len(cells):
                selected.append(frame)
            elif rows:
                selected.append(frame.keep(rows))
        if not selected:
            names = dict.fromkeys(name for frame in frames for name in frame.names)
            reason = f"its values are {listed(map(excerpt, there), 8)}"
            if not there:
                reason = f"not a column; the columns are {listed(map(excerpt, names), 20)}"
            raise InputError(f"--where {name}={values[0]}: {reason}", source=query.source)
        frames = selected
    return frames


def _equals(cell: Cell, values: Sequence[str]) -> bool:
    text = str(cell).strip()
    if text in values:
        return True
    value = number(cell)
    return value is not None and any(number(each) == value for each in values)


def _named(frames: list[Frame], query: Query) -> tuple[list[Frame], list[str]]:
    """Return the frames with the columns that --run-name finds in the names of runs."""
    pattern = query.run_name
    if pattern is None:
        return frames, []
    sources.check_pattern(pattern, "--run-name")
    named: list[Frame] = []
    other: list[str] = []
    for frame in frames:
        column = frame.find(RUNS[1:]) or frame.find(RUNS)
        if column is None:
            raise InputError(
                f"--run-name {pattern}: no column with names of runs; use a pattern "
                "of paths instead:"
                " --from 'runs/{arm}/seed-{seed}/FILE'",
                source=frame.path,
            )
        if column not in frame.columns:
            parts = sources.parts_of(pattern, str(frame.constants[column]))
            if parts is None:
                other.append(str(frame.constants[column]))
            else:
                frame.constants = {**frame.constants, **parts}
                named.append(frame)
            continue
        memo = {str(cell): sources.parts_of(pattern, str(cell)) for cell in frame.columns[column]}
        names = [str(cell) for cell in frame.columns[column]]
        other += [name for name, parts in memo.items() if parts is None]
        frame = frame.keep([i for i, name in enumerate(names) if memo[name] is not None])
        every = [memo[str(cell)] or {} for cell in frame.columns[column]]
        for part in every[0] if every else ():
            frame.columns[part] = [parts[part] for parts in every]
        named += [frame] if frame.rows else []
    if not named:
        text = f"--run-name {pattern}: no name matches; the names are "
        raise InputError(text + listed(map(excerpt, other), 5), source=query.source)
    other = list(dict.fromkeys(other))
    left = f"{len(other)} runs whose names do not match are left out: {listed(other, 5)}."
    return named, [left] if other else []


def _digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the contents of the file that was read, or of the digests of several.

    Models and other files that a tool keeps beside its results may be large, and may change.
    """
    digests = []
    for path in paths:
        files = [path] if path.is_file() else tensorboard.events(path) or mlflow.files(path)
        for file in files:
            with file.open("rb") as opened:
                digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
