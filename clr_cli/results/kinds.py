"""The kinds of files that are recognised, and the reader of each.

To add one: a function path -> frames, an entry in `KINDS`, and a small real-shaped file in the
tests. A kind is recognised by the name and the first bytes of a file (`Peek`).
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

from clr_cli.errors import InputError
from clr_cli.results import mlflow, tensorboard
from clr_cli.results.cells import number, shown
from clr_cli.results.frame import Frame, from_rows
from clr_cli.results.text import comments, decoded, delimited, header, raw, read_text

EPISODES = 100  # over which Stable-Baselines3 takes the mean that it logs
_CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<more>__MIN|__MAX|)$", re.DOTALL)


@dataclass(frozen=True)
class Peek:
    """What recognising a file goes by."""

    path: Path

    @cached_property
    def head(self) -> str:
        """The first characters of a file, unpacked; nothing of a folder."""
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
    """Read a text file that one run has logged."""
    frames = read_text(path)
    for frame in frames:
        frame.is_log = True
    return frames


def read_monitor(path: Path) -> list[Frame]:
    """Read Stable-Baselines3's monitor.csv: a row an episode, and its mean as SB3 logs it.

    Adds `ep_rew_mean`, the mean reward of the last 100 episodes, and `timesteps` so far.
    """
    frame = delimited(path, comments(decoded(path, raw(path)))[1])
    columns = frame.columns
    for name in ("r", "l"):
        for row, cell in enumerate(columns.get(name, [])):
            if number(cell) is None:
                raise frame.error(row, f"{name} {shown(cell)} is not a number")
    rewards, lengths = ([float(cell) for cell in columns[name]] for name in ("r", "l"))
    sums = [0.0, *itertools.accumulate(rewards)]
    columns["ep_rew_mean"] = [
        (sums[k] - sums[max(0, k - EPISODES)]) / min(k, EPISODES) for k in range(1, len(sums))
    ]
    columns["timesteps"] = list(itertools.accumulate(lengths))
    columns["seconds"] = columns.pop("t")
    frame.is_log = True
    return [frame]


def read_trainer_state(path: Path) -> list[Frame]:
    """Read the log_history of Hugging Face's trainer_state.json. Raises InputError."""
    try:
        state = json.loads(decoded(path, raw(path)))
    except (ValueError, RecursionError):
        raise InputError("not JSON", source=path) from None
    rows = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("log_history is not a list of rows", source=path)
    return [from_rows(path, rows, place=lambda row: f"log_history[{row}]", is_log=True)]


def read_chart(path: Path) -> list[Frame]:
    """Read a W&B chart's export: a column a run, "NAME - metric"; a frame a run."""
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
    """How a kind is recognised, and how it is read."""

    matches: Callable[[Peek], bool]
    read: Callable[[Path], list[Frame]]


# In order: the first that matches reads the file.
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


def recognise(path: Path) -> str | None:
    """Return the name of a path's kind; None for a folder that is not a kind of its own."""
    peek = Peek(path)
    return next((name for name, kind in KINDS.items() if kind.matches(peek)), None)


def read(path: Path) -> list[Frame]:
    """Read the frames of a file, or of a folder that is a kind. Raises InputError."""
    name = recognise(path)
    if name is None:
        raise InputError("cannot be read: no such file", source=path)
    frames = KINDS[name].read(path)
    for frame in frames:
        frame.kind = name
    return frames
