"""Build models by name: clr's for small images, torchvision's, and the user's functions.

To add one: write a function with the keyword arguments `num_classes`, `in_channels` and those that
`model.width`, `depth`, `pools` and `settings` may set, and add it to MODELS.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from clr_cli.config.hints import did_you_mean
from clr_cli.config.sections import ModelConfig
from clr_cli.errors import InputError
from clr_cli.training.code import first_line, import_callable


def cnn(*, num_classes: int, in_channels: int, width: int = 32, pools: int = 2) -> nn.Module:
    """Build a small VGG-like network: three stages of two 3x3 convolutions with batch norm.

    The stages have `width`, 2 `width` and 4 `width` channels; the first `pools` of them end in
    max-pooling, right after the convolution, so that batch norm and ReLU see a quarter of the
    pixels. A global average and one linear layer follow. Images need 2 ** `pools` pixels a side.
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for stage in range(3):
        outputs = width * 2**stage
        for convolution in range(2):
            layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=False))
            if convolution == 1 and stage < pools:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            channels = outputs
    layers += [GlobalAverage(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers)


class GlobalAverage(nn.Module):
    """The mean of every channel: (N, C, H, W) becomes (N, C).

    Its gradient is channels_last if the activations are. That of AdaptiveAvgPool2d is not, so the
    layers before it would run on mixed layouts.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Average over height and width."""
        return avg_pool2d(x, list(x.shape[-2:])).flatten(1)


def resnet18(*, num_classes: int, in_channels: int) -> nn.Module:
    """Build ResNet-18 for 32x32 images: a 3x3 stem of stride 1, no max-pooling (He et al. 2016)."""
    from torchvision import models

    model = models.resnet18(weights=None, num_classes=num_classes)
    model.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model  # type: ignore[no-any-return]


class WideBlock(nn.Module):
    """Two pre-activated 3x3 convolutions around a shortcut (Zagoruyko & Komodakis 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, (N, outputs, ...), for (N, inputs, H, W)."""
        active = relu(self.bn1(x))
        # If the shape changes, the shortcut begins after the activation, as in the authors' code.
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return shortcut + self.conv2(relu(self.bn2(self.conv1(active))))  # type: ignore[no-any-return]


def wrn(*, num_classes: int, in_channels: int, width: int = 4, depth: int = 16) -> nn.Module:
    """Build WRN-`depth`-`width`, pre-activated, without dropout (Zagoruyko & Komodakis 2016).

    `depth` is 6 n + 4, n blocks in each of three groups. Raises InputError for another depth.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise InputError(
            f"{depth} must be 6 n + 4 for wrn: 10, 16, 22, 28, 34, 40", key="model.depth"
        )
    layers: list[nn.Module] = [nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)]
    channels = 16
    for group in range(3):
        outputs = 16 * width * 2**group
        for block in range(blocks):
            layers.append(WideBlock(channels, outputs, 2 if group and not block else 1))
            channels = outputs
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), GlobalAverage()]
    model = nn.Sequential(*layers, nn.Linear(channels, num_classes))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


MODELS: dict[str, Callable[..., nn.Module]] = {"cnn": cnn, "resnet18": resnet18, "wrn": wrn}


def build_model(
    config: ModelConfig,
    *,
    in_channels: int,
    image_size: tuple[int, int],
    num_classes: int,
    allow_code: bool = False,
) -> nn.Module:
    """Build the named model with fresh weights from torch's global generator, on the CPU.

    It maps (N, in_channels, *image_size) to logits (N, num_classes), which is checked with two
    black images, in training and in evaluation. `module.path:function` is imported and called
    only with `allow_code`, or CLR_ALLOW_CODE=1 in the environment.

    Args:
        config: the config's section; `load_weights` handles its `weights`.
        in_channels: the images' channels.
        image_size: their height and width.
        num_classes: the number of classes.
        allow_code: whether the user's own code may run.

    Raises:
        InputError: the model cannot be built or used.
    """
    name = config.name
    for key in ("num_classes", "in_channels"):
        if key in config.settings:
            raise InputError("the data determines it; leave it out", key=f"model.settings.{key}")
    if name.startswith("torchvision:"):
        function = _torchvision(name.removeprefix("torchvision:"), in_channels, image_size)
    elif ":" in name:
        function = import_callable(name, "model.name", allow_code)
    elif name in MODELS:
        function = MODELS[name]
    else:
        known = [*MODELS, "torchvision:<name>", "module.path:function"]
        raise InputError(f"{name!r} is unknown{did_you_mean(name, known)}", key="model.name")
    _check_arguments(config, function)
    try:
        model = function(num_classes=num_classes, in_channels=in_channels, **config.arguments)
    except InputError:
        raise
    except Exception as error:
        key = "model.settings" if config.settings else "model.name"
        raise InputError(f"{name} cannot be built: {first_line(error)}", key=key) from error
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{name} returned a {type(model).__name__}; expected a torch module", key="model.name"
        )
    if config.output is not None:
        # A hook instead of a wrapper, so that the weights keep their names.
        model.register_forward_hook(partial(_pick, config.output))
    for training in (False, True):
        _check_output(name, model.train(training), (2, in_channels, *image_size), num_classes)
    return model


def _pick(output: str | int, module: nn.Module, images: Any, answer: Any) -> Any:
    """Return the part of a model's output that is the logits; some have parts in training only.

    Raises:
        InputError: the output has no such part.
    """
    if isinstance(answer, Tensor):
        return answer
    try:
        if isinstance(answer, Mapping) or isinstance(output, int):
            return answer[output]
        return getattr(answer, output)
    except (LookupError, TypeError, AttributeError):
        raise InputError(
            f"{output!r} is not part of the model's output, {_describe(answer)}", key="model.output"
        ) from None


def _describe(answer: Any) -> str:
    """Describe a model's output, and the parts that may be chosen."""
    kind = type(answer).__name__
    if isinstance(answer, Tensor):
        return str(tuple(answer.shape))
    if isinstance(answer, Mapping):
        return f"a {kind} of {', '.join(map(str, answer))}"
    if isinstance(answer, tuple | list):
        names = getattr(answer, "_fields", range(len(answer)))
        return f"a {kind} of {', '.join(map(str, names))}"
    return f"a {kind}"


def _torchvision(
    name: str, in_channels: int, image_size: tuple[int, int]
) -> Callable[..., nn.Module]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise InputError(
            f"torchvision does not have {name!r}{did_you_mean(name, known)}", key="model.name"
        )
    if in_channels != 3:
        raise InputError(
            f"torchvision's {name} needs 3 channels, not {in_channels}", key="model.name"
        )
    fixed = {}
    if name.startswith("vit_"):
        height, width = image_size
        if height != width:
            raise InputError(
                f"torchvision's {name} needs square images, not {height} x {width}",
                key="model.name",
            )
        fixed["image_size"] = height

    def build(*, num_classes: int, in_channels: int, **settings: Any) -> nn.Module:
        return models.get_model(  # type: ignore[no-any-return]
            name, weights=None, num_classes=num_classes, **{**fixed, **settings}
        )

    return build


def _check_arguments(config: ModelConfig, function: Callable[..., Any]) -> None:
    """Raise InputError unless the function takes the common arguments and those of the config."""
    try:
        taken = inspect.signature(function).parameters
    except ValueError:  # a built-in function without a signature
        taken = MappingProxyType({})
    name = config.name
    sizes = [key for key in config.arguments if key not in config.settings]
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    if open_ended and not (sizes and name.startswith("torchvision:")):
        return
    for key in ("num_classes", "in_channels"):
        if key not in taken:
            raise InputError(f"{name} must take the keyword argument {key}", key="model.name")
    for key in config.arguments:
        if key not in taken:
            place = f"model.{key}" if key in sizes else f"model.settings.{key}"
            raise InputError(f"{name} does not take {key}; leave it out", key=place)


def _check_output(name: str, model: nn.Module, shape: tuple[int, ...], num_classes: int) -> None:
    # With copies of the buffers and a forked generator, so that model and generator stay unchanged.
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = torch.func.functional_call(model, buffers, (torch.zeros(shape),))
    except InputError:
        raise
    except Exception as error:
        size = " x ".join(map(str, shape[1:]))
        raise InputError(
            f"{name} fails on {size} images: {first_line(error)}", key="model.name"
        ) from error
    expected = (shape[0], num_classes)
    if not isinstance(logits, Tensor) or logits.shape != expected:
        hint = (
            ""
            if isinstance(logits, Tensor)
            else "; set model.output to the part that is the logits"
        )
        raise InputError(
            f"{name} returns {_describe(logits)}; expected logits of shape {expected}{hint}",
            key="model.name",
        )
