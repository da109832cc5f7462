"""The trained model, loaded in a fresh process: it answers as the run did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.optimizers import AVERAGED_OPTIMIZER

import clr_cli
from clr_cli.config.load import load as load_config
from clr_cli.data.sources import load as load_data
from clr_cli.errors import InputError
from clr_cli.execution.task import execute
from clr_cli.execution.training_task import Run
from clr_cli.training.code import source_digests
from clr_cli.training.export import export, safetensors

OWN = (
    """
import torch
from torch import nn


def gray(*, num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(in_channels * 64, num_classes))


"""
    + AVERAGED_OPTIMIZER
)
AVERAGED = "{name: 'clr_test_kept:Averaged'}"
FREE = "{name: 'schedulefree:AdamWScheduleFree'}"
QUICK = {
    "cnn-bf16": ("{width: 4}", "{name: sgd}", "bf16"),
    "cnn-averaged": ("{width: 4}", AVERAGED, "fp32"),
    "own-adamw": ("{name: 'clr_test_kept:gray'}", "{name: adamw, weight_decay: 0.01}", "fp32"),
}
SLOW = {
    **{
        f"cnn-{name}": ("{width: 4}", f"{{name: {name}}}", "fp32")
        for name in ("adam", "nadam", "radam", "rmsprop", "adagrad")
    },
    "cnn-nesterov": ("{width: 4, pools: 3}", "{name: sgd, nesterov: true}", "fp32"),
    "wrn-free": ("{name: wrn, width: 1, depth: 10}", FREE, "bf16"),
    "own-averaged": ("{name: 'clr_test_kept:gray'}", AVERAGED, "bf16"),
    "resnet18": ("{name: resnet18}", "{name: sgd}", "bf16"),
}
ANSWER = """
import json, sys
import numpy as np, torch
import clr_cli as clr

torch.set_num_threads(1)
given = np.load(sys.argv[1])
images, labels = torch.from_numpy(given["test_images"]), torch.from_numpy(given["test_labels"])
right = {}
for run in sys.argv[2:]:
    model = clr.load(run, allow_code=True)
    with torch.no_grad():
        right[run] = (model(images).argmax(1) == labels).sum().item() / len(labels)
