"""Execute tasks in this process, in local worker processes or on a Ray cluster.

All engines yield the same stream of events and leave the same folders. A plan that is executed
again skips what is finished and resumes what is not.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from clr_cli import interrupt
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.task import RETRIES, Event, Task, execute
from clr_cli.training.device import resolve_device
from clr_cli.training.ranks import SINGLE, Ranks, on_this_machine

MOST_AUTO_JOBS = 8  # more workers than this want a decision about memory

Numbered = Sequence[tuple[int, Task]]


class Engine(Protocol):
    """Where the tasks of a plan are executed."""

    where: str  # behind "3 at a time", for the user

    def connected(self) -> AbstractContextManager[None]:
        """Within, the engine can be asked and used. Raises InputError if it is not there."""

    def workers(self, runs: int, threads: int | None) -> tuple[int, int | None]:
        """Runs at a time, and CPU threads for each (None where they do not matter).

        ``threads`` are those that the config asks for.
        """

    def place(self, threads: int | None) -> str | None:
        """What a run gets, for the user, if that is not this process's device."""

    def execute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """The events of these tasks. Raises InputError, EnvironmentFailure."""


@dataclass(frozen=True)
class Local:
    """This machine: this process, or ``jobs`` worker processes (None: as many as have room)."""

    device: str = "auto"
    jobs: int | None = 1
    where = ""
    pool: Pool = field(default_factory=lambda: Pool(), compare=False, repr=False)

    def connected(self) -> AbstractContextManager[None]:
        return self.pool.kept()

    def workers(self, runs: int, threads: int | None) -> tuple[int, int | None]:
        if resolve_device(self.device).type != "cpu":
            return self.jobs or 1, threads
        there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cores = max(1, (there or 1) // on_this_machine())
        jobs = self.jobs or min(MOST_AUTO_JOBS, max(1, cores // (threads or 1)))
        jobs = min(jobs, max(runs, 1))
        return jobs, threads or max(1, cores // jobs)

    def place(self, threads: int | None) -> str | None:
        return None

    def execute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        return local(tasks, self.workers(len(tasks), tasks[0].threads)[0], pool=self.pool)


def local(
    runs: Sequence[Task], jobs: int = 1, ranks: Ranks = SINGLE, pool: Pool | None = None
) -> Iterator[Event]:
    """Execute the tasks here, ``jobs`` at a time, or one by one with other ``ranks``.

    Raises InputError, EnvironmentFailure.
    """
    execute_all = (
        functools.partial(_parallel, jobs=jobs, pool=pool or Pool())
        if jobs > 1
        else functools.partial(_sequential, ranks=ranks)
    )
    return shared(runs, execute_all)


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


def _sequential(plan: Numbered, ranks: Ranks) -> Iterator[Event]:
    for index, run in plan:
        yield from execute(run, index, ranks)


def _worker(connection: Connection) -> None:
    """Execute the tasks that come in and send their events back; end when the parent does.

    On SIGTERM it saves its run and ends. Ctrl-C is the parent's business.
    """
    interrupt.install(signal.SIGTERM)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        while (task := connection.recv()) is not None:
            index, run = task
            try:
                for event in execute(run, index):
                    connection.send(event)
                connection.send(None)
            except (InputError, EnvironmentFailure) as error:
                connection.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)
    except interrupt.Stopped as stop:
        os._exit(stop.exit_code)


def _die_with_parent() -> None:
    """However the parent ends, even by SIGKILL, no worker stays behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    connection: Connection
    task: tuple[int, Task] | None = None

    @staticmethod
    def start() -> _Worker:
        context = multiprocessing.get_context("spawn")  # fork and CUDA do not go together
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs,), daemon=True)
        # A worker that is still importing torch must not answer a Ctrl-C with a traceback.
        ours_again = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, ours_again)
        theirs.close()
        return _Worker(process, ours)


class Pool:
    """Worker processes. Within ``kept`` they serve one plan after the other: they start slowly."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self._keep = False

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        self._keep = True
        try:
            yield
        finally:
            self._keep = False
            self.end()

    def fill(self, count: int) -> None:
        """So many workers at least; those that have died while they had nothing to do are gone."""
        self.workers = [each for each in self.workers if each.task or each.process.is_alive()]
        while len(self.workers) < count:
            self.workers.append(_Worker.start())

    def release(self) -> None:
        """After a plan: only workers without a task can serve another."""
        if not self._keep or any(worker.task for worker in self.workers):
            self.end()

    def end(self) -> None:
        for worker in self.workers:
            worker.process.terminate()
            worker.connection.close()  # nobody reads any more: it must not wait for us
        for worker in self.workers:
            worker.process.join()
        self.workers = []


def _parallel(plan: Numbered, jobs: int, pool: Pool) -> Iterator[Event]:
    todo = list(reversed(plan))
    attempts: dict[int, int] = {}
    try:
        pool.fill(min(jobs, len(todo)))
        while todo or any(worker.task for worker in pool.workers):
            for worker in pool.workers:
                if worker.task is None and todo:
                    worker.task = todo.pop()
                    worker.connection.send(worker.task)
            busy = {worker.connection: worker for worker in pool.workers if worker.task}
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                assert worker.task is not None
                index, run = worker.task
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    pool.workers.remove(worker)
                    worker.process.join()
                    attempts[index] = attempts.get(index, 0) + 1
                    exitcode = worker.process.exitcode
                    what = f"{run.name}: its worker died (exit code {exitcode})"
                    if attempts[index] <= RETRIES:
                        yield Event(index, "note", f"{what}; resuming from its checkpoint")
                        todo.append((index, replace(run, overwrite=False)))
                    else:
                        yield Event(index, "note", f"{what} again; given up")
                        yield Event(index, "end", "failed")
                    busy_now = sum(each.task is not None for each in pool.workers)
                    pool.fill(min(jobs, busy_now + len(todo)))
                    continue
                if message is None:
                    worker.task = None
                elif isinstance(message, Exception):
                    raise message
                else:
                    yield message
    finally:
        pool.release()
