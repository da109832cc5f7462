"""Steps taken on the device, without Python's help, are the plain steps to the last bit."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from support import loops
from test_loop import config, make_schedule, numbers, weights
from torch import nn
from torch.nn.utils import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode

from clr_cli.config.sections import DatasetConfig
from clr_cli.data import batches, sources
from clr_cli.training import loop, steps
from clr_cli.training.build import build

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
PROBLEMS = [
    {"optimizer": {"nesterov": True}},
    {"optimizer": {"name": "adamw", "weight_decay": 0.01}},
    {"training": {"batch_size": 50, "label_smoothing": 0.1}, "precision": "bf16"},
    {"training": {"batch_size": 60}, "crop_padding": 0},  # some images are left over
    {"augment": {"flip": True, "cutout": 9}},
    {"training": {"accumulate": 2, "clip_norm": 0.5, "ema": 0.9}},
    pytest.param(
        {"training": {"accumulate": 5, "ema": 0.99}, "precision": "bf16"}, marks=pytest.mark.slow
    ),
]
EVERYTHING = {
    "augment": {"flip": True, "cutout": 9},
    "training": {"accumulate": 2, "clip_norm": 0.5, "ema": 0.9},
}


@pytest.fixture(scope="module")
def loaded(data_root: Path) -> sources.Data:
    given = DatasetConfig(root=data_root, train_size=600, test_size=100, val_size=100)
    return sources.load(given)


@pytest.fixture
def make(loaded):
    """Fresh states of one problem, whose steps are taken in the way that is named."""

    def fresh(
        way,
        *,
        device=CPU,
        crop_padding=4,
        precision="fp32",
        schedule=None,
        augment=None,
        **sections,
    ):
        torch.set_num_threads(1)
        data = batches.to_device(loaded, device, crop_padding, **(augment or {}))
        settings = {"batch_size": 50, **sections.pop("training", {}), "cuda_graph": way != "eager"}
        given = config(training=settings, **{"model": {"width": 2}, **sections})
        schedule = schedule or make_schedule()
        state = build(given, schedule, data, seed=0, precision=precision)
        return take(state, way)

    return fresh


def take(state, way):
    for group in state.optimizer.param_groups:  # as on CUDA, whose rates are there as tensors
        group["lr"] = torch.tensor(1.0, device=state.device)
    state.steps = steps.EagerSteps() if way == "eager" else steps.DeviceSteps(state)
    return state


def left(state, count):
    """All numbers of so many epochs, and the weights after them."""
    return [numbers(row) for row in loops.train(state, count)], [
        tensor.tolist() for tensor in weights(state)
    ]


@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=needs_cuda, id="cuda")])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_device_steps_are_the_plain_steps(make, problem, device):
    plain, on_device = (make(way, device=device, **problem) for way in ("eager", "device"))
    assert left(plain, 2) == left(on_device, 2)
    assert plain.iteration == on_device.iteration


class Odd(nn.Module):
    """Layers that are frozen, never used, used twice, derived, normalized, and with a tied weight.

    The weight is that of another linear layer, and of a table, whose rows autocast does not cast.
    """

    class Scaled(nn.Linear):
        def forward(self, x):
            return nn.functional.linear(x, self.weight * 0.5, self.bias)

    def __init__(self):
        super().__init__()
        self.frozen = nn.Conv2d(3, 8, 3, stride=4).requires_grad_(False)
        self.unused = nn.Linear(8, 8)
        self.twice = nn.Linear(8, 8)
        self.derived = self.Scaled(8, 10)
        self.normed = weight_norm(nn.Linear(8, 8))
        self.tied, self.table = nn.Linear(8, 8, bias=False), nn.Embedding(8, 8)
        self.tied.weight = self.table.weight = self.twice.weight

    def forward(self, x):
        x = self.frozen(x).mean((2, 3))
        x = self.tied(self.normed(x)) + self.table(x.argmax(1))
        return self.derived(self.twice(self.twice(x).relu()))


@pytest.mark.filterwarnings("ignore:.*weight_norm` is deprecated")  # it is still used
@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=needs_cuda, id="cuda")])
def test_weights_are_cast_as_autocast_casts_them(make, device):
    states = []
    for way in ("eager", "device"):
        state = make(way, device=device, precision="bf16")
        torch.manual_seed(0)
        state.model = state.parallel = Odd().to(device)
        state.optimizer = torch.optim.SGD(
            state.model.parameters(), torch.tensor(1.0, device=device), 0.9, weight_decay=0.1
        )
        states.append(state)
    before = weights(states[0])
    assert left(states[0], 2) == left(states[1], 2)
    same = [torch.equal(a, b) for a, b in zip(before, weights(states[1]), strict=True)]
    assert same == [True] * 4 + [False] * 9


@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=needs_cuda, id="cuda")])
@pytest.mark.parametrize(
    ("stop_at", "problem"),
    [
        (7, EVERYTHING),
        pytest.param(13, {}, marks=pytest.mark.slow),
        pytest.param(1, {}, marks=pytest.mark.slow),
        pytest.param(10, EVERYTHING, marks=pytest.mark.slow),
    ],
)
def test_either_goes_on_where_the_other_has_stopped(make, stop_at, problem, device):
    expected = left(make("eager", device=device, **problem), 3)
    for first, second in (("eager", "device"), ("device", "eager")):
        begun = make(first, device=device, **problem)
        rows = [numbers(row) for row in loops.train(begun, stop_at // 10)]
        for _ in loop.train_and_score(begun, stop_at):
            if begun.iteration == stop_at:
                break
        saved, there = begun.snapshot()
        there.wait()
        resumed = make(second, device=device, **problem)
        resumed.load_state_dict(saved)
        after, at_the_end = left(take(resumed, second), 3)
        assert (rows + after, at_the_end) == expected


def test_a_segment_may_cross_epochs(make):
    plain, on_device = make("eager"), make("device")
    for end in (7, 14, 25):  # of epochs of 10
        assert loops.advance(plain, end) == loops.advance(on_device, end)


class _Reads(TorchDispatchMode):
    """Counts what waits for a device: reading a number, or a shape that depends on the data."""

    waits = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.name() in self.waits
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("way", ["eager", "device"])
def test_no_step_waits_for_the_device(make, way, optimizer):
    state = make(way, precision="bf16", optimizer={"name": optimizer}, **EVERYTHING)
    with _Reads() as reads:
        state.steps.take(state, 10)
        assert reads.count == 0
        assert state.segment.all_losses().sum().isfinite()  # reads one number, and is seen
        assert reads.count == 1


@needs_cuda
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_replayed_epoch_never_waits_for_the_device(make, optimizer):
    state = make("device", device=CUDA, precision="bf16", optimizer={"name": optimizer})
    first = loops.train_epoch(state)  # recorded here, which synchronizes
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = loops.train_epoch(state)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert second["train_loss"] < first["train_loss"]


def test_an_epoch_is_drawn_once_and_early(make, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        steps, "draw", lambda *given, **at: drawn.append(at["epoch"]) or batches.draw(*given, **at)
    )
    state = make("device")
    for _ in range(10):
        state.steps.take(state, 1)
    assert drawn == [1, 2]
    loops.train_epoch(state)
    loops.train_epoch(state)
    assert drawn == [1, 2, 3]


class Noise(nn.Module):
    """Draws in training, from torch's own generator."""

    def forward(self, x):
        return x + 0.1 * torch.randn_like(x) if self.training else x


