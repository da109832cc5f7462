"""Execute tasks in worker processes of this machine: one for every few cores, or for every GPU."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait

from clr_cli import interrupt
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.task import RETRIES, Event, Task
from clr_cli.execution.turns import interleave

Numbered = Sequence[tuple[int, Task]]
LAST = ("end", "locked")  # kinds of a task's last event
# What the server of forked workers imports for training runs; torch itself imports the last at the
# first step of an optimizer.
PRELOADED = ["clr_cli.execution.server", "clr_cli.execution.training_task", "torch._dynamo"]


@dataclass(frozen=True)
class Place:
    """The tasks of one worker: how many at a time, on which device (None: the task's own).

    forked: fork the worker from a server that has imported torch, where that is possible; it saves
    CPU time and memory. Only for a CPU: a GPU may not work after a fork.
    """

    device: str | None = None
    at_once: int = 1
    forked: bool = False


def _worker(connection: Connection, at_once: int, environment: Mapping[str, str]) -> None:
    """Execute incoming tasks and send back their events; end with the parent.

    On SIGTERM, save the runs and end. The parent handles Ctrl-C.
    """
    busy = 0

    def incoming() -> Iterator[tuple[int, Task] | None]:
        nonlocal busy
        while True:
            while not connection.poll(0 if busy else None):
                yield None
            task = connection.recv()
            busy += 1
            yield task

    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        interrupt.install(signal.SIGTERM)
        os.environ.clear()  # the server's is the first worker's
        os.environ.update(environment)
        threading.Thread(target=_die_with_parent, daemon=True).start()
        try:
            for event in interleave(incoming(), at_once):
                connection.send(event)
                busy -= event.kind in LAST
        except (InputError, EnvironmentFailure) as error:
            connection.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)
    except interrupt.Stopped as stop:
        os._exit(stop.exit_code)
    os._exit(0)  # a late signal must not meet an interpreter that shuts down


@contextlib.contextmanager
def _ignored(*signals: signal.Signals) -> Iterator[None]:
    """Ignore signals within the block, and in a process that starts there."""
    handlers = {each: signal.signal(each, signal.SIG_IGN) for each in signals}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def _start_server() -> bool:
    """Start the server of forked workers, if there is none; return whether that was possible.

    It needs Linux, since libraries of macOS fail after a fork, and a socket, whose path can be too
    long in the user's temporary folder.
    """
    if sys.platform != "linux":
        return False
    multiprocessing.set_forkserver_preload(PRELOADED)
    try:
        # A signal for the whole group must not end the server of workers that save their runs.
        with _ignored(signal.SIGINT, signal.SIGTERM):
            forkserver.ensure_running()
    except OSError:
        return False
    return True


def _die_with_parent() -> None:
    """End this worker when the parent ends, even by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@dataclass
class _Worker:
    """A process, and its current tasks by their numbers."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    place: Place
    tasks: dict[int, Task] = field(default_factory=dict)


class Pool:
    """Workers. Within ``keep_workers`` they serve one plan after another, as they start slowly."""

    def __init__(self) -> None:
        self._workers: list[_Worker] = []
        self._keep = False

    @contextlib.contextmanager
    def keep_workers(self) -> Iterator[None]:
        """Keep workers alive within the block, for further plans."""
        self._keep = True
        try:
            yield
        finally:
            self._keep = False
            self._end()

    @contextlib.contextmanager
    def working(self, places: Sequence[Place]) -> Iterator[list[_Worker]]:
        """Yield a worker for every place, with workers of an earlier plan first."""
        idle = [worker for worker in self._workers if worker.process.is_alive()]
        chosen = []
        try:
            for place in places:
                worker = next((each for each in idle if each.place == place), None)
                if worker is None:
                    worker = self.start(place)
                else:
                    idle.remove(worker)
                chosen.append(worker)
            yield chosen
        finally:
            if not self._keep or any(worker.tasks for worker in chosen):
                self._end()

    def start(self, place: Place) -> _Worker:
        forked = place.forked and _start_server()
        context = multiprocessing.get_context("forkserver" if forked else "spawn")
        ours, theirs = context.Pipe()
        given = (theirs, place.at_once, dict(os.environ))
        process = context.Process(target=_worker, args=given, daemon=True)  # type: ignore[attr-defined]
        # A worker that still imports torch must not answer a Ctrl-C with a traceback. A forked one
        # ignores it as its server does, and clr must heed it while the server imports.
        ignored = () if forked else (signal.SIGINT,)
        # A worker does not import the main script: one that calls clr.compare would start all over.
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
        try:
            with _ignored(*ignored):
                process.start()
        finally:
            sys.modules["__main__"] = main
        theirs.close()
        self._workers.append(_Worker(process, ours, place))
        return self._workers[-1]

    def _end(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()  # nobody reads anymore, so it must not block
        for worker in self._workers:
            worker.process.join()
        self._workers = []


def execute_in_workers(plan: Numbered, places: Sequence[Place], pool: Pool) -> Iterator[Event]:
    """Execute tasks, a worker for every place; yield events. Raises as ``Engine.execute``."""
    todo = list(reversed(plan))
    attempts: dict[int, int] = {}

    def has_room(worker: _Worker, index: int) -> bool:
        # A task that may have killed its worker is tried again alone, so no other task can die.
        alone = any(number in attempts for number in (index, *worker.tasks))
        return len(worker.tasks) < (1 if alone else worker.place.at_once)

    def hand_out(workers: Sequence[_Worker]) -> None:
        while todo:
            index, task = todo[-1]
            free = [worker for worker in workers if has_room(worker, index)]
            if not free:
                return
            todo.pop()
            worker = min(free, key=lambda worker: len(worker.tasks))
            worker.tasks[index] = task
            device = worker.place.device
            sent = task if device is None else replace(task, device=device)
            with contextlib.suppress(BrokenPipeError):  # it has died, which is noticed below
                worker.connection.send((index, sent))

    def died(worker: _Worker) -> Iterator[Event]:
        worker.process.join()
        for index, task in worker.tasks.items():
            attempts[index] = attempts.get(index, 0) + 1
            what = f"{task.name}: its worker died (exit code {worker.process.exitcode})"
            if attempts[index] <= RETRIES:
                yield Event(index, "note", f"{what}; {task.again}")
                todo.append((index, replace(task, overwrite=False)))
            else:
                yield Event(index, "note", f"{what} again; giving up on this run")
                yield Event(index, "end", "failed")
        worker.tasks.clear()

    with pool.working(places[: len(todo)]) as workers:
        while todo or any(worker.tasks for worker in workers):
            hand_out(workers)
            busy = {worker.connection: worker for worker in workers if worker.tasks}
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    yield from died(worker)
                    workers.remove(worker)
                    if todo:
                        workers.append(pool.start(worker.place))
                    continue
                if isinstance(message, Exception):
                    raise message
                if message.kind in LAST:
                    del worker.tasks[message.index]
                yield message
