"""Define the tasks that train a model in this process; `Run` is a whole run."""

from __future__ import annotations

import contextlib
import platform
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from clr_cli import __version__, interrupt
from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.config.sections import DatasetConfig
from clr_cli.data.batches import Resident
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution import preloaded
from clr_cli.execution.origin import Origin, origin_of
from clr_cli.execution.run_directory import WAYS_OUT, RunDirectory, config_differences
from clr_cli.execution.task import ArmTask, Event, Task
from clr_cli.execution.writer import Writer
from clr_cli.files import write_json
from clr_cli.records import Row, RunRecord, pack
from clr_cli.schedules import Schedule, make, resolved
from clr_cli.training import build, loop, trained
from clr_cli.training.device import describe_device, resolve_device, resolve_precision
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.state import TrainState
from clr_cli.training.stream import Fence, Turn, alone

Rows = Generator[Row | Turn, None, None]


@dataclass(frozen=True, kw_only=True)
class TrainingTask(Task):
    """A task that trains a model: the common part of runs, sweeps and probes."""

    takes_turns: ClassVar[bool] = True

    config: Config
    allow_code: bool = False

    @abstractmethod
    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        """Return the schedule in iterations. Raises InputError."""

    @abstractmethod
    def rows(self, state: TrainState, before: Sequence[Row]) -> Rows:
        """Train from the present state on; yield rows of metrics, and turns."""

    @abstractmethod
    def result(self, state: TrainState, rows: Sequence[Row], diverged: Row | None) -> Row:
        """Return the part of result.json that only this kind of task has."""

    def keep(self, state: TrainState) -> None:
        """Write further files besides the result. Raises EnvironmentFailure."""

    def build(self, ranks: Ranks = SINGLE) -> TrainState:
        """Build a fresh state. Raises InputError."""
        images, device = self.images()
        steps = images.steps_per_epoch(self.config.training.batch_size)
        return build.build(
            self.config,
            self.schedule_for(steps),
            images,
            seed=self.seed,
            precision=resolve_precision(self.config.training.precision, device),
            allow_code=self.allow_code,
            ranks=ranks,
        )

    def origin(self) -> Origin:
        """Return the digests of the user's files on which the task depends. Raises InputError."""
        return origin_of(self.config, self.allow_code)

    def prepare(self) -> None:
        """Claim the folder for this config and origin. Raises InputError."""
        self.directory.prepare(self.tree(), self.origin(), overwrite=self.overwrite)

    def identity(self, schedule: Schedule) -> Row:
        """Return the identity of this task, which its checkpoints contain."""
        return {"run": self.name, "config": self.tree()}

    def images(self) -> tuple[Resident, torch.device]:
        """Return the data set on its device. Raises InputError, EnvironmentFailure."""
        device = resolve_device(self.device)
        if self.threads is not None and device.type == "cpu":
            torch.set_num_threads(self.threads)
        return preloaded.resident(self.config.dataset, device)[0], device

    @property
    def needs(self) -> DatasetConfig:
        """The data set without augmentation, which many tasks of a plan share."""
        return self.config.dataset.bare

    def shared_input(self) -> preloaded.Packed:
        """Load the data set. Raises InputError, EnvironmentFailure."""
        return preloaded.pack(self.needs)

    def work(self, index: int, ranks: Ranks) -> Iterator[Event | Turn]:
        """Do the remaining training; see ``Task.work``."""
        try:
            yield from self._work(index, ranks)
        except torch.OutOfMemoryError as error:
            size, model = self.config.training.batch_size, self.config.model
            width = "" if model.width is None else f" of width {model.width}"
            raise EnvironmentFailure(
                f"{self.name}: the device is out of memory with batches of {size} and {model.name}"
                f"{width}; use fewer --jobs, a smaller training.batch_size or model.width"
            ) from error

    def _work(self, index: int, ranks: Ranks) -> Iterator[Event | Turn]:
        directory = self.directory
        state = self.build(ranks)
        fingerprint = preloaded.resident(self.config.dataset, state.device)[1]
        identity = self.identity(state.schedule)
        checkpoint, notes = directory.load_checkpoint()
        for note in notes:
            yield Event(index, "note", note)
        done, seconds = 0, 0.0
        if checkpoint is not None:
            _check_belongs(checkpoint, identity, fingerprint, directory)
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

        def snapshot_with_place() -> tuple[Row, Fence]:
            nonlocal started, seconds
            now = time.perf_counter()
            started, seconds = now, seconds + now - started
            snapshot, there = state.snapshot()
            return {
                **snapshot,
                "belongs_to": identity,
                "fingerprint": fingerprint,
                "rows": done,
                "seconds": seconds,
            }, there

        def event_of(row: Row | Turn) -> Event | Turn:
            return row if isinstance(row, Turn) else Event(index, "row", row)

        with ThreadPoolExecutor(1) as thread:
            writer = Writer(directory, thread)
            training = self.rows(state, directory.read_metrics())
            try:
                with interrupt.deferred():
                    for item in training:
                        if isinstance(item, Turn):
                            yield event_of(writer.poll() or item)
                        else:
                            yield from map(event_of, writer.collect())
                            done += 1
                            writer.write(item, *snapshot_with_place())
            except interrupt.Stopped:  # in the middle of a row
                training.close()
                for _ in alone(writer.collect()):
                    pass
                unfinished, there = snapshot_with_place()
                there.wait()
                directory.save_checkpoint(unfinished)
                raise
            except loop.Diverged as error:
                diverged = {"epoch": error.epoch, "iteration": error.iteration, "lr": error.lr}
                message = f"{self.name}: {error}"
            yield from map(event_of, writer.collect())
        if diverged:
            yield Event(index, "note", message)
        rows = directory.read_metrics()
        status = "diverged" if diverged else "finished"
        result = {
            "schema": 1,
            "seed": self.seed,
            "status": status,
            **self.result(state, rows, diverged),
            **_metadata(state, rows, seconds),
        }
        if not diverged:
            self.keep(state)
        write_json(directory.result_path, result)
        yield Event(index, "end", status)


