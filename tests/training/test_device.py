"""What a device is told before a run, and how layers are seeded on it."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from clr_cli.training.device import make_exact, seed_layers
from clr_cli.training.models import GlobalAverage


def test_seeding_a_step_is_seeding_torch():
    seed_layers(torch.device("cpu"), 7)
    drawn = torch.rand(5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        assert torch.equal(drawn, torch.rand(5))


@pytest.fixture
def flags():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    kept = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    yield
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = kept


def test_cuda_is_told_to_be_exact(flags):
    torch.backends.cudnn.benchmark = True
    make_exact(torch.device("cuda:1"))  # the flags are there without a GPU too
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_other_devices_are_left_alone(flags):
    torch.backends.cudnn.benchmark = True
    make_exact(torch.device("cpu"))
    assert torch.backends.cudnn.benchmark


def test_the_global_average_keeps_the_layout_of_its_gradient():
    x = torch.randn(4, 6, 5, 3).to(memory_format=torch.channels_last).requires_grad_()
    means = GlobalAverage()(x)
    expected = adaptive_avg_pool2d(x, 1).flatten(1)
    assert torch.allclose(means, expected)
    above = torch.arange(24.0).reshape(4, 6)
    (gradient,) = torch.autograd.grad(means, x, above)
    (other,) = torch.autograd.grad(expected, x, above)
    assert torch.allclose(gradient, other)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
