"""Training one model under one schedule: build, train_step, evaluate, train. No I/O.

``train`` is a generator of epoch metrics; whoever iterates it logs, plots and checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clr_cli import interrupt
from clr_cli.data.batches import (
    Resident,
    derive_seed,
    evaluation_batches,
    normalize,
    training_batches,
)
from clr_cli.data.sources import Split
from clr_cli.schedules import Schedule
from clr_cli.training.device import seed_layers
from clr_cli.training.graph import StepGraph
from clr_cli.training.ranks import SINGLE, Ranks

# Images at a time: those a CPU's cache holds, or enough to keep any other device busy.
EVAL_BATCH = 250
EVAL_BATCH_ELSEWHERE = 2000
Metrics = dict[str, float]


class Diverged(Exception):
    """The loss stopped being finite; the message says where."""

    def __init__(self, epoch: int, iteration: int, lr: float) -> None:
        super().__init__(f"the loss is not finite at iteration {iteration} (lr {lr:g})")
        self.epoch, self.iteration, self.lr = epoch, iteration, lr


@dataclass
class Stretch:
    """The iterations since the last row of metrics: an epoch's, or those of a sweep's point.

    losses: a scalar tensor for each; correct: right answers so far; seconds: training time.
    """

    losses: list[Tensor] = field(default_factory=list)
    correct: Tensor | int = 0
    seconds: float = 0.0


@dataclass
class TrainState:
    """All that changes while training, and what one step needs. ``epoch`` counts finished ones."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    data: Resident
    batch_size: int
    label_smoothing: float
    seed: int
    autocast: torch.dtype | None
    epoch: int = 0
    iteration: int = 0
    cuda_graph: bool = False
    graph: StepGraph | None = None
    stretch: Stretch = field(default_factory=Stretch)
    ranks: Ranks = SINGLE

    def __post_init__(self) -> None:
        self.graph = _graph(self)
        self.parallel = self.ranks.parallel(self.model, self.device)

    @property
    def device(self) -> torch.device:
        return self.data.labels.device

    @property
    def precision(self) -> str:
        return "fp32" if self.autocast is None else "bf16"

    @property
    def parameters(self) -> int:
        """Trainable and frozen weights, as a number."""
        return sum(p.numel() for p in self.model.parameters())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors and plain numbers only (weights_only loads it)."""
        return {
            "model": self.model.state_dict(),
            # Without the hyperparameters: they are the config's and the schedule's business.
            "optimizer": {"state": self.optimizer.state_dict()["state"]},
            "epoch": self.epoch,
            "iteration": self.iteration,
            "losses": torch.stack(self.stretch.losses) if self.stretch.losses else torch.empty(0),
            "correct": int(self.stretch.correct),
            "stretch_seconds": self.stretch.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        # The present ones, whose tensors are on the device already.
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        self.epoch, self.iteration = state["epoch"], state["iteration"]
        losses = list(state["losses"].to(self.device).unbind())
        # The losses are means over all ranks already; the right answers are counted once.
        correct = 0 if self.ranks.rank else state["correct"]
        self.stretch = Stretch(losses, correct, state["stretch_seconds"])
        self.graph = _graph(self)


def _graph(state: TrainState) -> StepGraph | None:
    """Steps are replayed on CUDA if wanted, unless the momentum is cycled: a graph freezes it."""
    alone = state.ranks.world == 1
    if alone and state.cuda_graph and state.device.type == "cuda" and not _cycles_momentum(state):
        return StepGraph(_update, state.device)
    return None


def _cycles_momentum(state: TrainState) -> bool:
    return state.schedule.momentum(0) is not None


def set_hyperparameters(state: TrainState) -> float:
    """Write this iteration's rate (and momentum, if the schedule has one); return the rate."""
    lr = state.schedule.lr(state.iteration)
    momentum = state.schedule.momentum(state.iteration)
    for group in state.optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
        if momentum is not None and "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        elif momentum is not None:
            group["momentum"] = momentum
    return lr


