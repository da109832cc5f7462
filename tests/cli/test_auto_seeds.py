"""``--seeds auto``: seeds are added until it is decided, and what was looked at is remembered."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clr_cli.cli.app import app


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Arms that differ clearly: dark or light is learned at once, except at hardly any rate."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 240), ("test", 100)):
        labels = rng.permutation(np.arange(size) % 2)
        light = 60 + 120 * labels[:, None, None, None]
        images = light + rng.integers(0, 60, (size, 8, 8, 3))
        arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    np.savez("split.npz", **arrays)
    Path("auto.yaml").write_text(f"""\
dataset: {{name: npz, path: {tmp_path / "split.npz"}, val_size: 40, augment: {{crop_padding: 0}}}}
model: {{name: cnn, width: 4}}
training: {{epochs: 2, batch_size: 20, threads: 1}}
schedules:
  constant: {{kind: constant, lr: 0.0000001}}
  clr: {{kind: triangular, base_lr: 0.001, max_lr: 0.1, step_size_epochs: 1}}
compare: {{schedules: [constant, clr]}}
""")
    return "auto.yaml"


def compare(config: str, seeds: str, *more: str, jobs: int = 1) -> dict:
    arguments = ["compare", "--config", config, "--seeds", seeds, "--json", *more]
    arguments += ["--jobs", str(jobs)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def told(summary: dict) -> tuple:
    (comparison,) = summary["comparisons"]
    keys = ("verdict", "decided_at", "futile", "sentence")
    return (
        [look["n"] for look in summary["looks"]],
        summary["rule"],
        [comparison[key] for key in keys],
    )


@pytest.mark.usefixtures("drawing")
def test_it_stops_at_the_first_look_that_decides_and_a_second_call_says_the_same(
    config: str,
) -> None:
    # As if killed after three seeds: they are there, and nothing has been claimed of them.
    early = compare(config, "3")
    assert early["rule"] == "fixed"
    assert early["comparisons"][0]["verdict"] == "too_few_runs"
    summary = compare(config, "auto:12")
    assert (
        summary["looks"][-1]["n"] == summary["num_seeds"] == summary["comparisons"][0]["decided_at"]
    )
    assert summary["num_seeds"] < 12
    assert summary["comparisons"][0]["verdict"] == "better"
    assert told(compare(config, "auto:12")) == told(summary)
    whole = compare(config, "auto:12", "--name", "whole")
    assert told(whole) == told(summary)

    def numbers(name: str) -> list[dict[str, str]]:
        with Path(f"outputs/{name}/compare/runs.csv").open() as file:
            rows = list(csv.DictReader(file))
        return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]

    assert numbers("auto") == numbers("whole")
    page = Path("outputs/auto/compare/report.html").read_text()
    assert "added after interim looks (at 6)" in page


@pytest.mark.slow
def test_killed_in_the_middle_it_comes_to_the_same_looks_and_verdict(config: str) -> None:
    whole = compare(config, "auto:12", "--name", "whole")
    command = [sys.executable, "-m", "clr_cli", "compare", "--config", config]
    for finished in (3, 11):  # both times among the runs of the first look
        child = subprocess.Popen(
            [*command, "--seeds", "auto:12"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while child.poll() is None:
            if len(list(Path("outputs/auto").rglob("result.json"))) >= finished:
                child.kill()
            time.sleep(0.01)
    assert not Path("outputs/auto/compare/summary.json").exists()
    assert told(compare(config, "auto:12", jobs=2)) == told(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("drawing")
def test_a_fixed_number_that_grows_after_a_look_is_judged_by_the_same_rule(config: str) -> None:
    first = compare(config, "6")
    assert told(first)[:2] == ([6], "fixed")
    grown = compare(config, "8")
    assert told(grown)[:2] == ([6, 8], "sequential")
    assert told(compare(config, "8")) == told(grown)


@pytest.mark.parametrize("seeds", ["auto:7", "auto:x", "automatic"])
def test_a_cap_that_cannot_be_is_refused(config: str, seeds: str) -> None:
    result = CliRunner().invoke(app, ["compare", "--config", config, "--seeds", seeds])
    assert result.exit_code != 0
    assert not Path("outputs").exists()
