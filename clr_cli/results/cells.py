"""Convert the cells of a table to numbers. A cell stays text until its number is needed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from clr_cli.errors import excerpt

Cell = Any  # a text, a number or None, as in the file
MISSING = {"", "na", "n/a", "<na>", "none", "null"}
LARGEST = 1e15  # a larger value counts as infinite
LARGEST_SEED = 10**18
COMMAS = "decimal commas are accepted only in files separated by semicolons or tabs"
_COMMA = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d+|[-+]?\d*,\d+(?:[eE][-+]?\d+)?")


def is_missing(cell: Cell) -> bool:
    """Return whether a cell is empty, or a text such as ``n/a``."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)


def is_percent(cell: Cell) -> bool:
    """Return whether the cell is a number with a percent sign, such as ``93.1 %``."""
    return isinstance(cell, str) and cell.rstrip().endswith("%") and number(cell) is not None


def number(cell: Cell, *, comma: bool = False) -> float | None:
    """Return the number of a cell, or None if it is not one. Percents become fractions.

    comma: read ``0,905`` and ``1.234,5`` with a decimal comma.

    >>> number("93.1 %"), number("0,905", comma=True), number("0,905"), number(True)
    (0.931, 0.905, None, None)
    """
    if isinstance(cell, bool) or not isinstance(cell, int | float | str | Decimal):
        return None
    try:
        if not isinstance(cell, str):
            return float(cell)
        text = cell.strip()
        if text.endswith("%"):
            part = number(text[:-1], comma=comma)
            return None if part is None else round(part / 100, 15)
        if comma and _COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        return float(text)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def whole(cell: Cell) -> int | None:
    """Return the whole number of a cell, exact for any number of digits; None if it is not one.

    >>> whole("9007199254740993"), whole("3.0"), whole("3.5")
    (9007199254740993, 3, None)
    """
    text = str(cell).strip()
    if re.fullmatch(r"[-+]?\d{1,18}", text, re.ASCII):
        return int(text)
    value = number(cell)
    if value is None or not math.isfinite(value) or value != round(value):
        return None
    return int(value) if abs(value) < LARGEST_SEED else None


def numbers(cells: Sequence[Cell], *, comma: bool = False) -> list[float | None] | int:
    """Return a column's numbers, None for missing cells; or the index of a cell without a number.

    Values beyond `LARGEST` are infinite.
    """
    values: list[float | None] = []
    try:
        if bool not in set(map(type, cells)):
            floats = list(map(float, cells))
            if is_within(floats, -LARGEST, LARGEST):
                return [*floats]
            values = [*floats]
    except (TypeError, ValueError, OverflowError):
        pass
    if len(values) < len(cells):
        for index, cell in enumerate(cells):
            value = None if is_missing(cell) else number(cell, comma=comma)
            if value is None and not is_missing(cell):
                return index
            values.append(value)
    for index, value in enumerate(values):
        if value is not None and abs(value) > LARGEST:
            values[index] = math.copysign(math.inf, value)
    return values


def is_within(values: Sequence[float], low: float, high: float) -> bool:
    """Return whether all values are numbers within these bounds; of millions at once.

    >>> is_within([0.0, 1.0], 0, 1), is_within([0.5, math.nan], 0, 1), is_within([], 0, 1)
    (True, False, True)
    """
    return not values or (
        low <= min(values) and max(values) <= high and not math.isnan(sum(values))
    )


def plain(text: str) -> str:
    """Return a text for a message: as it is if it is short and printable, else quoted."""
    return text if text.isprintable() and len(text) <= 100 else excerpt(text)


def listed(items: Iterable[Any], most: int = 10) -> str:
    """Return ``a, b and 3 more``."""
    items = list(dict.fromkeys(plain(str(item)) for item in items))
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
