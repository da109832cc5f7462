"""One probe of a range test: a short training at one rate, validated at its end.

The same steps as everywhere, on a model that is thrown away. The test split is never looked at.
No I/O; ``analysis.probing`` says which probes are needed and what they come to.
"""

from __future__ import annotations

import math
from collections.abc import Generator

from clr_cli.records import Row
from clr_cli.schedules import Schedule
from clr_cli.training.loop import Diverged, train_and_score
from clr_cli.training.state import TrainState
from clr_cli.training.stream import Turn

EPOCHS = 10.0  # of a probe, where the schedule has no cycle


class Compressed(Schedule):
    """A whole run's schedule in fewer iterations: the same rates, passed through faster.

    >>> from clr_cli.schedules import make
    >>> linear = make("linear", lr=1.0, total_iterations=400)
    >>> [Compressed(schedule=linear, run=400, total=100).lr(i) for i in (0, 50)]
    [1.0, 0.5]
    """

    schedule: Schedule
    run: int
    total: int

    def lr(self, iteration: int) -> float:
        """Return the rate of one update."""
        return self.schedule.lr(iteration * self.run // self.total)

    def momentum(self, iteration: int) -> float | None:
        """Return the momentum of one update, or None."""
        return self.schedule.momentum(iteration * self.run // self.total)


def length(schedule: Schedule, steps_per_epoch: int, run: int, epochs: float | None = None) -> int:
    """Return the iterations of a probe of this schedule: one cycle, or EPOCHS; ``run`` at most.

    Args:
        schedule: the arm's, in iterations.
        steps_per_epoch: iterations of an epoch.
        run: iterations of a whole run.
        epochs: the length, if it is given.
    """
    if epochs is None:
        whole = schedule.first_cycle() or round(EPOCHS * steps_per_epoch)
    else:
        whole = round(epochs * steps_per_epoch)
    return max(1, min(whole, run))


def shortened(schedule: Schedule, run: int, total: int) -> Schedule:
    """Return the schedule of a probe of ``total`` iterations: whole cycles, or the run compressed.

    A probe ends where a cycle does, because its score is that of an annealed model: cycles that do
    not fit are compressed too.
    """
    cycle = schedule.first_cycle()
    if cycle is not None:
        run = cycle * max(1, round(total / cycle))
    if run == total:
        return schedule
    return Compressed(schedule=schedule, run=run, total=total)


def probe(state: TrainState, total: int) -> Generator[Row | Turn, None, None]:
    """Train on from where the state is to iteration ``total``, yielding a row an epoch, and turns.

    Validation is None but in the last row. Raises Diverged at the first non-finite loss.
    """
    steps = state.steps_per_epoch
    while state.iteration < total:
        epoch = state.iteration // steps + 1
        first, end = (epoch - 1) * steps, min(epoch * steps, total)
        got = yield from train_and_score(state, end, [state.data.val] if end == total else [])
        for iteration, loss in enumerate(got.losses, start=first):
            if not math.isfinite(loss):
                raise Diverged(epoch, iteration, state.schedule.lr(iteration))
        val_loss, val_accuracy = got.scores[0] if got.scores else (math.nan, None)
        yield {
            "epoch": epoch,
            "iteration": state.iteration,
            "lr": state.schedule.lr(state.iteration - 1),
            "train_loss": math.fsum(got.losses) / len(got.losses),
            "val_loss": val_loss if math.isfinite(val_loss) else None,
            "val_accuracy": val_accuracy,
            "train_seconds": got.train_seconds,
            "eval_seconds": got.eval_seconds,
        }
