"""Measure the sizes of an experiment on this machine, for plan, summary and page."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from clr_cli.execution.training_task import TrainingTask
from clr_cli.schedules.as_torch import ratios
from clr_cli.training.device import describe_device, resolve_precision
from clr_cli.training.models import build_model
from clr_cli.training.optimizers import build_optimizer
from clr_cli.training.sweep import chance
from clr_cli.training.weights import load_weights


@dataclass(frozen=True)
class Setup:
    """Sizes: images of each split, image shape (H, W, C), classes, weights of the model, batches.

    chance is the share of the largest class in validation, which a model reaches without learning.
    notes are remarks on the data for the user. fresh are weights that model.weights does not
    contain. ratios are those of the parameter groups' rates. device, precision and threads are
    those of this process; an engine may run tasks elsewhere.
    """

    train_size: int
    val_size: int
    test_size: int
    image: tuple[int, int, int]
    num_classes: int
    chance: float
    parameters: int
    steps_per_epoch: int
    device: str
    precision: str
    threads: int | None
    notes: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    ratios: tuple[float, ...] = (1.0,)


def measure(task: TrainingTask) -> Setup:
    """Load a task's data, and build its model and optimizer once, to measure their sizes.

    Raises:
        InputError: the data, model, optimizer or batch size cannot be used.
        EnvironmentFailure: the machine failed, for instance by a full disk.

    """
    images, device = task.images()
    config = task.config
    steps = images.steps_per_epoch(config.training.batch_size)
    with torch.random.fork_rng(devices=[]):
        model = build_model(
            config.model,
            in_channels=images.channels,
            image_size=(images.height, images.width),
            num_classes=images.num_classes,
            allow_code=task.allow_code,
        )
    fresh = load_weights(config.model, model, images.num_classes)
    optimizer = build_optimizer(
        config.optimizer, model, torch.device("cpu"), allow_code=task.allow_code
    )
    return Setup(
        train_size=len(images),
        val_size=len(images.val),
        test_size=len(images.test),
        image=(images.height, images.width, images.channels),
        num_classes=images.num_classes,
        chance=chance(images.val),
        parameters=sum(weights.numel() for weights in model.parameters()),
        steps_per_epoch=steps,
        device=describe_device(device),
        precision=resolve_precision(config.training.precision, device),
        threads=torch.get_num_threads() if device.type == "cpu" else None,
        notes=images.notes,
        fresh=tuple(fresh),
        ratios=tuple(ratios(optimizer)),
    )
