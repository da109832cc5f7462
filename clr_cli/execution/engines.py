"""Execute tasks in this process, in local worker processes or on a Ray cluster.

All engines yield the same events and leave the same folders. If a plan is executed again, finished
tasks are skipped and the others are resumed.
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
from clr_cli.training.ranks import SINGLE, Ranks, local_world_size

if TYPE_CHECKING:  # runs of programs need no torch, and its import takes seconds
    import torch

MOST_AUTO_JOBS = 8  # more workers may need too much memory


class Engine(Protocol):
    """Where the tasks of a plan are executed."""

    where: str  # for the plan, after "3 at a time"

    def connected(self) -> AbstractContextManager[None]:
        """Return a context in which the engine can be used. Raises InputError without a cluster."""

    def workers(
        self, runs: int, threads: int | None, like: Task | None = None
    ) -> tuple[int, int | None]:
        """Return how many runs at a time, and CPU threads for each; None if they do not matter.

        ``threads``: those of the config. ``like``: one of the tasks, to try a GPU with.
        """

    def place(self, threads: int | None) -> str | None:
        """Return a run's resources, for the plan; None if it uses this process's device."""

    def execute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Execute tasks and yield their events. Raises InputError, EnvironmentFailure."""


@dataclass(frozen=True)
class Local:
    """This machine, with ``jobs`` runs at a time; None: as many as train fastest together."""

    device: str = "auto"
    jobs: int | None = 1
    where = ""
    _found: dict[str, int] = field(default_factory=dict, compare=False)
    _pool: Pool = field(default_factory=Pool, compare=False)

    def connected(self) -> AbstractContextManager[None]:
        return self._pool.keep_workers()

    def workers(
        self, runs: int, threads: int | None, like: Task | None = None
    ) -> tuple[int, int | None]:
        if _kind(self.device) != "cpu":
            jobs = self.jobs
            if jobs is None and runs > 1 and like is not None:
                jobs = len(gpus_of(self.device)) * self._measure_jobs(like)
            return min(jobs or 1, max(runs, 1)), threads
        there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cores = max(1, (there or 1) // local_world_size())
        jobs = self.jobs or min(MOST_AUTO_JOBS, max(1, cores // (threads or 1)))
        jobs = min(jobs, max(runs, 1))
        return jobs, threads or max(1, cores // jobs)

    def _measure_jobs(self, task: Task) -> int:
        """Measure how many runs like this one to give a GPU; once for each kind of run."""
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

    On a CPU, each task has its own process. On one GPU, all share this process; of several GPUs,
    each has a process. Tasks that only wait for other programs always share this process.
    Raises InputError, EnvironmentFailure.
    """
    here = jobs == 1 or all(run.only_waits for run in runs)
    trainings = all(run.takes_turns for run in runs)
    gpus = gpus_of(runs[0].device)
    places = [Place(forked=trainings and not gpus)] * jobs
    if gpus and not here and trainings:
        here = len(gpus) == 1
        each = math.ceil(jobs / len(gpus))
        places = [Place(str(gpu), each) for gpu in gpus[:jobs]]
    if here:
        return share_plan(runs, functools.partial(interleave, at_once=jobs, ranks=ranks))
    return share_plan(
        runs, functools.partial(execute_in_workers, places=places, pool=pool or Pool())
    )


def _kind(device: str) -> str:
    """Return the kind of a device: cpu, cuda or mps. Raises InputError if it is missing."""
    if device == "cpu" or (device == "auto" and not may_have_gpu()):
        return "cpu"
    from clr_cli.training.device import resolve_device

    return resolve_device(device).type


def gpus_of(device: str) -> list[torch.device]:
    """Return the CUDA devices that a name means: the numbered one, or all; [] for a CPU or MPS."""
    if _kind(device) == "cpu":
        return []
    import torch

    from clr_cli.training.device import resolve_device

    resolved = resolve_device(device)
    if resolved.type != "cuda" or resolved.index is not None:
        return [resolved] * (resolved.type == "cuda")
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def share_plan(
    runs: Sequence[Task], execute_all: Callable[[Numbered], Iterator[Event]]
) -> Iterator[Event]:
    """Execute the tasks; those that another process holds come last, and are waited for.

    Thus two processes can share one plan.
    """
    waiting = list(enumerate(runs))
    reported: set[int] = set()
    while waiting:
        held = []
        for event in execute_all(waiting):
            if event.kind == "locked":
                held.append((event.index, runs[event.index]))
                if event.index in reported:
                    continue
                reported.add(event.index)
            yield event
        waiting = held
        if waiting:
            time.sleep(1.0)
