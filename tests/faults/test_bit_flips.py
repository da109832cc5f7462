"""A bit flips somewhere in a file: the result is the same, or one line names what is damaged.

The default is a few flips of each kind of folder; ``CLR_TEST_FLIPS=1000 pytest -m slow
tests/faults/test_bit_flips.py -s`` prints the table of flips.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_tiny
from PIL import Image
from support.left_behind import left_by
from support.plans import plan
from support.programs import written

from clr_cli.config.sections import DatasetConfig
from clr_cli.data import sources
from clr_cli.errors import InputError
from clr_cli.execution.program import Program
from clr_cli.execution.task import execute
from clr_cli.report import comparison, rates
from clr_cli.training import trained

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference" / "three" / "svhn"
FLIPS = int(os.environ.get("CLR_TEST_FLIPS", "300"))
SMALL = ("training.epochs=3", "dataset.train_size=150", "dataset.test_size=20", "model.width=1")
FORMATS = ("png", "jpg", "bmp", "gif", "webp", "tif")


def run_in(folder: Path) -> Any:
    """The run of the config beside it, in this folder."""
    return plan(folder.parent / "tiny.yaml", folder, *SMALL, "dataset.val_size=50")[1]


def finished_run(folder: Path, data_root: Path) -> None:
    write_tiny(folder.parent, data_root)
    list(execute(run_in(folder)))


def stopped_run(folder: Path, data_root: Path) -> None:
    write_tiny(folder.parent, data_root)
    events = execute(run_in(folder))
    for _ in range(2):
        while next(events).kind != "row":
            pass
    events.close()


def resume(folder: Path) -> Any:
    """What is kept under a checksum must be the same; rows are text, which anybody may edit."""
    finish(folder)
    return left_by(run_in(folder).directory)[2]


def finish(folder: Path) -> None:
    list(execute(run_in(folder)))


def load_model(folder: Path) -> Any:
    model = trained.load(run_in(folder).path).model
    return [value.numpy().tobytes() for value in model.state_dict().values()]


def program_in(folder: Path) -> Program:
    return Program(
        command=f"{sys.executable} {folder.parent / 'train.py'} {{lr}} {{seed}} {{out}}",
        arm="a",
        values={"lr": "0.5"},
        metric="val_loss",
        path=folder / "run",
        seed=0,
    )


def finished_program(folder: Path, data_root: Path) -> None:
    written(folder.parent)
    list(execute(program_in(folder)))


def finish_program(folder: Path) -> None:
    list(execute(program_in(folder)))


def compared(folder: Path, data_root: Path) -> None:
    for name in ("summary.json", "runs.csv"):
        shutil.copy(REFERENCE / "compare-tuned" / name, folder)


def report(folder: Path) -> None:
    summary, records = comparison.load(folder)
    assert comparison.render(summary, records, {}).startswith("<!doctype html>")
    assert comparison.markdown(summary)


def swept(folder: Path, data_root: Path) -> None:
    for path in (REFERENCE / "range-test").iterdir():
        if path.suffix in (".json", ".yaml"):
            shutil.copy(path, folder)


def draw(folder: Path) -> None:
    assert rates.read_figure(folder) is not None


def images(folder: Path, data_root: Path) -> None:
    random_ = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in "ab":
            (folder / split / label).mkdir(parents=True)
            for kind in FORMATS:
                pixels = random_.integers(0, 256, (12, 12, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{kind}.{kind}")


def arrays(folder: Path, data_root: Path) -> None:
    labels = np.arange(60) % 3
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3), np.uint8)
    np.savez(
        folder / "own.npz",
        train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels,
    )  # fmt: skip


def cached(folder: Path, data_root: Path) -> None:
    digits(folder)


def digits(folder: Path) -> Any:
    given = DatasetConfig(root=folder, train_size=60, test_size=20, val_size=20)
    return everything(sources.load(given))


def everything(data: sources.Data) -> list[bytes]:
    splits = (data.train, data.val, data.test)
    return [torch.cat([s.images.flatten(), s.labels]).numpy().tobytes() for s in splits]


def load_images(folder: Path) -> None:
    sources.load(DatasetConfig(name="imagefolder", path=folder, val_size=4))


def load_arrays(folder: Path) -> Any:
    given = DatasetConfig(name="npz", path=folder / "own.npz", val_size=20)
    return everything(sources.load(given))


Make, Use = Callable[[Path, Path], None], Callable[[Path], Any]
KINDS: dict[str, tuple[Make, Use]] = {
    "a finished run": (finished_run, finish),
    "a stopped run": (stopped_run, resume),
    "a kept model": (finished_run, load_model),
    "a program's run": (finished_program, finish_program),
    "a comparison": (compared, report),
    "a range test": (swept, draw),
    "an images' folder": (images, load_images),
    "an .npz file": (arrays, load_arrays),
    "drawn digits": (cached, digits),
}
QUICK = [name for name in KINDS if name != "drawn digits"]  # which are drawn again each time


def flip(path: Path, random_: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    path.write_bytes(content)


def flip_again_and_again(name: str, flips: int, folder: Path, data_root: Path) -> str:
    """Flip a bit of a file of a copy and use the copy. Returns a line of the table."""
    make, use = KINDS[name]
    whole = folder / "whole"
    whole.mkdir()
    make(whole, data_root)
    copy = folder / "copy"
    shutil.copytree(whole, copy)
    expected = use(copy)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    files = [path for path in files if (whole / path).stat().st_size]
    refused = 0
    for number in range(flips):
        random_ = random.Random(f"{name} {number}")
        path = files[number % len(files)]
        shutil.rmtree(copy)
        shutil.copytree(whole, copy)
        flip(copy / path, random_)
        try:
            assert use(copy) == expected or expected is None, f"{path}, flip {number}"
        except InputError as error:
            refused += 1
            assert str(error).isprintable(), f"{path}, flip {number}"
            assert str(copy) in str(error), f"{path}, flip {number}"
        except Exception as error:
            raise AssertionError(f"{path}, flip {number}") from error
    return f"{name:<18} {len(files):>5} {flips:>6} {refused:>8}"


@pytest.mark.parametrize("name", QUICK)
def test_a_flipped_bit_changes_nothing_or_is_named(name, tmp_path, data_root):
    flip_again_and_again(name, 8, tmp_path, data_root)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_flipped_bits_change_nothing_or_are_named(name, tmp_path, data_root):
    line = flip_again_and_again(name, FLIPS, tmp_path, data_root)
    print(f"\n{'in':<18} files  flips  refused\n{line}")
