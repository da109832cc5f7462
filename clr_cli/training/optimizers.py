"""Optimizers by name: torch's own, and people's classes and functions.

To add one of torch's: list the keys that it takes in ``config.sections.OPTIMIZERS``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from clr_cli.config.sections import OPTIMIZERS, OptimizerConfig
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
    given: OptimizerConfig, model: nn.Module, device: torch.device, *, allow_code: bool = False
) -> Optimizer:
    """Build the optimizer of a model that is on its device already.

    ``module:function`` is called with the model, or with its parameters if it is a class of
    optimizers, and with the settings. Its rates count only in their ratio to one another: the
    schedule's is that of the group with the highest rate.

    Raises:
        InputError: it cannot be imported or built, or is not an optimizer.
    """
    foreign = given.name not in OPTIMIZERS
    make: Any = (
        import_callable(given.name, "optimizer.name", allow_code) if foreign else TORCH[given.name]
    )
    takes_parameters = inspect.isclass(make) and issubclass(make, Optimizer)
    what = model.parameters() if takes_parameters else model
    try:
        optimizer = make(
            what, **{**({} if foreign else _arguments(given, device)), **_settings(given)}
        )
    except InputError:
        raise
    except Exception as error:
        said = f"{given.name} cannot be made: {first_line(error)}"
        key = "optimizer.settings" if given.settings else "optimizer.name"
        raise InputError(said, key=key) from error
    missing = [name for name in NEEDED if not hasattr(optimizer, name)]
    if missing:
        kind = type(optimizer).__name__
        said = f"{given.name} gave a {kind}, which has no {missing[0]}: not an optimizer"
        raise InputError(said, key="optimizer.name")
    try:
        ratios(optimizer)
    except ValueError as error:
        raise InputError(f"{given.name}: {error}", key="optimizer.name") from error
    return optimizer  # type: ignore[no-any-return]


def _settings(given: OptimizerConfig) -> dict[str, Any]:
    """Return the settings as torch's optimizers take them: pairs are tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given.settings.items()}


def _arguments(given: OptimizerConfig, device: torch.device) -> dict[str, Any]:
    """Translate the config's keys to those of one of torch's optimizers. Raises InputError."""
    if "lr" in given.settings:
        raise InputError("the schedule sets it", key="optimizer.settings.lr")
    arguments = given.used
    if given.name not in ("sgd", "rmsprop") and "momentum" in arguments:
        arguments["betas"] = (arguments.pop("momentum"), 0.999)
    # The schedule sets the rate before every step; this one is never used. A CUDA graph reads it
    # from memory at every step, a number would be frozen into it. Steps without a graph have it
    # there too: a number would be taken in double precision, and the weights would differ.
    fused = given.name in FUSED
    lr = torch.tensor(1.0, device=device) if fused and device.type == "cuda" else 1.0
    return {**arguments, "lr": lr, **({"fused": True} if fused else {})}


def supports_cuda_graph(optimizer: Optimizer) -> bool:
    """Return whether all that changes between its steps is on the device, as a graph needs it."""
    return all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)


def state_to_save(optimizer: Optimizer) -> dict[str, Any]:
    """Return what a checkpoint keeps of an optimizer.

    Torch's own keep what they have learned in ``state``. Others also count and average in their
    parameter groups. The rate is not kept: it is the schedule's business.
    """
    whole = optimizer.state_dict()
    groups = [
        {k: v for k, v in group.items() if k not in ("params", "lr") and _plain(v)}
        for group in whole["param_groups"]
    ]
    return {"state": whole["state"], "groups": [] if _own(optimizer) else groups}


def load_state(optimizer: Optimizer, kept: Mapping[str, Any]) -> None:
    """Go on from ``state_to_save``, with the present hyperparameters of torch's own optimizers."""
    groups = optimizer.state_dict()["param_groups"]  # whose tensors are on the device already
    for group, values in zip(groups, kept.get("groups", []), strict=False):
        group.update(values)
    optimizer.load_state_dict({"state": kept["state"], "param_groups": groups})


def _own(optimizer: Optimizer) -> bool:
    return type(optimizer) in TORCH.values()


def _plain(value: Any) -> bool:
    """Return whether a checkpoint may hold it: it is loaded without running code."""
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, Tensor))
