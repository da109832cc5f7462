"""Execute tasks on a Ray cluster, whose nodes share no files with this machine.

A node gets the data set once, and a run's files with each task. It works in its own folder, and
sends back events with the current files; only this process writes under outputs/.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clr_cli import interrupt
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.engines import share_plan
from clr_cli.execution.run_directory import FILES, Locked, RunDirectory
from clr_cli.execution.task import RETRIES, Event, SharedInput, Task, events_of_finished, execute
from clr_cli.execution.workers import Numbered
from clr_cli.paths import PREVIOUS_CHECKPOINT

try:
    import ray
    from ray.exceptions import RayError, RaySystemError, RayTaskError
except ImportError:
    raise InputError("--engine ray needs the extra: pip install 'clr-cli[ray]'") from None

SEND_SECONDS = 5.0  # a lost node costs at most an epoch or this
_SENT_BACK = tuple(name for name in FILES if name != PREVIOUS_CHECKPOINT)
_PATIENCE = 5.0  # seconds for a connection, and for canceled runs to clean up
_SCRATCH = "clr-run-"  # the prefix of a task's folder on a node
_ABANDONED = 60.0  # seconds without a change after which an unlocked folder is deleted
_TICK = 1.0  # seconds between two checks for signals and nodes

Sent = tuple[Event | InputError | EnvironmentFailure, dict[str, bytes]]


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect this process to the cluster at ``address``, ``host:port`` or ``auto``.

    An existing connection is kept. Raises InputError if there is no cluster.
    """
    if ray.is_initialized():
        yield
        return
    # For each lost node, Ray prints pages to stdout, which is for results only.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        _connect(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address.startswith("ray://"):
            raise ValueError("Ray's client is not supported; run clr on a node of the cluster")
        if match := re.fullmatch(r"(.+):([0-9]{1,5})", address):
            # Ray itself would try for minutes.
            socket.create_connection((match[1], int(match[2])), timeout=_PATIENCE).close()
        with interrupt.deferred():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InputError(
            f"--ray-address {address}: no Ray cluster ({reason}); start one with: ray start --head"
        ) from None
    finally:
        if signal.getsignal(signal.SIGTERM) is not handler:  # Ray's own handler saves nothing
            signal.signal(signal.SIGTERM, handler)


@dataclass(frozen=True)
class Share:
    """The resources of a run on the cluster. per_gpu: runs that share a GPU; 0: no GPU."""

    cpus: int
    per_gpu: int
    device: str

    def __str__(self) -> str:
        gpu = ("", " and a GPU")[self.per_gpu] if self.per_gpu < 2 else f" and 1/{self.per_gpu} GPU"
        return f"{self.cpus} CPU{'s' * (self.cpus > 1)}{gpu}"

    @property
    def gpus(self) -> float:
        """The GPUs of a run as Ray counts them."""
        return 1 / self.per_gpu if self.per_gpu else 0


def share(device: str, threads: int | None, jobs: int | None = None) -> Share:
    """Return the resources of a run: a GPU if the cluster has any and the device allows it.

    If ``jobs`` is larger than the number of GPUs, several runs share one. Raises InputError if the
    device must be a GPU and there is none.
    """
    cpus = threads or 1
    if device != "auto" and not device.startswith("cuda"):
        return Share(cpus, 0, device)
    gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
    if gpus:
        return Share(cpus, math.ceil((jobs or 1) / gpus), "cuda")
    if device != "auto":
        raise InputError(f"--device {device}: no node of the Ray cluster has a GPU")
    return Share(cpus, 0, "cpu")


