"""Tiny real experiments: small synthetic digits, a narrow CNN, a few epochs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from support import forked

# A busy machine is no reason to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Read where NumPy and torch are imported, here and in subprocesses: these share the cores with the
# test run, and one thread makes runs comparable.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if sys.platform != "linux":
        for item in items:
            if item.get_closest_marker("linux"):
                item.add_marker(pytest.mark.skip(reason="looks at processes in /proc"))


TINY = """\
dataset: {{name: synthetic_digits, root: {root}, train_size: 600, test_size: 200, val_size: 100}}
model: {{name: cnn, width: 2}}
training: {{epochs: 3, batch_size: 50, threads: 1}}
range_test: {{min_lr: 0.001, max_lr: 0.5, epochs: 2, sweeps: 2}}
schedules:
  constant: {{kind: constant, lr: 0.05}}
  clr: {{kind: triangular, base_lr: 0.001, max_lr: 0.1, step_size_epochs: 0.5}}
compare: {{schedules: [constant, clr], seeds: 2}}
"""


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


EASY = """\
dataset: {{name: npz, path: {path}, val_size: 80, augment: {{crop_padding: 0}}}}
model: {{name: cnn, width: 8}}
training: {{epochs: 2, batch_size: 20, threads: 1, precision: fp32}}
range_test: {{epochs: 1}}
schedules:
  constant: {{kind: constant, lr: 0.05}}
  clr: {{kind: triangular, base_lr: 0.001, max_lr: 0.1, step_size_epochs: 0.5}}
compare: {{schedules: [constant, clr], seeds: 2}}
"""


@pytest.fixture
def easy(tmp_path: Path) -> Path:
    """A config of colors that a small CNN learns to tell within an epoch of 40 iterations."""
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 880), ("test", 80)):
        labels = np.arange(count) % 4
        images = rng.integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
        for channel in range(3):
            images[labels == channel, :, :, channel] += 120
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    np.savez(tmp_path / "colors.npz", **arrays)
    path = tmp_path / "easy.yaml"
    path.write_text(EASY.format(path=tmp_path / "colors.npz"))
    return path


@pytest.fixture
def tiny(tmp_path: Path, data_root: Path) -> Path:
    """A config file of a comparison that takes seconds; data cached for the whole session."""
    return write_tiny(tmp_path, data_root)


def write_tiny(folder: Path, data_root: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(TINY.format(root=data_root))
    return path


@pytest.fixture(params=["undrawn", pytest.param("drawn", marks=pytest.mark.slow)])
def drawing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make pages without figures, for a test that looks at none: most of a page's time is these.

    The slow tests draw them all the same.
    """
    if request.param == "undrawn":
        monkeypatch.setattr("clr_cli.report.comparison.figures", lambda *_, **__: {})


@pytest.fixture
def clr(tmp_path: Path):
    """Run ``clr`` as a user does: another process, in an empty folder."""

    def run(*args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        child = forked.start(tmp_path, *args, prints=tmp_path.with_name(f"{tmp_path.name}-printed"))
        code = child.wait()
        done = subprocess.CompletedProcess(args, code, child.stdout, child.stderr)
        if check:
            assert code == 0, done.stderr
        return done

    return run
