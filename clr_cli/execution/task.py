"""A task of a plan: one folder, executed from wherever it stands to its end.

Each finished row of metrics is on disk before it is reported. What a task does is the business of
its class: ``training_task`` has those that train a model here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from clr_cli.errors import EnvironmentFailure
from clr_cli.execution.run_directory import Locked, RunDirectory
from clr_cli.paths import Experiment
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.stream import Turn, alone

RETRIES = 1  # of a task whose worker died


@dataclass(frozen=True)
class Event:
    """Something happened to task ``index`` of the plan.

    kind: ``start`` (value: rows already there), ``row`` (a row of metrics), ``note`` (a line for
    the user), ``end`` (the status), ``locked`` (another process works on it).
    """

    index: int
    kind: str
    value: Any


@dataclass(frozen=True)
class TaskOptions:
    """How every task of an experiment is executed, beyond its config."""

    experiment: Experiment
    device: str = "auto"
    allow_code: bool = False
    overwrite: bool = False

    def of_task(self, path: Path, threads: int | None) -> dict[str, Any]:
        """Return the fields that every task has, for one in this folder with so many threads."""
        return {
            "path": path,
            "device": self.device,
            "threads": threads,
            "overwrite": self.overwrite,
        }


class SharedInput(Protocol):
    """What a process must be given before it executes a task."""

    def use(self) -> None:
        """Keep it for the tasks of this process."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One task. It can be pickled, so that a worker or a node can execute it.

    takes_turns: while it waits for its device, others of the same process can go on. only_waits:
    the work is another process's, so that any number of them take turns in one.
    """

    takes_turns: ClassVar[bool] = False
    only_waits: ClassVar[bool] = False

    path: Path
    seed: int
    device: str = "auto"
    threads: int | None = None  # CPU threads; None: all
    overwrite: bool = False

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)

    @property
    @abstractmethod
    def name(self) -> str:
        """What the user sees."""

    @abstractmethod
    def tree(self) -> dict[str, Any]:
        """The config that the folder is kept under: another config is refused."""

    def prepare(self) -> None:
        """Claim the folder, with its lock held. Raises InputError if it holds something else."""
        self.directory.prepare(self.tree(), overwrite=self.overwrite)

    def shared_input(self) -> SharedInput | None:
        """What all tasks of a plan need and a Ray cluster gets once. Raises InputError."""
        return None

    def settled(self) -> bool:
        """Whether nothing is left to do. Raises InputError for a damaged result."""
        return self.directory.finished

    @abstractmethod
    def work(self, index: int, ranks: Ranks) -> Iterator[Event | Turn]:
        """Do what is left, with the folder locked; write the result last.

        It may yield turns: other tasks of this process can go on then. Stopped may be raised at
        any of its yields; it keeps what has been done. Raises InputError, EnvironmentFailure,
        Stopped.
        """


def execute(task: Task, index: int = 0, ranks: Ranks = SINGLE) -> Iterator[Event]:
    """Execute one task from wherever it stands. Raises InputError, EnvironmentFailure, Stopped.

    With several ranks this is the part of rank 0; the others ``follow``.
    """
    return alone(execute_in_turns(task, index, ranks))


def execute_in_turns(
    task: Task, index: int = 0, ranks: Ranks = SINGLE
) -> Generator[Event | Turn, None, None]:
    """``execute`` for one of several tasks that share this process."""
    try:
        with task.directory.lock():
            task.prepare()
            if ranks.share(task.settled()):
                yield from already_finished(task, index)
            else:
                yield from task.work(index, ranks)
    except Locked:
        yield Event(index, "locked", str(task.path))


def already_finished(task: Task, index: int) -> Iterator[Event]:
    """The events of a task with nothing left to do. Raises InputError."""
    yield Event(index, "start", len(task.directory.read_metrics()))
    yield Event(index, "end", task.directory.read_result()["status"])


def check_finished(tasks: Sequence[Task]) -> None:
    """Raise EnvironmentFailure, naming the tasks that could not be finished."""
    failed = [task.name for task in tasks if not task.directory.finished]
    if failed:
        raise EnvironmentFailure(f"{', '.join(failed)} could not be finished")