def room(each: Share) -> int:
    """Return how many runs fit on the current nodes at once, ignoring other users."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(_room(node["Resources"], each) for node in nodes if node["Alive"])


def _room(has: Mapping[str, float], each: Share) -> int:
    cpus = int(has.get("CPU", 0) / each.cpus)
    return min(cpus, each.per_gpu * int(has.get("GPU", 0))) if each.per_gpu else cpus


@dataclass(frozen=True)
class RayCluster:
    """An engine that runs tasks on the cluster at ``address``, at most ``jobs`` at a time."""

    address: str = "auto"
    device: str = "auto"
    jobs: int | None = None
    where = " on the Ray cluster as it is now"

    def connected(self) -> contextlib.AbstractContextManager[None]:
        return connected(self.address)

    def workers(
        self, runs: int, threads: int | None, like: Task | None = None
    ) -> tuple[int, int | None]:
        cpus = threads or 1
        places = max(1, room(share(self.device, cpus, self.jobs)))
        return min(self.jobs or places, places, max(runs, 1)), cpus

    def place(self, threads: int | None) -> str | None:
        return f"{share(self.device, threads, self.jobs)} of a Ray node for each run"

    def execute(self, tasks: Sequence[Task]) -> Iterator[Event]:
        with self.connected():
            # Nodes come and go: the runs that fit now are not a limit.
            yield from share_plan(tasks, functools.partial(_fly, jobs=self.jobs))


@dataclass
class _Flight:
    """A run on the cluster. Its folder is locked here."""

    index: int
    run: Task
    lock: contextlib.ExitStack
    losses: int = 0


def _fly(plan: Numbered, jobs: int | None) -> Iterator[Event]:
    """Execute the tasks on the cluster to which this process is connected.

    At most ``jobs`` runs at a time, and no more than fit on the cluster. Raises InputError,
    EnvironmentFailure.
    """
    each = share(plan[0][1].device, plan[0][1].threads, jobs)
    remote = _execute_there.options(num_cpus=each.cpus, num_gpus=each.gpus)
    shared: tuple[object, ray.ObjectRef[Any]] | None = None  # the last input, and what needs it
    flights: dict[Any, _Flight] = {}  # by the stream of what their nodes send
    todo = list(reversed(plan))
    reported = False

    def submit(flight: _Flight) -> None:
        nonlocal shared
        with interrupt.deferred():  # Ray would swallow Stopped
            if shared is None or shared[0] != flight.run.needs:
                shared = flight.run.needs, ray.put(flight.run.shared_input())
            task = replace(flight.run, device=each.device, overwrite=False)
            files = flight.run.directory.read_files()
            stream = remote.remote(task, flight.index, files, shared[1], SEND_SECONDS)
            flights[stream] = flight

    try:
        while todo or flights:
            places = room(each)
            if not places and not reported:
                reported = True
                yield Event(
                    plan[0][0], "note", f"no node has room for a run ({each}); waiting for one"
                )
            while todo and len(flights) < min(max(1, places), jobs or math.inf):
                index, run = todo.pop()
                with contextlib.ExitStack() as lock:
                    try:
                        lock.enter_context(run.directory.lock())
                    except Locked:
                        yield Event(index, "locked", str(run.path))
                        continue
                    run.prepare()
                    if run.is_complete():
                        yield from events_of_finished(run, index)
                        continue
                    submit(_Flight(index, run, lock.pop_all()))
            with interrupt.deferred():
                ready, _ = ray.wait([*flights], timeout=_TICK)
            stream: Any
            for stream in ready:
                flight = flights[stream]
                index, run = flight.index, flight.run
                try:
                    with interrupt.deferred():
                        sent: Any = ray.get(next(stream))
                except RayTaskError as error:
                    if not isinstance(error, RaySystemError):  # a bug
                        raise
                    reason = str(error).strip().splitlines()[-1]
                    raise EnvironmentFailure(
                        f"{run.name}: a node cannot run it ({reason}): every node needs the "
                        "same versions of clr and its packages"
                    ) from None
                except RayError as error:
                    del flights[stream]
                    flight.losses += 1
                    what = f"{run.name}: its worker died ({type(error).__name__})"
                    if flight.losses <= RETRIES:
                        submit(flight)
                        yield Event(index, "note", f"{what}; {run.again}")
                    else:
                        flight.lock.close()
                        yield Event(index, "note", f"{what} again; giving up on this run")
                        yield Event(index, "end", "failed")
                    continue
                message, files = sent
                run.directory.install(files)
                if isinstance(message, Exception):
                    raise message
                if message.kind == "end":
                    del flights[stream]
                    flight.lock.close()
                yield message
    finally:
        for flight in flights.values():
            flight.lock.close()
        if flights and ray.is_initialized():
            with contextlib.suppress(RayError):
                for stream in flights:
                    ray.cancel(stream)
                # If killed at once, they would leave their folders behind.
                ended = [stream.completed() for stream in flights]
                ray.wait(ended, num_returns=len(ended), timeout=_PATIENCE)


@ray.remote(num_returns="streaming", max_retries=0)
def _execute_there(
    task: Task, index: int, files: Mapping[str, bytes], shared: SharedInput | None, every: float
) -> Iterator[Sent]:
    """Execute a task on a node; yield events, with files to install before the event is reported.

    Files come with the end, and with a row if ``every`` seconds have passed since the last files.
    """
    _tidy()
    if shared is not None:
        shared.use()
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch:
        here = RunDirectory(Path(scratch))
        here.install(files)
        sent = time.monotonic()
        try:
            for event in execute(replace(task, path=here.path), index):
                if event.kind == "note":
                    event = replace(event, value=event.value.replace(scratch, str(task.path)))
                late = event.kind == "row" and time.monotonic() - sent >= every
                if late or event.kind == "end":
                    sent = time.monotonic()
                    yield event, here.read_files(_SENT_BACK)
                else:
                    yield event, {}
        except (InputError, EnvironmentFailure) as error:
            failure = type(error)(str(error).replace(scratch, str(task.path)))
            yield failure, here.read_files(_SENT_BACK)


def _tidy() -> None:
    """Remove the folders that killed tasks left on this node."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with contextlib.suppress(Locked, InputError, OSError):
            if time.time() - folder.stat().st_mtime > _ABANDONED:
                with RunDirectory(folder).lock():
                    shutil.rmtree(folder)
