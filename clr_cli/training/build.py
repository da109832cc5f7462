"""Build a fresh training state from a config: model, optimizer, schedule, data."""

from __future__ import annotations

import torch
from torch import nn

from clr_cli.config.model import Config
from clr_cli.config.sections import ModelConfig
from clr_cli.data.batches import Resident, derive_seed
from clr_cli.errors import InputError
from clr_cli.schedules import Schedule
from clr_cli.training.device import make_exact
from clr_cli.training.models import build_model
from clr_cli.training.optimizers import build_optimizer
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.state import TrainState


def fresh_model(
    config: ModelConfig,
    *,
    channels: int,
    height: int,
    width: int,
    num_classes: int,
    allow_code: bool = False,
) -> nn.Module:
    """Build the model for images of this size, on the CPU, with weights from torch's generator.

    Raises:
        InputError: the model cannot be built, or does not fit the images.

    """
    return build_model(
        config,
        in_channels=channels,
        image_size=height,
        num_classes=num_classes,
        allow_code=allow_code,
    )


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
    """Build a fresh model and optimizer. The weights depend on the seed alone: arms are paired.

    Raises:
        InputError: the model, the optimizer or the batch size does not fit the data.

    """
    batch_size = config.training.batch_size
    make_exact(data.labels.device)
    data.steps_per_epoch(batch_size)  # raises if there is no full batch
    device = data.labels.device
    if batch_size % ranks.world:
        raise InputError(
            f"{batch_size} cannot be split over {ranks.world} ranks", key="training.batch_size"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, 0, "init"))
        model = fresh_model(
            config.model,
            channels=data.channels,
            height=data.height,
            width=data.width,
            num_classes=data.num_classes,
            allow_code=allow_code,
        )
    if config.training.sync_batch_norm and ranks.world > 1:
        if device.type != "cuda":
            raise InputError("PyTorch has it for CUDA only", key="training.sync_batch_norm")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainState(
        model=model,
        optimizer=build_optimizer(config.optimizer, model, device, allow_code=allow_code),
        schedule=schedule,
        data=data,
        batch_size=batch_size,
        label_smoothing=config.training.label_smoothing,
        seed=seed,
        autocast=torch.bfloat16 if precision == "bf16" else None,
        cuda_graph=config.training.cuda_graph,
        ranks=ranks,
    )
