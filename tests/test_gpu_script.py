"""The command that shows what only a GPU can show: it runs whole, here at a tiny size."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent / "benchmarks")
    import gpu

    return gpu


def test_a_part_that_takes_too_long_gives_a_line(gpu, monkeypatch):
    monkeypatch.setitem(gpu.SECONDS, "speed", 0.02)
    part = gpu.run_part("speed", argparse.Namespace(small=True))
    assert part["error"] == "not done after 0.2 s"
    assert part["rows"] == []


def test_the_table_says_what_was_met_what_was_missed_and_what_failed(gpu):
    row = {"what": "graph", "value": "310,000", "aim": ">= 300,000", "met": True}
    parts = {
        "speed": {"rows": [row, {**row, "value": "2", "met": False}], "error": None},
        "peers": {"rows": [{**row, "met": None}], "error": "exit code 1: a | b"},
    }
    assert gpu.table(parts)[2:] == [
        "| speed | graph | 310,000 | >= 300,000 | met |",
        "| speed | graph | 2 | >= 300,000 | **missed** |",
        "| peers | graph | 310,000 | >= 300,000 |  |",
        "| peers | **failed** | exit code 1: a / b | | |",
    ]


def test_all_parts_fit_in_nine_minutes(gpu):
    assert sum(gpu.SECONDS.values()) <= 9 * 60
    assert all(callable(getattr(gpu.gpu_parts, name)) for name in gpu.SECONDS)


@pytest.mark.slow
def test_it_runs_whole_on_a_cpu(gpu, tmp_path, capsys):
    gpu.main(["--small", "--json", str(tmp_path / "gpu.json")])
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["error"] for name, part in parts.items()} == dict.fromkeys(gpu.SECONDS)
    assert [row["met"] for row in parts["exact"]["rows"]] == [True] * 3
    assert all(part["rows"] for part in parts.values())
    assert (
        "| exact | four runs at once | identical | bit-identical | met |" in capsys.readouterr().out
    )
