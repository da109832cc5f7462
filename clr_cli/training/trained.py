"""Load the trained model of a finished run: ``clr.load``, and the file model.pt.

``model.pt`` contains the weights and buffers that were evaluated at the end. If an average was
evaluated, they differ from those with which training would continue.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from clr_cli.config.model import Config
from clr_cli.errors import InputError
from clr_cli.files import check_archive
from clr_cli.paths import CHECKPOINT, PREVIOUS_CHECKPOINT
from clr_cli.training.code import source_digests
from clr_cli.training.loop import evaluation_batch
from clr_cli.training.models import build_model
from clr_cli.training.state import TrainState
from clr_cli.training.switch import evaluating
from clr_cli.training.weights import model_in

SCHEMA = 1


def to_keep(state: TrainState, config: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the contents of model.pt: tensors and plain values, which load without code.

    Args:
        state: a run at its end; it is not changed.
        config: the config to which its folder belongs (``Config.for_run``).

    """
    with evaluating(state), state.stream.enter():
        weights = {name: value.cpu().clone() for name, value in state.model.state_dict().items()}
    data = state.data
    return {
        "schema": SCHEMA,
        "config": dict(config),
        "seed": state.seed,
        "epoch": state.epoch,
        "weights": weights,
        "image": [data.height, data.width, data.channels],
        "classes": list(data.classes),
        "scale": data.scale[: data.channels].cpu().clone(),
        "shift": data.shift[: data.channels].cpu().clone(),
        "precision": state.precision,
        "code": _code(config["model"]["name"]),
    }


class Trained(nn.Module):
    """A trained model from images, as in the data set, to logits.

    Attributes:
        classes: the names of the classes, in the order of the logits.
        config: the config of the run.
        image: (height, width, channels) of the images.
        seed, epoch: the seed of the run, and its number of epochs.
        precision: fp32 or bf16, in which it was evaluated and computes.

    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, config: Config, contents: Mapping[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.classes: tuple[str, ...] = tuple(contents["classes"])
        self.image: tuple[int, int, int] = tuple(contents["image"])
        self.seed: int = contents["seed"]
        self.epoch: int = contents["epoch"]
        self.precision: str = contents["precision"]
        self.register_buffer("scale", contents["scale"])
        self.register_buffer("shift", contents["shift"])

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, float32 (N, K), for uint8 images (N, H, W, C) on the model's device.

        Images of one channel may also be (N, H, W). Batches have the size with which the run
        evaluated, so that the results are the same.

        Raises:
            ValueError: the images have another type or shape.

        """
        if images.ndim == 3 and self.image[2] == 1:
            images = images.unsqueeze(-1)
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.image:
            size = ", ".join(map(str, self.image))
            raise ValueError(
                f"the images are {images.dtype} {tuple(images.shape)}, expected torch.uint8 "
                f"(N, {size}): pass them as in the data set, not scaled"
            )
        batches = torch.split(images, evaluation_batch(images.device))
        with torch.backends.cudnn.flags(  # as in training; see ``device.make_exact``
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            return torch.cat([self.logits(batch) for batch in batches])

    def logits(self, images: Tensor) -> Tensor:
        """Return logits for one batch of images (N, H, W, C), unchecked."""
        scaled = images.float() * self.scale + self.shift
        bf16 = self.precision == "bf16"
        with torch.autocast(images.device.type, torch.bfloat16 if bf16 else None, enabled=bf16):
            answer: Tensor = self.model(scaled.permute(0, 3, 1, 2))
        return answer.float()


def load(path: str | Path, *, allow_code: bool = False) -> Trained:
    """Load the trained model of a finished run, as ``api.load`` says. Raises InputError."""
    path = Path(path).expanduser()
    contents = read_kept(path)
    try:
        kept = contents["config"]
        # The name of a trial has an @, which a config's arms must not have.
        arms = {arm.replace("@", "-"): keys for arm, keys in kept["schedules"].items()}
        config = Config.model_validate({**kept, "schedules": arms})
    except (ValidationError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from error
    height, width, channels = contents["image"]
    with torch.random.fork_rng(devices=[]):
        model = build_model(
            config.model,
            in_channels=channels,
            image_size=(height, width),
            num_classes=len(contents["classes"]),
            allow_code=allow_code,
        )
    changed = contents["code"] != _code(config.model.name)
    try:
        model.load_state_dict(contents["weights"])
    except RuntimeError as error:
        why = "its code has changed since training" if changed else str(error).splitlines()[0]
        raise InputError(
            f"the weights do not fit {config.model.name}: {why}", source=path
        ) from error
    if changed:
        warnings.warn(
            f"{path}: the code of {config.model.name} has changed since training; its "
            "outputs may differ",
            stacklevel=3,  # the caller of clr.load
        )
    model = model.to(memory_format=torch.channels_last)
    return Trained(model, config, contents).eval()


def read_kept(path: Path) -> dict[str, Any]:
    """Read a run's model.pt. Raises InputError if it is missing or damaged."""
    if path.name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
        raise InputError(
            "this is a checkpoint, whose weights may differ from the evaluated ones; "
            "give the folder of the run",
            source=path,
        )
    file = model_in(path) if path.is_dir() else path
    if not file.is_file():
        raise InputError("no such file or folder", source=path)
    try:
        check_archive(file)
        contents = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever is wrong, it cannot be used
        raise _damaged(file, error) from error
    if not isinstance(contents, dict) or contents.get("schema") != SCHEMA:
        raise InputError("not a model.pt of this version of clr", source=file)
    return contents


def _code(name: str) -> dict[str, str]:
    """Return digests of the source of a user's model."""
    return source_digests(name.partition(":")[0]) if ":" in name else {}


def _damaged(file: Path, error: Exception) -> InputError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return InputError(f"damaged ({reason}); train again with --overwrite", source=file)
