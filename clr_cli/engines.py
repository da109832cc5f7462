"""Carry out a plan of runs, in this process or in local worker processes.

Both yield the same stream of events and leave the same run directories; a plan carried out again
skips what is finished and goes on with what is not.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from clr_cli import __version__, data
from clr_cli.batches import Resident, to_device
from clr_cli.config import Config, DatasetConfig, ScheduleConfig
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.runs import Locked, RunDirectory, write_json
from clr_cli.schedules import Schedule, make, resolved
from clr_cli.training import (
    Diverged,
    TrainState,
    build,
    resolve_device,
    resolve_precision,
    train,
)

RETRIES = 1  # of a run whose worker died


@dataclass(frozen=True)
class Run:
    """One training run: an arm, a seed and where it is kept."""

    config: Config
    arm: str
    schedule: ScheduleConfig
    seed: int
    path: Path
    device: str = "auto"
    threads: int | None = None
    allow_code: bool = False
    overwrite: bool = False

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)


def resolve_schedule(schedule: ScheduleConfig, steps_per_epoch: int, epochs: int) -> Schedule:
    """The arm's schedule with its durations in iterations."""
    return make(
        schedule.kind,
        schedule.params,
        iterations_per_epoch=steps_per_epoch,
        total_iterations=steps_per_epoch * epochs,
    )


@dataclass(frozen=True)
class Event:
    """Something happened to run ``index`` of the plan.

    kind: ``start`` (value: epochs already there), ``epoch`` (a metrics row), ``note`` (a line for
    the user), ``end`` (status), ``locked``.
    """

    index: int
    kind: str
    value: Any


@functools.lru_cache(maxsize=1)
def resident(dataset: DatasetConfig, device: torch.device) -> tuple[Resident, str]:
    """The data set on its device and its fingerprint, loaded once per process."""
    loaded = data.load(dataset)
    return to_device(loaded, device, dataset.augment.crop_padding), loaded.fingerprint


def build_state(run: Run) -> TrainState:
    """The state of a run before its first epoch. Raises InputError."""
    device = resolve_device(run.device)
    if run.threads is not None and device.type == "cpu":
        torch.set_num_threads(run.threads)
    images, _ = resident(run.config.dataset, device)
    steps = images.steps_per_epoch(run.config.training.batch_size)
    return build(
        run.config,
        resolve_schedule(run.schedule, max(steps, 1), run.config.training.epochs),
        images,
        seed=run.seed,
        precision=resolve_precision(run.config.training.precision, device),
        allow_code=run.allow_code,
    )


def execute(run: Run, index: int = 0) -> Iterator[Event]:
    """Carry out one run from wherever it stands. Raises InputError, EnvironmentFailure."""
    directory = run.directory
    try:
        with directory.lock():
            yield from _execute_locked(run, index)
    except Locked:
        yield Event(index, "locked", str(directory.path))


def _execute_locked(run: Run, index: int) -> Iterator[Event]:
    directory = run.directory
    directory.prepare(run.config.for_run(run.arm, run.schedule), overwrite=run.overwrite)
    if directory.finished:
        result = directory.read_result()
        yield Event(index, "start", result["epochs"])
        yield Event(index, "end", result["status"])
        return
    state = build_state(run)
    _, fingerprint = resident(run.config.dataset, state.device)
    checkpoint, notes = directory.load_checkpoint()
    for note in notes:
        yield Event(index, "note", note)
    seconds = 0.0
    if checkpoint is not None:
        if checkpoint["fingerprint"] != fingerprint:
            raise InputError(
                f"{directory.path}: the data has changed since this run began: "
                "start over with --overwrite, or keep both with another --name"
            )
        state.load_state_dict(checkpoint)
        seconds = checkpoint["seconds"]
    directory.keep_metrics(state.epoch)
    yield Event(index, "start", state.epoch)

    started = time.perf_counter()
    diverged = None
    try:
        for row in train(state, run.config.training.epochs):
            directory.append_metrics(row)
            seconds += time.perf_counter() - started
            started = time.perf_counter()
            directory.save_checkpoint(
                {**state.state_dict(), "fingerprint": fingerprint, "seconds": seconds}
            )
            yield Event(index, "epoch", row)
    except Diverged as error:
        diverged = {"epoch": error.epoch, "iteration": error.iteration, "lr": error.lr}
        yield Event(index, "note", f"{run.arm}, seed {run.seed}: {error}")
    write_json(directory.path / "result.json", _result(run, state, diverged, seconds))
    yield Event(index, "end", "diverged" if diverged else "finished")


