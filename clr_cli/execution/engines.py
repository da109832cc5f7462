"""Execute tasks in this process, in local worker processes or on a Ray cluster.

All engines yield the same stream of events and leave the same folders. A plan that is executed
again skips what is finished and resumes what is not.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from clr_cli.execution.program_process import may_have_gpu
from clr_cli.execution.task import Event, Task
from clr_cli.execution.turns import interleave
from clr_cli.execution.workers import Numbered, Place, Pool, execute_in_workers
from clr_cli.training.ranks import SINGLE, Ranks, on_this_machine

if TYPE_CHECKING:  # runs of programs need no torch, whose import takes seconds
    import torch

MOST_AUTO_JOBS = 8  # more workers than this want a decision about memory


class Engine(Protocol):
    """Where the tasks of a plan are executed."""

    where: str  # behind "3 at a time", for the user

    def connected(self) -> AbstractContextManager[None]:
        """Within, the engine can be asked and used. Raises InputError if it is not there."""

    def workers(
        self, runs: int, threads: int | None, like: Task | None = None
    ) -> tuple[int, int | None]:
        """Runs at a time, and CPU threads for each (None where they do not matter).

        ``threads`` are those that the config asks for. ``like``: one of the tasks; a GPU may be
        tried with it.
        """

    def place(self, threads: int | None) -> str | None:
        """What a run gets, for the user, if that is not this process's device."""

    def execute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """The events of these tasks. Raises InputError, EnvironmentFailure."""


@dataclass(frozen=True)
class Local:
    """This machine, ``jobs`` runs at a time (None: as many as it gains from)."""

    device: str = "auto"
    jobs: int | None = 1
    where = ""
    _found: dict[str, int] = field(default_factory=dict, compare=False)
    _pool: Pool = field(default_factory=Pool, compare=False)

    def connected(self) -> AbstractContextManager[None]:
        return self._pool.kept()

    def workers(
        self, runs: int, threads: int | None, like: Task | None = None
    ) -> tuple[int, int | None]:
        if _kind(self.device) != "cpu":
            jobs = self.jobs
            if jobs is None and runs > 1 and like is not None:
                jobs = len(gpus_of(self.device)) * self._tried(like)
            return min(jobs or 1, max(runs, 1)), threads
        there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cores = max(1, (there or 1) // on_this_machine())
        jobs = self.jobs or min(MOST_AUTO_JOBS, max(1, cores // (threads or 1)))
        jobs = min(jobs, max(runs, 1))
        return jobs, threads or max(1, cores // jobs)

    def _tried(self, task: Task) -> int:
        """How many runs like this one a GPU gains from; tried once for each kind."""
        import torch

        from clr_cli.execution.training_task import TrainingTask
        from clr_cli.execution.trial import runs_at_once

        if not isinstance(task, TrainingTask):
            return 1
        kind = task.config.model_dump_json(include={"dataset", "model", "optimizer", "training"})
        if kind not in self._found:
            gpu = gpus_of(self.device)[0]
            build = replace(task, device=str(gpu)).build
            self._found[kind] = runs_at_once(build, lambda: torch.cuda.mem_get_info(gpu)[0])
        return self._found[kind]

    def place(self, threads: int | None) -> str | None:
        return None

    def execute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        jobs, _ = self.workers(len(tasks), tasks[0].threads, tasks[0])
        return local(tasks, jobs, pool=self._pool)


def local(
    runs: Sequence[Task], jobs: int = 1, ranks: Ranks = SINGLE, pool: Pool | None = None
) -> Iterator[Event]:
    """Execute the tasks here, ``jobs`` at a time, or one by one with other ``ranks``.

    On a CPU each has a process. On one GPU they share this process, on several each has a process.
    Those that only wait for other programs share this process anywhere.
    Raises InputError, EnvironmentFailure.
    """
    here, places = jobs == 1 or all(run.only_waits for run in runs), [Place()] * jobs
    gpus = gpus_of(runs[0].device)
    if gpus and not here and all(run.takes_turns for run in runs):
        here = here or len(gpus) == 1
        each = math.ceil(jobs / len(gpus))
        places = [Place(str(gpu), each) for gpu in gpus[:jobs]]
    if here:
        return shared(runs, functools.partial(interleave, at_once=jobs, ranks=ranks))
    return shared(runs, functools.partial(execute_in_workers, places=places, pool=pool or Pool()))


def _kind(device: str) -> str:
    """Return the kind of a device: cpu, cuda or mps. Raises InputError if it is not there."""
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return "cpu"
    from clr_cli.training.device import resolve_device

    return resolve_device(device).type


def gpus_of(device: str) -> list[torch.device]:
    """The CUDA devices that it means: one if it has a number, otherwise all; none of others."""
    if _kind(device) == "cpu":
        return []
    import torch

    from clr_cli.training.device import resolve_device

    found = resolve_device(device)
    if found.type != "cuda" or found.index is not None:
        return [found] * (found.type == "cuda")
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def shared(
    runs: Sequence[Task], execute_all: Callable[[Numbered], Iterator[Event]]
) -> Iterator[Event]:
    """Execute the tasks; leave those that another process holds for the end, then wait for them.

    So two processes can share one plan.
    """
    waiting = list(enumerate(runs))
    told: set[int] = set()
    while waiting:
        held = []
        for event in execute_all(waiting):
            if event.kind == "locked":
                held.append((event.index, runs[event.index]))
                if event.index in told:
                    continue
                told.add(event.index)
            yield event
        waiting = held
        if waiting:
            time.sleep(1.0)
