"""Compare what a benchmark has measured over commits: the numbers of its files, side by side.

    python tests/benchmarks/compare.py BEFORE.json AFTER.json [MORE.json ...]

The benchmarks write such files (``--json FILE`` or ``--output``). The last column is the last
file's number over the first one's. Only ratios count, of one machine, measured one after the other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number in a JSON value with its path, such as ``engines.2.seconds``."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def table(files: list[dict[str, float]]) -> list[list[str]]:
    """Return a row for every path in any file: its numbers, and the last over the first."""
    rows = []
    for path in dict.fromkeys(path for file in files for path in file):
        values = [file.get(path) for file in files]
        shown = ["–" if value is None else f"{value:.6g}" for value in values]
        first, last = values[0], values[-1]
        ratio = f"{last / first:.3f}" if first and last is not None else "–"
        rows.append([path, *shown, ratio])
    return rows


def main() -> None:
    """Print the table of the files given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    given = parser.parse_args().files
    files = [dict(numbers(json.loads(path.read_text("utf-8")))) for path in given]
    rows = [["number", *(path.stem for path in given), "ratio"], *table(files)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        shown = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        print(name.ljust(widths[0]), *shown, sep="  ")


if __name__ == "__main__":
    main()
