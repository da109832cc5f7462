"""Runs that were not executed here: a table of results, as people's programs write them.

CSV, TSV or JSONL with a row for every measurement: the columns ``arm`` and ``seed`` (a whole number
that tells the runs of an arm apart), the metric, and optionally where it was measured. The long
form has the columns ``metric`` and ``value`` instead of one column a metric.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError
from clr_cli.records import RunRecord

MOST_BYTES = 50_000_000
MOST_ARMS = 40  # more look alike in a figure
LARGEST = 1e15  # a value beyond is as good as infinite
MOST_STEPS = 1e15
# Column of the table -> key of a row: where something was measured.
PLACES = {
    "iteration": "iteration",
    "step": "iteration",
    "epoch": "epoch",
    "seconds": "seconds",
    "time": "seconds",
}
RESERVED = ("arm", "seed", "status")  # columns of runs.csv that are no metric
MISSING = {"", "na", "n/a", "none", "null"}
FORM = "a table has the columns arm, seed and the metric, and may have iteration, epoch or seconds"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A file of results: its columns, its rows with the lines on which they stand, its digest."""

    path: Path
    columns: list[str]
    rows: list[tuple[int, Row]]
    sha256: str

    @staticmethod
    def read(path: Path) -> Table:
        """Raises InputError for a file that is no table of results."""
        text, sha256 = _text(path)
        rows = list(_json_rows(path, text) if text.lstrip()[:1] == "{" else _csv_rows(path, text))
        columns = list(dict.fromkeys(column for _, row in rows for column in row))
        if not rows:
            raise InputError(f"holds no rows; {FORM}", source=path)
        for column in columns:
            if len(column) > 200 or not column.isprintable():
                raise InputError(
                    f"the name of column {_shown(column)} cannot be shown", source=path
                )
        for column in ("arm", "seed"):
            if column not in columns:
                there = ", ".join(_shown(name) for name in columns[:20])
                raise InputError(f"no column {column!r}; there are {there}; {FORM}", source=path)
        return Table(path, columns, rows, sha256)

    @property
    def long(self) -> bool:
        """Whether the metric's name stands in a column of its own."""
        return {"metric", "value"} <= {*self.columns}

    @property
    def metrics(self) -> list[str]:
        """The names that may be the metric: those that hold a number somewhere."""
        if self.long:
            named = (str(row["metric"]).strip() for _, row in self.rows if row.get("metric"))
            return [name for name in dict.fromkeys(named) if name not in RESERVED]
        index = [c for c in self.columns if not c or c.startswith("Unnamed: ")]  # pandas writes it
        others = [c for c in self.columns if c not in (*RESERVED, *PLACES, *index)]
        return [c for c in others if any(_is_number(row.get(c)) for _, row in self.rows)]

    def choose(self, metric: str | None) -> str:
        """The metric's name: the one given, or the only one there. Raises InputError."""
        found = self.metrics
        there = ", ".join(_shown(name) for name in found[:20]) or "none"
        if metric is not None:
            named = metric in found if self.long else metric in self.columns
            if not named or metric in RESERVED:
                raise InputError(
                    f"--metric {metric}: not there; there are {there}", source=self.path
                )
            return metric
        if len(found) != 1:
            reason = "several" if found else "none of the columns"
            raise InputError(
                f"{reason} could be the metric: {there}; name it with --metric", source=self.path
            )
        return found[0]

    def runs(self, metric: str, arms: Sequence[str] | None = None) -> list[RunRecord]:
        """The runs with their rows in order. One whose last value is not finite has diverged.

        Args:
            metric: see `choose`.
            arms: only these.

        Raises:
            InputError: text where a number belongs, or a measurement that occurs twice.
        """
        found: dict[tuple[str, int], dict[tuple[float, ...], dict[str, float]]] = {}
        lines: dict[tuple[Any, ...], int] = {}
        for line, row in self.rows:
            run = self._arm(line, row), self._seed(line, row)
            measured = found.setdefault(run, {})
            raw = row.get(metric)
            if self.long:
                raw = row.get("value") if str(row.get("metric")).strip() == metric else None
            value = self._number(line, metric, raw)
            if value is None:
                continue
            places = self._places(line, row)
            key = tuple(places.values())[:1]
            before = lines.setdefault((*run, key), line)
            if before != line:
                where = "".join(f", {k} {v:g}" for k, v in list(places.items())[:1])
                hint = "" if places else "; several rows of a run need an iteration or a time"
                raise InputError(
                    f"line {line}: arm {run[0]}, seed {run[1]}{where} stands on line {before} as"
                    f" well{hint}",
                    source=self.path,
                )
            measured[key] = {**places, metric: value}
        records = [
            _record(arm, seed, [rows[key] for key in sorted(rows)], metric)
            for (arm, seed), rows in found.items()
            if arms is None or arm in arms
        ]
        count = len({record.arm for record in records})
        if count > MOST_ARMS:
            raise InputError(
                f"{count} arms; a comparison has at most {MOST_ARMS}, choose them with --schedules",
                source=self.path,
            )
        return records

    def _arm(self, line: int, row: Row) -> str:
        arm = " ".join(str("" if row.get("arm") is None else row["arm"]).split())
        if not arm or len(arm) > 200 or not arm.isprintable():
            raise InputError(f"line {line}: arm {_shown(arm)} is no name", source=self.path)
        return arm

    def _seed(self, line: int, row: Row) -> int:
        raw = row.get("seed")
        number = _float(raw)
        if number is None or not abs(number) < MOST_STEPS or number != round(number):
            raise InputError(
                f"line {line}: seed {_shown(raw)} is no whole number; number the runs of an arm"
                " 0, 1, 2, ...",
                source=self.path,
            )
        return int(number)

    def _number(self, line: int, column: str, raw: Any) -> float | None:
        """A value of the metric; None for a missing one. Raises InputError for text."""
        if raw is None or (isinstance(raw, str) and raw.strip().lower() in MISSING):
            return None
        number = _float(raw)
        if number is None:
            raise InputError(f"line {line}: {column} {_shown(raw)} is no number", source=self.path)
        return math.copysign(math.inf, number) if abs(number) > LARGEST else number

    def _places(self, line: int, row: Row) -> dict[str, float]:
        """Where this was measured, the first being what tells the rows of a run apart."""
        found: dict[str, float] = {}
        for column, key in PLACES.items():
            number = self._number(line, column, row.get(column))
            if number is None or key in found:
                continue
            if not 0 <= number <= MOST_STEPS:
                raise InputError(
                    f"line {line}: {column} {_shown(row[column])} is no time since the start",
                    source=self.path,
                )
            found[key] = int(number) if number == round(number) else number
        return found