def _result(
    run: Run, state: TrainState, diverged: dict[str, Any] | None, seconds: float
) -> dict[str, Any]:
    rows = run.directory.read_metrics()
    last = rows[-1] if rows else {}
    names = [
        f"{split}_{metric}" for split in ("train", "val", "test") for metric in ("loss", "accuracy")
    ]
    train_seconds = sum(row["train_seconds"] for row in rows)
    images = state.iteration * state.batch_size if diverged is None else 0
    steps = state.data.steps_per_epoch(state.batch_size)
    return {
        "schema": 1,
        "arm": run.arm,
        "seed": run.seed,
        "status": "diverged" if diverged else "finished",
        "diverged": diverged,
        "epochs": len(rows),
        "iterations": state.iteration,
        "iterations_per_epoch": steps,
        "final": None if diverged else {name: last[name] for name in names},
        "train_seconds": train_seconds,
        "total_seconds": seconds,
        "images_per_second": images / train_seconds if train_seconds else None,
        "parameters": sum(p.numel() for p in state.model.parameters()),
        "num_classes": state.data.num_classes,
        "device": describe_device(state.device),
        "precision": "fp32" if state.autocast is None else "bf16",
        "threads": torch.get_num_threads() if state.device.type == "cpu" else None,
        "versions": versions(),
        "git_commit": git_commit(),
        "schedule": resolved(run.schedule.kind, state.schedule),
    }


def versions() -> dict[str, str]:
    return {
        "clr": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def describe_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def git_commit() -> str | None:
    """The commit of the folder the user works in, if it is a git checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def local(runs: Sequence[Run], jobs: int = 1) -> Iterator[Event]:
    """Carry out the plan with ``jobs`` runs at a time.

    Runs that another process holds are left for the end and then waited for, so that two
    processes can share one plan. Raises InputError, EnvironmentFailure.
    """
    carry_out = _sequential if jobs <= 1 else functools.partial(_parallel, jobs=jobs)
    waiting = list(enumerate(runs))
    while waiting:
        held = []
        for event in carry_out(waiting):
            if event.kind == "locked":
                held.append((event.index, runs[event.index]))
            yield event
        waiting = held
        if waiting:
            time.sleep(1.0)


def _sequential(plan: Sequence[tuple[int, Run]]) -> Iterator[Event]:
    for index, run in plan:
        yield from execute(run, index)


def _worker(connection: Connection) -> None:
    """Carry out the runs that come in, sending their events back; leave when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
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
    task: tuple[int, Run] | None = None


def _parallel(plan: Sequence[tuple[int, Run]], jobs: int) -> Iterator[Event]:
    context = multiprocessing.get_context("spawn")  # fork and CUDA or OpenMP do not go together
    todo = list(reversed(plan))
    attempts: dict[int, int] = {}
    workers: list[_Worker] = []

    def start() -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        workers.append(_Worker(process, ours))

    try:
        for _ in range(min(jobs, len(todo))):
            start()
        while todo or any(worker.task for worker in workers):
            for worker in workers:
                if worker.task is None and todo:
                    worker.task = todo.pop()
                    worker.connection.send(worker.task)
            busy = {worker.connection: worker for worker in workers if worker.task}
            for ready in wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                assert worker.task is not None
                index, run = worker.task
                try:
                    message = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    workers.remove(worker)
                    worker.process.join()
                    attempts[index] = attempts.get(index, 0) + 1
                    exitcode = worker.process.exitcode
                    what = f"{run.arm}, seed {run.seed}: its worker died (exit code {exitcode})"
                    if attempts[index] <= RETRIES:
                        yield Event(index, "note", f"{what}; going on from its checkpoint")
                        todo.append((index, replace(run, overwrite=False)))
                        start()
                    else:
                        yield Event(index, "note", f"{what} again; given up")
                        yield Event(index, "end", "failed")
                        if todo:
                            start()
                    continue
                if message is None:
                    worker.task = None
                elif isinstance(message, Exception):
                    raise message
                else:
                    yield message
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()
