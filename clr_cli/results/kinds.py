"""Recognize the kind of a file of results, and read it.

To add a kind: write a function path -> frames, add it to `KINDS`, and add a small realistic file to
tests/support/results_makers.py. A kind is recognized by a file's name and first bytes (`Peek`).
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from clr_cli.errors import InputError, excerpt
from clr_cli.results import mlflow, tensorboard
from clr_cli.results.cells import number
from clr_cli.results.frame import Frame, from_rows
from clr_cli.results.text import decode, header, read_text, unpack

EPISODES = 100  # in the mean reward that Stable-Baselines3 logs
_CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<more>__MIN|__MAX|)$", re.DOTALL)


@dataclass(frozen=True)
class Peek:
    """The evidence for a file's kind: its name and its beginning."""

    path: Path

    @cached_property
    def head(self) -> str:
        """The first characters of a file, unpacked; empty for a folder."""
        try:
            if self.path.name.endswith(".gz"):
                with gzip.open(self.path) as file:
                    data = file.read(20_000)
            else:
                with self.path.open("rb") as file:
                    data = file.read(20_000)
        except (OSError, EOFError, zlib.error):
            return ""
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        return data.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")

    @cached_property
    def columns(self) -> list[str]:
        """The names of a delimited file's columns."""
        return [] if self.head.lstrip()[:1] in ("{", "[") else header(self.head)

    def has(self, *names: str) -> bool:
        return {*names} <= {*self.columns}


def read_log(path: Path) -> list[Frame]:
    """Read a text file that one run logged."""
    frames = read_text(path)
    for frame in frames:
        frame.is_log = True
    return frames


def read_monitor(path: Path) -> list[Frame]:
    """Read Stable-Baselines3's monitor.csv: a row per episode, with the mean that SB3 logs.

    Adds `ep_rew_mean`, the mean reward of the last 100 episodes, and `timesteps` so far.
    """
    (frame,) = read_log(path)
    columns = frame.columns
    sums = [0.0, *itertools.accumulate(_numbers(frame, "r"))]
    columns["ep_rew_mean"] = [
        (sums[k] - sums[max(0, k - EPISODES)]) / min(k, EPISODES) for k in range(1, len(sums))
    ]
    columns["timesteps"] = list(itertools.accumulate(_numbers(frame, "l")))
    columns["seconds"] = columns.pop("t")
    return [frame]


def _numbers(frame: Frame, name: str) -> list[float]:
    values = []
    for row, cell in enumerate(frame.columns[name]):
        value = number(cell)
        if value is None:
            raise frame.error(row, f"{name} {excerpt(cell)} is not a number")
        values.append(value)
    return values


def read_trainer_state(path: Path) -> list[Frame]:
    """Read the log_history of Hugging Face's trainer_state.json. Raises InputError."""
    try:
        state = json.loads(decode(path, unpack(path)))
    except (ValueError, RecursionError):
        raise InputError("damaged (not JSON)", source=path) from None
    rows = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("log_history: expected a list of rows", source=path)
    return [from_rows(path, rows, place=lambda row: f"log_history[{row}]", is_log=True)]


def read_chart(path: Path) -> list[Frame]:
    """Read a W&B chart's export: a column and a frame per run, "NAME - metric"."""
    (whole,) = read_text(path)
    step, *others = whole.columns
    runs: dict[str, dict[str, list[object]]] = {}
    for name in others:
        part = _CHART.fullmatch(name)
        if part is not None and not part["more"] and part["metric"] != "_step":
            own = runs.setdefault(part["run"], {step: whole.columns[step]})
            own[part["metric"]] = whole.columns[name]
    return [
        Frame(path, columns, {"run": run}, whole.place, whole.comma, is_log=True)
        for run, columns in runs.items()
    ]


def read_parquet(path: Path) -> list[Frame]:
    """Read a Parquet file. Raises InputError without the extra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        needs = "Parquet needs the extra: pip install 'clr-cli[parquet]'"
        raise InputError(needs, source=path) from None
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError):
        raise InputError("a damaged Parquet file", source=path) from None
    if len({*table.column_names}) < len(table.column_names):
        raise InputError("a column occurs twice", source=path)
    return [Frame(path, {name: table[name].to_pylist() for name in table.column_names})]


@dataclass(frozen=True)
class Kind:
    """How to recognize a kind, and how to read it."""

    matches: Callable[[Peek], bool]
    read: Callable[[Path], list[Frame]]


# The first matching kind reads the file.
KINDS: dict[str, Kind] = {
    "MLflow folder": Kind(lambda peek: mlflow.is_store(peek.path), mlflow.read_folder),
    "MLflow database": Kind(
        lambda peek: peek.head.startswith("SQLite format 3"), mlflow.read_database
    ),
    "TensorBoard": Kind(lambda peek: bool(tensorboard.events(peek.path)), tensorboard.read),
    "Parquet": Kind(lambda peek: peek.head.startswith("PAR1"), read_parquet),
    "Hugging Face trainer_state.json": Kind(
        lambda peek: '"log_history"' in peek.head and peek.head.lstrip()[:1] == "{",
        read_trainer_state,
    ),
    "Stable-Baselines3 monitor": Kind(
        lambda peek: peek.head.startswith("#{") and peek.has("r", "l", "t"), read_monitor
    ),
    "Stable-Baselines3 progress": Kind(lambda peek: peek.has("time/total_timesteps"), read_log),
    "Ultralytics results.csv": Kind(
        lambda peek: (
            peek.has("epoch") and any(name.startswith("metrics/") for name in peek.columns)
        ),
        read_log,
    ),
    "W&B chart export": Kind(
        lambda peek: (
            len(peek.columns) > 1 and all(_CHART.fullmatch(name) for name in peek.columns[1:])
        ),
        read_chart,
    ),
    "W&B runs table": Kind(
        lambda peek: peek.has("Name", "State") or peek.has("Name", "Runtime"), read_text
    ),
    "Lightning CSVLogger": Kind(
        lambda peek: (
            peek.path.name.startswith("metrics.csv")
            and peek.has("epoch", "step")
            and not peek.has("arm")
        ),
        read_log,
    ),
    "Keras CSVLogger": Kind(
        lambda peek: (
            peek.columns[:1] == ["epoch"]
            and not peek.has("step")
            and any(f"val_{name}" in peek.columns for name in peek.columns)
        ),
        read_log,
    ),
    "JSON": Kind(lambda peek: peek.head.lstrip()[:1] in ("{", "["), read_text),
    "table": Kind(lambda peek: peek.path.is_file(), read_text),
}


def recognize(path: Path) -> str | None:
    """Return the name of a path's kind; None for a folder that is not one."""
    peek = Peek(path)
    return next((name for name, kind in KINDS.items() if kind.matches(peek)), None)


def read(path: Path) -> list[Frame]:
    """Read the frames of a file, or of a folder that is of a kind. Raises InputError."""
    name = recognize(path)
    if name is None:
        raise InputError("not found", source=path)
    frames = KINDS[name].read(path)
    for frame in frames:
        frame.kind = name
    return frames
