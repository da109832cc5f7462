"""Build a fresh training state from a config: model, optimizer, schedule, data."""

from __future__ import annotations

import torch
from torch import nn

from clr_cli.config.model import Config
from clr_cli.data.batches import Resident, derive_seed
from clr_cli.errors import InputError
from clr_cli.schedules import Schedule
from clr_cli.training.device import make_exact
from clr_cli.training.models import build_model
from clr_cli.training.optimizers import build_optimizer
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.state import TrainState
from clr_cli.training.switch import has_switch
from clr_cli.training.weights import load_weights


def build(
    config: Config,
    schedule: Schedule,
    data: Resident,
    *,
    seed: int,
    precision: str,
    allow_code: bool = False,
    ranks: Ranks = SINGLE,
) -> TrainState:
    """Build a model and an optimizer. Random weights depend on the seed alone.

    Args:
        config: the arm's config.
        schedule: its schedule, in iterations.
        data: the data set on its device, to which the model is moved.
        seed: of weights, data order and augmentation.
        precision: ``fp32`` or ``bf16``.
        allow_code: whether the user's own code may run.
        ranks: the processes that share the run.

    Raises:
        InputError: the model, its weights or the batch size do not fit the data.
    """
    training = config.training
    batch_size = training.batch_size
    make_exact(data.labels.device)
    data.steps_per_epoch(batch_size)  # raises InputError if there is no full batch
    device = data.labels.device
    if batch_size % ranks.world:
        raise InputError(
            f"{batch_size} cannot be split over {ranks.world} ranks", key="training.batch_size"
        )
    share = batch_size // ranks.world
    if share % training.accumulate:
        raise InputError(
            f"{share} images of a batch cannot be cut into {training.accumulate} equal parts",
            key="training.accumulate",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 0, "init"))
        model = build_model(
            config.model,
            in_channels=data.channels,
            image_size=(data.height, data.width),
            num_classes=data.num_classes,
            allow_code=allow_code,
        )
    load_weights(config.model, model, data.num_classes)
    if training.sync_batch_norm and ranks.world > 1:
        if device.type != "cuda":
            raise InputError(
                "PyTorch supports it on CUDA only; leave it out", key="training.sync_batch_norm"
            )
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(config.optimizer, model, device, allow_code=allow_code)
    if training.ema is not None and has_switch(optimizer):
        raise InputError(
            f"{config.optimizer.name} averages the weights itself; leave this key out",
            key="training.ema",
        )
    averages = training.ema is not None or has_switch(optimizer)
    if averages and training.sync_batch_norm and ranks.world > 1:
        raise InputError(
            "does not work with averaged weights: rank 0 alone measures batch norm for them",
            key="training.sync_batch_norm",
        )
    return TrainState(
        model=model,
        optimizer=optimizer,
        schedule=schedule,
        data=data,
        batch_size=batch_size,
        label_smoothing=training.label_smoothing,
        seed=seed,
        autocast=torch.bfloat16 if precision == "bf16" else None,
        accumulate=training.accumulate,
        clip_norm=training.clip_norm,
        ema=training.ema,
        cuda_graph=training.cuda_graph,
        ranks=ranks,
    )
