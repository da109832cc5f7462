"""Training loops of a run that is alone in its process, for tests that hold a state themselves."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

from clr_cli.data.sources import Split
from clr_cli.training import loop
from clr_cli.training.state import TrainState
from clr_cli.training.stream import Turn, alone

T = TypeVar("T")


def finish(turns: Generator[Turn, None, T]) -> T:
    """Exhaust a generator of turns, and return its result."""
    results: list[T] = []

    def run() -> Iterator[Turn]:
        results.append((yield from turns))

    for _ in alone(run()):
        pass
    return results[0]


def train(state: TrainState, epochs: int) -> Iterator[loop.Metrics]:
    """Train until ``epochs`` are finished, and yield the metrics of each epoch."""
    return alone(loop.epochs_in_turns(state, epochs))


def train_epoch(state: TrainState) -> loop.Metrics:
    """Train one epoch, and return its metrics."""
    return next(train(state, state.epoch + 1))


def advance(state: TrainState, end: int) -> list[float]:
    """Train up to iteration ``end``, and return its losses."""
    return finish(loop.train_and_score(state, end)).losses


def evaluate(state: TrainState, split: Split) -> tuple[float, float]:
    """Return mean cross-entropy (without label smoothing) and accuracy in 0..1 over a split."""
    loss, correct = finish(loop._sums(state, split))
    return loss.item() / len(split), correct.item() / len(split)
