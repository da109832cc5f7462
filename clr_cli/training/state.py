"""Define a run's state and its plain step, the reference for every faster way."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from clr_cli.data.batches import Resident, normalize
from clr_cli.schedules import Schedule
from clr_cli.schedules.as_torch import ratios, set_momentum, set_rates
from clr_cli.training import optimizers
from clr_cli.training.average import WeightAverage
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.stream import Fence, Stream

if TYPE_CHECKING:
    from clr_cli.training.steps import Steps

Model = Callable[[Tensor], Tensor]


@dataclass
class Segment:
    """The iterations since the last row of metrics: an epoch's, or those of a sweep's point.

    losses: tensors with one loss per iteration; correct: right answers so far; seconds: training
    time in earlier processes; started: when this process began; trained: the end of its last step.
    """

    losses: list[Tensor] = field(default_factory=list)
    correct: Tensor | int = 0
    seconds: float = 0.0
    started: float | None = None
    trained: Fence | None = None

    def all_losses(self) -> Tensor:
        """Return one loss for each iteration, (iterations,)."""
        return torch.cat([loss.view(-1) for loss in self.losses] or [torch.empty(0)])

    def begin(self) -> None:
        """Begin or continue training in this process."""
        self.seconds = self.training_seconds()
        self.started, self.trained = time.perf_counter(), None

    def training_seconds(self) -> float:
        """Return the training time so far, in all processes."""
        if self.started is None:
            return self.seconds
        end = time.perf_counter() if self.trained is None else self.trained.at
        return self.seconds + end - self.started


@dataclass
class TrainState:
    """The state of a run, and the inputs of a step. ``epoch`` counts finished epochs.

    accumulate: parts of each batch. clip_norm: the largest norm of a gradient. ema: the decay of
    the averaged weights. steps: how steps are taken, which the first step decides. chunk: steps
    between two turns.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    data: Resident
    batch_size: int
    label_smoothing: float
    seed: int
    autocast: torch.dtype | None
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None
    epoch: int = 0
    iteration: int = 0
    cuda_graph: bool = True
    steps: Steps | None = None
    chunk: int = 1
    segment: Segment = field(default_factory=Segment)
    ranks: Ranks = SINGLE

    def __post_init__(self) -> None:
        self.ratios = ratios(self.optimizer)
        self.parallel = self.ranks.parallel(self.model, self.device)
        self.average = None if self.ema is None else WeightAverage(self.model, self.ema)
        self.stream = Stream(self.device)  # begins after all work that was enqueued before

    @property
    def device(self) -> torch.device:
        """The device of the data and of all work."""
        return self.data.labels.device

    @property
    def precision(self) -> str:
        """``fp32`` or ``bf16``."""
        return "fp32" if self.autocast is None else "bf16"

    @property
    def parameters(self) -> int:
        """The number of weights, with frozen ones."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def steps_per_epoch(self) -> int:
        """The number of updates of an epoch."""
        return self.data.steps_per_epoch(self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the contents of a checkpoint: tensors and plain numbers only (weights_only)."""
        averages = {} if self.average is None else {"average": self.average.state_dict()}
        return {
            "model": self.model.state_dict(),
            "optimizer": optimizers.state_to_save(self.optimizer),
            **averages,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "losses": self.segment.all_losses(),
            "correct": int(self.segment.correct),
            "segment_seconds": self.segment.training_seconds(),
        }

    def snapshot(self) -> tuple[dict[str, Any], Fence]:
        """Copy ``state_dict`` to the CPU while training goes on; it may be read after the fence."""
        with self.stream.enter():
            copied = tree_map_only(Tensor, self.stream.fetch, self.state_dict())
        return copied, self.stream.fence()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint. Raises KeyError or RuntimeError for one of another model."""
        with self.stream.enter():
            self.model.load_state_dict(state["model"])
            optimizers.load_state(self.optimizer, state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            losses = [state["losses"].to(self.device)]
        self.epoch, self.iteration = state["epoch"], state["iteration"]
        # The losses are means over all ranks already; only rank 0 restores the right answers.
        correct = 0 if self.ranks.rank else state["correct"]
        self.segment = Segment(losses, correct, state["segment_seconds"])
        self.steps = None  # they may refer to replaced tensors


def cycles_momentum(state: TrainState) -> bool:
    """Return whether the schedule cycles the momentum."""
    return state.schedule.momentum(0) is not None


def rates(state: TrainState, iteration: int) -> list[float]:
    """Return the rate of every parameter group."""
    lr = state.schedule.lr(iteration)
    return [lr * ratio for ratio in state.ratios]


def set_hyperparameters(state: TrainState) -> None:
    """Set this iteration's rates and, if used, its momentum and the share of the averages."""
    set_rates(state.optimizer, rates(state, state.iteration))
    momentum = state.schedule.momentum(state.iteration)
    if momentum is not None:
        set_momentum(state.optimizer, momentum)
    if state.average is not None:
        state.average.share.fill_(state.average.share_at(state.iteration))


def train_step(state: TrainState, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Take one update from uint8 (B, H, W, C) images.

    Returns the mean loss and the number of correct answers as device scalars: no host sync.
    """
    set_hyperparameters(state)
    loss, correct = update(state, state.parallel, images, labels)
    state.iteration += 1
    return loss, correct


def update(
    state: TrainState, model: Model, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Do the device's part of a step, with the present hyperparameters.

    The gradient is the mean over ``accumulate`` equal parts of the batch, computed in turn.
    """
    count = state.accumulate
    state.optimizer.zero_grad(set_to_none=True)
    parts = []
    for k, part in enumerate(zip(images.chunk(count), labels.chunk(count), strict=True), 1):
        with state.ranks.without_averaging(model) if k < count else nullcontext():
            parts.append(_add_gradient(state, model, *part))
    if state.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), state.clip_norm)
    state.optimizer.step()
    if state.average is not None:
        state.average.update()
    if count == 1:
        return parts[0]
    losses, correct = zip(*parts, strict=True)
    return torch.stack(losses).mean(), torch.stack(correct).sum()


def _add_gradient(
    state: TrainState, model: Model, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Add a part's share of the batch's gradient; return its mean loss and right answers."""
    logits = forward(state, model, images)
    loss = F.cross_entropy(logits, labels, label_smoothing=state.label_smoothing)
    share = loss if state.accumulate == 1 else loss / state.accumulate
    share.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), (logits.argmax(1) == labels).sum()


def forward(state: TrainState, model: Model, images: Tensor) -> Tensor:
    """Return the float32 logits of uint8 (B, H, W, C) images."""
    with torch.autocast(state.device.type, state.autocast, enabled=state.autocast is not None):
        logits = model(normalize(state.data, images))
    return logits.float()