@dataclass(frozen=True, kw_only=True)
class Run(ArmTask, TrainingTask):
    """A training run: an arm and a seed.

    extends: whether to continue a run of fewer epochs in the folder, if the schedule allows it.
    plateau: the folder of a run with the same rates so far, from whose end this one starts.
    """

    schedule: ScheduleConfig
    extends: bool = False
    plateau: Path | None = None

    def tree(self) -> dict[str, Any]:
        """Return the config of this arm alone."""
        return self.config.for_run(self.arm, self.schedule)

    def record(self) -> RunRecord:
        """Return metrics and result; ``failed`` if it did not finish.

        Raises:
            InputError: its files are damaged, or it was trained with other code or data than this
                process has, for instance by another process of the same comparison.
        """
        self.directory.check_origin(self.origin())
        rows = self.directory.read_metrics()
        if not self.directory.finished:
            return RunRecord(self.arm, self.seed, "failed", rows, {})
        result = self.directory.read_result()
        return RunRecord(self.arm, self.seed, result["status"], rows, result)

    def identity(self, schedule: Schedule) -> Row:
        """Return the run's name and config, with the schedule in iterations instead of epochs.

        Thus a checkpoint fits runs of any length with the same rates.
        """
        tree = self.tree()
        del tree["training"]["epochs"]
        tree["schedules"] = {self.arm: resolved(self.schedule.kind, schedule)}
        return {"run": self.name, "config": tree}

    def prepare(self) -> None:
        """Claim the folder; continue a shorter run, or start from a plateau. Raises InputError."""
        if self.extends and not self.overwrite:
            self._extend()
        super().prepare()
        if self.plateau is not None and not self.directory.has_checkpoint:
            self._start_from(RunDirectory(self.plateau))

    def _extend(self) -> None:
        """Turn a shorter run in the folder into one of this length."""
        directory, tree, now = self.directory, self.tree(), self.config.training.epochs
        there = directory.read_config() or {}
        training = there.get("training")
        before = training.get("epochs") if isinstance(training, dict) else None
        if not isinstance(before, int) or before >= now:
            return
        shorter = {**tree, "training": {**tree["training"], "epochs": before}}
        directory.check(there, shorter, self.origin())
        images, _ = self.images()
        steps = images.steps_per_epoch(self.config.training.batch_size)
        kind = self.schedule.kind
        old, new = (
            resolved(kind, resolve_schedule(self.schedule, steps, n)) for n in (before, now)
        )
        if differing := config_differences(old, new):
            raise InputError(
                f"{before} epochs cannot become {now}: the schedule {kind} depends on the length "
                f"of the run ({'; '.join(differing)}): {WAYS_OUT}",
                source=directory.path,
            )
        if directory.finished and directory.read_result()["status"] == "diverged":
            raise InputError(
                f"the run diverged, so it cannot be continued: {WAYS_OUT}", source=directory.path
            )
        directory.reopen(tree)

    def _start_from(self, plateau: RunDirectory) -> None:
        """Copy the end of the plateau's run into the folder, to continue from there."""
        checkpoint, _ = plateau.load_checkpoint()
        if checkpoint is None or not plateau.finished:
            raise InputError("not a finished run, so no run can start from it", source=plateau.path)
        images, _ = self.images()
        own = self.schedule_for(images.steps_per_epoch(self.config.training.batch_size))
        identity, theirs = self.identity(own), checkpoint["belongs_to"]["config"]
        ((before,),) = (theirs["schedules"].values(),)
        same = {**theirs, "schedules": identity["config"]["schedules"]}
        differing = config_differences(same, identity["config"])
        rates = make(before.pop("kind"), before)
        if differing or any(rates.lr(i) != own.lr(i) for i in range(checkpoint["iteration"])):
            why = "; ".join(differing) or "its rates differ"
            raise InputError(f"this run cannot start from there: {why}", source=plateau.path)
        self.directory.take_metrics(plateau.read_metrics())
        self.directory.save_checkpoint({**checkpoint, "belongs_to": identity})

    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        """Return the arm's schedule in iterations. Raises InputError."""
        return resolve_schedule(self.schedule, steps_per_epoch, self.config.training.epochs)

    def rows(self, state: TrainState, _: Sequence[Row]) -> Rows:
        """Train epoch by epoch."""
        return loop.epochs_in_turns(state, self.config.training.epochs)

    def keep(self, state: TrainState) -> None:
        """Write the model in the form that was evaluated at the end."""
        self.directory.save_model(trained.to_keep(state, self.tree()))

    def result(self, state: TrainState, rows: Sequence[Row], diverged: Row | None) -> Row:
        """Return the last epoch's numbers and the answers on the test split."""
        names = [f"{split}_{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy")]
        return {
            "arm": self.arm,
            "diverged": diverged,
            "epochs": len(rows),
            "final": None if diverged else {name: rows[-1][name] for name in names},
            "test_answers": None if diverged else _test_answers(state),
            "schedule": resolved(self.schedule.kind, state.schedule),
        }


