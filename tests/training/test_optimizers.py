"""Optimizers by name against plain PyTorch; people's own, with groups, counters and a switch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support import loops
from support.optimizers import AVERAGED_OPTIMIZER

from clr_cli import interrupt, schedules
from clr_cli.config.model import Config
from clr_cli.config.sections import DatasetConfig
from clr_cli.data import batches, sources
from clr_cli.errors import InputError
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.training import state as state_module
from clr_cli.training.build import build
from clr_cli.training.optimizers import build_optimizer

CPU = torch.device("cpu")
OWN = (
    """
import torch

"""
    + AVERAGED_OPTIMIZER
    + """
def groups(model, head=0.5):
    last = list(model[-1].parameters())
    rest = [p for name, p in model.named_parameters() if all(p is not q for q in last)]
    return torch.optim.SGD([{"params": rest}, {"params": last, "lr": head * 0.02}], lr=0.02)

def nothing(model):
    return 3

def zero(model):
    return torch.optim.SGD(model.parameters(), lr=0.0)
"""
)


@pytest.fixture
def own(tmp_path: Path, monkeypatch):
    (tmp_path / "clr_test_optimizers.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("clr_test_optimizers", None)


@pytest.fixture(scope="module")
def resident(data_root: Path) -> batches.Resident:
    torch.set_num_threads(1)
    config = DatasetConfig(root=data_root, train_size=600, test_size=200, val_size=100)
    return batches.to_device(sources.load(config), CPU, crop_padding=4)


def make_state(resident, optimizer, *, model=None):
    config = Config.model_validate(
        {
            "model": model or {"width": 4},
            "optimizer": optimizer,
            "training": {"epochs": 2, "batch_size": 50},
        }
    )
    return build(config, SCHEDULE, resident, seed=0, precision="fp32", allow_code=True)


SCHEDULE = schedules.make(
    "triangular", {"base_lr": 0.001, "max_lr": 0.02, "step_size": 4}, iterations_per_epoch=10
)


@pytest.mark.parametrize(
    ("given", "make"),
    [
        ({"name": "adam", "momentum": 0.8}, lambda p: torch.optim.Adam(p, betas=(0.8, 0.999))),
        ({"name": "nadam"}, lambda p: torch.optim.NAdam(p, betas=(0.9, 0.999))),
        ({"name": "radam"}, lambda p: torch.optim.RAdam(p, betas=(0.9, 0.999))),
        ({"name": "rmsprop"}, lambda p: torch.optim.RMSprop(p, momentum=0.9)),
        ({"name": "adagrad"}, lambda p: torch.optim.Adagrad(p)),
        (
            {"name": "adamw", "settings": {"betas": ["7e-1", 0.9], "eps": "1e-4"}},
            lambda p: torch.optim.AdamW(p, betas=(0.7, 0.9), eps=1e-4, weight_decay=0),
        ),
    ],
)
def test_an_optimizer_by_name_is_torchs(resident, given, make):
    """Both get the same gradients: Adam's quotients turn a rounding of a gradient near zero into a
    step of full size."""
    state = make_state(resident, {**given, "weight_decay": 0})
    plain = list(make_state(resident, {}).model.parameters())
    optimizer = make(plain)
    for step, (images, labels) in enumerate(
        batches.training_batches(resident, 50, seed=0, epoch=1)
    ):
        state_module.train_step(state, images, labels)
        optimizer.param_groups[0]["lr"] = SCHEDULE.lr(step)
        for ours, theirs in zip(state.model.parameters(), plain, strict=True):
            theirs.grad = ours.grad.clone()
        optimizer.step()
    assert state.iteration == 10
    for ours, theirs in zip(state.model.parameters(), plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_groups_keep_their_ratio_to_the_schedules_rate(resident, own):
    state = make_state(resident, {"name": "clr_test_optimizers:groups", "settings": {"head": 0.25}})
    loops.advance(state, 3)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    assert rates == pytest.approx([SCHEDULE.lr(2), 0.25 * SCHEDULE.lr(2)])


AVERAGED = {"name": "clr_test_optimizers:Averaged"}


def test_what_is_evaluated_is_the_average(resident, own):
    state = make_state(resident, AVERAGED, model={"name": "clr_test_plain:net"})
    loops.advance(state, 7)
    trained = [p.clone() for p in state.model.parameters()]
    loss, accuracy = loops.evaluate(state, resident.val)
    for before, after in zip(trained, state.model.parameters(), strict=True):
        assert torch.equal(before, after)
    with torch.no_grad():
        for p in state.model.parameters():
            p.lerp_(state.optimizer.state[p]["z"], -1.0)
        logits = state.model(batches.normalize(resident, resident.val.images))
    assert loss == pytest.approx(F.cross_entropy(logits, resident.val.labels).item(), rel=1e-5)
    assert accuracy == (logits.argmax(1) == resident.val.labels).sum().item() / len(logits)


@pytest.fixture(autouse=True)
def plain_net(tmp_path: Path, monkeypatch):
    """A model without batch norm, whose evaluation is easy to repeat."""
    (tmp_path / "clr_test_plain.py").write_text(
        "from torch import nn\n"
        "def net(*, num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 1024, num_classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("clr_test_plain", None)


def test_batch_norm_is_measured_for_the_weights_that_are_evaluated(resident, own):
    """After few steps the running statistics of batch norm are far from any weights' own."""
    state = make_state(resident, AVERAGED)
    loops.advance(state, 20)
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    loss, _ = loops.evaluate(state, resident.val)
    assert all(torch.equal(before[name], v) for name, v in state.model.state_dict().items())
    # The oracle: all statistics over the whole training split in one pass.
    state.optimizer.eval()
    torch.optim.swa_utils.update_bn(
        [
            batches.normalize(resident, images)
            for images, _ in batches.training_batches(resident, 50, seed=5, epoch=9)
        ],
        state.model,
    )
    state.model.eval()
    with torch.no_grad():
        logits = state.model(batches.normalize(resident, resident.val.images))
    assert loss == pytest.approx(F.cross_entropy(logits, resident.val.labels).item(), rel=0.02)


