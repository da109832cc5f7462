"""One task of a plan, a training run or a sweep of a range test, carried out to its end.

A task has a folder and goes on from wherever that stands; each finished epoch (or validation
point of a sweep) is on disk before it is reported, and a signal saves the unfinished one.
"""

from __future__ import annotations

import contextlib
import functools
import platform
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clr_cli import __version__, interrupt
from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.config.sections import DatasetConfig
from clr_cli.data import sources as data
from clr_cli.data.batches import Resident, to_device
from clr_cli.errors import InputError
from clr_cli.execution.run_directory import Locked, RunDirectory
from clr_cli.files import write_json
from clr_cli.schedules import Schedule, make, resolved
from clr_cli.training import sweep as range_test
from clr_cli.training.loop import (
    Diverged,
    TrainState,
    build,
    resolve_device,
    resolve_precision,
    train,
)
from clr_cli.training.ranks import SINGLE, Ranks

RETRIES = 1  # of a task whose worker died

Row = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something happened to task ``index`` of the plan.

    kind: ``start`` (value: rows already there), ``row`` (an epoch's metrics, or a sweep's
    point), ``note`` (a line for the user), ``end`` (status), ``locked``.
    """

    index: int
    kind: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a run and a sweep have in common: where and how they are carried out."""

    config: Config
    seed: int
    path: Path
    device: str = "auto"
    threads: int | None = None
    allow_code: bool = False
    overwrite: bool = False

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)

    def start(self, schedule: Schedule, ranks: Ranks = SINGLE) -> TrainState:
        """A fresh state under the schedule. Raises InputError."""
        images, device = self.images()
        return build(
            self.config,
            schedule,
            images,
            seed=self.seed,
            precision=resolve_precision(self.config.training.precision, device),
            allow_code=self.allow_code,
            ranks=ranks,
        )

    def images(self) -> tuple[Resident, torch.device]:
        device = resolve_device(self.device)
        if self.threads is not None and device.type == "cpu":
            torch.set_num_threads(self.threads)
        return resident(self.config.dataset, device)[0], device

    def steps_per_epoch(self) -> int:
        """Full batches in the training split. Raises InputError if there is none."""
        return self.images()[0].steps_per_epoch(self.config.training.batch_size)


@dataclass(frozen=True, kw_only=True)
class Run(Task):
    """A training run: an arm and a seed."""

    arm: str
    schedule: ScheduleConfig

    @property
    def name(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    def tree(self) -> dict[str, Any]:
        """The config that the folder is kept under."""
        return self.config.for_run(self.arm, self.schedule)

    def build(self, ranks: Ranks = SINGLE) -> TrainState:
        steps, epochs = self.steps_per_epoch(), self.config.training.epochs
        return self.start(resolve_schedule(self.schedule, steps, epochs), ranks)

    def rows(self, state: TrainState, _: Sequence[Row]) -> Iterator[Row]:
        return train(state, self.config.training.epochs)

    def result(self, state: TrainState, rows: Sequence[Row], diverged: Row | None) -> Row:
        names = [f"{split}_{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy")]
        return {
            "arm": self.arm,
            "diverged": diverged,
            "epochs": len(rows),
            "final": None if diverged else {name: rows[-1][name] for name in names},
            "schedule": resolved(self.schedule.kind, state.schedule),
        }


@dataclass(frozen=True, kw_only=True)
class SweepTask(Task):
    """A sweep of a range test; its seed is its number."""

    @property
    def name(self) -> str:
        return f"sweep {self.seed}"

    def tree(self) -> dict[str, Any]:
        return self.config.for_sweep()

    def plan(self) -> tuple[range_test.Ramp, int, int]:
        return range_test.plan(self.config.range_test, self.steps_per_epoch())

    def build(self, ranks: Ranks = SINGLE) -> TrainState:
        return self.start(self.plan()[0], ranks)

    def rows(self, state: TrainState, before: Sequence[Row]) -> Iterator[Row]:
        _, total, interval = self.plan()
        return range_test.sweep(state, total, interval, range_test.losses_of(before))

    def result(self, state: TrainState, rows: Sequence[Row], _: Row | None) -> Row:
        return {"points": len(rows), "stopped": rows[-1]["stopped"]}


AnyTask = Run | SweepTask


def resolve_schedule(schedule: ScheduleConfig, steps_per_epoch: int, epochs: int) -> Schedule:
    """The arm's schedule with its durations in iterations. Raises InputError."""
    try:
        return make(
            schedule.kind,
            schedule.params,
            iterations_per_epoch=steps_per_epoch,
            total_iterations=steps_per_epoch * epochs,
        )
    except ValueError as error:  # a duration that does not fit this data and these epochs
        raise InputError(f"schedules: kind {schedule.kind}: {error}") from error


@dataclass(frozen=True)
class Given:
    """What another process has read for the tasks of this one: its files need not be here."""

    dataset: DatasetConfig
    loaded: data.Data
    git_commit: str | None


