"""Models: what they are (shapes, parameter counts) and which names and code are refused."""

from __future__ import annotations

import sys

import pytest
import torch

from clr_cli.config.sections import ModelConfig
from clr_cli.errors import InputError
from clr_cli.training.models import MODELS, build_model

OWN_CODE = """
import torch
from torch import nn

def net(*, num_classes, in_channels, width=8):
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(), nn.Linear(width, num_classes),
    )

def open_ended(**options):
    return net(num_classes=options["num_classes"], in_channels=3, width=options["depth"])

def positional(classes):
    return nn.Linear(1, classes)

def headless(*, num_classes, in_channels):
    return nn.Conv2d(in_channels, num_classes, 1)

def no_module(*, num_classes, in_channels):
    return "a network"

def wrong_input(*, num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, num_classes))

def broken(*, num_classes, in_channels):
    return nn.Linear(num_classes, -1)

number = 3

from collections import namedtuple
Two = namedtuple("Two", "logits features")

class Answers(nn.Module):
    # Logits among others, in the form that is named; perhaps alone in evaluation.

    def __init__(self, form, plain_eval, **sizes):
        super().__init__()
        self.net, self.form, self.plain_eval = net(**sizes), form, plain_eval

    def forward(self, x):
        logits = self.net(x)
        if self.plain_eval and not self.training:
            return logits
        parts = {"features": x, "logits": logits}
        return {
            "dict": parts,
            "tuple": (logits, x),
            "named": Two(logits, x),
            "object": type("Output", (), parts)(),
        }[self.form]

def several(*, num_classes, in_channels, form, plain_eval=False):
    return Answers(form, plain_eval, num_classes=num_classes, in_channels=in_channels)
"""


def build(name, *, channels=3, size=32, classes=10, allow_code=False, **keys):
    sides = size if isinstance(size, tuple) else (size, size)
    return build_model(
        ModelConfig(name=name, **keys),
        in_channels=channels,
        image_size=sides,
        num_classes=classes,
        allow_code=allow_code,
    )


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small run no faster on more, and far slower where others use the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("CLR_ALLOW_CODE", raising=False)
    (tmp_path / "clr_test_own.py").write_text(OWN_CODE)
    yield
    sys.modules.pop("clr_test_own", None)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28)])
@pytest.mark.parametrize("name", MODELS)
def test_own_models_give_logits_and_gradients_for_any_small_image(name, channels, size):
    model = build(name, channels=channels, size=size, classes=7)
    logits = model(torch.rand(2, channels, size, size))
    assert logits.shape == (2, 7)
    logits.logsumexp(1).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "sizes", "parameters"),
    [
        ("cnn", {}, 288_746),
        ("cnn", {"pools": 3}, 288_746),
        ("resnet18", {}, 11_173_962),  # the figure known for its CIFAR-10 form
        ("wrn", {"depth": 16, "width": 4}, 2_748_890),  # 2.7 M in the paper
        ("wrn", {"depth": 28, "width": 10}, 36_479_194),  # 36.5 M
    ],
)
def test_parameter_counts_are_those_of_the_known_networks(name, sizes, parameters):
    assert count(build(name, **sizes)) == parameters


def test_width_sets_the_channels_of_the_cnn():
    widths = [m.out_channels for m in build("cnn", width=8).modules() if hasattr(m, "out_channels")]
    assert widths == [8, 8, 16, 16, 32, 32]


@pytest.mark.parametrize(("pools", "side"), [(0, 32), (2, 8), (3, 4)])
def test_pools_halve_the_side_that_is_averaged(pools, side):
    *before, average, linear = build("cnn", width=2, pools=pools)
    features = torch.nn.Sequential(*before)(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 8, side, side)
    assert linear(average(features)).shape == (2, 10)


def test_no_convolution_before_a_batch_norm_has_a_bias():
    for name in MODELS:
        convolutions = [m for m in build(name).modules() if isinstance(m, torch.nn.Conv2d)]
        assert all(convolution.bias is None for convolution in convolutions)


def test_resnet18_keeps_the_resolution_that_32x32_images_need():
    model = build("resnet18")
    stem = model.maxpool(model.conv1(torch.rand(1, 3, 32, 32)))
    assert stem.shape == (1, 64, 32, 32)


