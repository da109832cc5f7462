"""What the person at the prompt sees: the plan, progress, tables, errors. No heavy imports."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from clr_cli.format import aligned
from clr_cli.paths import PAGE
from clr_cli.training.ranks import own_rank

# Colors (ANSI) of the words of a verdict, as patterns.
COLORS = {"better": 32, "worse": 31, "equal|equivalent|identical": 34, "[Uu]ndecided": 33}


def error(message: str) -> None:
    """Print an error to stderr, as one line."""
    rank = own_rank()
    who = f"clr, rank {rank}" if rank else "clr"
    print(f"{who}: {' '.join(message.split())}", file=sys.stderr)


def note(message: str = "") -> None:
    """A line about what is going on; results alone go to stdout."""
    print(message, file=sys.stderr, flush=True)


def plan(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Echo what is about to be done, one aligned line per fact."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    note(title)
    for name, text in rows:
        note(f"  {name:<{width}}  {text}")
    note()


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print an aligned table to stdout; the first column left, the others right.

    On a terminal that is too narrow the columns come in blocks, each behind the first column.
    """
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(headers)):
        together = sum(widths[i] + 2 for i in blocks[-1]) + widths[column]
        if together > _columns() and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(column)
    print()
    for block in blocks:
        for line in aligned([headers[i] for i in block], [[row[i] for i in block] for row in rows]):
            print(line)
        print()


def sentences(texts: Iterable[str]) -> None:
    """Print sentences to stdout, a paragraph each, broken between words on a terminal."""
    for text in texts:
        print(textwrap.fill(text, _columns(), break_on_hyphens=False))


def hanging(head: str, text: str) -> None:
    """Print a label and its text to stdout; on a terminal, further lines stand below the text."""
    under = " " * len(head)
    print(
        textwrap.fill(
            text, _columns(), initial_indent=head, subsequent_indent=under, break_on_hyphens=False
        )
    )


def _columns() -> int:
    """The width of the terminal; a file or a pipe has no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 1_000_000


def verdict(text: str) -> None:
    """Print a sentence with its verdict in color where people see colors: not in a file or pipe."""
    filled = textwrap.fill(text, _columns(), break_on_hyphens=False)
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        for word, code in COLORS.items():
            filled = re.sub(rf"\b({word})\b", f"\x1b[1;{code}m\\1\x1b[0m", filled)
    print(filled)


def page(path: Path) -> None:
    """Print the path of a page on its own line; on a terminal it is a link (OSC 8)."""
    text = str(path)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        text = f"\x1b]8;;{path.resolve().as_uri()}\x1b\\{text}\x1b]8;;\x1b\\"
    print(text)


def paths(written: Iterable[Path]) -> None:
    """Print what was written, a line for each folder, the page last.

    The formats of one figure are taken together.
    """
    written = list(written)
    folders: dict[Path, dict[str, list[str]]] = {}
    for path in written:
        folders.setdefault(path.parent, {}).setdefault(path.stem, []).append(path.suffix[1:])
    for folder, stems in folders.items():
        print(f"wrote {folder}/")
        names = [
            f"{stem}.{{{','.join(kinds)}}}" if len(kinds) > 1 else f"{stem}.{kinds[0]}".rstrip(".")
            for stem, kinds in stems.items()
        ]
        for line in textwrap.wrap(
            "  ".join(names), min(92, _columns() - 2), break_on_hyphens=False
        ):
            print(f"  {line}")
    for path in written:
        if path.name == PAGE:
            page(path)
