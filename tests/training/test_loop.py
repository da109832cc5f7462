"""Training against a plain PyTorch loop, and the promises on randomness and precision."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support import loops
from torch.utils._pytree import tree_map_only

from clr_cli import interrupt, schedules
from clr_cli.config.model import Config
from clr_cli.config.sections import DatasetConfig
from clr_cli.data import batches
from clr_cli.data import sources as data
from clr_cli.errors import InputError
from clr_cli.training import loop as training
from clr_cli.training.build import build
from clr_cli.training.device import resolve_device
from clr_cli.training.ranks import Ranks
from clr_cli.training.state import train_step

CPU = torch.device("cpu")
TRIANGULAR = {"base_lr": 0.001, "max_lr": 0.1, "step_size": 4}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def loaded(data_root: Path) -> data.Data:
    return data.load(DatasetConfig(root=data_root, train_size=600, test_size=200, val_size=100))


@pytest.fixture(scope="module")
def resident(loaded) -> batches.Resident:
    return batches.to_device(loaded, CPU, crop_padding=4)


def config(**sections) -> Config:
    return Config.model_validate(
        {"model": {"width": 4}, "training": {"epochs": 2, "batch_size": 50}, **sections}
    )


def make_schedule(kind="triangular", **params):
    params = params or TRIANGULAR
    return schedules.make(kind, params, iterations_per_epoch=10, total_iterations=20)


def make_state(resident, *, precision="fp32", schedule=None, seed=0, **sections):
    schedule = schedule or make_schedule()
    return build(config(**sections), schedule, resident, seed=seed, precision=precision)


def weights(state) -> list[torch.Tensor]:
    return [value.clone() for value in state.model.state_dict().values()]


def test_normalize_gives_zero_mean_and_unit_deviation(loaded):
    plain = batches.to_device(loaded, CPU, crop_padding=0)
    images = batches.normalize(plain, loaded.train.images)
    assert images.shape == (500, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_batches_are_crops_of_every_image_once(loaded, resident):
    seen = 0
    padded = F.pad(loaded.train.images, (0, 0, 4, 4, 4, 4))
    for images, labels in batches.training_batches(resident, 50, seed=1, epoch=3):
        assert images.shape == (50, 32, 32, 3)
        seen += len(labels)
        image = images[0]
        places = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if (padded[:, y : y + 32, x : x + 32] == image).all(dim=(1, 2, 3)).any()
        ]
        assert len(places) >= 1
    assert seen == 500
    uncropped = batches.to_device(loaded, CPU, crop_padding=0)
    got = torch.cat([x for x, _ in batches.training_batches(uncropped, 50, seed=1, epoch=3)])
    order = got.sum((1, 2, 3)).sort().values
    assert torch.equal(order, loaded.train.images.sum((1, 2, 3)).sort().values)


def test_order_depends_on_seed_and_epoch_alone(resident):
    def labels(seed, epoch):
        return torch.cat(
            [y for _, y in batches.training_batches(resident, 50, seed=seed, epoch=epoch)]
        )

    assert torch.equal(labels(0, 1), labels(0, 1))
    assert not torch.equal(labels(0, 1), labels(0, 2))
    assert not torch.equal(labels(0, 1), labels(1, 1))


# At these rates rounding does not grow: a plain loop in float32 differs from one in float64 by less
# than 1e-5 (by up to 1e-3 if AdamW's rate rises to 0.01, with any version of torch). A loop that
# shifts the rates by a step, or leaves out the weight decay or Nesterov's term, differs by 1e-4.
PLAIN = {
    "sgd": (
        {"nesterov": True, "weight_decay": 0.05},
        (0.001, 0.005),
        lambda p: torch.optim.SGD(p, 1.0, 0.9, weight_decay=0.05, nesterov=True, foreach=False),
    ),
    "adamw": (
        {"name": "adamw", "weight_decay": 1.0},
        (0.0001, 0.001),
        lambda p: torch.optim.AdamW(p, 1.0, weight_decay=1.0, fused=False, foreach=False),
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_training_equals_a_plain_loop(resident, loaded, name):
    """The oracle: textbook normalization, torch's CyclicLR, unfused optimizer, NCHW, fp32."""
    optimizer, (base_lr, max_lr), make = PLAIN[name]
    schedule = make_schedule(base_lr=base_lr, max_lr=max_lr, step_size=4)
    state = make_state(resident, optimizer=optimizer, schedule=schedule)
    model = make_state(resident).model.to(memory_format=torch.contiguous_format)
    plain = make(model.parameters())
    cyclic = torch.optim.lr_scheduler.CyclicLR(plain, base_lr, max_lr, 4, cycle_momentum=False)
    mean = torch.tensor(loaded.mean).view(1, 3, 1, 1)
    std = torch.tensor(loaded.std).view(1, 3, 1, 1)
    for epoch, metrics in enumerate(loops.train(state, 2), start=1):
        losses = []
        for images, labels in batches.training_batches(resident, 50, seed=0, epoch=epoch):
            x = (images.permute(0, 3, 1, 2).float().div(255) - mean) / std
            loss = F.cross_entropy(model(x), labels)
            plain.zero_grad()
            loss.backward()
            plain.step()
            cyclic.step()
            losses.append(loss.item())
        assert metrics["train_loss"] == pytest.approx(sum(losses) / 10, rel=3e-5)
        model.eval()
        with torch.no_grad():
            x = (loaded.test.images.permute(0, 3, 1, 2).float().div(255) - mean) / std
            test_loss = F.cross_entropy(model(x), loaded.test.labels).item()
        model.train()
        assert metrics["test_loss"] == pytest.approx(test_loss, rel=3e-5)
    assert metrics["iteration"] == 20
    assert metrics["lr"] == pytest.approx(state.schedule.lr(19))


