"""Define a task of a plan: work in one folder, resumed wherever it stopped.

Each row of metrics is on disk before it is reported. The classes of tasks say what the work is:
``training_task`` trains a model, ``program`` runs a user's program.
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

RETRIES = 1  # for a task whose worker died


@dataclass(frozen=True)
class Event:
    """An event of task ``index`` of the plan.

    kind: ``start`` (value: existing rows), ``row`` (a row of metrics), ``note`` (a line for the
    user), ``end`` (the status), ``locked`` (another process works on it), ``raised`` (an exception
    of the user's function, as ``function_task.Raised``).
    """

    index: int
    kind: str
    value: Any


@dataclass(frozen=True)
class TaskOptions:
    """How the tasks of an experiment are executed, besides its config."""

    experiment: Experiment
    device: str = "auto"
    allow_code: bool = False
    overwrite: bool = False

    def of_task(self, path: Path, threads: int | None) -> dict[str, Any]:
        """Return the fields that all tasks have, for a task in this folder."""
        return {
            "path": path,
            "device": self.device,
            "threads": threads,
            "overwrite": self.overwrite,
        }


class SharedInput(Protocol):
    """Input that a process needs before it executes a task."""

    def use(self) -> None:
        """Keep the input for the tasks of this process."""


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task. It can be pickled, so that a worker or a node can execute it.

    takes_turns: while it waits for its device, other tasks of the process can go on. only_waits:
    another process does the work, so any number of tasks can take turns in one process. again:
    what is done after the death of its worker.
    """

    takes_turns: ClassVar[bool] = False
    only_waits: ClassVar[bool] = False
    again: ClassVar[str] = "resuming from its checkpoint"

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
        """The task's name for the user."""

    @abstractmethod
    def tree(self) -> dict[str, Any]:
        """Return the config to which the folder belongs; another config is refused."""

    def prepare(self) -> None:
        """Claim the locked folder. Raises InputError if it belongs to another config."""
        self.directory.prepare(self.tree(), overwrite=self.overwrite)

    @property
    def needs(self) -> object:
        """What determines ``shared_input``: equal for the tasks that can share it."""
        return None

    def shared_input(self) -> SharedInput | None:
        """Return input that a Ray cluster gets once for many tasks. Raises InputError."""
        return None

    def is_complete(self) -> bool:
        """Return whether nothing is left to do. Raises InputError for a damaged result."""
        return self.directory.finished

    @abstractmethod
    def work(self, index: int, ranks: Ranks) -> Iterator[Event | Turn]:
        """Do the remaining work in the locked folder, and write the result last.

        At a ``Turn`` other tasks of this process can go on. Stopped may be raised at any yield;
        finished work is kept. Raises InputError, EnvironmentFailure, Stopped.
        """


@dataclass(frozen=True, kw_only=True)
class ArmTask(Task):
    """A run of an arm: what all kinds of runs have."""

    arm: str

    @property
    def name(self) -> str:
        """The arm and the seed, for the user."""
        return f"{self.arm}, seed {self.seed}"


def execute(task: Task, index: int = 0, ranks: Ranks = SINGLE) -> Iterator[Event]:
    """Execute or resume one task. Raises InputError, EnvironmentFailure, Stopped.

    With several ranks, this is rank 0's part; the others run ``training_task.follow``.
    """
    return alone(execute_in_turns(task, index, ranks))


def execute_in_turns(
    task: Task, index: int = 0, ranks: Ranks = SINGLE
) -> Generator[Event | Turn, None, None]:
    """Execute one of several tasks that share this process; see ``execute``."""
    try:
        with task.directory.lock():
            task.prepare()
            if ranks.share(task.is_complete()):
                yield from events_of_finished(task, index)
            else:
                yield from task.work(index, ranks)
    except Locked:
        yield Event(index, "locked", str(task.path))


def events_of_finished(task: Task, index: int) -> Iterator[Event]:
    """Yield the events of a complete task. Raises InputError."""
    yield Event(index, "start", len(task.directory.read_metrics()))
    yield Event(index, "end", task.directory.read_result()["status"])


def check_finished(tasks: Sequence[Task]) -> None:
    """Raise EnvironmentFailure with the names of unfinished tasks, if there are any."""
    failed = [task.name for task in tasks if not task.directory.finished]
    if failed:
        raise EnvironmentFailure(f"{', '.join(failed)} did not finish")
