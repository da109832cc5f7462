"""The README's numbers are those of the files under outputs/reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clr_cli.cli.results import print_summary
from clr_cli.report import comparison as report

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "outputs" / "reference"


@pytest.mark.parametrize("folder", ["quickstart", "svhn-9.6k/compare-tuned"])
def test_the_tables_are_as_the_tool_prints_them(folder, capsys):
    summary, records = report.load(REFERENCE / folder)
    assert len(records) == sum(arm["n"] for arm in summary["arms"])
    print_summary(summary)
    table = capsys.readouterr().out.strip().split("\n\n")[0]
    assert len(table.splitlines()) == 2 + len(summary["arms"])
    assert table in README
    assert any(comparison["sentence"] in README for comparison in summary["comparisons"])


def test_the_annealing_controls_are_quoted_as_printed():
    summary, _ = report.load(REFERENCE / "svhn-9.6k" / "compare")
    sentence = next(c["sentence"] for c in summary["comparisons"] if c["arm"] == "clr")
    quoted = sentence.partition(", 8 paired seeds")[0]
    assert f'"{quoted})"' in README


def test_the_finders_table_is_as_the_benchmark_prints_it(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import finders

    files = [REFERENCE / "finders" / f"{name}-550.json" for name in ("svhn", "synthetic")]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert "\n".join(finders.table(results)) in README


def test_every_figure_is_there():
    paths = [part.partition(")")[0] for part in README.split("](")[1:]]
    figures = [path for path in paths if path.endswith(".png")]
    assert len(figures) >= 4
    assert all((ROOT / path).is_file() for path in figures)