@pytest.mark.parametrize(("at", "training"), [(13, True), (20, False)])  # a step; evaluation
def test_a_run_with_a_switch_goes_on_to_the_bit(resident, own, tmp_path, at, training):
    whole = make_state(resident, AVERAGED)
    rows = list(loops.train(whole, 2))

    state = make_state(resident, AVERAGED)
    first = loops.train_epoch(state)

    def check():
        mode = state.optimizer.param_groups[0]["train_mode"]
        if state.iteration == at and mode is training:
            raise interrupt.Stopped(15)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupt, "check", check)
        with pytest.raises(interrupt.Stopped):
            loops.train_epoch(state)
    assert state.iteration == at
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    directory.save_checkpoint(state.state_dict())
    kept, notes = directory.load_checkpoint()
    assert not notes
    resumed = make_state(resident, AVERAGED)
    resumed.load_state_dict(kept)
    last = loops.train_epoch(resumed)
    for key in ("train_loss", "val_loss", "test_loss", "test_accuracy"):
        assert (first[key], last[key]) == (rows[0][key], rows[1][key])
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "adamw", "settings": {"epss": 1}}, "settings: adamw cannot be built: TypeError"),
        ({"name": "sgd", "settings": {"lr": 1}}, "settings.lr: the schedule sets it"),
        ({"name": "clr_test_optimizers:nothing"}, "returned a int without param_groups"),
        ({"name": "clr_test_optimizers:zero"}, "zero: lr: 0 in every parameter group"),
        ({"name": "clr_test_optimizers:zer"}, "a function 'zer'; did you mean 'zero'?"),
        (
            {"name": "torch.optim:Optimizer"},
            "optimizer.name: torch.optim:Optimizer cannot be built",
        ),
        ({"name": "clr_test_absent:f"}, "optimizer.name: cannot import 'clr_test_absent'"),
    ],
)
def test_what_is_no_optimizer_is_refused_in_a_line(resident, own, given, message):
    with pytest.raises(InputError) as caught:
        make_state(resident, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_code_runs_only_when_allowed(own):
    given = Config.model_validate({"optimizer": AVERAGED}).optimizer
    with pytest.raises(InputError, match="--allow-code"):
        build_optimizer(given, torch.nn.Linear(1, 1), CPU)
    assert "clr_test_optimizers" not in sys.modules
