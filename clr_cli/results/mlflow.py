"""Read MLflow's runs, from its folder of files (mlruns) or its SQLite database (mlflow.db)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError
from clr_cli.results.cells import number, plain
from clr_cli.results.frame import Frame, from_rows

_STATUS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_FIRST = 1 / 1000  # MLflow's times are in milliseconds
Point = tuple[str, float, float, int]  # metric, value, time in milliseconds, step


def is_store(path: Path) -> bool:
    """Return whether a folder is an MLflow store, or one experiment of it."""
    return path.is_dir() and any(
        (child / "meta.yaml").is_file() for child in path.iterdir() if child.is_dir()
    )


def files(store: Path) -> list[Path]:
    """Return the files of a store but for its artifacts, which may be large and are not read."""
    return sorted(
        file
        for file in store.rglob("*")
        if "artifacts" not in file.relative_to(store).parts and file.is_file()
    )


def read_folder(path: Path) -> list[Frame]:
    """Read the runs of a store or of one experiment. Raises InputError."""
    frames = []
    for meta in sorted([*path.glob("*/meta.yaml"), *path.glob("*/*/meta.yaml")]):
        folder = meta.parent
        if not (folder / "metrics").is_dir():
            continue
        facts = _meta(meta)
        if facts.get("lifecycle_stage") == "deleted":
            continue
        params = folder / "params"
        settings = {
            file.relative_to(params).as_posix(): _text(file).strip()
            for file in sorted(params.rglob("*"))
            if file.is_file()
        }
        tag = folder / "tags" / "mlflow.runName"
        status = facts.get("status")
        frames.append(
            _frame(
                folder,
                {
                    **settings,
                    "run": str(facts.get("run_name") or (_text(tag) if tag.is_file() else "")),
                    "status": _STATUS.get(status, "") if isinstance(status, int) else status,
                },
                _points(folder / "metrics"),
                facts.get("start_time"),
            )
        )
    return frames


def read_database(path: Path) -> list[Frame]:
    """Read the runs of a database. Raises InputError for one that is not MLflow's."""
    frames = []
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            runs = database.execute(
                "select run_uuid, name, status, start_time from runs"
                " where lifecycle_stage = 'active' order by start_time, rowid"
            ).fetchall()
            for run, name, status, start in runs:
                params = database.execute("select key, value from params where run_uuid = ?", [run])
                settings = {**dict(params.fetchall()), "run": name or run, "status": status}
                points = database.execute(
                    "select key, case when is_nan then 'nan' else value end, timestamp, step"
                    " from metrics where run_uuid = ? order by step, timestamp, rowid",
                    [run],
                ).fetchall()
                clean = [
                    (str(key), float(value), float(time or 0), int(step))
                    for key, value, time, step in points
                ]
                frames.append(_frame(path, settings, clean, start))
    except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
        message = "not an MLflow database" if "no such" in str(error) else "a damaged database"
        raise InputError(message, source=path) from None
    return frames


def _frame(path: Path, settings: dict[str, Any], points: Iterable[Point], start: Any) -> Frame:
    """Return a run's frame: a row per step, with the last value of each metric."""
    rows: dict[int, dict[str, Any]] = {}
    first = number(start)
    for name, value, time, step in points:
        row = rows.setdefault(step, {"step": step})
        if first is not None:
            row["seconds"] = max(0.0, (time - first) * _FIRST)
        row[name] = value
    run = str(settings["run"])
    return from_rows(
        path,
        [rows[step] for step in sorted(rows)],
        constants=settings,
        place=lambda row: f"run {plain(run)}, row {row + 1}",
        is_log=True,
    )


def _points(metrics: Path) -> Iterable[Point]:
    for file in sorted(metrics.rglob("*")):
        if not file.is_file():
            continue
        name = file.relative_to(metrics).as_posix()
        for line, text in enumerate(_text(file).split("\n"), 1):
            parts = [number(part) for part in text.split()]
            if not parts:
                continue
            time, value, step = [*parts, 0, 0][:3]  # old versions write no step
            whole = step is not None and abs(step) < 1e15
            if len(parts) < 2 or time is None or value is None or step is None or not whole:
                raise InputError(f"line {line}: expected 'time value step'", source=file)
            yield name, value, time, int(step)


def _meta(path: Path) -> dict[str, Any]:
    import yaml

    try:
        facts = yaml.safe_load(_text(path))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError("not YAML", source=path) from None
    return facts if isinstance(facts, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError("cannot be read as text", source=path) from None
