"""Define a frame: the columns of one file, or of one run in a file of several runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError
from clr_cli.results.cells import Cell


@dataclass
class Frame:
    """Columns of equal length, and facts on all their rows.

    Attributes:
        path: the file or folder, for messages.
        columns: cells by the column's name, as in the file.
        constants: columns with one value for all rows: from the path, a sidecar, a run's settings.
        place: returns where row i is in the file, such as "line 7".
        comma: whether numbers may have a decimal comma.
        is_log: whether one run logged the rows, so that a later row at the same step replaces an
            earlier one.
        kind: the name of the kind of file.
    """

    path: Path
    columns: dict[str, list[Cell]]
    constants: dict[str, Cell] = field(default_factory=dict)
    place: Callable[[int], str] = lambda row: f"row {row + 1}"
    comma: bool = False
    is_log: bool = False
    kind: str = ""
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.rows = len(next(iter(self.columns.values()), ()))

    @property
    def names(self) -> list[str]:
        return [*self.columns, *(name for name in self.constants if name not in self.columns)]

    def find(self, names: Iterable[str]) -> str | None:
        """Return the first of ``names`` that is a column, if necessary without case."""
        by_case = {name.casefold(): name for name in reversed(self.names)}
        for name in names:
            if name in self.columns or name in self.constants:
                return name
            if name.casefold() in by_case:
                return by_case[name.casefold()]
        return None

    def cells(self, name: str | None) -> Sequence[Cell]:
        """Return the cells of a column or constant, one per row; None for a missing column."""
        if name in self.columns:
            return self.columns[name]
        return [self.constants.get(name) if name is not None else None] * self.rows

    def keep(self, rows: Sequence[int]) -> Frame:
        """Return the frame with only these rows."""
        columns = {name: [cells[i] for i in rows] for name, cells in self.columns.items()}
        return replace(self, columns=columns, place=lambda row: self.place(rows[row]))

    def error(self, row: int, message: str) -> InputError:
        """Return an error that names the file and the row's place."""
        return InputError(f"{self.place(row)}: {message}", source=self.path)


def from_rows(path: Path, rows: Iterable[dict[str, Any]], **more: Any) -> Frame:
    """Return a frame of rows, whose keys may differ; nested keys are joined by dots."""
    columns: dict[str, list[Cell]] = {}
    for count, row in enumerate(rows):
        _append(columns, count, row)
    return Frame(path, columns, **more)


def _append(columns: dict[str, list[Cell]], count: int, row: dict[str, Any]) -> None:
    """Append a row to columns of ``count`` cells; a missing cell is None."""
    if any(isinstance(cell, dict) for cell in row.values()):
        row = dict(flatten(row))
    for name, cell in row.items():
        if name not in columns:
            columns[name] = [None] * count
        columns[name].append(cell)
    if len(row) < len(columns):
        for cells in columns.values():
            if len(cells) == count:
                cells.append(None)


def flatten(tree: dict[Any, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Cell]]:
    """Yield the values of a nested mapping with dotted names: ``optimizer.lr``."""
    for key, value in tree.items():
        if isinstance(value, dict) and depth < 20:
            yield from flatten(value, f"{before}{key}.", depth + 1)
        else:
            yield f"{before}{key}", value