_given: Given | None = None


def give(given: Given) -> None:
    """Let the tasks of this process use what is given."""
    global _given
    _given = given


@functools.lru_cache(maxsize=1)
def resident(dataset: DatasetConfig, device: torch.device) -> tuple[Resident, str]:
    """The data set on its device and its fingerprint, loaded once per process."""
    if _given is not None and _given.dataset == dataset:
        loaded = _given.loaded
    else:
        loaded = data.load(dataset)
    return to_device(loaded, device, dataset.augment.crop_padding), loaded.fingerprint


def execute(task: AnyTask, index: int = 0, ranks: Ranks = SINGLE) -> Iterator[Event]:
    """Carry out one task from wherever it stands. Raises InputError, EnvironmentFailure, Stopped.

    With several ranks this is rank 0's part; the others ``follow``.
    """
    try:
        with task.directory.lock():
            yield from _execute_locked(task, index, ranks)
    except Locked:
        yield Event(index, "locked", str(task.path))


def follow(task: AnyTask, ranks: Ranks) -> None:
    """The part of every rank but 0 in ``execute``: the same steps, and no files."""
    if ranks.share(None):  # finished already
        return
    state = task.build(ranks)
    checkpoint = ranks.share(None)
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
    with contextlib.suppress(Diverged), interrupt.deferred():
        for _ in task.rows(state, []):
            pass


def already_finished(directory: RunDirectory, index: int) -> Iterator[Event]:
    """The events of a task with nothing left to do. Raises InputError."""
    yield Event(index, "start", len(directory.read_metrics()))
    yield Event(index, "end", directory.read_result()["status"])


def _execute_locked(task: AnyTask, index: int, ranks: Ranks) -> Iterator[Event]:
    directory = task.directory
    directory.prepare(task.tree(), overwrite=task.overwrite)
    if ranks.share(directory.finished):
        yield from already_finished(directory, index)
        return
    state = task.build(ranks)
    fingerprint = resident(task.config.dataset, state.device)[1]
    checkpoint, notes = directory.load_checkpoint()
    for note in notes:
        yield Event(index, "note", note)
    done, seconds = 0, 0.0
    if checkpoint is not None:
        ways_out = "start over with --overwrite, or keep both with another --name"
        if checkpoint.get("fingerprint") != fingerprint:
            raise InputError(
                f"{directory.path}: the data has changed since this run began: {ways_out}"
            )
        try:
            state.load_state_dict(checkpoint)
            done, seconds = checkpoint["rows"], checkpoint["seconds"]
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{directory.path}: its checkpoint is not of this model and clr: {ways_out}"
            ) from error
    directory.keep_metrics(done)
    ranks.share(checkpoint)
    yield Event(index, "start", done)

    started, diverged = time.perf_counter(), None

    def save() -> None:
        nonlocal started, seconds
        now = time.perf_counter()
        started, seconds = now, seconds + now - started
        kept = {"fingerprint": fingerprint, "rows": done, "seconds": seconds}
        directory.save_checkpoint({**state.state_dict(), **kept})

    try:
        with interrupt.deferred():
            for row in task.rows(state, directory.read_metrics()):
                done += 1
                directory.append_metrics(row)
                save()
                yield Event(index, "row", row)
    except interrupt.Stopped:  # in the middle of a row
        save()
        raise
    except Diverged as error:
        diverged = {"epoch": error.epoch, "iteration": error.iteration, "lr": error.lr}
        yield Event(index, "note", f"{task.name}: {error}")
    rows = directory.read_metrics()
    status = "diverged" if diverged else "finished"
    result = {
        "schema": 1,
        "seed": task.seed,
        "status": status,
        **task.result(state, rows, diverged),
        **_circumstances(state, rows, seconds),
    }
    write_json(directory.path / "result.json", result)
    yield Event(index, "end", status)


def _circumstances(state: TrainState, rows: Sequence[Row], seconds: float) -> Row:
    """How long it took, on what and with what."""
    trained = sum(row["train_seconds"] for row in rows)
    images = rows[-1]["iteration"] * state.batch_size if rows else 0
    return {
        "iterations": state.iteration,
        "iterations_per_epoch": state.data.steps_per_epoch(state.batch_size),
        "train_seconds": trained,
        "total_seconds": seconds,
        "images_per_second": images / trained if trained else None,
        "parameters": state.parameters,
        "num_classes": state.data.num_classes,
        "device": describe_device(state.device),
        "precision": state.precision,
        "threads": torch.get_num_threads() if state.device.type == "cpu" else None,
        "ranks": state.ranks.world,
        "versions": versions(),
        "git_commit": git_commit(),
    }


def versions() -> dict[str, str]:
    return {
        "clr": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def describe_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def git_commit() -> str | None:
    """The commit of the folder the user works in, if it is a git checkout."""
    if _given is not None:
        return _given.git_commit
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
