"""Build optimizers by name: torch's, and the user's classes and functions.

To add one of torch's: add it to ``TORCH``, and the keys that it takes to
``config.sections.OPTIMIZERS``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from clr_cli.config.sections import OPTIMIZERS, OptimizerConfig, with_numbers
from clr_cli.errors import InputError
from clr_cli.schedules.as_torch import ratios
from clr_cli.training.code import first_line, import_callable

TORCH = {
    "sgd": torch.optim.SGD,
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
FUSED = ("sgd", "adamw", "adam")  # one kernel a step, and a rate that may be a tensor
NEEDED = ("param_groups", "step", "zero_grad", "state_dict", "load_state_dict")


def build_optimizer(
    config: OptimizerConfig, model: nn.Module, device: torch.device, *, allow_code: bool = False
) -> Optimizer:
    """Build the optimizer of a model that is on its device.

    ``module:function`` is called with the model, or with its parameters if it is a class of
    optimizers, and with the settings. Only the ratios of its rates count: the group with the
    highest rate gets the schedule's.

    Raises:
        InputError: it cannot be imported or built, or is not an optimizer.
    """
    foreign = config.name not in OPTIMIZERS
    make: Any = (
        import_callable(config.name, "optimizer.name", allow_code)
        if foreign
        else TORCH[config.name]
    )
    takes_parameters = inspect.isclass(make) and issubclass(make, Optimizer)
    what = model.parameters() if takes_parameters else model
    try:
        optimizer = make(
            what, **{**({} if foreign else _arguments(config, device)), **_settings(config)}
        )
    except InputError:
        raise
    except Exception as error:
        message = f"{config.name} cannot be built: {first_line(error)}"
        key = "optimizer.settings" if config.settings else "optimizer.name"
        raise InputError(message, key=key) from error
    missing = [name for name in NEEDED if not hasattr(optimizer, name)]
    if missing:
        kind = type(optimizer).__name__
        message = f"{config.name} returned a {kind} without {missing[0]}; expected an optimizer"
        raise InputError(message, key="optimizer.name")
    try:
        ratios(optimizer)
    except ValueError as error:
        raise InputError(f"{config.name}: {error}", key="optimizer.name") from error
    return optimizer  # type: ignore[no-any-return]


def _settings(config: OptimizerConfig) -> dict[str, Any]:
    """Return the settings in the form of torch's optimizers: pairs are tuples."""
    settings = with_numbers(config.settings)
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}


def _arguments(config: OptimizerConfig, device: torch.device) -> dict[str, Any]:
    """Translate the config's keys to those of one of torch's optimizers. Raises InputError."""
    if "lr" in config.settings:
        raise InputError("the schedule sets it; leave it out", key="optimizer.settings.lr")
    arguments = config.used
    if config.name not in ("sgd", "rmsprop") and "momentum" in arguments:
        arguments["betas"] = (arguments.pop("momentum"), 0.999)
    # The schedule sets the rate before every step; this value is never used. It is a tensor because
    # a CUDA graph would freeze a number. Steps without a graph use a tensor as well: a number would
    # be used in double precision, and the weights would differ.
    fused = config.name in FUSED
    lr = torch.tensor(1.0, device=device) if fused and device.type == "cuda" else 1.0
    return {**arguments, "lr": lr, **({"fused": True} if fused else {})}


def supports_cuda_graph(optimizer: Optimizer) -> bool:
    """Return whether all state that changes between steps is on the device, as a graph needs."""
    return all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)


def state_to_save(optimizer: Optimizer) -> dict[str, Any]:
    """Return what a checkpoint keeps of an optimizer.

    Torch's optimizers have their state in ``state``; others also count and average in their
    parameter groups. The rate is left out: the schedule sets it.
    """
    whole = optimizer.state_dict()
    groups = [
        {k: v for k, v in group.items() if k not in ("params", "lr") and _plain(v)}
        for group in whole["param_groups"]
    ]
    return {"state": whole["state"], "groups": [] if _own(optimizer) else groups}


def load_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Restore a saved state, with the present hyperparameters of torch's optimizers."""
    groups = optimizer.state_dict()["param_groups"]  # their tensors are on the device
    for group, values in zip(groups, saved.get("groups", []), strict=False):
        group.update(values)
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _own(optimizer: Optimizer) -> bool:
    return type(optimizer) in TORCH.values()


def _plain(value: Any) -> bool:
    """Return whether a checkpoint may contain a value: checkpoints are loaded without code."""
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, Tensor))
