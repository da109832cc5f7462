"""Switch model and optimizer between training and evaluation.

The evaluated weights may be an average of the trained ones: with ``training.ema``, and with
optimizers that switch between the two by ``train()`` and ``eval()`` (Defazio et al. 2024, "The Road
Less Scheduled").
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from clr_cli import interrupt
from clr_cli.data.batches import derive_seed, normalize, training_batches
from clr_cli.training.device import seed_layers

if TYPE_CHECKING:
    from clr_cli.training.state import TrainState

BATCHES = 16  # for the statistics of batch norm


def has_switch(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer switches between trained and averaged weights."""
    return hasattr(optimizer, "eval")


def to_training(state: TrainState) -> None:
    """Switch model and optimizer to training."""
    state.model.train()
    optimizer: Any = state.optimizer
    if hasattr(optimizer, "train"):
        optimizer.train()


@contextlib.contextmanager
def evaluating(state: TrainState) -> Iterator[None]:
    """Switch model and optimizer to evaluation within the block, then restore them exactly.

    The switch rounds. A run that is stopped during an evaluation repeats it, and its weights must
    not be rounded twice, so they are saved and restored.
    """
    optimizer: Any = state.optimizer
    if state.average is None and not has_switch(optimizer):
        state.model.eval()
        try:
            yield
        finally:
            state.model.train()
        return
    with state.stream.enter(), torch.inference_mode(False), torch.no_grad():
        to_training(state)
        saved = {name: value.clone() for name, value in state.model.state_dict().items()}
    try:
        with state.stream.enter(), torch.inference_mode(False), torch.no_grad():
            if state.average is None:
                optimizer.eval()
            else:
                state.average.write_to_model()
            _measure_batch_norm(state)
        state.model.eval()
        yield
    finally:
        with state.stream.enter(), torch.inference_mode(False), torch.no_grad():
            to_training(state)
            for name, value in state.model.state_dict().items():
                value.copy_(saved[name])


def _measure_batch_norm(state: TrainState) -> None:
    """Measure batch norm's statistics for the evaluated weights, over some batches.

    The running statistics belong to the trained weights.
    """
    norms = [
        m for m in state.model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
    devices = [state.device] if state.device.type == "cuda" else []
    epoch = ceil(state.iteration / state.steps_per_epoch)  # of the last step, finished or not
    batches = training_batches(
        state.data, state.batch_size, seed=state.seed, epoch=epoch, part=(0, 1)
    )
    try:
        with torch.random.fork_rng(devices=devices):
            seed_layers(state.device, derive_seed(state.seed, state.iteration, "batch norm"))
            for images, _ in islice(batches, BATCHES):
                if state.ranks.world == 1:
                    interrupt.check()
                with torch.autocast(
                    state.device.type, state.autocast, enabled=state.autocast is not None
                ):
                    state.model(normalize(state.data, images))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
