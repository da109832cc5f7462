"""The page of an output folder: all of its experiments with verdict, date and state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from clr_cli.analysis.headline import headline
from clr_cli.errors import InputError
from clr_cli.files import write_atomic
from clr_cli.paths import ACROSS, PAGE, PROGRESS, RESULT, SUMMARY
from clr_cli.records import RateAnswer, Summary, read
from clr_cli.report import across, live, rates
from clr_cli.report.page import render
from clr_cli.report.tables import verdict

INDEX = "index.html"
NONE = "this result cannot be read"


class Entry(NamedTuple):
    """A page of an experiment: where it is, what it says, when it was written, how it stands."""

    experiment: str
    kind: str
    link: str
    words: list[str]  # verdicts
    said: str
    date: str
    state: str
    written: float


def write(output_dir: Path) -> Path:
    """Write the page of an output folder; return its path."""
    entries = sorted(_entries(output_dir), key=lambda entry: -entry.written)
    numbers = {"figures": {}, "paired": False}
    page = render("index.html.j2", numbers, entries=entries, folder=output_dir.name)
    write_atomic(output_dir / INDEX, page)
    return output_dir / INDEX


def _entries(output_dir: Path) -> Iterator[Entry]:
    pages = [*output_dir.glob(f"*/*/{PAGE}"), *output_dir.glob(f"*/range-test/*/{PAGE}")]
    for page in sorted(pages):
        folder = page.parent
        # PROGRESS exists only while runs are missing, whatever an earlier command left behind.
        looks = {PROGRESS: _unfinished, SUMMARY: _comparison, ACROSS: _across, RESULT: _rates}
        for name, look in looks.items():
            try:
                written = (folder / name).stat().st_mtime
                words, said, state = look(folder)
            except OSError:  # missing, or just deleted by another command
                continue
            except InputError:
                if not (folder / name).exists():
                    continue
                words, said, state = [], NONE, "damaged"
            experiment, *kind, _ = page.relative_to(output_dir).parts
            yield Entry(
                experiment,
                ", ".join(kind),
                page.relative_to(output_dir).as_posix(),
                words,
                said,
                time.strftime("%Y-%m-%d %H:%M", time.localtime(written)),
                state,
                written,
            )
            break


def _comparison(folder: Path) -> tuple[list[str], str, str]:
    summary = read(Summary, folder / SUMMARY, remedy="")
    words = [verdict(comparison) for comparison in summary.comparisons]
    return sorted(set(words), key=words.index), headline(summary), "finished"


def _across(folder: Path) -> tuple[list[str], str, str]:
    combination = across.load(folder)
    words = [across.HOLDS[arm.holds] for arm in combination.arms]
    return sorted(set(words), key=words.index), combination.verdict, "finished"


def _unfinished(folder: Path) -> tuple[list[str], str, str]:
    progress = read(live.Progress, folder / PROGRESS, remedy="")
    return [], live.describe(progress), "running" if progress.running else "stopped"


def _rates(folder: Path) -> tuple[list[str], str, str]:
    answer = read(RateAnswer, folder / RESULT, remedy="")
    said = ". ".join(part for part in rates.headline(answer) if part)
    return [], said, "inconclusive" if answer.inconclusive else "finished"
