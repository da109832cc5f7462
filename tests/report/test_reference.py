"""The page of every comparison under outputs/reference is made again from its files alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clr_cli.analysis.headline import headline
from clr_cli.paths import range_test_of
from clr_cli.report import write

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"
FOLDERS = sorted(file.parent.relative_to(REFERENCE) for file in REFERENCE.rglob("summary.json"))


def copied(folder: Path, tmp_path: Path) -> Path:
    """The folder, and the range test beside it."""
    for part in (folder, range_test_of(folder)):
        if (REFERENCE / part).exists():
            shutil.copytree(REFERENCE / part, tmp_path / part)
    return tmp_path / folder


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_its_page_is_made_again(folder: Path, tmp_path: Path) -> None:
    directory = copied(folder, tmp_path)
    summary, written = write.remake(directory, ("svg",), None)
    page, text = ((directory / name).read_text("utf-8") for name in ("report.html", "report.md"))
    assert f"<h1>{summary.experiment}</h1>" in page
    assert headline(summary).split(" (")[0].split("'")[0] in text.replace("\\", "")
    assert page.count("<svg") == len(written) - 2
    assert ("Range test." in page) == (directory / "range_test.svg").exists()


def test_a_range_test_without_its_curves_is_drawn_by_its_probes(tmp_path: Path) -> None:
    directory = copied(Path("post-20k/compare"), tmp_path)
    range_test = range_test_of(directory)
    assert not (range_test / "range_test.csv").exists()
    write.remake(directory, ("svg",), None)
    drawn = (directory / "range_test.svg").read_text("utf-8")
    assert "good: " in drawn
    assert "the sweep" not in drawn
