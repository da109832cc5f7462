"""A device that is out of memory: said as what it is, with what to do, and not tried again."""

from __future__ import annotations

import pytest

NET = """
import torch
from torch import nn

class Greedy(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(1, classes)

    def forward(self, x):
        if len(x) > 8:  # the model's own check takes fewer
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.layer(x.mean((1, 2, 3))[:, None])

def net(*, num_classes, in_channels):
    return Greedy(num_classes)
"""


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_out_of_memory_names_what_takes_it(clr, tiny, tmp_path, jobs):
    """In a worker too, which is not started again."""
    (tmp_path / "greedy.py").write_text(NET)
    given = ["--config", tiny, "--set", "model={name: 'greedy:net'}", "--allow-code"]
    done = clr("compare", *given, "--seeds", 2, "--jobs", jobs, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "the device is out of memory with batches of" in done.stderr
    assert "greedy:net; use fewer --jobs" in done.stderr
    assert "resuming from its checkpoint" not in done.stderr
