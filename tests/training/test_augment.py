"""Flips, cutout, averaged weights, clipped and accumulated gradients against plain PyTorch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support import loops

from clr_cli import interrupt, schedules
from clr_cli.config.model import Config
from clr_cli.config.sections import DatasetConfig
from clr_cli.data import batches, sources
from clr_cli.errors import InputError
from clr_cli.training.build import build
from clr_cli.training.state import train_step
from clr_cli.training.switch import evaluating

CPU = torch.device("cpu")
SCHEDULE = schedules.make("triangular", base_lr=0.001, max_lr=0.02, step_size=4)
PLAIN = """
import torch
from torch import nn

def plain(num_classes, in_channels):
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64 * in_channels, num_classes))

class Own(torch.optim.SGD):
    def train(self): pass
    def eval(self): pass
"""


@pytest.fixture(scope="module")
def loaded(data_root: Path) -> sources.Data:
    torch.set_num_threads(1)
    given = DatasetConfig(root=data_root, train_size=600, test_size=200, val_size=100)
    return sources.load(given)


@pytest.fixture
def plain_model(tmp_path: Path, monkeypatch):
    (tmp_path / "clr_test_plain.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(tmp_path)


CNN = {"name": "cnn", "width": 2}


def make_state(resident, *, model=None, optimizer="sgd", **training):
    config = Config.model_validate(
        {
            "model": model or {"name": "clr_test_plain:plain"},
            "optimizer": {"name": optimizer} if ":" in optimizer else {"weight_decay": 0},
            "training": {"epochs": 2, "batch_size": 50, **training},
        }
    )
    return build(config, SCHEDULE, resident, seed=0, precision="fp32", allow_code=True)


def epoch_of(data, *, seed=0, epoch=1):
    return torch.cat([x for x, _ in batches.training_batches(data, 50, seed=seed, epoch=epoch)])


# ---- what is done to images


def test_half_of_the_images_are_mirrored_and_the_others_are_as_they_were(loaded):
    plain, flipped = (batches.to_device(loaded, CPU, 4, flip=flip) for flip in (False, True))
    before, after = epoch_of(plain), epoch_of(flipped)
    mirrored = (after == before.flip(2)).all(dim=(1, 2, 3))
    same = (after == before).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 200 < mirrored.sum() < 300  # of 500: within 4.5 standard deviations
    assert torch.equal(after, epoch_of(flipped))
    again = (epoch_of(flipped, epoch=2) == epoch_of(plain, epoch=2)).all(dim=(1, 2, 3))
    assert not torch.equal(again, same)  # the images of epoch 2 come in another order


def test_cutout_paints_a_square_with_the_mean_color_around_any_pixel(loaded):
    side = 7
    plain, cut = (batches.to_device(loaded, CPU, 0, cutout=cutout) for cutout in (0, side))
    before, after = epoch_of(plain), epoch_of(cut)
    _, changes = batches.draw(cut, seed=0, epoch=1)
    fill = torch.tensor([round(255 * mean) for mean in loaded.mean])
    for image, painted, (_, mirrored, top, left) in zip(before, after, changes, strict=True):
        expected = image.clone()
        rows = slice(max(0, int(top)), max(0, int(top) + side))
        expected[rows, max(0, int(left)) : max(0, int(left) + side)] = fill
        assert torch.equal(painted, expected)
        assert not mirrored
    centers = changes[:, 2:] + side // 2
    assert [int(centers.min()), int(centers.max())] == [0, 31]


def test_a_square_larger_than_the_images_is_refused(loaded):
    with pytest.raises(InputError, match=r"dataset\.augment\.cutout: 33 is larger than the images"):
        batches.to_device(loaded, CPU, 4, cutout=33)


def test_the_parts_of_a_batch_are_augmented_as_the_whole(loaded):
    data = batches.to_device(loaded, CPU, 4, flip=True, cutout=5)
    whole = batches.training_batches(data, 50, seed=0, epoch=1)
    parts = [batches.training_batches(data, 50, seed=0, epoch=1, part=(k, 2)) for k in (0, 1)]
    for (images, labels), *halves in zip(whole, *parts, strict=True):
        assert torch.equal(images, torch.cat([x for x, _ in halves]))
        assert torch.equal(labels, torch.cat([y for _, y in halves]))


def test_images_that_are_evaluated_are_left_alone(loaded):
    data = batches.to_device(loaded, CPU, 4, flip=True, cutout=9)
    seen = torch.cat([x for x, _ in batches.evaluation_batches(data.val, 30)])
    assert torch.equal(seen, loaded.val.images)


def test_wide_images_are_cropped_mirrored_and_normalized(tmp_path):
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 5, 9, 2), generator=rng, dtype=torch.uint8)
    split = sources.Split(images, torch.arange(60) % 3)
    data = sources.Data("", split, split, split, 3, (0.5, 0.25), (0.5, 0.25), "")
    resident = batches.to_device(data, CPU, 1, flip=True)
    order, changes = batches.draw(resident, seed=0, epoch=1)
    padded = F.pad(images, (0, 0, 1, 1, 1, 1))[order]
    for image, crop, change in zip(padded, epoch_of_size(resident, 60), changes, strict=True):
        views = [image[y : y + 5, x : x + 9] for y in range(3) for x in range(3)]
        views = [view.flip(1) if change[1] else view for view in views]
        assert any(torch.equal(crop, view) for view in views)
    expected = (images.permute(0, 3, 1, 2) / 255 - torch.tensor([0.5, 0.25])[:, None, None]) / (
        torch.tensor([0.5, 0.25])[:, None, None]
    )
    torch.testing.assert_close(batches.normalize(resident, images), expected)


def test_another_augmentation_needs_no_other_load(loaded):
    for padding in (4, 2, 0, 1):
        made = batches.to_device(loaded, CPU, padding, flip=True, cutout=3)
        again = batches.augmented(batches.to_device(loaded, CPU, 2), padding, True, 3)
        assert torch.equal(made.padded, again.padded)
        assert made.padded.stride() == again.padded.stride()
        assert (again.crop_padding, again.flip, again.cutout) == (padding, True, 3)


def epoch_of_size(data, size):
    ((images, _),) = batches.training_batches(data, size, seed=0, epoch=1)
    return images


# ---- what is done in a step


def test_a_step_is_that_of_plain_pytorch_with_clipping_parts_and_averages(loaded, plain_model):
    """The oracle: torch's own loop, its clipping, its averages by hand in double precision."""
    data = batches.to_device(loaded, CPU, 4)
    state = make_state(data, accumulate=5, clip_norm=0.3, ema=0.9)
    model = make_state(data).model
    optimizer = torch.optim.SGD(model.parameters(), 0.001, 0.9)
    history, clipped = [], 0
    for step, (images, labels) in enumerate(batches.training_batches(data, 50, seed=0, epoch=1)):
        loss, correct = train_step(state, images, labels)
        for group in optimizer.param_groups:
            group["lr"] = SCHEDULE.lr(step)
        logits = model(batches.normalize(data, images))
        expected = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        expected.backward()
        clipped += torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3) > 0.3
        optimizer.step()
        torch.testing.assert_close(loss, expected.detach())
        assert correct == (logits.argmax(1) == labels).sum()
        history.append(model[-1].weight.detach().double().clone())
    assert clipped
    torch.testing.assert_close(state.model[-1].weight, model[-1].weight)
    shares = torch.tensor([0.9**k for k in reversed(range(len(history)))])
    mean = sum(s * w for s, w in zip(shares / shares.sum(), history, strict=True))
    torch.testing.assert_close(state.average.state_dict()["2.weight"].double(), mean)