@pytest.mark.parametrize("device", [CPU, pytest.param(CUDA, marks=needs_cuda, id="cuda")])
@pytest.mark.parametrize("layer", [nn.Dropout(0.5), Noise()])
def test_a_model_that_draws_numbers_is_noticed_and_seeded_in_every_step(make, layer, device):
    states = []
    for way in ("eager", "device"):
        state = make(way, device=device)
        state.model = state.parallel = nn.Sequential(layer, state.model)
        states.append(state)
    assert left(states[0], 2) == left(states[1], 2)
    assert states[1].steps._eager is not None


@pytest.mark.parametrize("way", ["eager", "device"])
def test_the_memory_of_a_run_is_free_when_it_ends(make, way):
    """At once, not when Python next looks for what keeps itself: a GPU's memory is scarce."""
    state = make(way)
    loops.train_epoch(state)
    gone = weakref.ref(state)
    gc.disable()
    try:
        del state
        assert gone() is None
    finally:
        gc.enable()


def test_what_is_replayed(make, monkeypatch):
    """On CUDA alone; not with cycled momentum, and not if the config says no."""
    cycled = make_schedule(
        base_lr=0.1, max_lr=0.2, step_size=4, base_momentum=0.8, max_momentum=0.9
    )
    states = [make("device"), make("device", schedule=cycled), make("eager")]
    assert all(isinstance(steps.steps_of(state), steps.EagerSteps) for state in states)
    monkeypatch.setattr(type(states[0]), "device", torch.device("cuda"))
    monkeypatch.setattr(steps, "DeviceSteps", lambda state: "replayed")
    found = [steps.steps_of(state) == "replayed" for state in states]
    assert found == [True, False, False]
