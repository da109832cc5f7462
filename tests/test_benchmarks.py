"""The command that compares what benchmarks have measured."""

from __future__ import annotations

import json
from pathlib import Path


def test_the_numbers_of_two_files_are_side_by_side(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    import compare

    made = {
        "before": {"load": 0.5, "engines": [{"name": "one", "seconds": 8.0}], "old": 1},
        "after": {"load": 0.5, "engines": [{"name": "one", "seconds": 2.0}], "met": True},
    }
    for name, value in made.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    monkeypatch.setattr("sys.argv", ["", *(str(tmp_path / f"{name}.json") for name in made)])
    compare.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["number", "before", "after", "ratio"],
        ["load", "0.5", "0.5", "1.000"],
        ["engines.0.seconds", "8", "2", "0.250"],
        ["old", "1", "–", "–"],
    ]
