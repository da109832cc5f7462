"""What the person at the prompt sees: the plan, progress, tables, errors. No heavy imports."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


def error(message: str) -> None:
    print(f"clr: {' '.join(message.split())}", file=sys.stderr)


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
    """Print an aligned table to stdout; the first column left, the others right."""
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    print()
    for row in [headers, ["─" * width for width in widths], *rows]:
        first, *others = row
        cells = [
            f"{first:<{widths[0]}}",
            *(f"{c:>{w}}" for c, w in zip(others, widths[1:], strict=True)),
        ]
        print("  ".join(cells).rstrip())
    print()


def paths(written: Iterable[Path]) -> None:
    for path in written:
        print(f"wrote {path}")


def duration(seconds: float) -> str:
    """Seconds for people: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Bars on a terminal: one for all epochs of the plan, one for each running run.

    Where stderr is no terminal there is a plain line per finished run instead, and no control
    characters. Feed it the engine's events.
    """

    def __init__(self, names: Sequence[str], epochs: int) -> None:
        from tqdm import tqdm

        self.names, self.epochs = names, epochs
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

    def _epoch(self, index: int, row: dict[str, float]) -> None:
        self.done[index] = int(row["epoch"])
        self.fresh += 1
        shown = f"loss {row['train_loss']:.3f}, val {row['val_accuracy']:.1%}, lr {row['lr']:.4g}"
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
            left = (len(self.names) * self.epochs - sum(self.done)) * per_epoch
            note(f"about {duration(left)} of computing to go")

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
