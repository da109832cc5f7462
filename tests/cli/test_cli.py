"""``clr`` as a user meets it: commands, output, exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clr_cli import __version__
from clr_cli.config import load as configs
from clr_cli.config.sections import TrainingConfig
from clr_cli.config.yaml_text import parse_yaml
from clr_cli.records import unpack

REAL_DIGITS = [
    Path(os.environ.get("CLR_SVHN_DIGITS", "nowhere")),
    Path(__file__).parents[2] / ".." / "shared" / "data" / "svhn_digits.npz",
]


def test_version_and_help(clr):
    assert clr("--version").stdout == f"clr {__version__}\n"
    text = clr("--help").stdout
    for command in ("range-test", "train", "compare", "report", "config", "schedule"):
        assert command in text
    for command in ("range-test", "train", "compare", "report"):
        assert f"Example: clr {command}" in clr(command, "--help").stdout


def test_config_show_has_every_key_and_is_the_same_config(clr, tiny):
    text = clr("config", "show", "--config", tiny).stdout
    tree = parse_yaml(text, "shown")
    assert tree["training"].keys() == TrainingConfig.model_fields.keys()
    assert tree["schedules"]["constant"] == {"kind": "constant", "lr": 0.05}
    assert configs.validate(tree, "shown") == configs.load(str(tiny))


def test_a_dry_run_of_a_config_ends_with_the_plan(clr, tiny, tmp_path):
    done = clr("compare", "--config", tiny, "--dry-run")
    assert "2 arms x 2 seeds = 4" in done.stderr
    assert "2 seeds are too few" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "outputs").exists()


def test_train_leaves_a_complete_run(clr, tiny, tmp_path):
    done = clr("train", "--config", tiny, "--schedule", "clr", "--seed", 3, "--device", "cpu")
    run = tmp_path / "outputs" / "tiny" / "train" / "clr" / "seed-3"
    figures = ["lr_schedule", "train_loss", "test_loss", "test_accuracy"]
    for name in figures:
        assert (run / f"{name}.png").stat().st_size > 1000
        assert (run / f"{name}.svg").stat().st_size > 1000
    result = json.loads((run / "result.json").read_text())
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert result["final"]["test_accuracy"] == rows[-1]["test_accuracy"]
    answers = result["test_answers"]
    right = unpack(answers["bits"], answers["images"])
    assert right.mean() == pytest.approx(result["final"]["test_accuracy"])
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert f"{result['final']['test_accuracy']:.2%}" in done.stdout
    assert "\x1b" not in done.stderr  # no control characters where stderr is no terminal
    assert "\r" not in done.stderr
    for fact in ("500 train, 100 validation, 200 test", "cnn, width 2", "cpu", "3 cycles"):
        assert fact in done.stderr


def test_compare_writes_tables_page_and_figures(clr, tiny, tmp_path):
    given = ("compare", "--config", tiny, "--device", "cpu", "--set", "training.epochs=2")
    done = clr(*given, "--jobs", 1)
    folder = tmp_path / "outputs" / "tiny" / "compare"
    summary = json.loads((folder / "summary.json").read_text())
    assert [arm["name"] for arm in summary["arms"]] == ["constant", "clr"]
    assert summary["verdict"] in done.stdout
    assert "Too few seeds" in summary["verdict"]
    with open(folder / "runs.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2
    page = (folder / "report.html").read_text()
    assert summary["verdict"].split(":")[0] in page
    assert "clr compare --config" in page
    remade = clr("report", tmp_path / "outputs" / "tiny")
    assert summary["verdict"] in remade.stdout
    assert (folder / "report.html").read_text() == page

    more = clr(*given, "--jobs", 1, "--seeds", 3, "--json")
    assert (
        "3 seeds are too few to show any difference; you need at least 4 (--seeds 4)" in more.stderr
    )
    assert json.loads(more.stdout)["num_seeds"] == 3
    assert "finished" in more.stderr


@pytest.mark.slow
def test_tuning_brackets_the_rate_of_every_arm(clr, easy, tmp_path):
    given = ["--seeds", 1, "--tune", "--device", "cpu", "--jobs", 1, "--json"]
    summary = json.loads(clr("compare", "--config", easy, *given).stdout)
    tuning = summary["tuning"]
    for arm, key in {"constant": "lr", "clr": "max_lr"}.items():
        found = tuning["arms"][arm]
        tried = {each["rate"]: each["mean"] for each in found["tried"]}
        assert (found["key"], found["inconclusive"]) == (key, None)
        assert min(tried) < found["low"] <= found["max_lr"] <= found["high"] < max(tried)
        best = max(value for value in tried.values() if value is not None)
        for end in (min(tried), max(tried)):  # the edges that were tried are worse
            assert tried[end] is None or tried[end] < best - 0.03
        kept = next(a for a in summary["arms"] if a["name"] == arm)
        assert kept["schedule"][key] == found["max_lr"]
        assert kept["cost"]["tuning_seconds"] > 0
    assert (tmp_path / "outputs" / "easy" / "compare-tuned" / "report.html").exists()


@pytest.mark.slow
def test_only_one_run_of_the_plan(clr, tiny, tmp_path):
    """As the jobs of an array have it; then the comparison trains nothing more."""
    given = ["--config", tiny, "--device", "cpu", "--jobs", 1, "--set", "training.epochs=1"]
    refused = clr("compare", *given, "--only", "clr:2", check=False)
    assert refused.returncode == 2
    assert "--only clr:2: not a run of this plan; did you mean 'clr:1'?" in refused.stderr
    for runs in (("constant:0",), ("constant:1", "clr:0", "clr:1")):
        done = clr("compare", *given, *(word for run in runs for word in ("--only", run)))
        assert f"= 4, of which {len(runs)} now" in done.stderr
        assert not (tmp_path / "outputs" / "tiny" / "compare").exists()
    results = sorted(tmp_path.rglob("result.json"))
    times = [path.stat().st_mtime_ns for path in results]
    assert len(times) == 4
    assert clr("compare", *given).stdout.startswith("\nschedule")
    assert [path.stat().st_mtime_ns for path in results] == times


@pytest.mark.slow
def test_only_the_arms_named_are_tuned(clr, easy):
    given = ["--config", easy, "--device", "cpu", "--jobs", 1, "--json"]
    given += ["--seeds", 1, "--tune-arms", "constant"]
    summary = json.loads(clr("compare", *given, "--tune").stdout)
    assert list(summary["tuning"]["arms"]) == ["constant"]
    arms = {arm["name"]: arm for arm in summary["arms"]}
    assert arms["constant"]["cost"]["tuning_seconds"] > 0
    assert arms["clr"]["cost"]["tuning_seconds"] == 0
    assert arms["clr"]["schedule"]["max_lr"] == 0.1
    refused = clr("compare", *given[:-1], "constnat", "--tune", check=False)
    assert refused.returncode == 2
    assert "--tune-arms: 'constnat' is not an arm; did you mean 'constant'?" in refused.stderr


def test_the_same_schedule_twice_gives_no_difference_at_all(clr, tiny):
    """A/A: two names for one schedule."""
    arms = ["--set", "schedules.again={kind: constant, lr: 0.05}", "--schedules", "constant,again"]
    arms += ["--set", "training.epochs=1", "--jobs", 1]
    summary = json.loads(clr("compare", "--config", tiny, *arms, "--json").stdout)
    comparison = summary["comparisons"][0]
    assert comparison["difference"]["mean"] == 0
    assert (comparison["wins"], comparison["losses"]) == (0, 0)
    assert comparison["verdict"] == "identical"


def test_missing_svhn_is_one_line_with_a_way_out(clr):
    """No SVHN on disk, no download: exit 2, no traceback. (A blocked network gives the same.)"""
    done = clr("compare", "--set", "dataset.download=false", check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    for part in (
        "train_32x32.mat",
        "test_32x32.mat",
        "data",
        "clr compare --config quickstart.yaml",
    ):
        assert part in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["config", "schema"],
        ["schedule", "plot", "--help"],
        ["train", "--set", "training.epoch=1"],
        ["compare", "--config", "nowhere.yaml"],
        ["train", "--schedule", "clrr"],
    ],
    ids=" ".join,
)
def test_help_and_config_errors_load_neither_torch_nor_matplotlib(arguments, tmp_path):
    code = (
        "import sys\nfrom clr_cli.cli.app import main\nsys.argv = ['clr', *sys.argv[1:]]\n"
        "try: main()\n"
        "finally:\n"
        "    heavy = [m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules]\n"
        "    print(heavy, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode in (0, 2)


def test_schedule_plot_draws_without_torch(tmp_path):
    code = (
        "import sys\nfrom clr_cli.cli.app import main\n"
        "sys.argv = ['clr', 'schedule', 'plot', '--schedule', 'clr', '--schedule', 'one_cycle']\n"
        "try: main()\nfinally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "schedule.png").stat().st_size > 5000
    assert "triangular: base_lr 0.001, max_lr 0.14" in done.stderr


def test_tensorboard_events_hold_the_metrics(clr, tiny, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    clr("train", "--config", tiny, "--device", "cpu", "--tensorboard")
    run = tmp_path / "outputs" / "tiny" / "train" / "clr" / "seed-0"
    events = reader.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    logged = [event.value for event in events.Scalars("test_accuracy")]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert logged == pytest.approx([row["test_accuracy"] for row in rows])


@pytest.mark.slow
def test_real_digits_are_learned(clr, tmp_path):
    path = next((p for p in REAL_DIGITS if p.exists()), None)
    if path is None:
        pytest.skip("no real digits: set CLR_SVHN_DIGITS to svhn_digits.npz")
    given = [
        "--set",
        f"dataset={{name: npz, path: {path.resolve()}}}",
        "--config",
        "svhn-quick.yaml",
    ]
    shorter = ("--set", "training.batch_size=64", "--set", "training.epochs=4")
    done = clr("train", *given, *shorter, "--json")
    assert json.loads(done.stdout)["final"]["test_accuracy"] > 0.6


@pytest.mark.slow
def test_a_wheel_carries_the_configs(tmp_path):
    """Build, install elsewhere, and load a shipped config by name from an empty folder."""
    root = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", str(root), "--no-deps", "-w", str(tmp_path)], check=True)
    wheel = next(tmp_path.glob("clr_cli-*.whl"))
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    code = "from clr_cli.config import load as config; print(config.find_config('quickstart.yaml'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()) == site / "clr_cli" / "configs" / "quickstart.yaml"