def test_bf16_step_is_the_fp32_step_within_its_precision(resident):
    """bf16 keeps 8 bits of mantissa: about 1 % on a loss, a few per cent on a gradient."""
    results = []
    for precision in ("fp32", "bf16"):
        state = make_state(resident, precision=precision)
        images, labels = next(batches.training_batches(resident, 50, seed=0, epoch=1))
        loss, _ = train_step(state, images, labels)
        gradients = torch.cat([p.grad.flatten() for p in state.model.parameters()])
        results.append((loss, gradients))
    (loss, gradients), (loss16, gradients16) = results
    assert loss16.item() == pytest.approx(loss.item(), rel=0.02)
    error = (gradients16 - gradients).norm() / gradients.norm()
    assert error < 0.1


def _kept(state):
    return tree_map_only(torch.Tensor, torch.Tensor.tolist, state.state_dict())


def test_a_resumed_run_equals_an_uninterrupted_one(resident, tmp_path):
    whole = make_state(resident)
    rows = list(loops.train(whole, 3))
    first = make_state(resident)
    assert numbers(next(loops.train(first, 3))) == numbers(rows[0])
    torch.save(first.state_dict(), tmp_path / "x.pt")
    torch.manual_seed(123)  # somebody else's randomness must not matter
    second = make_state(resident)
    second.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    assert _kept(second) == _kept(first), "stopped again at once, it leaves something else"
    assert [numbers(row) for row in loops.train(second, 3)] == [numbers(r) for r in rows[1:]]
    assert all(torch.equal(a, b) for a, b in zip(weights(second), weights(whole), strict=True))