@pytest.mark.parametrize("name", ["cnn", "wrn", "torchvision:mobilenet_v3_small"])
def test_the_weights_follow_from_the_seed_alone(name):
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build(name).state_dict() | {"next": torch.rand(4)})
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    torch.manual_seed(4)
    assert not torch.equal(next(iter(build(name).parameters())), next(iter(states[0].values())))


def test_trying_the_model_leaves_batch_norm_and_the_generator_alone(own_code):
    model = build("cnn")
    assert model.training
    norm = next(m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert norm.num_batches_tracked == 0
    assert norm.running_mean.abs().sum() == 0

    torch.manual_seed(0)
    build("clr_test_own:net", allow_code=True)  # its dropout draws in the trial
    after = torch.rand(3)
    torch.manual_seed(0)
    sys.modules["clr_test_own"].net(num_classes=10, in_channels=3)
    assert torch.equal(after, torch.rand(3))


def test_models_run_channels_last_in_bf16():
    model = build("cnn", width=8).to(memory_format=torch.channels_last)
    images = torch.rand(4, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    assert logits.dtype == torch.bfloat16
    assert torch.allclose(logits.float(), model(images), atol=0.1)


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v3_small", "torchvision:vit_b_32"])
def test_torchvision_models_get_the_number_of_classes_and_the_image_size(name):
    assert build(name, classes=12)(torch.rand(2, 3, 32, 32)).shape == (2, 12)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, "model.name: 'resnet81' is unknown; did you mean 'resnet18'?"),
        ("transformer", {}, "model.name: 'transformer' is unknown; known: cnn, resnet18, wrn"),
        ("torchvision:resnet19", {}, "does not have 'resnet19'; did you mean 'resnet1"),
        ("torchvision:fasterrcnn_resnet50_fpn", {}, "does not have 'fasterrcnn_resnet50_fpn'"),
        ("torchvision:resnet18", {"channels": 1}, "resnet18 needs 3 channels, not 1"),
        ("torchvision:alexnet", {}, "torchvision:alexnet fails on 3 x 32 x 32 images: RuntimeErr"),
        (
            "torchvision:resnet18",
            {"width": 2},
            "model.width: torchvision:resnet18 does not take width",
        ),
        ("cnn", {"depth": 4}, "model.depth: cnn does not take depth; leave it out"),
        ("cnn", {"size": 2}, "model.name: cnn fails on 3 x 2 x 2 images"),
        ("cnn", {"size": 4, "pools": 3}, "model.name: cnn fails on 3 x 4 x 4 images"),
        ("wrn", {"pools": 3}, "model.pools: wrn does not take pools; leave it out"),
        ("resnet18", {"width": 4}, "model.width: resnet18 does not take width; leave it out"),
        ("wrn", {"depth": 20}, "model.depth: 20 must be 6 n + 4 for wrn"),
        ("wrn", {"depth": 4}, "model.depth: 4 must be 6 n + 4"),
    ],
)
def test_models_that_cannot_be_used_are_refused_in_a_line(name, options, message):
    with pytest.raises(InputError) as caught:
        build(name, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_code_runs_only_when_allowed(own_code, monkeypatch):
    with pytest.raises(InputError, match=r"--allow-code \(or CLR_ALLOW_CODE=1\)"):
        build("clr_test_own:net")
    assert "clr_test_own" not in sys.modules
    monkeypatch.setenv("CLR_ALLOW_CODE", "0")
    with pytest.raises(InputError, match="--allow-code"):
        build("clr_test_own:net")
    monkeypatch.setenv("CLR_ALLOW_CODE", "1")
    assert build("clr_test_own:net")[0].out_channels == 8
    monkeypatch.delenv("CLR_ALLOW_CODE")
    assert build("clr_test_own:net", width=5, allow_code=True)[0].out_channels == 5
    assert build("clr_test_own:open_ended", depth=6, allow_code=True)[0].out_channels == 6


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clr_test_own:nett", {}, "does not contain a function 'nett'; did you mean 'net'?"),
        ("clr_test_own:number", {}, "clr_test_own does not contain a function 'number'"),
        ("clr_test_absent:net", {}, "cannot import 'clr_test_absent': ModuleNotFoundError"),
        (":net", {}, "cannot import '': ValueError"),
        ("clr_test_own:net", {"depth": 3}, "model.depth: clr_test_own:net does not take depth"),
        ("clr_test_own:positional", {}, "must take the keyword argument num_classes"),
        ("torch:relu", {}, "torch:relu must take the keyword argument num_classes"),
        ("clr_test_own:broken", {}, "clr_test_own:broken cannot be built: RuntimeError"),
        ("clr_test_own:no_module", {}, "no_module returned a str; expected a torch"),
        ("clr_test_own:headless", {}, "returns (2, 10, 32, 32); expected logits of shape (2, 10)"),
        ("clr_test_own:wrong_input", {}, "fails on 3 x 32 x 32 images: RuntimeError"),
    ],
)
def test_own_code_that_does_not_fit_is_refused_in_a_line(own_code, name, options, message):
    with pytest.raises(InputError) as caught:
        build(name, allow_code=True, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# ---- settings, answers of several parts, images that are not square


@pytest.mark.parametrize(
    ("form", "output"),
    [("dict", "logits"), ("tuple", 0), ("named", "logits"), ("named", 0), ("object", "logits")],
)
@pytest.mark.parametrize("plain_eval", [False, True])
def test_the_logits_are_picked_from_an_answer_of_several_parts(own_code, form, output, plain_eval):
    settings = {"form": form, "plain_eval": plain_eval}
    model = build("clr_test_own:several", settings=settings, output=output, allow_code=True)
    images = torch.rand(4, 3, 32, 32)
    for training in (True, False):
        model.train(training)
        torch.manual_seed(0)
        picked = model(images)
        torch.manual_seed(0)
        assert torch.equal(picked, model.net(images))
    assert all(name.startswith("net.") for name in model.state_dict())


@pytest.mark.parametrize(
    ("form", "output", "message"),
    [
        ("dict", None, "returns a dict of features, logits; expected logits of shape (2, 10); set"),
        ("named", None, "returns a Two of logits, features; expected logits"),
        ("tuple", None, "returns a tuple of 0, 1; expected logits"),
        ("dict", "logit", "'logit' is not part of the model's output, a dict of features"),
        ("tuple", 2, "model.output: 2 is not part of the model's output, a tuple of 0, 1"),
        ("object", 0, "model.output: 0 is not part of the model's output, a Output"),
        ("dict", "features", "returns (2, 3, 32, 32); expected logits of shape (2, 10)"),
    ],
)
def test_an_output_that_is_not_there_is_refused_in_a_line(own_code, form, output, message):
    with pytest.raises(InputError) as caught:
        build("clr_test_own:several", settings={"form": form}, output=output, allow_code=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_reach_torchvision_and_own_functions(own_code):
    slim = build("torchvision:mobilenet_v3_small", settings={"width_mult": 0.5})
    assert count(slim) < count(build("torchvision:mobilenet_v3_small"))
    assert build("clr_test_own:net", settings={"width": 3}, allow_code=True)[0].out_channels == 3
    assert build("cnn", settings={"width": 3})[0].out_channels == 3


@pytest.mark.slow
def test_googlenet_trains_with_and_without_its_auxiliary_heads():
    settings = {"init_weights": False}
    name = "torchvision:googlenet"
    with_heads = build(name, size=64, settings=settings, output="logits")
    without = build(name, size=64, settings={**settings, "aux_logits": False})
    assert count(without) < count(with_heads)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("torchvision:resnet18", {"wide": 2}, "model.settings: torchvision:resnet18 cannot be bu"),
        ("cnn", {"height": 2}, "model.settings.height: cnn does not take height; leave it out"),
        ("cnn", {"num_classes": 2}, "model.settings.num_classes: the data determines it"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_a_line(name, settings, message):
    with pytest.raises(InputError) as caught:
        build(name, settings=settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["cnn", "resnet18", "wrn", "torchvision:mobilenet_v3_small"])
def test_images_need_not_be_square(name):
    assert build(name, size=(16, 24))(torch.rand(2, 3, 16, 24)).shape == (2, 10)


def test_narrow_images_are_tried_as_they_are():
    assert build("cnn", size=(32, 3), pools=1)(torch.rand(2, 3, 32, 3)).shape == (2, 10)
    with pytest.raises(InputError, match="cnn fails on 3 x 32 x 3 images"):
        build("cnn", size=(32, 3))


def test_a_transformer_on_images_that_are_not_square_is_refused_in_a_line():
    with pytest.raises(InputError) as caught:
        build("torchvision:vit_b_16", size=(32, 48))
    assert str(caught.value) == (
        "model.name: torchvision's vit_b_16 needs square images, not 32 x 48"
    )
