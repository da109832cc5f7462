"""Rows of numbers from a program: JSONL that it writes, or what patterns find in what it prints.

A program that is stopped and started again may write on where it was, or again from its beginning:
``Rows`` keeps what it wrote last.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError

Row = dict[str, float]
POSITIONS = {"iteration": "iteration", "step": "iteration", "iter": "iteration"}


class Rows:
    """The rows of one run, in order of ``iteration`` (or ``epoch``, where there is none).

    A row of an iteration that is there already is added to it: what comes later wins. One of an
    earlier iteration than the last drops all that lie behind it: the program went back. A row
    without any position is added to the last one, if that has one.
    """

    def __init__(self) -> None:
        self.all: list[Row] = []

    def add(self, row: Row) -> Row:
        """Put a row in its place; the whole row that is there now."""
        at = _position(row)
        last = _position(self.all[-1]) if self.all else None
        if at is None or last is None:
            if at is None and last is not None:
                self.all[-1] |= row
            else:
                self.all.append(dict(row))
            return self.all[-1]
        while self.all and (there := _position(self.all[-1])) is not None and there > at:
            self.all.pop()
        if self.all and _position(self.all[-1]) == at:
            self.all[-1] |= row
        else:
            self.all.append(dict(row))
        return self.all[-1]

    def final(self) -> Row:
        """Of each number the last that there is."""
        found: Row = {}
        for row in self.all:
            found |= row
        return found


def _position(row: Mapping[str, float]) -> float | None:
    return row.get("iteration", row.get("epoch"))


def from_json(line: str) -> Row | None:
    """The numbers of a JSON object, a missing one (null) as nan; None for any other text.

    A line may be cut off where the program was killed. ``step`` is another name of ``iteration``.

    >>> from_json('{"step": 10, "val_loss": 2.5, "note": "x"}')
    {'iteration': 10, 'val_loss': 2.5}
    """
    try:
        given: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict):
        return None
    row: Row = {
        str(POSITIONS.get(key, key)): math.nan if value is None else value
        for key, value in given.items()
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    }
    return row or None


def from_text(line: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[Row]:
    """What each pattern finds in a line of output, by the names of its groups.

    Raises InputError for a group that has found no number.

    >>> list(from_text("step 10: loss 2.5", [re.compile("step (?P<step>.+): loss (?P<loss>.+)")]))
    [{'iteration': 10, 'loss': 2.5}]
    """
    for pattern in patterns:
        for match in pattern.finditer(line):
            found = {key: text for key, text in match.groupdict().items() if text is not None}
            yield {POSITIONS.get(key, key): _number(key, text) for key, text in found.items()}


def _number(name: str, text: str) -> float:
    plain = text.strip().replace(",", "").replace("_", "")
    try:
        return int(plain) if re.fullmatch(r"[+-]?\d+", plain) else float(plain)
    except ValueError:
        raise InputError(
            f"the group {name} found {text!r}, which is no number", key="read"
        ) from None


class Tail:
    """The lines of a growing file, each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def lines(self, *, ended: bool = False) -> list[str]:
        """The new whole lines; with ``ended`` also one that has no end yet."""
        if not self.path.is_file():  # not yet, or the program keeps something else there
            return []
        with open(self.path, "rb") as file:
            file.seek(self._at)
            new = file.read()
        if not ended:
            new = new[: max(new.rfind(b"\n"), new.rfind(b"\r")) + 1]
        self._at += len(new)
        return [line for line in re.split(r"[\r\n]+", new.decode(errors="replace")) if line]


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, without empty ones and what a progress bar has overwritten."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rpartition("\r")[2] if "\r" in line else line for line in text.split("\n")]
    return [line.rstrip() for line in lines if line.strip()][-count:]


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of what rows hold, in the order in which they came."""
    return list(dict.fromkeys(key for row in rows for key in row))
