"""runs.csv of a comparison: every row of every run, as people's own tools read it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from clr_cli.errors import InputError
from clr_cli.format import as_cell, of_cell
from clr_cli.records import KNOWN, RUN_COLUMNS, RunRecord

# Of a run of our own; a run from elsewhere has fewer, and may have others.
COLUMNS = (
    "epoch",
    "iteration",
    "seconds",
    "lr",
    *KNOWN,
    "train_seconds",
    "eval_seconds",
)
MOST_EPOCHS = 1_000_000  # more cannot be drawn
LARGEST = 1e30  # beyond, a figure cannot be drawn
REMEDY = "run the same clr compare again to write it anew (finished runs are kept)"
# What reading a damaged table raises.
DAMAGE = (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error)


def damaged(path: Path, error: Exception, remedy: str = REMEDY) -> InputError:
    """Return the error for a table of which reading raised one of `DAMAGE`."""
    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
    return InputError(f"damaged: {reason}; {remedy}", source=path)


def write_runs_csv(records: Iterable[RunRecord]) -> str:
    """Return all runs as tidy CSV: a row per arm, seed and epoch, after arm, seed and status.

    The columns are those that any run knows. A run without any row keeps one with empty metrics.
    Numbers are written in full, so `read_runs_csv` gives the same records back, without their
    `result`.
    """
    records = list(records)
    known = {column for record in records for row in record.epochs for column in row}
    columns = [column for column in COLUMNS if column in known]
    columns += sorted(known - set(COLUMNS))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*RUN_COLUMNS, *map(as_cell, columns)])
    for record in records:
        for row in record.epochs or [{}]:
            metrics = [row.get(column, "") for column in columns]
            writer.writerow([as_cell(record.arm), record.seed, record.status, *metrics])
    return buffer.getvalue()


def read_runs_csv(text: str) -> list[RunRecord]:
    """Read the records of `write_runs_csv`. Raises ValueError or KeyError for another text."""
    runs: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    reader = csv.DictReader(io.StringIO(text))
    columns = list(reader.fieldnames or ())
    missing = {*RUN_COLUMNS} - set(columns)
    if missing:
        raise ValueError(f"runs.csv has no column {sorted(missing)[0]}")
    for row in reader:
        rows = runs.setdefault((of_cell(row["arm"]), int(row["seed"]), row["status"]), [])
        found = {of_cell(key): _number(row[key]) for key in columns[3:] if row.get(key)}
        if found:
            if not 0 <= found.get("epoch", 1) <= MOST_EPOCHS:
                raise ValueError(f"epoch {row['epoch']}")
            rows.append(found)
    return [
        RunRecord(arm=arm, seed=seed, status=status, epochs=rows, result={})  # type: ignore[arg-type]
        for (arm, seed, status), rows in runs.items()
    ]


def _number(text: str) -> float:
    number = int(text) if text.lstrip("-").isdigit() else float(text)
    if math.isfinite(number) and abs(number) > LARGEST:
        raise ValueError(f"{text} is too large")
    return number
