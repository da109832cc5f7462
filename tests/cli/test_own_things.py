"""Own data, models and optimizers from the command line: what the plan says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

OWN = """
import torch

def groups(model, head=0.1):
    *rest, weight, bias = model.parameters()
    return torch.optim.SGD([{"params": rest}, {"params": [weight, bias], "lr": head}], lr=1.0)
"""


@pytest.fixture
def wide(tmp_path: Path):
    """Write a config of wide images with own validation and a constant channel."""
    rng = np.random.default_rng(0)

    def write(classes: int) -> str:
        arrays = {}
        for split, count in (("train", 240), ("val", 40), ("test", 40)):
            labels = np.arange(count) % classes
            images = rng.integers(0, 60, (count, 8, 20, 3), dtype=np.uint8)
            images += (labels * 60)[:, None, None, None].astype(np.uint8)
            images[..., 2] = 9
            arrays |= {f"{split}_images": images, f"{split}_labels": labels}
        np.savez(tmp_path / f"wide-{classes}.npz", **arrays)
        path = tmp_path / f"wide-{classes}.yaml"
        path.write_text(
            f"dataset: {{name: npz, path: {tmp_path}/wide-{classes}.npz}}\n"
            "model: {name: cnn, width: 4, pools: 1}\n"
            "training: {epochs: 2, batch_size: 20, threads: 1, precision: fp32}\n"
            "schedules: {constant: {kind: constant, lr: 0.05}}\n"
        )
        return str(path)

    return write


def plan(text: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\S.*?)  +(.*)$", text, re.MULTILINE))


def test_the_plan_says_what_is_done_with_own_data_and_parameter_groups(clr, wide, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    extras = ["dataset.augment.flip=true", "training.ema=0.9", "training.accumulate=2"]
    sets = [word for key in (*extras, "optimizer.name=mine:groups") for word in ("--set", key)]
    done = clr("train", "--config", wide(3), "--schedule", "constant", "--allow-code", *sets)
    rows = plan(done.stderr)
    assert rows["data"].endswith("240 train, 40 validation, 40 test images of 8x20x3, 3 classes")
    assert rows["validation"] == "the data set's own 40 images"
    assert rows["warning"].startswith("channel 2 never changes in the training images (always 9)")
    assert rows["augment"] == "crops of 4 pixels of padding, flips"
    assert rows["groups"] == "the schedule's rate times 1, 0.1"
    run = tmp_path / "outputs" / "wide-3" / "train" / "constant" / "seed-0"
    assert json.loads((run / "result.json").read_text())["group_ratios"] == [1.0, 0.1]
    assert rows["training"].endswith(", in 2 parts, averaged weights (ema 0.9)")


@pytest.mark.slow
def test_a_run_starts_from_another_with_a_new_head(clr, wide, tmp_path):
    clr("train", "--config", wide(3), "--schedule", "constant")
    run = tmp_path / "outputs" / "wide-3" / "train" / "constant" / "seed-0"
    weights = ["--schedule", "constant", "--set", f"model.weights={run}"]
    done = clr("train", "--config", wide(4), *weights)
    rows = plan(done.stderr)
    assert f"weights {run}" in rows["model"]
    assert (
        rows["new head"]
        == "20.weight, 20.bias: starts from random weights, because model.weights has a different "
        "number of classes"
    )

    again = clr("train", "--config", wide(3), "--name", "again", *weights, "--json")
    assert "new head" not in plan(again.stderr)
    first, second = (
        [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for path in (run, tmp_path / "outputs" / "again" / "train" / "constant" / "seed-0")
    )
    assert second[0]["train_loss"] < first[0]["train_loss"]

    for file in ("result.json", "model.pt"):
        (run / file).unlink()
    refused = clr("train", "--config", wide(4), "--name", "other", *weights, check=False)
    assert refused.returncode == 2
    assert f"model.weights: {run}: the run is not finished" in refused.stderr


def test_the_config_of_cifar10_compares_on_synthetic_data_at_a_small_size(clr, data_root):
    small = {
        "dataset.name": "synthetic_digits",
        "dataset.root": data_root,
        "dataset.train_size": 600,
        "dataset.test_size": 200,
        "dataset.val_size": 100,
        "model": "{name: cnn, width: 4}",
        "training.epochs": 1,
        "training.threads": 1,
        "compare.seeds": 1,
    }
    sets = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    arms = ["--schedules", "recipe,recipe_cutout,clr"]
    done = clr("compare", "--config", "cifar10.yaml", "--jobs", 1, *arms, *sets, "--json")
    summary = json.loads(done.stdout)
    assert [arm["name"] for arm in summary["arms"]] == ["recipe", "recipe_cutout", "clr"]
    assert plan(done.stderr)["augment"] == "crops of 4 pixels of padding, flips"
    assert plan(done.stderr)["recipe_cutout"].endswith("dataset.augment.cutout 16")
