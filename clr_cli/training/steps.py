"""Take a run's steps in one of two ways: one by one from Python, or entirely on the device.

The first is the reference. In the second, a step takes nothing from Python and returns nothing: its
images, labels and rates are in tables on the device, its loss goes into another table, and a
counter on the device selects the row. So a GPU can replay it from a CUDA graph. Tests check
that both give the same bits, on a CPU too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from clr_cli.data.batches import Augmenter, derive_seed, draw, training_batches
from clr_cli.training.casts import with_cast_weights
from clr_cli.training.device import generator_of, seed_layers
from clr_cli.training.graph import WARM_UP, Graph, waits_for_device
from clr_cli.training.optimizers import supports_cuda_graph
from clr_cli.training.state import Model, TrainState, cycles_momentum, rates, train_step, update


class Steps(Protocol):
    """A way of taking steps. It has no reference to the state, so an ended run is freed."""

    def take(self, state: TrainState, count: int) -> None:
        """Take the next ``count`` steps, all of one epoch, and update iteration and segment."""


def steps_of(state: TrainState) -> Steps:
    """Return the fastest way of taking this run's steps.

    Steps are replayed on CUDA unless ``training.cuda_graph`` is false, several ranks share the
    run (they must agree on signals in every step), the momentum is cycled (the fused optimizers
    take it as a number, which a graph freezes) or the optimizer is not fused. The first steps show
    whether a model draws random numbers (dropout) or waits for the device; if so, it goes on step
    by step.
    """
    wanted = (
        state.cuda_graph and state.device.type == "cuda" and supports_cuda_graph(state.optimizer)
    )
    if wanted and state.ranks.world == 1 and not cycles_momentum(state):
        return DeviceSteps(state)
    return EagerSteps()


class EagerSteps:
    """Steps one by one, each with its own seed for layers such as dropout."""

    def __init__(self) -> None:
        self._batches: Iterator[tuple[Tensor, Tensor]] = iter(())
        self._next = -1  # the iteration of the next batch

    def take(self, state: TrainState, count: int) -> None:
        """Take steps. Raises Stopped after the current one; the state keeps all work."""
        ranks = state.ranks
        stream = f"model/{ranks.rank}" if ranks.rank else "model"
        devices = [state.device] if state.device.type == "cuda" else []
        if state.iteration != self._next or state.iteration % state.steps_per_epoch == 0:
            self._begin(state)
        with torch.random.fork_rng(devices=devices):  # leaves other users of the generators alone
            for images, labels in islice(self._batches, count):
                seed_layers(state.device, derive_seed(state.seed, state.iteration, stream))
                loss, right = train_step(state, images, labels)
                self._next = state.iteration
                state.segment.losses.append(loss)
                state.segment.correct += right
                ranks.check()

    def _begin(self, state: TrainState) -> None:
        epoch, step = divmod(state.iteration, state.steps_per_epoch)
        part = (state.ranks.rank, state.ranks.world)
        batches = training_batches(
            state.data, state.batch_size, seed=state.seed, epoch=epoch + 1, part=part
        )
        self._batches = islice(batches, step, None)


class DeviceSteps:
    """Steps entirely on the device; on CUDA recorded once and replayed.

    changes: (steps, B, 4), the augmentation from ``draw``; order, labels: (steps, B);
    hyperparameters: (steps, parameter groups, and one for averages); losses: (steps,); correct:
    (); step: (1,), the next row.
    """

    def __init__(self, state: TrainState) -> None:
        steps, device = state.steps_per_epoch, state.device
        columns = len(state.optimizer.param_groups) + (state.average is not None)
        self._augment = Augmenter(state.data)
        self.order = torch.zeros((steps, state.batch_size), dtype=torch.int64, device=device)
        self.changes = torch.zeros((*self.order.shape, 4), dtype=torch.int64, device=device)
        self.labels = torch.zeros_like(self.order)
        self.hyperparameters = torch.zeros((steps, columns), device=device)
        self.losses = torch.zeros(steps, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self._taken = 0
        self._next = -1
        self._drawn: tuple[int, tuple[Tensor, Tensor, Tensor]] | None = None
        self._graph = Graph(state.stream) if device.type == "cuda" else None
        self._eager: EagerSteps | None = None

    def take(self, state: TrainState, count: int) -> None:
        """Take steps, and check the first few; see ``steps_of``."""
        while count and self._eager is None and self._taken < WARM_UP:
            self._enqueue(state, self._warm_up, 1)
            count -= 1
        if count and self._eager is None:
            self._enqueue(state, self._step if self._graph is None else self._replay, count)
        elif count and self._eager is not None:
            self._eager.take(state, count)
        if self._eager is None and state.iteration % state.steps_per_epoch == 0:
            self._draw(state, state.iteration // state.steps_per_epoch)  # while the device is busy

    def _replay(self, state: TrainState) -> None:
        assert self._graph is not None
        self._graph.replay(partial(self._step, state))

    def _enqueue(self, state: TrainState, step: Callable[[TrainState], None], count: int) -> None:
        epoch, first = divmod(state.iteration, state.steps_per_epoch)
        if state.iteration != self._next or first == 0:
            self._begin(state, epoch, first)
        for _ in range(count):
            step(state)
        self._taken += count
        state.iteration += count
        self._next = state.iteration
        state.segment.losses.append(self.losses[first : first + count].clone())
        state.segment.correct = state.segment.correct + self.correct
        self.correct.zero_()

    def _draw(self, state: TrainState, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the epoch's order, changes and hyperparameters, on the CPU; draw them once."""
        if self._drawn is None or self._drawn[0] != epoch:
            steps = state.steps_per_epoch
            order, changes = draw(state.data, seed=state.seed, epoch=epoch + 1)
            used = self.order.numel()
            table = torch.tensor([_hyperparameters(state, epoch * steps + k) for k in range(steps)])
            self._drawn = (
                epoch,
                (order[:used].view_as(self.order), changes[:used].view_as(self.changes), table),
            )
        return self._drawn[1]

    def _begin(self, state: TrainState, epoch: int, step: int) -> None:
        tables = (self.order, self.changes, self.hyperparameters)
        for drawn, table in zip(self._draw(state, epoch), tables, strict=True):
            state.stream.send(drawn, table)
        torch.index_select(state.data.labels, 0, self.order.view(-1), out=self.labels.view(-1))
        self.step.fill_(step)

    def _step(self, state: TrainState) -> None:
        step = self.step
        images = self._augment(self.changes.index_select(0, step)[0])
        labels = self.labels.index_select(0, step)[0]
        now = self.hyperparameters.index_select(0, step)[0]
        for group, rate in zip(state.optimizer.param_groups, now, strict=False):
            group["lr"].copy_(rate)
        if state.average is not None:
            state.average.share.copy_(now[-1])
        model: Model = state.model
        if state.autocast is not None:
            model = with_cast_weights(state.model, state.autocast)
        loss, right = update(state, model, images, labels)
        self.losses.index_copy_(0, step, loss.view(1))
        self.correct += right
        self.step += 1

    def _warm_up(self, state: TrainState) -> None:
        """Take a normal step, seeded as usual, and check whether a graph can replay it."""
        devices = [state.device] if state.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            seed_layers(state.device, derive_seed(state.seed, state.iteration, "model"))
            before = _generators(state.device)
            waited = waits_for_device(partial(self._step, state), state.device)
            drew = before != _generators(state.device)
        if drew or (waited and self._taken == WARM_UP - 1):  # after all lazy initialization
            self._eager = EagerSteps()
        elif self._graph is not None and self._taken == WARM_UP - 1:
            for group in state.optimizer.param_groups:
                if "capturable" in group:  # AdamW needs it, and warns if it is set too early
                    group["capturable"] = True


def _hyperparameters(state: TrainState, iteration: int) -> list[float]:
    """Return the rate of every group and, if weights are averaged, the share of the average."""
    shares = [] if state.average is None else [state.average.share_at(iteration)]
    return rates(state, iteration) + shares


def _generators(device: torch.device) -> list[bytes]:
    """Return the states of the generators that a model's layers may use."""
    each = (torch.default_generator, generator_of(device))
    return [one.get_state().numpy().tobytes() for one in each if one is not None]
