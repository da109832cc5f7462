"""Load initial weights: from a file, a finished run, or torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clr_cli.config.hints import did_you_mean
from clr_cli.config.sections import ModelConfig
from clr_cli.errors import InputError
from clr_cli.files import check_archive, read_json
from clr_cli.paths import CONFIG, MODEL, RESULT
from clr_cli.training.code import first_line

INSIDE = ("weights", "model", "state_dict")  # keys under which a file may contain the weights
KEY = "model.weights"


def load_weights(config: ModelConfig, model: nn.Module, num_classes: int) -> list[str]:
    """Load the config's weights, if it names any, into a model.

    A tensor that differs only in its first size, ``num_classes`` in the model, belongs to a head
    for other classes: it keeps its random values.

    Returns:
        The names of those tensors.

    Raises:
        InputError: the weights cannot be read, or belong to another model.
    """
    if config.weights is None:
        return []
    source, own = config.weights, model.state_dict()
    weights, complete = _read(config.name, source), True
    if weights is None:
        weights, complete = _download(config.name, source), False
    # Old files lack the counters of batch norm.
    counters = {name: v for name, v in own.items() if name.endswith("num_batches_tracked")}
    weights = {**counters, **weights}
    missing = [name for name in own if name not in weights]
    # torchvision's weights have parts that a model may lack, such as auxiliary classifiers.
    surplus = [name for name in weights if name not in own] if complete else []
    for names, what in ((missing, "lack"), (surplus, "have")):
        if names:
            named = f"{names[0]!r}" + (f" and {len(names) - 1} more" if names[1:] else "")
            other = "which the model has" if what == "lack" else "which the model does not have"
            raise InputError(f"{source}: the weights {what} {named}, {other}", key=KEY)
    head = [name for name, value in own.items() if weights[name].shape != value.shape]
    for name in head:
        there, here = weights[name].shape, own[name].shape
        if here[1:] != there[1:] or here[:1] != (num_classes,):
            raise InputError(
                f"{source}: {name} has shape {tuple(there)} there and {tuple(here)} in the model",
                key=KEY,
            )
    model.load_state_dict({name: own[name] if name in head else weights[name] for name in own})
    return head


def model_in(folder: Path, key: str | None = None) -> Path:
    """Return the model.pt of a finished run. Raises InputError that says why there is none."""
    if (folder / MODEL).is_file():
        return folder / MODEL
    if not (folder / CONFIG).is_file():
        why = "not the folder of a run"
    elif not (folder / RESULT).is_file():
        why = f"the run is not finished: expected {folder / MODEL}, which is written at its end"
    elif read_json(folder / RESULT).get("status") == "diverged":
        why = "the run diverged and left no model"
    else:
        why = f"without a {MODEL}; sweeps, probes and runs of programs have none"
    raise InputError(f"{folder}: {why}", key=key)


def _read(name: str, source: str) -> dict[str, Tensor] | None:
    """Read weights from a file or a finished run; None if the name is torchvision's."""
    path = Path(source)
    if path.is_dir():
        path = model_in(path, KEY)
    if not path.is_file():
        if name.startswith("torchvision:") and path.name == source and not path.suffix:
            return None
        raise InputError(f"{path}: not found", key=KEY)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            if path != Path(source):  # of a run; others may have no checksums
                check_archive(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError:
        raise InputError(
            f"{path}: needs the extra: pip install 'clr-cli[safetensors]'", key=KEY
        ) from None
    except Exception as error:  # whatever is wrong, it cannot be used
        raise InputError(f"{path}: not readable as weights: {first_line(error)}", key=KEY) from None
    for inside in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(inside), Mapping):
            content = content[inside]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path}: not a state dict of names and tensors", key=KEY)
    return dict(content)


def _download(name: str, weights: str) -> dict[str, Tensor]:
    """Download torchvision's weights of that name for a model, or read them from its cache."""
    from torchvision import models

    model = name.removeprefix("torchvision:")
    known = {**models.get_model_weights(model).__members__}
    if weights not in known:
        raise InputError(
            f"{weights!r} is neither a file nor weights of torchvision's {model}"
            f"{did_you_mean(weights, [*known])}",
            key=KEY,
        )
    try:
        return dict(known[weights].get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # a download can fail in many ways
        raise InputError(
            f"torchvision's {weights} for {model} cannot be downloaded ({first_line(error)}); "
            "set model.weights to a file",
            key=KEY,
        ) from None
