"""A run's state, and one step of it: the plain reference that every faster way is held to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from clr_cli.data.batches import Resident, normalize
from clr_cli.schedules import Schedule
from clr_cli.schedules.as_torch import ratios, set_momentum
from clr_cli.training import optimizers
from clr_cli.training.stream import Stream, Fence
from clr_cli.training.ranks import SINGLE, Ranks

if TYPE_CHECKING:
    from clr_cli.training.steps import Steps

Model = Callable[[Tensor], Tensor]


@dataclass
class Segment:
    """The iterations since the last row of metrics: an epoch's, or those of a sweep's point.

    losses: tensors that hold one for each; correct: right answers so far; seconds: training time
    in earlier processes; started: when this one took it up; trained: the end of its last step.
    """

    losses: list[Tensor] = field(default_factory=list)
    correct: Tensor | int = 0
    seconds: float = 0.0
    started: float | None = None
    trained: Fence | None = None

    def all_losses(self) -> Tensor:
        """(iterations,)"""
        return torch.cat([loss.view(-1) for loss in self.losses] or [torch.empty(0)])

    def begin(self) -> None:
        """Training goes on from here."""
        self.seconds, self.started, self.trained = (
            self.training_seconds(),
            time.perf_counter(),
            None,
        )

    def training_seconds(self) -> float:
        if self.started is None:
            return self.seconds
        end = time.perf_counter() if self.trained is None else self.trained.at
        return self.seconds + end - self.started


@dataclass
class TrainState:
    """All that changes while training, and what one step needs. ``epoch`` counts finished ones.

    steps: how steps are taken, found at the first. chunk: how many between two turns.
    """

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
    cuda_graph: bool = True
    steps: Steps | None = None
    chunk: int = 1
    stretch: Segment = field(default_factory=Segment)
    ranks: Ranks = SINGLE

    def __post_init__(self) -> None:
        self.ratios = ratios(self.optimizer)
        self.parallel = self.ranks.parallel(self.model, self.device)
        self.stream = Stream(self.device)  # after all that was enqueued elsewhere

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

    @property
    def steps_per_epoch(self) -> int:
        return self.data.steps_per_epoch(self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: tensors and plain numbers only (weights_only loads it)."""
        return {
            "model": self.model.state_dict(),
            "optimizer": optimizers.state_to_save(self.optimizer),
            "epoch": self.epoch,
            "iteration": self.iteration,
            "losses": self.segment.all_losses(),
            "correct": int(self.segment.correct),
            "segment_seconds": self.segment.training_seconds(),
        }

    def snapshot(self) -> tuple[dict[str, Any], Fence]:
        """``state_dict`` on the CPU, to be read once the mark is reached; training may go on."""
        with self.stream.enter():
            copied = tree_map_only(Tensor, self.stream.fetch, self.state_dict())
        return copied, self.stream.fence()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with self.stream.enter():
            self.model.load_state_dict(state["model"])
            optimizers.load_state(self.optimizer, state["optimizer"])
            losses = [state["losses"].to(self.device)]
        self.epoch, self.iteration = state["epoch"], state["iteration"]
        # The losses are means over all ranks already; the right answers are counted once.
        correct = 0 if self.ranks.rank else state["correct"]
        self.segment = Segment(losses, correct, state["segment_seconds"])
        self.steps = None  # they may hold tensors that were replaced


def cycles_momentum(state: TrainState) -> bool:
    return state.schedule.momentum(0) is not None


def rates(state: TrainState, iteration: int) -> list[float]:
    """The rate of every parameter group."""
    lr = state.schedule.lr(iteration)
    return [lr * ratio for ratio in state.ratios]


def set_hyperparameters(state: TrainState) -> None:
    """Write this iteration's rates (and momentum, if the schedule has one)."""
    momentum = state.schedule.momentum(state.iteration)
    for group, lr in zip(state.optimizer.param_groups, rates(state, state.iteration), strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
    if momentum is not None:
        set_momentum(state.optimizer, momentum)


def train_step(state: TrainState, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """One update from uint8 (B, H, W, C) images.

    Returns the mean loss and the number of correct answers as device scalars: no host sync.
    """
    set_hyperparameters(state)
    loss, correct = update(state, state.parallel, images, labels)
    state.iteration += 1
    return loss, correct


def update(
    state: TrainState, model: Model, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """What a step does on the device, with the rates that the optimizer has."""
    logits = forward(state, model, images)
    loss = F.cross_entropy(logits, labels, label_smoothing=state.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    return loss.detach(), (logits.argmax(1) == labels).sum()


def forward(state: TrainState, model: Model, images: Tensor) -> Tensor:
    """uint8 (B, H, W, C) -> float32 logits."""
    with torch.autocast(state.device.type, state.autocast, enabled=state.autocast is not None):
        logits = model(normalize(state.data, images))
    return logits.float()
