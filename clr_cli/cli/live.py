"""The page of a comparison while its runs are made, from the events of the engine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clr_cli.errors import EnvironmentFailure, InputError

if TYPE_CHECKING:
    from clr_cli.analysis.study import Key, Study
    from clr_cli.execution.task import Event
    from clr_cli.report.live import RunState

SHARE = 0.02  # of the time at most is spent on the page


class LivePage:
    """The page of a study's runs, written as they begin and end.

    Args:
        study: whose runs are made.
        folder: of the comparison.
        epochs: rows of a run, if all have as many.
    """

    def __init__(self, study: Study, folder: Path, epochs: int | None = None) -> None:
        self.study, self.folder, self.epochs = study, folder, epochs
        self.runs: dict[Key, RunState] = {}  # of the tasks so far
        self.fresh = 0.0  # runs made now, in parts of a run
        self.began = time.monotonic()
        self.spent = 0.0

    def follow(self, tasks: Sequence[Any], events: Iterator[Event]) -> Iterator[Event]:
        """Yield the events as they come, and keep the page up to date until the last."""
        from clr_cli.report.live import RunState

        for task in tasks:
            known = {"arm": task.arm, "seed": task.seed, "total": self.epochs}
            self.runs.setdefault((task.arm, task.seed), RunState(**known, state="waiting"))
        try:
            with contextlib.closing(events):  # type: ignore[type-var]
                for event in events:
                    self._take(tasks[event.index], event)
                    yield event
        except BaseException:
            with contextlib.suppress(
                OSError, InputError, EnvironmentFailure
            ):  # the reason of the end is worth more
                self._write(running=False)
            raise
        if any(run.state != "finished" for run in self.runs.values()):
            self._write(running=True)  # there may be no result to take the page's place

    def _take(self, task: Any, event: Event) -> None:
        key = (task.arm, task.seed)
        run = self.runs[key]
        if event.kind == "start":
            rows = _plain(task.directory.read_metrics() if event.value else [])
            self.runs[key] = run.model_copy(update={"state": "running", "rows": rows})
        elif event.kind == "row":
            run.rows.extend(_plain([event.value]))
            self.fresh += 1 / self.epochs if self.epochs else 0
        elif event.kind == "end":
            self.runs[key] = run.model_copy(update={"state": event.value})
            self.fresh += 0 if self.epochs else 1
        if event.kind in ("start", "row", "end"):
            self._write_if_cheap()

    def _write_if_cheap(self) -> None:
        if self.spent <= SHARE * (time.monotonic() - self.began):
            self._write(running=True)

    def _write(self, *, running: bool) -> None:
        from clr_cli.report import live

        start, study = time.monotonic(), self.study
        left = len(self.runs) - sum(_part(run, self.epochs) for run in self.runs.values())
        speed = self.fresh / max(start - self.began, 1e-9)
        progress = live.Progress(
            experiment=study.name,
            metric=study.metric,
            baseline=str(study.baseline),
            arms=[*study.arms],
            seeds=sorted({seed for _, seed in self.runs}),
            runs=[*self.runs.values()],
            chance=study.chance,
            seconds_left=left / speed if speed else None,
            running=running,
        )
        live.write(self.folder, progress)
        self.spent += time.monotonic() - start


def _part(run: RunState, epochs: int | None) -> float:
    """Return how much of a run there is, from 0 to 1."""
    if run.state not in ("waiting", "running"):
        return 1.0
    return len(run.rows) / epochs if epochs else 0.0


def _plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, float | None]]:
    """Return rows of numbers; what is not finite is None."""
    kept = []
    for row in rows:
        numbers = {k: v for k, v in row.items() if isinstance(v, int | float | None)}
        kept.append({k: None if v is None or v - v != 0 else float(v) for k, v in numbers.items()})
    return kept
