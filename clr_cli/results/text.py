"""Read text with a row per measurement: CSV, TSV, semicolons, JSON arrays, JSON lines."""

from __future__ import annotations

import array
import csv
import gzip
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from clr_cli.errors import InputError, excerpt
from clr_cli.format import of_cell
from clr_cli.records import RUN_COLUMNS
from clr_cli.results.cells import Cell, number
from clr_cli.results.frame import Frame, from_rows

MOST_BYTES = 300_000_000
MOST_COLUMNS = 5000
CHUNK = 1000  # lines of JSON that are parsed at once
_FEW_VALUES = 20_000  # up to this many values of a column, equal cells share their text


def unpack(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return a file's bytes, unpacked from gzip or a zip archive of one file. Raises InputError."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", source=path) from None
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(most + 1)
        elif data[:4] == b"PK\x03\x04":
            archive = zipfile.ZipFile(io.BytesIO(data))
            names = [name for name in archive.namelist() if not name.endswith("/")]
            if len(names) != 1:
                raise InputError(f"a zip archive of {len(names)} files; unpack it", source=path)
            with archive.open(names[0]) as member:
                data = member.read(most + 1)
    except InputError:
        raise
    except Exception:  # gzip, zip and their codecs raise all kinds of errors for damaged files
        raise InputError("a damaged archive", source=path) from None
    if len(data) > most:
        raise InputError(f"larger than {most // 10**6} MB; write fewer rows", source=path)
    return data


def decode(path: Path, data: bytes) -> str:
    """Return the text of UTF-8, or of UTF-16 with a byte order mark. Raises InputError."""
    utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", source=path) from None


def read_text(path: Path) -> list[Frame]:
    """Read a table in any of these formats. Raises InputError."""
    text = decode(path, unpack(path))
    start = text.lstrip()[:1]
    if start in ("{", "["):
        return [_json(path, text, start)]
    return [delimited(path, text)]


def comments(text: str) -> tuple[list[str], str]:
    """Split off the comment lines before the header: return them, and the rest of the text.

    A commented line with as many cells as the next line is the header.
    """
    before: list[str] = []
    while text.startswith("#") or (text and not text.partition("\n")[0].strip()):
        line, _, rest = text.partition("\n")
        below = rest.partition("\n")[0]
        mark = _delimiter(line)
        if line.count(mark) and line.count(mark) == below.count(mark) and below[:1] != "#":
            cells = line.lstrip("# ").split(mark)
            has_data = any(
                number(cell, comma=mark != ",") is not None for cell in below.split(mark)
            )
            if has_data and all(number(cell) is None for cell in cells):
                return before, line.lstrip("# ") + "\n" + rest
        before.append(line)
        text = rest
    return before, text


def _delimiter(header: str) -> str:
    return max(",\t;", key=re.sub(r'"[^"]*"', "", header).count)


def header(text: str) -> list[str]:
    """Return the names of a delimited text's columns."""
    line = comments(text)[1].partition("\n")[0].rstrip("\r")
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]
    except csv.Error:
        return []


def delimited(path: Path, text: str) -> Frame:
    """Read CSV, TSV or semicolons; lines that begin with # after the header are comments."""
    before, body = comments(text)
    skipped = len(before)
    mark = _delimiter(body.partition("\n")[0])
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=mark)
    try:
        names = [name.strip() for name in next(reader, [])]
        while len(names) > 1 and not names[-1] and names.count("") > 1:
            names.pop()
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InputError(f"the column {excerpt(min(twice))} occurs twice", source=path)
        if len(names) > MOST_COLUMNS:
            raise InputError(f"{len(names)} columns; at most {MOST_COLUMNS}", source=path)
        columns, lines = _columns(path, reader, names, skipped)
    except csv.Error as error:
        raise InputError(f"line {reader.line_num + skipped}: {error}", source=path) from None
    if tuple(names[:3]) == RUN_COLUMNS:
        names[3:] = map(of_cell, names[3:])
        columns[0] = list(map(of_cell, columns[0]))
    return Frame(
        path,
        dict(zip(names, columns, strict=True)),
        place=lambda row: f"line {lines[row]}",
        comma=mark != ",",
    )


def _columns(
    path: Path, reader: Any, names: list[str], skipped: int
) -> tuple[list[list[Cell]], array.array[int]]:
    """Return the cells by column, and the line of every row."""
    columns: list[list[Cell]] = [[] for _ in names]
    same: list[dict[str, str]] = [{} for _ in names]
    lines = array.array("Q")

    def rows() -> Iterator[list[str]]:
        for cells in reader:
            if len(cells) != len(names) or not cells[0]:
                if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                    continue
                if not any(cells[len(names) :]):  # each line ends with delimiters
                    del cells[len(names) :]
                if len(cells) != len(names):
                    line = reader.line_num + skipped
                    raise InputError(
                        f"line {line}: {len(cells)} cells for {len(names)} columns", source=path
                    )
            elif cells[0][0] == "#":
                continue
            lines.append(reader.line_num + skipped)
            yield cells

    every = rows()
    while chunk := list(islice(every, 5000)):
        for column, cells, known in zip(columns, zip(*chunk, strict=True), same, strict=True):
            if len(known) < _FEW_VALUES:
                column.extend([known.setdefault(cell, cell) for cell in cells])
            else:
                column.extend(cells)
    return columns, lines


def _json(path: Path, text: str, start: str) -> Frame:
    """Read an array of objects, an object that contains one, or an object per line."""
    lines = text.split("\n")  # splitlines would split at U+2028, which JSON allows in a string
    several = sum(bool(line.strip()) for line in islice(lines, 0, 1000)) > 1
    if start == "{" and several and _parsed(lines[0]) is not None:
        return _json_lines(path, lines)
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        if start == "{":
            return _json_lines(path, lines)
        line = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{line}not JSON", source=path) from None
    rows = rows_of(tree)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"item {index + 1}: not a JSON object", source=path)
    return from_rows(path, rows, place=lambda row: f"item {row + 1}")


def _json_lines(path: Path, lines: list[str]) -> Frame:
    places = array.array("Q", (place for place, line in enumerate(lines, 1) if line.strip()))

    def rows() -> Iterator[dict[str, Any]]:
        for start in range(0, len(places), CHUNK):
            here = places[start : start + CHUNK]
            chunk = [lines[place - 1] for place in here]
            parsed = _parsed(f"[{','.join(chunk)}]")  # all at once takes half the time
            if parsed is not None and [*map(type, parsed)] == [dict] * len(chunk):
                yield from parsed
                continue
            for line, place in zip(chunk, here, strict=True):
                row = _parsed(line)
                if row is None:
                    raise InputError(f"line {place}: not JSON", source=path)
                if not isinstance(row, dict):
                    raise InputError(f"line {place}: not a JSON object", source=path)
                yield row

    return from_rows(path, rows(), place=lambda row: f"line {places[row]}")


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def rows_of(tree: Any) -> list[Any]:
    """Return the rows of a JSON value: a list, the only list of objects in it, or the value.

    Named lists of equal length are columns.
    """
    if isinstance(tree, list):
        return tree
    inner = [value for value in tree.values() if isinstance(value, list) and value]
    tables = [value for value in inner if all(isinstance(row, dict) for row in value)]
    if len(tables) == 1:
        return list(tables[0])
    if inner and len(inner) == len(tree) and len({len(value) for value in inner}) == 1:
        return [dict(zip(tree, row, strict=True)) for row in zip(*inner, strict=True)]
    return [tree]
