"""Progress of tasks at the prompt: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from clr_cli.cli import terminal
from clr_cli.format import rough_duration

if TYPE_CHECKING:
    from clr_cli.cli.live import LivePage
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.program import FirstRuns
    from clr_cli.execution.task import Event, Task
    from clr_cli.study.collect import Execute


# The bars: the metrics are worth more than the speed, so that 80 columns have room for them.
RUN_BAR = "{desc} |{bar}| {n_fmt}/{total_fmt} {unit}s{postfix}"
ONLY_BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s, {remaining} left{postfix}"
)


def follow(
    tasks: Sequence[Task], jobs: int, epochs: int, events: Iterator[Event], unit: str = "epoch"
) -> int:
    """Show the progress of tasks of so many epochs each, ``jobs`` at a time, until all end.

    Returns:
        How many epochs were trained now.
    """
    progress = Progress([task.name for task in tasks], epochs, jobs, unit)
    _feed(progress, tasks, events)
    return progress.fresh


def with_progress(
    engine: Engine, jobs: int, epochs: int, page: LivePage | None = None, unit: str = "epoch"
) -> Execute:
    """Return what executes trainings of so many epochs, ``jobs`` at a time, and shows how far.

    ``page`` is kept up to date as well. ``unit`` is what a row of metrics stands for.
    """
    Progress.programs = False

    def execute(tasks: Sequence[Task]) -> None:
        events = engine.execute(tasks)
        followed = events if page is None else page.follow(tasks, events)
        follow(tasks, jobs, epochs, followed, unit)

    return execute


def with_program_progress(
    engine: Engine, metric: str, watch: FirstRuns | None = None, page: LivePage | None = None
) -> Execute:
    """Return what executes runs of a program and shows their newest rows.

    ``watch`` is fed with the tasks and their events; it may raise to stop them.
    """
    Progress.programs = True

    def execute(tasks: Sequence[Task]) -> None:
        progress = ProgramProgress([task.name for task in tasks], metric)
        events = engine.execute(tasks)
        events = events if page is None else page.follow(tasks, events)
        _feed(progress, tasks, events, watch)

    return execute


def _feed(
    progress: Progress,
    tasks: Sequence[Task],
    events: Iterator[Event],
    watch: FirstRuns | None = None,
) -> None:
    with progress, contextlib.closing(events):  # type: ignore[type-var]
        for event in events:
            progress.feed(event.index, event.kind, event.value)
            if watch is not None:
                watch.feed(tasks[event.index], event)


class Progress:
    """Bars on a terminal: one for all epochs of the plan, one for each running run.

    Where stderr is no terminal there is a plain line per finished run instead, and no control
    characters. Feed it the engine's events.

    saved: whether any run has begun. programs: whether the runs are those of a program.
    """

    saved: ClassVar[bool] = False
    programs: ClassVar[bool] = False

    def __init__(
        self, names: Sequence[str], epochs: int, jobs: int = 1, unit: str = "epoch"
    ) -> None:
        from tqdm import tqdm

        self.names, self.epochs, self.jobs, self.unit = names, epochs, jobs, unit
        self.live = sys.stderr.isatty()
        self.done = [0] * len(names)
        self.ended = 0
        self.fresh = 0  # epochs trained now, not found finished
        self.bars: dict[int, Any] = {}
        self._tqdm = tqdm
        self.total = tqdm(
            total=len(names) * epochs,
            desc=f"run 0/{len(names)}" if len(names) > 1 else names[0],
            unit=unit,
            disable=not self.live,
            dynamic_ncols=True,
            smoothing=0.05,
            bar_format=ONLY_BAR if len(names) == 1 else None,
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
            terminal.note(message)

    def feed(self, index: int, kind: str, value: Any) -> None:
        Progress.saved |= kind in ("start", "row", "end")  # a run saves within an epoch, too
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
                unit=self.unit,
                leave=False,
                dynamic_ncols=True,
                bar_format=RUN_BAR,
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
            terminal.note(f"{self.unit} {self.done[index]}/{self.epochs}  {shown}")
        self.total.update()
        if self.fresh == 1 and not self.live:
            per_epoch = row["train_seconds"] + row["eval_seconds"]
            left = (len(self.names) * self.epochs - sum(self.done)) * per_epoch / self.jobs
            terminal.note(f"about {rough_duration(left)} to go")

    def _end(self, index: int, status: str) -> None:
        self.ended += 1
        if index in self.bars:
            self.bars.pop(index).close()
        self.total.update(self.epochs - self.done[index])  # a diverged run ends early
        self.done[index] = self.epochs
        if len(self.names) > 1:
            self.total.set_description_str(f"run {self.ended}/{len(self.names)}")
            if not self.live:
                terminal.note(f"run {self.ended}/{len(self.names)}  {self.names[index]}: {status}")

    def _note(self, index: int, message: str) -> None:
        self.say(message)

    def _locked(self, index: int, path: str) -> None:
        self.say(f"{path}: another process is working on it; clr waits for it after the other runs")


class ProgramProgress(Progress):
    """Progress of programs, of which nobody knows how many rows they will write.

    On a terminal: a bar for the runs, and a line for each running one with its newest row.
    """

    def __init__(self, names: Sequence[str], metric: str) -> None:
        super().__init__(names, 1, unit="run")
        self.metric = metric

    def _start(self, index: int, rows: int) -> None:
        self.done[index] = rows
        if self.live:
            self.bars[index] = self._tqdm(
                total=None,
                initial=rows,
                desc=f"  {self.names[index]}",
                unit="row",
                leave=False,
                dynamic_ncols=True,
            )

    def _row(self, index: int, row: dict[str, Any]) -> None:
        if index in self.bars:
            names = ["iteration", self.metric, *(key for key in row if key != self.metric)]
            shown = [f"{key} {row[key]:.5g}" for key in dict.fromkeys(names) if key in row]
            self.bars[index].update()
            self.bars[index].set_postfix_str(", ".join(shown[:3]))

    def _end(self, index: int, status: str) -> None:
        self.done[index] = 0
        super()._end(index, status)
        if len(self.names) == 1 and not self.live:
            terminal.note(f"{self.names[index]}: {status}")
