"""Train one model under one schedule: take steps, evaluate, report epochs. No I/O.

The caller logs and checkpoints. A generator of turns yields a ``Turn`` wherever another run of this
process may go on; `stream.alone` drops the turns.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from clr_cli import interrupt
from clr_cli.data.batches import evaluation_batches
from clr_cli.data.sources import Split
from clr_cli.training.state import Segment, TrainState, forward
from clr_cli.training.steps import steps_of
from clr_cli.training.stream import Fence, Turn
from clr_cli.training.switch import evaluating, to_training

# Images at a time: as many as fit a CPU's cache, or keep any other device busy.
EVAL_BATCH = 250
EVAL_BATCH_ELSEWHERE = 2000
# At most AHEAD chunks of steps are enqueued, each of at most so many seconds: the device always has
# work, and clr reacts soon to a signal.
CHUNK_SECONDS = 0.1
AHEAD = 2
Metrics = dict[str, float]
Turns = Generator[Turn, None, None]


class Diverged(Exception):
    """The loss stopped being finite; the message says where."""

    def __init__(self, epoch: int, iteration: int, lr: float) -> None:
        super().__init__(f"the loss is not finite at iteration {iteration} (lr {lr:g})")
        self.epoch, self.iteration, self.lr = epoch, iteration, lr


@dataclass(frozen=True)
class Scored:
    """A finished segment of training, and the model's scores on some splits after it.

    losses: one per iteration; correct: right answers in training; scores: mean cross-entropy
    (without label smoothing) and accuracy in 0..1 on each split.
    """

    losses: list[float]
    correct: int
    scores: list[tuple[float, float]]
    train_seconds: float
    eval_seconds: float


def train_and_score(
    state: TrainState, end: int, splits: Sequence[Split] = ()
) -> Generator[Turn, None, Scored]:
    """Train up to iteration ``end``, across epochs, and evaluate: a generator of turns.

    The host waits for the device once, at the end. Raises Stopped after the current step; the state
    keeps all work, and another call continues it.
    """
    segment = state.segment
    segment.begin()
    yield from _take_steps(state, end)
    segment.trained = state.stream.fence()
    totals, counts = [], [torch.as_tensor(segment.correct)]
    for split in splits:
        total, right = yield from _sums(state, split)
        totals.append(total)
        counts.append(right)
    with state.stream.enter():
        fetched = [
            state.stream.fetch(torch.cat([each.to(state.device).view(-1) for each in together]))
            for together in ([segment.all_losses(), *totals], counts)
        ]
    evaluated = state.stream.fence()
    yield from _until(state, segment.trained)
    yield from _until(state, evaluated)
    values, right_answers = (each.tolist() for each in fetched)
    first = len(values) - len(splits)  # index of the first sum after the losses
    sums = zip(splits, values[first:], right_answers[1:], strict=True)
    state.segment = Segment()
    return Scored(
        losses=values[:first],
        correct=right_answers[0],
        scores=[(loss / len(split), right / len(split)) for split, loss, right in sums],
        train_seconds=segment.training_seconds(),
        eval_seconds=evaluated.at - segment.trained.at,
    )


def _take_steps(state: TrainState, end: int) -> Turns:
    if state.steps is None:
        with state.stream.enter():
            state.steps = steps_of(state)
    with state.stream.enter():
        to_training(state)
    fences = deque([state.stream.fence()])
    try:
        while state.iteration < end:
            left = state.steps_per_epoch - state.iteration % state.steps_per_epoch
            with state.stream.enter():
                state.steps.take(state, min(state.chunk, left, end - state.iteration))
            fences.append(state.stream.fence())
            _check(state)
            yield Turn.WORKED
            if len(fences) > AHEAD:
                before = fences.popleft()
                yield from _until(state, fences[0])
                _adapt(state, fences[0].at - before.at)
    except interrupt.Stopped:  # all ranks stop after the same step
        _share(state)
        raise
    _share(state)


def _adapt(state: TrainState, seconds: float) -> None:
    """Choose the number of steps per turn from their duration."""
    if seconds > CHUNK_SECONDS:
        state.chunk = max(1, state.chunk // 2)
    elif seconds < CHUNK_SECONDS / 2:
        state.chunk = min(1024, 2 * state.chunk)


def _share(state: TrainState) -> None:
    """Sum the segment's counts over all ranks."""
    segment, ranks = state.segment, state.ranks
    if ranks.world > 1:
        with state.stream.enter():
            segment.losses = [ranks.total(segment.all_losses()) / ranks.world]
            segment.correct = ranks.total(segment.correct)


def _until(state: TrainState, fence: Fence) -> Turns:
    while not fence.is_reached():
        _check(state)
        yield Turn.WAITING


def _check(state: TrainState) -> None:
    """Raise Stopped if a signal has arrived; several ranks check after each step instead."""
    if state.ranks.world == 1:
        interrupt.check()


def _sums(state: TrainState, split: Split) -> Generator[Turn, None, tuple[Tensor, Tensor]]:
    """Sum the loss and count the right answers on a split, on the device."""
    total, right = torch.tensor(0.0), torch.tensor(0)
    with evaluating(state):
        for images, labels in evaluation_batches(split, evaluation_batch(state.device)):
            _check(state)
            with state.stream.enter(), torch.inference_mode():
                logits = forward(state, state.model, images)
                loss = cross_entropy(logits, labels, reduction="sum")
                total, right = total + loss, right + (logits.argmax(1) == labels).sum()
            yield Turn.WORKED
    return total, right


def evaluation_batch(device: torch.device) -> int:
    """Return how many images are evaluated at a time."""
    return EVAL_BATCH if device.type == "cpu" else EVAL_BATCH_ELSEWHERE


@torch.inference_mode()
def answers(state: TrainState, split: Split) -> Tensor:
    """Return whether each image of a split is classified correctly: bool (N,), on the CPU."""
    with evaluating(state), state.stream.enter():
        correct = [
            forward(state, state.model, images).argmax(1) == labels
            for images, labels in evaluation_batches(split, evaluation_batch(state.device))
        ]
        return torch.cat(correct).cpu()


def epochs_in_turns(state: TrainState, epochs: int) -> Generator[Metrics | Turn, None, None]:
    """Train until ``epochs`` are finished, and yield each epoch's metrics, and turns.

    Losses are means over the epoch's images; accuracies are fractions; ``lr`` is the rate of the
    epoch's last update; seconds are wall time. Raises Diverged at the first non-finite loss.
    """
    while state.epoch < epochs:
        yield (yield from _epoch(state))


def _epoch(state: TrainState) -> Generator[Turn, None, Metrics]:
    epoch, steps = state.epoch + 1, state.steps_per_epoch
    splits = () if state.ranks.rank else (state.data.val, state.data.test)
    scored = yield from train_and_score(state, epoch * steps, splits)
    for iteration, loss in enumerate(scored.losses, start=state.iteration - steps):
        if not math.isfinite(loss):
            raise Diverged(epoch, iteration, state.schedule.lr(iteration))
    state.epoch = epoch
    unknown = (math.nan, math.nan)  # for ranks that write nothing
    (val_loss, val_accuracy), (test_loss, test_accuracy) = scored.scores or (unknown, unknown)
    return {
        "epoch": epoch,
        "iteration": state.iteration,
        "lr": state.schedule.lr(state.iteration - 1),
        "train_loss": math.fsum(scored.losses) / steps,
        "train_accuracy": scored.correct / (steps * state.batch_size),
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "train_seconds": scored.train_seconds,
        "eval_seconds": scored.eval_seconds,
    }
