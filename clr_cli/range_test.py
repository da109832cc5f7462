"""One sweep of an LR range test (Smith 2015, section 3.3): training while the rate rises.

The same ``train_step`` as everywhere, on a model that is thrown away. Validation is measured on
a fixed subset of the validation split, never on the test split. No I/O; ``suggest`` reads the
bounds off what comes out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clr_cli.config import RangeTestConfig
from clr_cli.data import Split
from clr_cli.schedules import Schedule
from clr_cli.sweeps import Divergence, Sweep, ramp
from clr_cli.training import Stretch, TrainState, advance, evaluate

# A point's accuracy is within 1 to 2 % (one standard deviation) on so many images, at the least and
# at the most; in between, validating costs no more than the training between two points.
VALIDATION_IMAGES = (250, 1000)
LEAST_POINTS = 100
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Ramp(Schedule):
    """The sweep's schedule: ``rate`` is a function made by ``sweeps.ramp``."""

    rate: Callable[[int], float]

    def lr(self, iteration: int) -> float:
        return self.rate(iteration)


def plan(config: RangeTestConfig, steps_per_epoch: int) -> tuple[Ramp, int, int]:
    """(schedule, iterations, iterations between validations) of a sweep.

    Validation comes once an epoch, as in the seed's figure, or at least LEAST_POINTS times.
    """
    total = config.iterations or max(2, round((config.epochs or 5) * steps_per_epoch))
    interval = min(steps_per_epoch, math.ceil(total / LEAST_POINTS))
    rate = ramp(config.shape, config.min_lr, config.max_lr, total)
    return Ramp(rate=rate), total, interval


def validation_subset(split: Split, trained: int) -> Split:
    """As many images as are ``trained`` on between two points, within limits: always the same."""
    least, most = VALIDATION_IMAGES
    step = math.ceil(len(split) / min(max(trained, least), most))
    return Split(split.images[::step], split.labels[::step])


def sweep(state: TrainState, total: int, interval: int, losses: Sequence[float]) -> Iterator[Row]:
    """Go on from where the state is to ``total``, yielding a row at every validation.

    ``losses`` are those of the rows before. A row holds ``lrs`` and ``losses`` of its
    iterations, the validation at its end and ``stopped``: None, or why and where the sweep ends.
    """
    divergence = Divergence(state.data.num_classes).after(losses)
    subset = validation_subset(state.data.val, interval * state.batch_size)
    point = math.ceil(len(losses) / interval)
    while divergence.reason is None and (first := point * interval) < total:
        fresh = advance(state, min(first + interval, total))
        divergence = divergence.after(fresh)
        at = divergence.stopped_at
        stopped = None
        if at is not None:
            rate = state.schedule.lr(at)
            stopped = {"reason": divergence.reason, "iteration": at, "lr": rate}
        evaluating = time.perf_counter()
        val_loss, val_accuracy = evaluate(state, subset)
        point += 1
        stretch, state.stretch = state.stretch, Stretch()
        yield {
            "point": point,
            "iteration": state.iteration,
            "lr": state.schedule.lr(state.iteration - 1),
            "train_loss": _or_none(math.fsum(fresh) / len(fresh)),
            "val_loss": _or_none(val_loss),
            "val_accuracy": val_accuracy,
            "stopped": stopped,
            "lrs": [state.schedule.lr(i) for i in range(first, state.iteration)],
            "losses": [_or_none(loss) for loss in fresh],
            "train_seconds": stretch.seconds,
            "eval_seconds": time.perf_counter() - evaluating,
        }


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no infinity


def losses_of(rows: Sequence[Row]) -> list[float]:
    """All iterations' losses of a sweep's rows; one that was not finite is nan."""
    return [math.nan if loss is None else loss for row in rows for loss in row["losses"]]


def measured(seed: int, rows: Sequence[Row]) -> Sweep:
    """A sweep's rows as the pure side sees them, without the point at which it stopped."""
    whole = [row for row in rows if row["stopped"] is None]
    return Sweep(
        seed=seed,
        lr=[lr for row in rows for lr in row["lrs"]],
        train_loss=losses_of(rows),
        val_lr=[row["lr"] for row in whole],
        val_accuracy=[row["val_accuracy"] for row in whole],
        val_loss=[math.nan if row["val_loss"] is None else row["val_loss"] for row in whole],
        stopped=rows[-1]["stopped"] if rows else None,
    )
