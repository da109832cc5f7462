"""Define the tasks of a range test: sweeps, and probes of single rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clr_cli.config.arms import ScheduleConfig
from clr_cli.execution.training_task import Rows, TrainingTask, resolve_schedule
from clr_cli.records import Row
from clr_cli.schedules import Schedule
from clr_cli.training import sweep as sweeps
from clr_cli.training.probe import probe, shortened
from clr_cli.training.state import TrainState


@dataclass(frozen=True, kw_only=True)
class SweepTask(TrainingTask):
    """A sweep of a range test; its seed is its number."""

    @property
    def name(self) -> str:
        """The number of the sweep."""
        return f"sweep {self.seed}"

    def tree(self) -> dict[str, Any]:
        """Return what determines a sweep."""
        return self.config.for_sweep()

    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        """Return the ramp of rates. Raises InputError."""
        return sweeps.plan(self.config.range_test, steps_per_epoch).ramp

    def rows(self, state: TrainState, before: Sequence[Row]) -> Rows:
        """Train from one validation to the next."""
        steps = state.data.steps_per_epoch(state.batch_size)
        length = sweeps.plan(self.config.range_test, steps)
        return sweeps.sweep(state, length.total, length.interval, sweeps.losses_of(before))

    def result(self, state: TrainState, rows: Sequence[Row], _: Row | None) -> Row:
        """Return the number of points, and why the sweep stopped."""
        return {"points": len(rows), "stopped": rows[-1]["stopped"]}


@dataclass(frozen=True, kw_only=True)
class ProbeTask(TrainingTask):
    """A short training at one rate, whose score is the validation accuracy at its end."""

    arm: str
    schedule: ScheduleConfig  # at the rate that is probed
    iterations: int

    @property
    def name(self) -> str:
        """The arm, the rate and the seed."""
        return f"{self.arm} at {self.schedule.rate:.3g}, seed {self.seed}"

    def tree(self) -> dict[str, Any]:
        """Return what determines a probe."""
        return self.config.for_probe(self.arm, self.schedule, self.iterations)

    def schedule_for(self, steps_per_epoch: int) -> Schedule:
        """Return the schedule of the probe's length. Raises InputError."""
        epochs = self.config.training.epochs
        whole = resolve_schedule(self.schedule, steps_per_epoch, epochs)
        return shortened(whole, steps_per_epoch * epochs, self.iterations)

    def rows(self, state: TrainState, _: Sequence[Row]) -> Rows:
        """Train epoch by epoch, and validate at the end."""
        return probe(state, self.iterations)

    def result(self, state: TrainState, rows: Sequence[Row], diverged: Row | None) -> Row:
        """Return the score: the validation accuracy at the end."""
        return {
            "arm": self.arm,
            "points": len(rows),
            "diverged": diverged,
            "score": None if diverged else rows[-1]["val_accuracy"],
        }
