"""Read what a program prints: its lines, and the numbers that patterns find in them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from clr_cli.errors import InputError
from clr_cli.execution.rows import clean_row
from clr_cli.records import Row

LONGEST = 1_000_000  # bytes of a line; the rest of the line is dropped
MATCHED = 10_000  # characters of a line in which patterns search
CHUNK = 4_000_000  # bytes that are read at a time
MATCH_SECONDS = 0.5  # CPU seconds that a pattern may take for one line
# ANSI escape sequences: CSI (colors, cursor), OSC (titles, links) and two-character ones.
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-Z\\^-~]"
)
NUMBER = r"[-+]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)"
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")  # 1,234.5, but not 2,31 or 0,905
_PLACE = re.compile(r"\b(step|iteration|iter|epoch)\b\W{0,3}(?=\d)", re.IGNORECASE)


class Tail:
    """The lines of a growing file, each returned once, without escape sequences."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._rest = b""  # the beginning of an unfinished line

    def lines(self, *, ended: bool = False) -> list[str]:
        """Return the new complete lines; if ``ended``, also an unfinished last one."""
        lines: list[str] = []
        if not self.path.is_file():  # not written yet, or not a file
            return lines
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size < self._at:  # written anew
                self._at, self._rest = 0, b""
            file.seek(self._at)
            while new := file.read(CHUNK):
                self._at += len(new)
                *whole, rest = re.split(rb"[\r\n]+", self._rest + new)
                self._rest = rest[:LONGEST]
                lines += map(plain, whole)
        if ended and self._rest:
            lines.append(plain(self._rest))
            self._rest = b""
        return [line for line in lines if line]


def plain(line: bytes) -> str:
    """Return a line as text, without escape sequences, cut after `LONGEST` bytes."""
    return ESCAPES.sub("", line[:LONGEST].decode(errors="replace"))


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines of a log, without empty lines and text that a progress bar overwrote.

    Lines are cut after 500 characters.
    """
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read()
    except OSError:
        return []
    lines = [plain(line.rstrip(b"\r").rpartition(b"\r")[2]) for line in text.split(b"\n")]
    return [line.rstrip()[:500] for line in lines if line.strip()][-count:]


def from_text(line: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[Row]:
    """Yield the numbers that each pattern finds in a line of output, by the names of its groups.

    Raises InputError if a group matched something else than a number, or a pattern takes longer
    than `MATCH_SECONDS`.

    >>> list(from_text("step 10: loss 2.5", [re.compile("step (?P<step>.+): loss (?P<loss>.+)")]))
    [{'iteration': 10, 'loss': 2.5}]
    """
    for pattern in patterns:
        with _limited(pattern, line):
            matches = list(pattern.finditer(line[:MATCHED]))
        for match in matches:
            texts = {key: text for key, text in match.groupdict().items() if text is not None}
            if row := clean_row({key: _number(key, text) for key, text in texts.items()}):
                yield row


@contextlib.contextmanager
def _limited(pattern: re.Pattern[str], line: str) -> Iterator[None]:
    """Stop a pattern that takes exponential time, so that clr still reacts to signals.

    ``re`` calls signal handlers while it searches; Python runs them only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise InputError(
            f"{pattern.pattern!r} takes too long on the line {line[:60]!r}: it backtracks too "
            "much; avoid nested repeats such as (a+)+, and more than one .*",
            key="read",
        )

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MATCH_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _number(name: str, text: str) -> float:
    bare = text.strip().rstrip(",").replace("_", "")
    if THOUSANDS.fullmatch(bare):
        bare = bare.replace(",", "")
    try:
        return int(bare) if re.fullmatch(r"[+-]?\d{1,300}", bare) else float(bare)
    except ValueError:
        raise InputError(
            f"the group {name} matched {text[:60]!r}, which is not a number", key="read"
        ) from None


def suggest(lines: Sequence[str], metric: str) -> tuple[str, str] | None:
    r"""Return a line of a program's output that may contain the metric, and a pattern for it.

    It is the last line with the metric's name before a number, however its words are joined, or
    else the last line with any word before a number; None if there is no such line.

    >>> suggest(["Step 10 | val loss: 2.5"], "val_loss")
    ('Step 10 | val loss: 2.5', '(?i)step\\W+(?P<step>\\d+).*?val loss: (?P<val_loss>\\S+)')
    """
    words = r"[\s_./-]*".join(map(re.escape, re.split(r"[_./-]+", metric)))
    name = re.compile(rf"{words}\W{{0,5}}?(?=(?:{NUMBER})(?!\w))", re.IGNORECASE)
    word = re.compile(rf"[A-Za-z][\w ]{{0,30}}\W{{1,3}}?(?=(?:{NUMBER})(?!\w))")
    for before in (name, word):
        for line in reversed(lines):
            for match in reversed(list(before.finditer(line[:500]))):
                pattern = _pattern(line, match, metric)
                if _reads(pattern, line, metric):
                    return line, pattern
    return None


def _pattern(line: str, match: re.Match[str], metric: str) -> str:
    number = re.compile(NUMBER, re.IGNORECASE).match(line, match.end())
    assert number is not None
    ends = line[number.end() : number.end() + 1]
    group = r"\S+" if not ends or ends.isspace() else r"[^\s" + re.escape(ends) + "]+"
    before = "".join(
        re.escape(sign) if not sign.isalnum() and sign != " " else sign for sign in match.group()
    )
    place = _PLACE.search(line[: match.start()])
    head = "" if place is None else rf"{place[1].lower()}\W+(?P<{place[1].lower()}>\d+).*?"
    flag = "(?i)" if head and place is not None and place[1] != place[1].lower() else ""
    return f"{flag}{head}{before}(?P<{metric}>{group})"


def _reads(pattern: str, line: str, metric: str) -> bool:
    try:
        return any(metric in row for row in from_text(line, [re.compile(pattern)]))
    except (re.error, InputError):
        return False
