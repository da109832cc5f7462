"""A run is kept under the code, data and weights that it was made from."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from clr_cli.config.model import Config
from clr_cli.errors import InputError
from clr_cli.execution.origin import _content, changes, origin_of
from clr_cli.training.code import import_callable, source_digests

MODEL = """
from torch import nn

def net(*, num_classes, in_channels):
    from parts.layers import head
    return nn.Sequential(nn.Flatten(), head(in_channels * 64, num_classes))
"""
LAYERS = (
    "from torch import nn\n\ndef head(inputs, outputs):\n    return nn.Linear(inputs, outputs)\n"
)


@pytest.fixture
def own(easy: Path, tmp_path: Path) -> Path:
    """The easy config with a model of one's own, in a module that imports another in a function."""
    (tmp_path / "mod.py").write_text(MODEL)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "layers.py").write_text(LAYERS)
    text = easy.read_text().replace("{name: cnn, width: 8}", "{name: 'mod:net'}")
    easy.write_text(text.replace("epochs: 2,", "epochs: 1,"))
    return easy


def refused(clr, *args: object) -> str:
    """What is said where the folder was made from something else."""
    done = clr(*args, "--allow-code", check=False)
    assert done.returncode == 2, done.stderr
    said = done.stderr.strip().splitlines()[-1]
    assert said.endswith("start over with --overwrite, or keep both with another --name")
    return said


def test_changed_code_is_refused_wherever_a_run_is_used_again(clr, own, tmp_path):
    train = ("train", "--config", own)
    sweep = ("range-test", "--config", own, "--probes", "off", "--set", "range_test.sweeps=1")
    clr(*train, "--allow-code")
    clr(*sweep, "--allow-code", check=False)  # whether it has an answer or not
    (tmp_path / "beside.py").write_text("nobody imports this\n")
    assert "the run is finished, so nothing was trained" in clr(*train, "--allow-code").stderr
    changed = LAYERS.replace("return nn.Linear", "return nn.modules.Linear")
    (tmp_path / "parts" / "layers.py").write_text(changed)
    grown = ("compare", "--config", own, "--jobs", "1", "--seeds", "2")
    for command in (train, sweep, grown):
        assert "parts/layers.py has changed since" in refused(clr, *command)
    assert not (tmp_path / "outputs/easy/train/clr/seed-1/result.json").exists()


def test_changed_data_are_refused_in_a_finished_run_too(clr, easy, tmp_path):
    args = ("train", "--config", easy, "--set", "training.epochs=1")
    clr(*args)
    with np.load(tmp_path / "colors.npz") as archive:
        arrays = dict(archive)
    np.savez(tmp_path / "colors.npz", **arrays)  # the same content, written again
    assert "the run is finished, so nothing was trained; the model has" in clr(*args).stderr
    arrays["test_labels"][0] ^= 1
    np.savez(tmp_path / "colors.npz", **arrays)
    assert "colors.npz has changed since" in refused(clr, *args)


@pytest.fixture
def package(tmp_path: Path, monkeypatch):
    """A package whose parts import one another in every way there is."""
    files = {
        "clrown/__init__.py": "",
        "clrown/nets/__init__.py": "from . import deep\nfrom .. import config\n",
        "clrown/nets/deep.py": "import clrown.extra as e, torch\nfrom .deeper import *\n",
        "clrown/nets/deeper.py": "from clrown.nets import deep\nimport absent_module\n",
        "clrown/config.py": "",
        "clrown/extra.py": "def f():\n    import clr_helper\n",
        "clrown/unused.py": "",
        "clr_helper.py": "x = 1\n",
        "clr_unused.py": "",
    }
    files["clrown/nets/deeper.py"] = files["clrown/nets/deeper.py"].replace(
        "import absent_module", "try:\n    import absent_module\nexcept ImportError:\n    pass"
    )
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\ndef net(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("clrown", "clr_helper"))]:
        del sys.modules[name]
    source_digests.cache_clear()


def test_imports_are_followed_beside_the_module_and_no_further(package):
    import_callable("clrown.nets:net", "model.name", True)
    assert list(source_digests("clrown.nets")) == [
        "clr_helper.py",
        "clrown/__init__.py",
        "clrown/config.py",
        "clrown/extra.py",
        "clrown/nets/__init__.py",
        "clrown/nets/deep.py",
        "clrown/nets/deeper.py",
    ]
    assert source_digests("torch.optim") == {}
    assert source_digests("clr_cli.training.models") == {}


def config(tmp_path: Path, **dataset) -> Config:
    return Config.model_validate({"dataset": dataset})


def test_a_folder_of_images_is_kept_by_names_and_contents(tmp_path):
    def origin(folder: Path):
        return origin_of(config(tmp_path, name="imagefolder", path=folder), False)["data"]

    first = tmp_path / "a" / "photos"
    (first / "train" / "cat").mkdir(parents=True)
    (first / "train" / "cat" / "1.png").write_bytes(b"one")
    (first / "train" / "cat" / "2.png").write_bytes(b"two")
    copies = [tmp_path / name / "photos" for name in "bcd"]
    for copy in copies:
        shutil.copytree(first, copy)
    (copies[1] / "train" / "cat" / "2.png").write_bytes(b"twO")
    (copies[2] / "train" / "cat" / "2.png").rename(copies[2] / "train" / "cat" / "3.png")
    same, changed, renamed = (origin(copy) for copy in copies)
    assert origin(first) == same
    assert changes({"data": same}, {"data": changed}) == ["photos has changed since"]
    assert changes({"data": same}, {"data": renamed}) == ["photos has changed since"]


def test_what_no_reader_reads_is_no_part_of_a_folder(tmp_path):
    """Links to nothing, pipes, and links to a folder above."""
    folder = tmp_path / "photos"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "1.png").write_bytes(b"one")
    before = _content(folder)
    (folder / "latest").symlink_to("nowhere")
    (folder / "train" / "again").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    assert _content(folder) == before
    (folder / "twice").symlink_to("train")
    assert _content(folder) != before


def test_data_that_change_under_a_running_command_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"first")
    now = config(tmp_path, name="npz", path=path)
    origin_of(now, False)
    path.write_bytes(b"something longer")
    with pytest.raises(InputError, match=r"x\.npz: changed while this command was running"):
        origin_of(now, False)


def test_what_differs_is_named():
    there = {"code": {"mod.py": "1", "old.py": "1"}, "data": {"x.npz": "1"}}
    now = {"code": {"mod.py": "2", "new.py": "1"}, "data": {"x.npz": "1"}, "weights": {"w.pt": "1"}}
    assert changes(there, now) == [
        "mod.py has changed since",
        "new.py (code) is new",
        "old.py (code) is no longer used",
        "w.pt (weights) is new",
    ]