print(json.dumps(right))
"""


@pytest.fixture
def digits(tmp_path: Path, monkeypatch) -> Path:
    """Noisy gray images of four classes that no model here learns without mistakes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 480), ("test", 600)):
        labels = np.arange(count) % 4
        images = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        images[np.arange(count), labels] //= 2
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    np.savez(tmp_path / "gray.npz", **arrays)
    (tmp_path / "clr_test_kept.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    source_digests.cache_clear()
    yield tmp_path / "gray.npz"
    source_digests.cache_clear()
    sys.modules.pop("clr_test_kept", None)


def trained(data: Path, folder: Path, model: str, optimizer: str, precision: str) -> Run:
    (folder.parent / "kept.yaml").write_text(
        f"dataset: {{name: npz, path: {data}, val_size: 80, augment: {{crop_padding: 1}}}}\n"
        f"model: {model}\noptimizer: {optimizer}\n"
        f"training: {{epochs: 2, batch_size: 40, threads: 1, precision: {precision}}}\n"
    )
    config = load_config(str(folder.parent / "kept.yaml"))
    run = Run(
        config=config,
        arm="constant",
        schedule=config.schedule("constant"),
        seed=0,
        path=folder,
        device="cpu",
        threads=1,
        allow_code=True,
    )
    list(execute(run))
    assert run.directory.finished
    return run


def check_answers(digits: Path, tmp_path: Path, cases) -> None:
    runs = {name: trained(digits, tmp_path / name, *case) for name, case in cases.items()}
    given = [sys.executable, "-c", ANSWER, str(digits), *(str(run.path) for run in runs.values())]
    done = subprocess.run(given, cwd=tmp_path, check=True, capture_output=True, text=True)
    answers = json.loads(done.stdout)
    for name, run in runs.items():
        expected = run.directory.read_result()["final"]["test_accuracy"]
        assert answers[str(run.path)] == expected, name
        assert 0.2 < expected < 1, name


def test_a_fresh_process_answers_as_the_run_did(digits, tmp_path):
    check_answers(digits, tmp_path, QUICK)


@pytest.mark.slow
def test_every_kind_of_model_and_optimizer_answers_as_its_run_did(digits, tmp_path):
    pytest.importorskip("schedulefree")
    check_answers(digits, tmp_path, SLOW)
    gray = np.load(digits)
    colored = {
        name: np.repeat(each[..., None], 3, axis=-1) if name.endswith("images") else each
        for name, each in gray.items()
    }
    np.savez(tmp_path / "colored.npz", **colored)
    torchvision = {"torchvision": ("{name: 'torchvision:resnet18'}", "{name: sgd}", "fp32")}
    check_answers(tmp_path / "colored.npz", tmp_path, torchvision)


def test_what_is_kept_is_what_was_evaluated_and_not_what_is_resumed(digits, tmp_path):
    run = trained(digits, tmp_path / "run", *QUICK["cnn-averaged"])
    model = clr_cli.load(run.path).model.state_dict()
    resumed, _ = run.directory.load_checkpoint()
    same = [torch.equal(value, resumed["model"][name]) for name, value in model.items()]
    assert len(same) > 10
    assert sum(same) <= sum("num_batches_tracked" in name for name in model)


def test_a_loaded_model_says_what_it_is_and_what_it_takes(digits, tmp_path):
    run = trained(digits, tmp_path / "run", *QUICK["own-adamw"])
    with pytest.raises(ValueError, match="runs your own code; pass --allow-code"):
        clr_cli.load(run.path)
    before = torch.random.get_rng_state()
    model = clr_cli.load(run.path / "model.pt", allow_code=True)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(module.training for module in model.modules())
    assert model.classes == ("0", "1", "2", "3")
    assert (model.image, model.epoch, model.seed) == ((8, 8, 1), 2, 0)
    assert model.config.model.name == "clr_test_kept:gray"
    images = load_data(run.config.dataset).test.images  # (N, H, W, 1)
    answer = model(images)
    assert answer.dtype == torch.float32
    assert torch.equal(answer, model(images[..., 0]))
    for wrong in (images.float(), images.permute(0, 3, 1, 2), images[:, :4], images[0]):
        with pytest.raises(ValueError, match=r"expected torch.uint8 \(N, 8, 8, 1\)"):
            model(wrong)


def test_normalization_has_the_bits_of_training(digits, tmp_path):
    from clr_cli.data.batches import normalize

    run = trained(digits, tmp_path / "run", *QUICK["own-adamw"])
    model = clr_cli.load(run.path, allow_code=True)
    resident, _ = run.images()
    seen = []
    model.model[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(resident.test.images[:7])
    assert torch.equal(seen[0], normalize(resident, resident.test.images[:7]))


def test_changed_code_is_said_or_refused(digits, tmp_path):
    run = trained(digits, tmp_path / "run", *QUICK["own-adamw"])

    def edit(old: str, new: str) -> None:
        (tmp_path / "clr_test_kept.py").write_text(OWN.replace(old, new))
        del sys.modules["clr_test_kept"]  # as in a fresh process
        source_digests.cache_clear()

    edit("nn.Dropout(0.5)", "nn.Dropout(p=0.5)")
    with pytest.warns(UserWarning, match="gray has changed since training"):
        clr_cli.load(run.path, allow_code=True)
    edit("nn.Dropout(0.5), ", "")
    with pytest.raises(ValueError, match=r"weights do not fit .*: its code has changed since"):
        clr_cli.load(run.path, allow_code=True)


def test_what_cannot_be_loaded_is_refused_in_a_line(digits, tmp_path, monkeypatch):
    run = trained(digits, tmp_path / "run", *QUICK["cnn-bf16"])
    with pytest.raises(ValueError, match="this is a checkpoint"):
        clr_cli.load(run.path / "checkpoint.pt")
    content = (run.path / "model.pt").read_bytes()
    (run.path / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"model\.pt: damaged"):
        clr_cli.load(run.path)
    (run.path / "model.pt").unlink()
    (run.path / "result.json").unlink()
    with pytest.raises(ValueError, match="the run is not finished"):
        clr_cli.load(run.path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=f"{tmp_path}: not the folder of a run"):
        clr_cli.load("~")
    with pytest.raises(ValueError, match="no such file or folder"):
        clr_cli.load(tmp_path / "absent")


def test_exported_weights_are_those_of_the_model(digits, tmp_path):
    run = trained(digits, tmp_path / "run", *QUICK["cnn-averaged"])
    model = clr_cli.load(run.path)
    weights, description = export(model, "safetensors", tmp_path / "net.v1")
    assert weights.name == "net.v1.safetensors"
    content = weights.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    kept = model.model.state_dict()
    assert list(header) == list(kept)
    assert (8 + length) % 8 == 0
    for name, tensor in kept.items():
        start, end = (8 + length + at for at in header[name]["data_offsets"])
        kind = {"F32": "<f4", "I64": "<i8"}[header[name]["dtype"]]
        there = np.frombuffer(content[start:end], kind).reshape(header[name]["shape"])
        assert np.array_equal(there, tensor.numpy()), name
    assert end == len(content)
    said = json.loads(description.read_text())
    assert said["classes"] == ["0", "1", "2", "3"]
    assert said["architecture"] == {"name": "cnn", "width": 4}
    data = load_data(run.config.dataset)
    assert said["normalization"]["mean"] == pytest.approx(data.mean, rel=1e-5)
    assert said["normalization"]["std"] == pytest.approx(data.std, rel=1e-5)


def test_safetensors_are_read_by_their_own_package():
    package = pytest.importorskip("safetensors.torch")
    tensors = {
        "a": torch.randn(3, 5).t(),
        "b": torch.arange(3),
        "c": torch.ones(2, dtype=torch.bfloat16),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 4),
        "flags": torch.tensor([True, False]),
    }
    there = package.load(safetensors(tensors))
    assert set(there) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(there[name], tensor), name
        assert there[name].dtype == tensor.dtype
    with pytest.raises(InputError, match="z is torch.complex64"):
        safetensors({"z": torch.zeros(1, dtype=torch.complex64)})


@pytest.mark.slow
@pytest.mark.parametrize("case", ["cnn-bf16", "cnn-averaged", "own-adamw"])
def test_an_exported_program_answers_without_clr(digits, tmp_path, case):
    run = trained(digits, tmp_path / "run", *QUICK[case])
    model = clr_cli.load(run.path, allow_code=True)
    program, _ = export(model, "torch-export", tmp_path / "net")
    code = (
        "import sys, numpy as np, torch; torch.set_num_threads(1)\n"
        "images = torch.from_numpy(np.load(sys.argv[2])['test_images'])[..., None]\n"
        "answer = torch.export.load(sys.argv[1]).module()(images[:33])\n"
        "assert not [name for name in sys.modules if name.startswith('clr_cli')]\n"
        "np.save(sys.argv[3], answer.detach().numpy())\n"
    )
    given = [sys.executable, "-c", code, str(program), str(digits), str(tmp_path / "answer.npy")]
    subprocess.run(given, check=True, capture_output=True, cwd=tmp_path)
    images = load_data(run.config.dataset).test.images[:33]
    with torch.no_grad():
        expected = model(images).numpy()
    tolerance = 0.05 if "bf16" in case else 1e-4
    assert np.allclose(np.load(tmp_path / "answer.npy"), expected, atol=tolerance)


def test_the_export_command_writes_beside_the_run(clr, digits, tmp_path):
    run = trained(digits, tmp_path / "run", *QUICK["cnn-bf16"])
    done = clr("export", run.path, "--json")
    files = json.loads(done.stdout)["files"]
    assert [Path(file).name for file in files] == ["export.safetensors", "export.json"]
    assert all(Path(file).parent == run.path and Path(file).exists() for file in files)
    for option, value, said in (
        ("--format", "onnx", "--format 'onnx' is unknown; known: safetensors, torch-export"),
        ("--output", ".", "--output .: a folder; add the name of the file"),
    ):
        wrong = clr("export", "nowhere", option, value, check=False)
        assert wrong.returncode == 2
        assert said in wrong.stderr
