"""One sweep of an LR range test (Smith 2015, section 3.3): training while the rate rises.

The same ``train_step`` as everywhere, on a model that is thrown away. Validation is measured on
a fixed subset of the validation split, never on the test split. No I/O;
``analysis.sweeps.peak`` finds where the accuracy is highest.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from clr_cli.config.sections import RangeTestConfig
from clr_cli.data.sources import Split
from clr_cli.records import Row, Stopped, Sweep
from clr_cli.schedules import Schedule
from clr_cli.training.loop import train_and_score
from clr_cli.training.state import TrainState
from clr_cli.training.stream import Turn

# A point's accuracy is within 1 to 2 % (one standard deviation) on so many images, at the least and
# at the most; in between, validating costs no more than the training between two points.
VALIDATION_IMAGES = (250, 1000)
LEAST_POINTS = 100
BETA = 0.98  # of the loss average: a memory of 50 iterations


@dataclass(frozen=True)
class Divergence:
    """The stop rule of a sweep, as a value: feed it losses with ``after``, look at ``reason``.

    A sweep has diverged at the first loss that is not finite, or once the average loss lies
    half the loss of guessing, ln(classes) / 2, above the lowest average so far. The distance is
    an offset because a factor (fastai, Lightning: 4 times the best) fires on plain noise when
    the best is near zero, and never when training stops learning at a loss of 1. The average is
    exponential and bias-corrected, so the first average is the first loss; it is judged after
    its memory of 50 iterations, so no single early batch can stop a sweep.
    """

    num_classes: int
    count: int = 0
    weighted: float = 0.0
    best: float = math.inf
    reason: Literal["diverged", "non-finite"] | None = None
    stopped_at: int | None = None  # 0-based iteration, that is an index into the losses

    def after(self, losses: Iterable[float]) -> Divergence:
        """Return the state after these further losses; those after a stop are ignored."""
        state = self
        for loss in losses:
            if state.reason is not None:
                break
            state = state._step(loss)
        return state

    def _step(self, loss: float) -> Divergence:
        if not math.isfinite(loss):
            return replace(self, reason="non-finite", stopped_at=self.count)
        count = self.count + 1
        weighted = BETA * self.weighted + (1 - BETA) * loss
        average = weighted / (1 - BETA**count)
        after = replace(self, count=count, weighted=weighted, best=min(self.best, average))
        judged = count * (1 - BETA) >= 1
        if judged and average > self.best + math.log(self.num_classes) / 2:
            return replace(after, reason="diverged", stopped_at=self.count)
        return after


class Ramp(Schedule):
    """A sweep's schedule of ``total`` >= 2 iterations: it rises from min_lr to max_lr.

    It is linear (Smith 2015, section 3.3) or exponential (equal time per decade).
    """

    shape: Literal["linear", "exponential"]
    min_lr: float
    max_lr: float
    total: int

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        part = min(1.0, iteration / (self.total - 1))
        if self.shape == "linear":
            return self.min_lr * (1 - part) + self.max_lr * part
        return math.exp(math.log(self.min_lr) * (1 - part) + math.log(self.max_lr) * part)


class SweepPlan(NamedTuple):
    """A sweep's schedule, its iterations, and the iterations between two validations."""

    ramp: Ramp
    total: int
    interval: int

    @property
    def points(self) -> int:
        """How often validation is measured."""
        return math.ceil(self.total / self.interval)


def plan(config: RangeTestConfig, steps_per_epoch: int) -> SweepPlan:
    """Return how long a sweep is.

    Validation comes once an epoch, as in the original post's figure, or at least
    LEAST_POINTS times.
    """
    total = config.iterations or max(2, round((config.epochs or 5) * steps_per_epoch))
    interval = min(steps_per_epoch, math.ceil(total / LEAST_POINTS))
    ramp = Ramp(shape=config.shape, min_lr=config.min_lr, max_lr=config.max_lr, total=total)
    return SweepPlan(ramp, total, interval)


def validation_subset(split: Split, trained: int) -> Split:
    """Return about as many images as are ``trained`` on between two points, within limits.

    They are always the same ones.
    """
    least, most = VALIDATION_IMAGES
    step = math.ceil(len(split) / min(max(trained, least), most))
    return Split(split.images[::step], split.labels[::step])


def chance(split: Split) -> float:
    """Return the accuracy without learning: the share of the largest class of a split."""
    return float(split.labels.bincount().max()) / len(split)


def sweep(
    state: TrainState, total: int, interval: int, losses: Sequence[float]
) -> Generator[Row | Turn, None, None]:
    """Train from where the state is to ``total``, yielding a row at every validation, and turns.

    ``losses`` are those of the rows before. A row holds ``lrs`` and ``losses`` of its
    iterations, the validation at its end and ``stopped``: None, or why and where the sweep ends.
    """
    divergence = Divergence(state.data.num_classes).after(losses)
    subset = validation_subset(state.data.val, interval * state.batch_size)
    point = math.ceil(len(losses) / interval)
    while divergence.reason is None and (first := point * interval) < total:
        got = yield from train_and_score(state, min(first + interval, total), [subset])
        divergence = divergence.after(got.losses)
        at = divergence.stopped_at
        stopped = None
        if at is not None:
            rate = state.schedule.lr(at)
            stopped = {"reason": divergence.reason, "iteration": at, "lr": rate}
        ((val_loss, val_accuracy),) = got.scores
        point += 1
        yield {
            "point": point,
            "iteration": state.iteration,
            "lr": state.schedule.lr(state.iteration - 1),
            "train_loss": _or_none(math.fsum(got.losses) / len(got.losses)),
            "val_loss": _or_none(val_loss),
            "val_accuracy": val_accuracy,
            "stopped": stopped,
            "lrs": [state.schedule.lr(i) for i in range(first, state.iteration)],
            "losses": [_or_none(loss) for loss in got.losses],
            "train_seconds": got.train_seconds,
            "eval_seconds": got.eval_seconds,
        }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no infinity


def losses_of(rows: Sequence[Row]) -> list[float]:
    """Return all iterations' losses of a sweep's rows; one that was not finite is nan."""
    return [math.nan if loss is None else loss for row in rows for loss in row["losses"]]


def measured(seed: int, rows: Sequence[Row]) -> Sweep:
    """Return a sweep's rows as the pure side sees them, without the point at which it stopped."""
    whole = [row for row in rows if row["stopped"] is None]
    return Sweep(
        seed=seed,
        lr=[lr for row in rows for lr in row["lrs"]],
        train_loss=losses_of(rows),
        val_lr=[row["lr"] for row in whole],
        val_accuracy=[row["val_accuracy"] for row in whole],
        val_loss=[math.nan if row["val_loss"] is None else row["val_loss"] for row in whole],
        stopped=Stopped(**end) if (end := rows[-1]["stopped"] if rows else None) else None,
    )
