"""Tasks that train a model in this process: a run, and a sweep of a range test."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from clr_cli import interrupt
from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.data.batches import Resident
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution import metadata, preloaded
from clr_cli.execution.task import Event, Row, Task
from clr_cli.execution.writer import Writer
from clr_cli.files import write_json
from clr_cli.records.answers import pack
from clr_cli.schedules import Schedule, make, resolved
from clr_cli.training import sweep as sweeps
from clr_cli.training.build import build
from clr_cli.training.device import resolve_device, resolve_precision
from clr_cli.training.loop import Diverged, answers, epochs_in_turns
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.state import TrainState
from clr_cli.training.stream import Fence, Turn, alone

Rows = Generator[Row | Turn, None, None]
WAYS_OUT = "start over with --overwrite, or keep both with another --name"


@dataclass(frozen=True, kw_only=True)
class TrainingTask(Task):
    """What a run and a sweep have in common."""

    takes_turns: ClassVar[bool] = True

    config: Config
    allow_code: bool = False

    @abstractmethod
    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        """The schedule in iterations. Raises InputError."""

    @abstractmethod
    def rows(self, state: TrainState, before: Sequence[Row]) -> Rows:
        """Train on from where the state is, yielding rows of metrics, and turns."""

    @abstractmethod
    def result(self, state: TrainState, rows: Sequence[Row], diverged: Row | None) -> Row:
        """The part of result.json that is particular to this kind of task."""

    def build(self, ranks: Ranks = SINGLE) -> TrainState:
        """A fresh state. Raises InputError."""
        images, device = self.images()
        steps = images.steps_per_epoch(self.config.training.batch_size)
        return build(
            self.config,
            self.schedule_for(steps),
            images,
            seed=self.seed,
            precision=resolve_precision(self.config.training.precision, device),
            allow_code=self.allow_code,
            ranks=ranks,
        )

    def images(self) -> tuple[Resident, torch.device]:
        """The data set on its device. Raises InputError, EnvironmentFailure."""
        device = resolve_device(self.device)
        if self.threads is not None and device.type == "cpu":
            torch.set_num_threads(self.threads)
        return preloaded.resident(self.config.dataset, device)[0], device

    def shared_input(self) -> preloaded.Packed:
        return preloaded.pack(self.config.dataset)

    def work(self, index: int, ranks: Ranks) -> Iterator[Event | Turn]:
        try:
            yield from self._work(index, ranks)
        except torch.OutOfMemoryError as error:
            size, model = self.config.training.batch_size, self.config.model
            width = "" if model.width is None else f" of width {model.width}"
            raise EnvironmentFailure(
                f"{self.name}: the device is out of memory with batches of {size} and {model.name}"
                f"{width}; give fewer --jobs, a smaller training.batch_size or model.width"
            ) from error

    def _work(self, index: int, ranks: Ranks) -> Iterator[Event | Turn]:
        directory = self.directory
        state = self.build(ranks)
        fingerprint = preloaded.resident(self.config.dataset, state.device)[1]
        checkpoint, notes = directory.load_checkpoint()
        for note in notes:
            yield Event(index, "note", note)
        done, seconds = 0, 0.0
        if checkpoint is not None:
            if checkpoint.get("fingerprint") != fingerprint:
                raise InputError(
                    f"the data has changed since this run began: {WAYS_OUT}", source=directory.path
                )
            try:
                state.load_state_dict(checkpoint)
                done, seconds = checkpoint["rows"], checkpoint["seconds"]
            except (KeyError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"the checkpoint does not fit this model or this version of clr: {WAYS_OUT}",
                    source=directory.path,
                ) from error
        directory.keep_metrics(done)
        ranks.share(checkpoint)
        yield Event(index, "start", done)

        started, diverged = time.perf_counter(), None

        def kept() -> tuple[Row, Fence]:
            nonlocal started, seconds
            now = time.perf_counter()
            started, seconds = now, seconds + now - started
            snapshot, there = state.snapshot()
            return {
                **snapshot,
                "fingerprint": fingerprint,
                "rows": done,
                "seconds": seconds,
            }, there

        def told(row: Row | Turn) -> Event | Turn:
            return row if isinstance(row, Turn) else Event(index, "row", row)

        with Writer(directory) as writer:
            training = self.rows(state, directory.read_metrics())
            try:
                with interrupt.deferred():
                    for item in training:
                        if isinstance(item, Turn):
                            yield told(writer.written() or item)
                        else:
                            yield from map(told, writer.collect())
                            done += 1
                            writer.write(item, *kept())
            except interrupt.Stopped:  # in the middle of a row
                training.close()
                for _ in alone(writer.collect()):
                    pass
                unfinished, there = kept()
                there.wait()
                directory.save_checkpoint(unfinished)
                raise
            except Diverged as error:
                diverged = {"epoch": error.epoch, "iteration": error.iteration, "lr": error.lr}
                said = f"{self.name}: {error}"
            yield from map(told, writer.collect())
        if diverged:
            yield Event(index, "note", said)
        rows = directory.read_metrics()
        status = "diverged" if diverged else "finished"
        result = {
            "schema": 1,
            "seed": self.seed,
            "status": status,
            **self.result(state, rows, diverged),
            **_metadata(state, rows, seconds),
        }
        write_json(directory.result_path, result)
        yield Event(index, "end", status)


@dataclass(frozen=True, kw_only=True)
class Run(TrainingTask):
    """A training run: an arm and a seed."""

    arm: str
    schedule: ScheduleConfig

    @property
    def name(self) -> str:
        return f"{self.arm}, seed {self.seed}"

    def tree(self) -> dict[str, Any]:
        return self.config.for_run(self.arm, self.schedule)

    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        return resolve_schedule(self.schedule, steps_per_epoch, self.config.training.epochs)

    def rows(self, state: TrainState, _: Sequence[Row]) -> Rows:
        return epochs_in_turns(state, self.config.training.epochs)

    def result(self, state: TrainState, rows: Sequence[Row], diverged: Row | None) -> Row:
        names = [f"{split}_{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy")]
        return {
            "arm": self.arm,
            "diverged": diverged,
            "epochs": len(rows),
            "final": None if diverged else {name: rows[-1][name] for name in names},
            "test_answers": None if diverged else _test_answers(state),
            "schedule": resolved(self.schedule.kind, state.schedule),
        }


@dataclass(frozen=True, kw_only=True)
class SweepTask(TrainingTask):
    """A sweep of a range test; its seed is its number."""

    @property
    def name(self) -> str:
        return f"sweep {self.seed}"

    def tree(self) -> dict[str, Any]:
        return self.config.for_sweep()

    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        return sweeps.plan(self.config.range_test, steps_per_epoch).ramp

    def rows(self, state: TrainState, before: Sequence[Row]) -> Rows:
        steps = state.data.steps_per_epoch(state.batch_size)
        length = sweeps.plan(self.config.range_test, steps)
        return sweeps.sweep(state, length.total, length.interval, sweeps.losses_of(before))

    def result(self, state: TrainState, rows: Sequence[Row], _: Row | None) -> Row:
        return {"points": len(rows), "stopped": rows[-1]["stopped"]}


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
        raise InputError(f"kind {schedule.kind}: {error}", key="schedules") from error


def follow(task: TrainingTask, ranks: Ranks) -> None:
    """The part of every rank but 0 in ``execute``: the same steps, and no files."""
    if ranks.share(None):  # finished already
        return
    state = task.build(ranks)
    checkpoint = ranks.share(None)
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
    with contextlib.suppress(Diverged), interrupt.deferred():
        for _ in alone(task.rows(state, [])):
            pass


def _test_answers(state: TrainState) -> Row:
    right = answers(state, state.data.test).numpy()
    return {"images": len(right), "bits": pack(right)}


def _metadata(state: TrainState, rows: Sequence[Row], seconds: float) -> Row:
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
        "device": metadata.describe_device(state.device),
        "precision": state.precision,
        "threads": torch.get_num_threads() if state.device.type == "cpu" else None,
        "ranks": state.ranks.world,
        "versions": metadata.versions(),
        "git_commit": preloaded.git_commit(),
    }
