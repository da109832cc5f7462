"""Read the rows of numbers that a program writes, and put them in order.

A restarted program may continue where it was, or repeat its beginning: `Rows` keeps the latest
values. `read_rows` reads a whole file of any known format.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clr_cli.records import Row

POSITIONS = {"step": "iteration", "iter": "iteration"}  # other names for the position of a row
RESERVED = ("arm", "seed", "status")  # columns of runs.csv: a program's own become row.seed
LARGEST = 1e15  # a larger value counts as infinite
MOST = {"iteration": LARGEST, "epoch": 1e6, "seconds": 1e12}  # a larger position is ignored
MOST_BYTES = 200_000_000  # the largest file of rows that is read
MOST_FILES = 1000  # the most files of a folder that are searched for rows


class Rows:
    """The rows of one run, in the order of their positions.

    A row's position is (epoch, iteration), or the one of them that it has. A row at the position of
    an earlier one is merged into it, and the later values win. A row before the last one drops all
    rows after its position: the program went back. A row without a position is merged into the last
    row that has one.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.all: list[Row] = []
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> Row:
        """Insert a row at its position; return the merged row."""
        if not _has_place(row) and self.all and _has_place(self.all[-1]):
            self.all[-1] |= row
            return self.all[-1]
        if _has_place(row):
            while self.all and _has_place(self.all[-1]) and _is_before(row, self.all[-1]):
                self.all.pop()
            last = self.all[-1] if self.all else {}
            if _has_place(last) and not _is_before(last, row):
                last |= row
                return last
        self.all.append(dict(row))
        return self.all[-1]


def _has_place(row: Mapping[str, float]) -> bool:
    return "iteration" in row or "epoch" in row


