"""Weights to start from: files, finished runs and torchvision's own."""

from __future__ import annotations

import json

import pytest
import torch
from torchvision import models as torchvision_models

from clr_cli.config.sections import ModelConfig
from clr_cli.errors import InputError
from clr_cli.training import weights
from clr_cli.training.models import build_model
from clr_cli.training.weights import load_weights


def build(config, classes=10, seed=0):
    torch.manual_seed(seed)
    return build_model(config, in_channels=3, image_size=(16, 16), num_classes=classes)


def start(source, *, classes=10, seed=1, **model):
    config = ModelConfig(weights=str(source), **{"width": 4, **model})
    built = build(config, classes, seed)
    return built, load_weights(config, built, classes)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.fixture
def trained():
    model = build(ModelConfig(width=4))
    for value in model.state_dict().values():
        value.add_(1)
    return model.state_dict()


@pytest.mark.parametrize("inside", [None, "model", "state_dict"])
def test_a_file_gives_all_weights_and_buffers(tmp_path, trained, inside):
    torch.save(trained if inside is None else {inside: trained, "epoch": 3}, tmp_path / "w.pt")
    model, fresh = start(tmp_path / "w.pt")
    assert fresh == []
    assert same(model.state_dict(), trained)


def test_safetensors_are_read_where_the_package_is_installed(tmp_path, trained):
    written = pytest.importorskip("safetensors.torch")
    written.save_file(trained, tmp_path / "w.safetensors")
    assert same(start(tmp_path / "w.safetensors")[0].state_dict(), trained)


def test_the_head_is_new_where_the_classes_differ(tmp_path, trained):
    torch.save(trained, tmp_path / "w.pt")
    model, fresh = start(tmp_path / "w.pt", classes=7)
    untouched = build(ModelConfig(width=4), 7, seed=1).state_dict()
    head = list(trained)[-2:]
    assert fresh == head
    for name, value in model.state_dict().items():
        assert torch.equal(value, untouched[name] if name in head else trained[name])


def test_a_finished_run_gives_its_weights_and_any_other_folder_says_why_not(tmp_path, trained):
    torch.save({"model": trained}, tmp_path / "checkpoint.pt")
    for file, content, why in (
        ("metrics.jsonl", None, "not the folder of a run"),
        ("config.yaml", {}, "the run is not finished"),
        ("result.json", {"status": "diverged"}, "the run diverged and left no model"),
        ("result.json", {"status": "finished"}, "sweeps, probes and runs of programs have none"),
    ):
        (tmp_path / file).write_text(json.dumps(content))
        with pytest.raises(InputError, match=rf"model\.weights: {tmp_path}: .*{why}"):
            start(tmp_path)
    torch.save({"weights": trained}, tmp_path / "model.pt")
    assert same(start(tmp_path)[0].state_dict(), trained)


def test_files_from_before_batch_norm_counted_are_read(tmp_path, trained):
    old = {k: v for k, v in trained.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "w.pth")
    model, _ = start(tmp_path / "w.pth")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in old.items())


def without_first(state):
    return {name: value for name, value in state.items() if name != "0.weight"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (without_first, "the weights lack '0.weight', which the model has"),
        (
            lambda s: {**s, "more": s["0.weight"]},
            "the weights have 'more', which the model does not have",
        ),
        (lambda s: {**s, "0.weight": torch.zeros(8, 3, 3, 3)}, "0.weight has shape (8, 3, 3, 3)"),
        (lambda s: {**s, "0.weight": torch.zeros(4, 1, 3, 3)}, "and (4, 3, 3, 3) in the model"),
        (lambda s: [1, 2], "not a state dict"),
        (lambda s: {"epoch": 3}, "not a state dict"),
        (lambda s: build(ModelConfig(width=4)), "not readable as weights: UnpicklingError"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_a_line(tmp_path, trained, content, said):
    torch.save(content(trained), tmp_path / "w.pt")
    with pytest.raises(InputError) as caught:
        start(tmp_path / "w.pt")
    assert str(caught.value).startswith("model.weights: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "name", "said"),
    [
        ("absent.pt", "cnn", "absent.pt: not found"),
        ("DEFAULT", "cnn", "DEFAULT: not found"),
        ("absent.pt", "torchvision:resnet18", "absent.pt: not found"),
        ("DEFAULTS", "torchvision:resnet18", "did you mean 'DEFAULT'?"),
        ("mine", "torchvision:resnet18", "known: IMAGENET1K_V1"),
    ],
)
def test_weights_that_are_not_there_are_named(tmp_path, monkeypatch, source, name, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        start(source, name=name, width=None if ":" in name else 4)
    assert said in str(caught.value)


def test_torchvisions_weights_are_read_from_its_cache(tmp_path, monkeypatch):
    """A file where torchvision keeps downloads, under the name and with the digest it asks for."""
    torch.manual_seed(5)
    cached = torchvision_models.squeezenet1_1(weights=None)
    entry = torchvision_models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(cached.state_dict(), folder / entry.url.rpartition("/")[2])
    config = ModelConfig(name="torchvision:squeezenet1_1", weights="IMAGENET1K_V1")
    torch.manual_seed(1)
    model = build_model(config, in_channels=3, image_size=(32, 32), num_classes=10)
    assert load_weights(config, model, 10) == ["classifier.1.weight", "classifier.1.bias"]
    for name, value in cached.state_dict().items():
        if not name.startswith("classifier"):
            assert torch.equal(model.state_dict()[name], value)


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot be downloaded .*; set model.weights") as caught:
        weights._download("torchvision:resnet18", "DEFAULT")
    assert "\n" not in str(caught.value)