def test_a_run_stopped_within_an_epoch_goes_on_where_it_was(resident, tmp_path, monkeypatch):
    """With dropout, whose random numbers go on too."""

    def make():
        state = make_state(resident)
        state.model = state.parallel = torch.nn.Sequential(torch.nn.Dropout(0.5), state.model)
        state.optimizer = torch.optim.SGD(state.model.parameters(), momentum=0.9, fused=True)
        return state

    whole = make()
    rows = [numbers(row) for row in loops.train(whole, 2)]
    state, seen = make(), []
    for stop_at in (3, 14, 20):  # within an epoch, and before its evaluation
        count = state.iteration

        def signal_comes(*_, stop_at=stop_at):
            nonlocal count
            count += 1
            if count == stop_at:
                monkeypatch.setattr(interrupt, "_pending", 15)

        hook = state.optimizer.register_step_post_hook(signal_comes)
        with contextlib.suppress(interrupt.Stopped):
            for row in loops.train(state, 2):
                seen.append(numbers(row))
        hook.remove()
        monkeypatch.setattr(interrupt, "_pending", None)
        assert state.iteration == stop_at
        torch.save(state.state_dict(), tmp_path / "x.pt")
        torch.manual_seed(stop_at)
        state = make()
        state.load_state_dict(torch.load(tmp_path / "x.pt", weights_only=True))
    seen += [numbers(row) for row in loops.train(state, 2)]
    assert seen == rows
    assert all(torch.equal(a, b) for a, b in zip(weights(state), weights(whole), strict=True))


def numbers(row):
    return {key: value for key, value in row.items() if "seconds" not in key}


def test_arms_of_a_seed_share_weights_and_seeds_do_not(resident):
    constant = make_schedule("constant", lr=0.05)
    a, b = make_state(resident), make_state(resident, schedule=constant)
    c = make_state(resident, seed=1)
    assert all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(weights(a), weights(c), strict=True))


def test_training_leaves_the_global_generator_alone(resident):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    next(loops.train(make_state(resident), 1))
    assert torch.equal(torch.rand(3), expected)


def test_divergence_is_reported_with_its_place(resident):
    state = make_state(resident, schedule=make_schedule("constant", lr=1e30))
    with pytest.raises(training.Diverged) as caught:
        list(loops.train(state, 2))
    assert caught.value.epoch == 1
    assert 0 < caught.value.iteration < 10
    assert caught.value.lr == 1e30


def test_cycled_momentum_reaches_the_optimizer(resident):
    cycled = make_schedule(**TRIANGULAR, base_momentum=0.8, max_momentum=0.95)
    state = make_state(resident, schedule=cycled)
    seen = []
    for images, labels in batches.training_batches(resident, 50, seed=0, epoch=1):
        train_step(state, images, labels)
        seen.append(state.optimizer.param_groups[0]["momentum"])
    assert seen[0] == pytest.approx(0.95)
    assert min(seen) == seen[4] == pytest.approx(0.8)


def test_a_batch_larger_than_the_data_is_refused(resident):
    with pytest.raises(InputError, match="training.batch_size: 501 is larger than"):
        make_state(resident, training={"batch_size": 501})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch_size": 25}, "training.batch_size: 25 cannot be split over 2 ranks"),
        ({"sync_batch_norm": True, "batch_size": 50}, "sync_batch_norm: .* on CUDA only"),
    ],
)
def test_what_two_ranks_cannot_do_is_refused(resident, given, message):
    settings = config(training=given)
    with pytest.raises(InputError, match=message):
        build(settings, make_schedule(), resident, seed=0, precision="fp32", ranks=Ranks(0, 2))


def test_the_parts_of_two_ranks_are_the_batch(resident):
    whole = batches.training_batches(resident, 50, seed=0, epoch=1)
    parts = [batches.training_batches(resident, 50, seed=0, epoch=1, part=(k, 2)) for k in range(2)]
    for (images, labels), *halves in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([half[0] for half in halves]), images)
        assert torch.equal(torch.cat([half[1] for half in halves]), labels)


def test_an_unavailable_device_is_refused():
    with pytest.raises(InputError, match="--device nonsense: not available here; available: .*cpu"):
        resolve_device("nonsense")


def test_a_cuda_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0").index == 0
    with pytest.raises(InputError, match="--device cuda:9: this machine has 1 CUDA devices"):
        resolve_device("cuda:9")