def _check_belongs(
    checkpoint: Row, identity: Row, fingerprint: str, directory: RunDirectory
) -> None:
    """Raise InputError for a checkpoint of another run or other data."""
    theirs = checkpoint.get("belongs_to")
    if not isinstance(theirs, dict):
        differing = ["it does not name its run"]
    else:
        differing = config_differences({"run": theirs.get("run")}, {"run": identity["run"]})
        differing += config_differences(theirs.get("config") or {}, identity["config"])
    if differing:
        raise InputError(
            f"the checkpoint belongs to another run ({'; '.join(differing)}): {WAYS_OUT}",
            source=directory.path,
        )
    if checkpoint.get("fingerprint") != fingerprint:
        raise InputError(
            f"the data has changed since this run began: {WAYS_OUT}", source=directory.path
        )


def resolve_schedule(schedule: ScheduleConfig, steps_per_epoch: int, epochs: int) -> Schedule:
    """Make an arm's schedule, with durations in iterations. Raises InputError."""
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
    """Do the part of ranks other than 0 in ``execute``: the same steps, but no files."""
    if ranks.share(None):  # finished already
        return
    state = task.build(ranks)
    checkpoint = ranks.share(None)
    if checkpoint is not None:
        state.load_state_dict(checkpoint)
    with contextlib.suppress(loop.Diverged), interrupt.deferred():
        for _ in alone(task.rows(state, [])):
            pass


def _test_answers(state: TrainState) -> Row:
    right = loop.answers(state, state.data.test).numpy()
    return {"images": len(right), "bits": pack(right)}


def _metadata(state: TrainState, rows: Sequence[Row], seconds: float) -> Row:
    """Return duration, sizes, device and versions of a run."""
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
        "group_ratios": [*state.ratios],
        "device": describe_device(state.device),
        "precision": state.precision,
        "threads": torch.get_num_threads() if state.device.type == "cpu" else None,
        "ranks": state.ranks.world,
        "versions": {
            "clr": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "git_commit": preloaded.git_commit(),
    }