def _is_before(row: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Compare by (epoch, iteration), each where both rows have it."""
    keys = [key for key in ("epoch", "iteration") if key in row and key in other]
    return [row[key] for key in keys] < [other[key] for key in keys]


def count_on(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with iterations since the start, where a program counts within each epoch.

    An epoch whose first step is 0 begins one interval after the last step of the epoch before.

    >>> rows = [{"epoch": 1, "iteration": 2}, {"epoch": 2, "iteration": 1}]
    >>> count_on(rows)
    [{'epoch': 1, 'iteration': 2}, {'epoch': 2, 'iteration': 3}]
    """
    placed = [row for row in rows if "epoch" in row and "iteration" in row]
    if not any(
        before["epoch"] < row["epoch"] and before["iteration"] >= row["iteration"]
        for before, row in itertools.pairwise(placed)
    ):
        return list(rows)
    counted: list[Row] = []
    total: float = 0
    interval: float = 1
    before: Row = {"epoch": -1, "iteration": 0}
    for row in rows:
        if "epoch" not in row or "iteration" not in row:
            counted.append(row)
            continue
        step = row["iteration"]
        if row["epoch"] == before["epoch"]:
            interval = step - before["iteration"]
            total += interval
        else:
            total += step if step > 0 or before["epoch"] < 0 else interval
        before = row
        counted.append({**row, "iteration": total})
    return counted


def clean_row(raw: Mapping[Any, Any]) -> Row | None:
    """Return a row's numbers under names that fit a table; None if it has none.

    A missing value (None) is nan; text is dropped unless it is nan or infinity; a value beyond
    `LARGEST` is infinite. ``step`` is another name of ``iteration``. A position that is not a
    finite number from 0 up is dropped.

    >>> clean_row({"step": 10, "val_loss": 2.5, "note": "x", "seed": 3})
    {'iteration': 10, 'val_loss': 2.5, 'row.seed': 3}
    """
    row: Row = {}
    for key, cell in raw.items():
        value = _value(cell)
        if value is None:
            continue
        name = "".join(sign if sign.isprintable() else "?" for sign in str(key))[:200]
        name = f"row.{name}" if name in RESERVED else name
        # Next to an iteration, a step is not a position.
        if name in POSITIONS and POSITIONS[name] in raw:
            name = f"row.{name}"
        name = POSITIONS.get(name, name)
        if name not in MOST or 0 <= value <= MOST[name]:
            row[name] = value
    return row or None


def _value(raw: Any) -> float | None:
    if raw is None:
        return math.nan
    if isinstance(raw, str):
        word = raw.strip().lower().lstrip("+-")
        return float(raw) if word in ("nan", "inf", "infinity") else None
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return raw if math.isnan(raw) or abs(raw) <= LARGEST else math.copysign(math.inf, raw)


def from_json(line: str) -> Row | None:
    """Return the numbers of a JSON object, see `clean_row`; None for any other text.

    If the program was killed, its last line may be incomplete.

    >>> from_json('{"step": 10, "val_loss": 2.5, "note": "x"}')
    {'iteration': 10, 'val_loss': 2.5}
    """
    tree = _parse(line)
    return clean_row(tree) if isinstance(tree, dict) else None


def _parse(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_parse_int)
    except (ValueError, RecursionError):
        return None


def _parse_int(text: str) -> float:
    """Parse a whole number of any length; int refuses more than 4300 digits."""
    return int(text) if len(text) < 300 else float(text)


def is_json_lines(path: Path) -> bool:
    """Return whether the first line of a file is a JSON row."""
    try:
        with open(path, "rb") as file:
            tree = _parse(file.readline(1_000_000).decode(errors="replace"))
    except OSError:
        return False
    return isinstance(tree, dict) and not any(map(_is_table, tree.values()))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a JSON Lines, JSON or CSV file; its content decides the format.

    A JSON file is a list of objects, an object that contains such a list, or one row. A file of
    another format, or an unreadable one, has no rows.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            return []
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    head = text.lstrip()[:1]
    if head in ("{", "["):
        if (tree := _parse(text)) is not None:
            return _from_document(tree)
        return [row for line in text.splitlines() if (row := from_json(line))]
    if "\0" in text[:1000]:
        return []
    return [row for row in map(_from_cells, _table(text)) if row]


def _from_document(tree: Any) -> list[Row]:
    if isinstance(tree, list):
        return [row for each in tree if isinstance(each, dict) and (row := clean_row(each))]
    if not isinstance(tree, dict):
        return []
    for value in tree.values():  # such as log_history in Hugging Face's trainer_state.json
        if _is_table(value):
            return _from_document(value)
    row = clean_row(tree)
    return [row] if row else []


def _table(text: str) -> Iterable[dict[str, str]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, restkey="", restval="")
    try:
        return list(reader)
    except csv.Error:
        return []


def _from_cells(cells: Mapping[str, Any]) -> Row | None:
    """Return the numbers of a line of CSV; an empty cell is a missing number."""
    row: dict[str, float] = {}
    for key, text in cells.items():
        if not isinstance(text, str) or not text.strip() or not key:
            continue
        try:
            number = float(text)
        except ValueError:
            continue
        whole = number == round(number) if abs(number) <= LARGEST else False
        row[key.strip()] = int(number) if whole else number
    return clean_row(row)


def find_rows(out: Path, metric: str) -> list[Row]:
    """Return the rows that a program wrote to ``out``: a file, or a folder that contains one.

    Of several files in ``out`` or ``out``.d, the newest with the metric counts, or else the newest
    with any row.
    """
    if out.is_file():
        return read_rows(out)
    folders = (out, out.with_name(f"{out.name}.d"))
    kinds = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
    files = [path for folder in folders for path in _files_in(folder) if path.suffix in kinds]
    first: list[Row] = []
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_FILES]:
        rows = read_rows(path)
        if any(metric in row for row in rows):
            return rows
        first = first or rows
    return first


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the numbers in all rows, in the order of their first occurrence."""
    return list(dict.fromkeys(key for row in rows for key in row))