def test_parts_give_the_whole_batchs_gradient_but_for_batch_norm(loaded, plain_model):
    data = batches.to_device(loaded, CPU, 4)
    whole, parts = make_state(data), make_state(data, accumulate=10)
    assert loops.advance(whole, 10) == pytest.approx(loops.advance(parts, 10), rel=1e-5)
    torch.testing.assert_close(whole.model[-1].weight, parts.model[-1].weight)
    with pytest.raises(InputError, match=r"training\.accumulate: 50 images .* 3 equal parts"):
        make_state(data, accumulate=3)


def test_averaged_weights_are_what_is_evaluated_and_training_does_not_notice(loaded):
    data = batches.to_device(loaded, CPU, 4)
    with_ema, without = (make_state(data, model=CNN, ema=ema) for ema in (0.8, None))
    rows = [list(loops.train(state, 2)) for state in (with_ema, without)]
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]
    assert [row["val_loss"] for row in rows[0]] != [row["val_loss"] for row in rows[1]]
    trained = {name: value.clone() for name, value in with_ema.model.state_dict().items()}
    for name, value in without.model.state_dict().items():
        assert torch.equal(trained[name], value)
    with evaluating(with_ema):
        within = {name: p.clone() for name, p in with_ema.model.named_parameters()}
    averages = with_ema.average.state_dict()
    assert all(torch.equal(value, averages[name]) for name, value in within.items())
    assert any(not torch.equal(value, trained[name]) for name, value in within.items())
    for name, value in with_ema.model.state_dict().items():
        assert torch.equal(trained[name], value)


def test_two_kinds_of_averages_are_refused(loaded, plain_model):
    data = batches.to_device(loaded, CPU, 4)
    with pytest.raises(InputError, match=r"training\.ema: clr_test_plain:Own averages"):
        make_state(data, optimizer="clr_test_plain:Own", ema=0.9)


@pytest.mark.parametrize(
    ("at", "training"),
    [
        (13, True),
        pytest.param(20, True, marks=pytest.mark.slow),
        pytest.param(20, False, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_goes_on_to_the_bit(loaded, tmp_path, at, training):
    """In a step, in measuring batch norm for the averages, and in their evaluation."""
    data = batches.to_device(loaded, CPU, 4, flip=True, cutout=9)

    def fresh():
        return make_state(data, model=CNN, accumulate=2, clip_norm=0.5, ema=0.8)

    def numbers(rows):
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]

    whole, state = fresh(), fresh()
    rows = numbers(loops.train(whole, 3))
    first = list(loops.train(state, 1))

    def check():
        if state.iteration == at and state.model.training is training:
            raise interrupt.Stopped(15)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupt, "check", check)
        with pytest.raises(interrupt.Stopped):
            loops.train_epoch(state)
    torch.save(state.state_dict(), tmp_path / "checkpoint.pt")
    resumed = fresh()
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    assert resumed.iteration == at
    assert numbers([*first, *loops.train(resumed, 3)]) == rows
    for left, right in ((whole.model, resumed.model), (whole.average, resumed.average)):
        here, there = left.state_dict(), right.state_dict()
        assert all(torch.equal(here[name], there[name]) for name in here)
