"""What the person at the prompt sees: the plan, progress, tables, errors. No heavy imports."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from clr_cli.format import aligned, rough_duration

if TYPE_CHECKING:
    from clr_cli.execution.task import Event, Task


def error(message: str) -> None:
    rank = os.environ.get("RANK", "0")  # torchrun's
    who = "clr" if rank == "0" else f"clr, rank {rank}"
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
            text,
            _columns(),
            initial_indent=head,
            subsequent_indent=under,
            break_on_hyphens=False,
        )
    )


def _columns() -> int:
    """The width of the terminal; a file or a pipe has no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 1_000_000


def paths(written: Iterable[Path]) -> None:
    """What was written, a line for each folder, with the formats of one figure taken together."""
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


def follow(tasks: Sequence[Task], jobs: int, epochs: int, events: Iterable[Event]) -> None:
    """Show the progress of tasks of so many epochs each, ``jobs`` at a time, until all end."""
    with Progress([task.name for task in tasks], epochs, jobs) as progress:
        for event in events:
            progress.feed(event.index, event.kind, event.value)


class Progress:
    """Bars on a terminal: one for all epochs of the plan, one for each running run.

    Where stderr is no terminal there is a plain line per finished run instead, and no control
    characters. Feed it the engine's events.
    """

    def __init__(self, names: Sequence[str], epochs: int, jobs: int = 1) -> None:
        from tqdm import tqdm

        self.names, self.epochs, self.jobs = names, epochs, jobs
        self.live = sys.stderr.isatty()
        self.done = [0] * len(names)
        self.ended = 0
        self.fresh = 0  # epochs trained now, not found finished
        self.bars: dict[int, Any] = {}
        self._tqdm = tqdm
        self.total = tqdm(
            total=len(names) * epochs,
            desc=f"run 0/{len(names)}" if len(names) > 1 else names[0],
            unit="epoch",
            disable=not self.live,
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        for bar in self.bars.values():
            bar.close()
        self.total.close()

    def say(self, message: str) -> None:
        if self.live:
            self.total.write(message, file=sys.stderr)
        else:
            note(message)

    def feed(self, index: int, kind: str, value: Any) -> None:
        getattr(self, f"_{kind}")(index, value)

    def _start(self, index: int, epochs: int) -> None:
        added = epochs - self.done[index]
        self.done[index] = epochs
        self.total.update(added)
        if self.live:  # what is on disk says nothing about the speed of what is to come
            self.total.initial += added
        if self.live and len(self.names) > 1 and epochs < self.epochs:
            self.bars[index] = self._tqdm(
                total=self.epochs,
                initial=epochs,
                desc=f"  {self.names[index]}",
                unit="epoch",
                leave=False,
                dynamic_ncols=True,
            )

    def _row(self, index: int, row: dict[str, Any]) -> None:
        self.done[index] += 1
        self.fresh += 1
        loss = "not finite" if row["train_loss"] is None else f"{row['train_loss']:.3f}"
        val = "" if row["val_accuracy"] is None else f", val {row['val_accuracy']:.1%}"
        shown = f"loss {loss}{val}, lr {row['lr']:.4g}"
        if index in self.bars:
            self.bars[index].update()
            self.bars[index].set_postfix_str(shown)
        elif self.live:
            self.total.set_postfix_str(shown, refresh=False)
        elif len(self.names) == 1:
            note(f"epoch {self.done[index]}/{self.epochs}  {shown}")
        self.total.update()
        if self.fresh == 1 and not self.live:
            per_epoch = row["train_seconds"] + row["eval_seconds"]
            left = (len(self.names) * self.epochs - sum(self.done)) * per_epoch / self.jobs
            note(f"about {rough_duration(left)} to go")

    def _end(self, index: int, status: str) -> None:
        self.ended += 1
        if index in self.bars:
            self.bars.pop(index).close()
        self.total.update(self.epochs - self.done[index])  # a diverged run ends early
        self.done[index] = self.epochs
        if len(self.names) > 1:
            self.total.set_description_str(f"run {self.ended}/{len(self.names)}")
            if not self.live:
                note(f"run {self.ended}/{len(self.names)}  {self.names[index]}: {status}")

    def _note(self, index: int, message: str) -> None:
        self.say(message)

    def _locked(self, index: int, path: str) -> None:
        self.say(f"{path}: another process is on it; waiting for it at the end")