def train_step(state: TrainState, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One update from uint8 (B, H, W, C) images.

    Returns the mean loss and the number of correct answers as device scalars: no host sync.
    """
    set_hyperparameters(state)
    loss, correct = (state.graph or _update)(state, images, labels)
    state.iteration += 1
    return loss, correct


def _update(state: TrainState, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    logits = _forward(state, state.parallel, images)
    loss = F.cross_entropy(logits, labels, label_smoothing=state.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return loss.detach(), (logits.argmax(1) == labels).sum()


def _forward(state: TrainState, model: nn.Module, images: Tensor) -> Tensor:
    with torch.autocast(state.device.type, state.autocast, enabled=state.autocast is not None):
        logits: Tensor = model(normalize(state.data, images))
    return logits.float()


@torch.inference_mode()
def evaluate(state: TrainState, split: Split) -> tuple[float, float]:
    """Mean cross-entropy (without label smoothing) and accuracy in 0..1 over a split.

    Raises Stopped.
    """
    state.model.eval()
    loss = torch.zeros((), device=state.device)
    correct = torch.zeros((), device=state.device, dtype=torch.int64)
    batch_size = EVAL_BATCH if state.device.type == "cpu" else EVAL_BATCH_ELSEWHERE
    for images, labels in evaluation_batches(split, batch_size):
        if state.ranks.world == 1:  # the others do not evaluate: all stop in their next step
            interrupt.check()
        logits = _forward(state, state.model, images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    state.model.train()
    return loss.item() / len(split), correct.item() / len(split)


@torch.inference_mode()
def answers(state: TrainState, split: Split) -> Tensor:
    """Whether each image of a split is classified rightly: bool (N,), on the CPU."""
    state.model.eval()
    size = EVAL_BATCH if state.device.type == "cpu" else EVAL_BATCH_ELSEWHERE
    found = [
        _forward(state, state.model, images).argmax(1) == labels
        for images, labels in evaluation_batches(split, size)
    ]
    state.model.train()
    return torch.cat(found).cpu()


def advance(state: TrainState, end: int) -> list[float]:
    """Train up to iteration ``end``, across epochs if need be; the losses of the whole stretch.

    Raises Stopped after the step at hand, with all that was done kept in the state: called again,
    the stretch goes on where it was.
    """
    stretch, started, stopped = state.stretch, time.perf_counter(), None
    try:
        _take_steps(state, end)
    except interrupt.Stopped as signal:
        stopped = signal
    losses = state.ranks.mean(torch.stack(stretch.losses))
    stretch.losses = list(losses.unbind())
    stretch.correct = state.ranks.total(stretch.correct)
    values: list[float] = losses.tolist()  # the only host sync
    stretch.seconds += time.perf_counter() - started
    if stopped:
        raise stopped
    return values


def _take_steps(state: TrainState, end: int) -> None:
    steps, stretch, ranks = state.data.steps_per_epoch(state.batch_size), state.stretch, state.ranks
    stream = f"model/{ranks.rank}" if ranks.rank else "model"
    devices = [state.device] if state.device.type == "cuda" else []
    state.model.train()
    with torch.random.fork_rng(devices=devices):  # whoever else draws here is left alone
        while state.iteration < end:
            epoch, step = divmod(state.iteration, steps)
            stop = min(steps, step + end - state.iteration)
            batches = training_batches(
                state.data,
                state.batch_size,
                seed=state.seed,
                epoch=epoch + 1,
                part=(ranks.rank, ranks.world),
            )
            for images, labels in islice(batches, step, stop):
                # What layers draw (dropout) is a function of the iteration too.
                seed_layers(state.device, derive_seed(state.seed, state.iteration, stream))
                loss, right = train_step(state, images, labels)
                stretch.losses.append(loss)
                stretch.correct += right
                ranks.check()


def train(state: TrainState, epochs: int) -> Iterator[Metrics]:
    """Train until ``epochs`` are finished, yielding each epoch's metrics once it is.

    Losses are means over the epoch's images; accuracies are fractions; ``lr`` is the rate of the
    epoch's last update; seconds are wall time. Raises Diverged at the first non-finite loss.
    """
    while state.epoch < epochs:
        yield train_epoch(state)


def train_epoch(state: TrainState) -> Metrics:
    """One epoch and its evaluation on the validation and test splits; see ``train``."""
    epoch = state.epoch + 1
    steps = state.data.steps_per_epoch(state.batch_size)
    losses = advance(state, epoch * steps)
    for iteration, loss in enumerate(losses, start=state.iteration - steps):
        if not math.isfinite(loss):
            raise Diverged(epoch, iteration, state.schedule.lr(iteration))
    evaluating = time.perf_counter()
    unknown = (math.nan, math.nan)  # to the ranks that print and write nothing
    val_loss, val_accuracy = unknown if state.ranks.rank else evaluate(state, state.data.val)
    test_loss, test_accuracy = unknown if state.ranks.rank else evaluate(state, state.data.test)
    state.epoch, stretch, state.stretch = epoch, state.stretch, Stretch()
    return {
        "epoch": epoch,
        "iteration": state.iteration,
        "lr": state.schedule.lr(state.iteration - 1),
        "train_loss": math.fsum(losses) / steps,
        "train_accuracy": int(stretch.correct) / (steps * state.batch_size),
        "val_loss": val_loss,
        "val_accuracy": val_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "train_seconds": stretch.seconds,
        "eval_seconds": time.perf_counter() - evaluating,
    }