def _record(arm: str, seed: int, rows: list[dict[str, float]], metric: str) -> RunRecord:
    if not rows:
        return RunRecord(arm, seed, "failed", [], {})
    if not math.isfinite(rows[-1][metric]):
        return RunRecord(arm, seed, "diverged", rows, {})
    return RunRecord(arm, seed, "finished", rows, {"final": {metric: rows[-1][metric]}})


def _text(path: Path) -> tuple[str, str]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=path) from None
    if len(data) > MOST_BYTES:
        raise InputError(f"more than {MOST_BYTES // 10**6} MB; give fewer rows", source=path)
    try:
        return data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()
    except UnicodeDecodeError:
        raise InputError("no text in UTF-8", source=path) from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for line, part in enumerate(text.splitlines(), 1):
        if not part.strip():
            continue
        try:
            row = json.loads(part)
        except (ValueError, RecursionError):
            raise InputError(f"line {line}: no JSON", source=path) from None
        if not isinstance(row, dict):
            raise InputError(f"line {line}: no JSON object", source=path)
        yield line, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    header = text.partition("\n")[0]
    delimiter = max(",\t;", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip() for name in next(reader, [])]
        twice = {name for name in columns if columns.count(name) > 1}
        if twice:
            raise InputError(f"the column {_shown(min(twice))} stands twice", source=path)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise InputError(
                    f"line {reader.line_num}: {len(cells)} cells for {len(columns)} columns",
                    source=path,
                )
            yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"line {reader.line_num}: {error}", source=path) from None


def _float(raw: Any) -> float | None:
    """The number of a cell; None where there is none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        return float(raw)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def _is_number(raw: Any) -> bool:
    return _float(raw) is not None


def _shown(value: Any) -> str:
    """A cell in a message: short, on one line, without control codes."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
