"""``clr compare --cmd``: a user's program from the command line and from a config, end to end."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from support.left_behind import timeless
from support.programs import TRAIN, written

from clr_cli.cli import program_options as program
from clr_cli.errors import InputError

# Seeds differ a little, .5 of the rate is .25 of loss.
ARMS = ("--arm", "base:lr=0.5", "--arm", "new:lr=1.0")
COUNTED = TRAIN + 'open(os.path.join(os.path.dirname(__file__), "runs"), "a").write("x")\n'


def loss(lr: float, seed: int) -> float:
    return (lr - 1) ** 2 + 1 / 5 + (seed * 7919 % 13) / 1000


def summary(tmp_path: Path, name: str = "program") -> dict:
    return json.loads((tmp_path / "outputs" / name / "compare/summary.json").read_text())


def test_a_program_is_compared_and_never_run_again(clr, tmp_path):
    command = ("compare", "--cmd", written(tmp_path, COUNTED), *ARMS, "--metric", "val_loss")
    clr(*command, "--jobs", "1", "--paired")
    said = summary(tmp_path)
    assert said["metric"] == {"name": "val_loss", "mode": "min", "unit": ""}
    for arm, lr in zip(said["arms"], (0.5, 1.0), strict=True):
        values = [loss(lr, seed) for seed in range(6)]
        assert list(arm["metrics"]["val_loss"]["values"].values()) == pytest.approx(values)
        assert arm["metrics"]["val_loss"]["mean"] == pytest.approx(statistics.fmean(values))
    (found,) = said["comparisons"]
    assert found["verdict"] == "better"
    assert found["difference"]["mean"] == pytest.approx(-0.25)
    assert said["contract"]["varied"] == "lr: base 0.5, new 1.0"
    page = (tmp_path / "outputs/program/compare/report.html").read_text()
    assert "lr: base 0.5, new 1.0" in page
    clr(*command, "--jobs", "1", "--paired", "--seeds", "7")
    assert len((tmp_path / "runs").read_text()) == 14, "a finished run was run again"


def test_a_config_says_it_all_and_needs_permission(clr, tmp_path):
    lines = [
        "name: mine",
        f"command: {written(tmp_path)}",
        "arms: {base: {lr: 0.5}, new: {lr: 1}}",
        "metric: {name: val_loss, mode: min}",
        "compare: {baseline: new, seeds: 2, paired: yes}",
    ]
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    refused = clr("compare", "--config", "mine.yaml", check=False)
    assert refused.returncode == 2
    assert "mine.yaml: command:" in refused.stderr
    assert "pass --allow-code" in refused.stderr
    assert not (tmp_path / "outputs").exists()
    one = ("compare", "--config", "mine.yaml", "--allow-code")
    clr(*one, "--only", "base:1")
    runs = sorted(path.parent for path in (tmp_path / "outputs/mine/train").rglob("result.json"))
    assert [(path.parent.name, path.name) for path in runs] == [("base", "seed-1")]
    clr(*one, "--jobs", "1", "--set", "compare.seeds=3")
    said = summary(tmp_path, "mine")
    assert (said["baseline"], said["num_seeds"]) == ("new", 3)
    assert said["comparisons"][0]["difference"]["mean"] == pytest.approx(0.25)


@pytest.mark.slow
def test_workers_give_what_one_process_gives(clr, tmp_path):
    command = ("compare", "--cmd", written(tmp_path), *ARMS, "--metric", "val_loss", "--seeds", "2")
    clr(*command, "--jobs", "1", "--name", "one")
    clr(*command, "--jobs", "2", "--name", "one", "-o", "elsewhere")
    here, there = (
        json.loads((tmp_path / folder / "one/compare/summary.json").read_text())
        for folder in ("outputs", "elsewhere")
    )
    assert timeless(here) == timeless(there)


def test_a_command_that_fails_says_why(clr, tmp_path):
    command = written(tmp_path, "raise SystemExit('no GPU left')")
    done = clr(
        *("compare", "--cmd", command, *ARMS, "--metric", "val_loss", "--seeds", "1"), check=False
    )
    assert done.returncode == 2
    assert "base, seed 0: failed (exit code 1)" in done.stderr
    assert "  no GPU left" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("clr: the first run of every arm (base, new)")
    assert "resume" not in done.stderr.splitlines()[-1], "it would fail again"


def test_a_typo_stops_after_the_first_run_of_every_arm_and_can_be_mended(clr, tmp_path):
    command = written(tmp_path, COUNTED)
    rest = (*ARMS, "--metric", "val_loss", "--jobs", "1")
    wrong = command.replace("train.py", "trian.py")
    done = clr("compare", "--cmd", wrong, *rest, "--seeds", "auto", check=False)
    assert done.stderr.count(": failed (exit code 2)") == 2
    assert "decided" not in done.stderr
    clr("compare", "--cmd", command, *rest, "--seeds", "1")
    assert (tmp_path / "runs").read_text() == "xx"


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_tries_one_run_and_leaves_nothing(clr, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    command = written(tmp_path, COUNTED)
    before = everything(tmp_path)
    rest = (*ARMS, "--metric", "val_loss", "--seeds", "auto:10", "--jobs", "2", "--dry-run")
    done = clr("compare", "--cmd", command, *rest)
    assert (tmp_path / "runs").read_text() == "x", "more than one run"
    (tmp_path / "runs").unlink()
    assert everything(tmp_path) == before
    assert not (tmp_path / "outputs").exists()
    line = f"{command.partition(' {')[0]} 0.5 0 {tmp_path}/outputs/program/train/base/seed-0/"
    assert f"\n  {line}out.jsonl\n" in done.stderr
    assert f"5 rows; the last val_loss is {loss(0.5, 0):.6g}." in done.stdout
    assert "at most 20 runs, 2 at a time, would take at most " in done.stdout
    assert "at most 10 seeds" in done.stderr, "the plan"


def test_a_dry_run_says_what_is_wrong(clr, tmp_path):
    rest = (*ARMS, "--metric", "loss", "--dry-run")
    done = clr("compare", "--cmd", written(tmp_path), *rest, check=False)
    assert done.returncode == 2
    assert "wrote no loss; its rows contain iteration, val_loss" in done.stderr
    done = clr("compare", "--cmd", "none {lr} {seed} {out}", *rest, check=False)
    assert done.returncode == 2
    assert "none: No such file or directory" in done.stderr
    assert (
        done.stderr.splitlines()[-1] == "clr: the trial run failed; fix the command and try again"
    )
    done = clr("compare", "--from", "none.csv", "--dry-run", check=False)
    assert "--dry-run is for runs that clr starts" in done.stderr


def test_neither_comparing_programs_nor_planning_them_imports_torch():
    """Its import takes seconds, more than all else that clr does for a program."""
    code = (
        "import sys, clr_cli.cli.compare, clr_cli.study.program;"
        "from clr_cli.execution import engines; from clr_cli.report import write;"
        "engines.Local('cpu', None).workers(4, None); engines.gpus_of('cpu');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [("90", 90), (90, 90), ("1.5h", 5400), ("30m", 1800), ("30 min", 1800), ("2d", 172800)],
)
def test_a_time_limit_is_read(limit, seconds):
    made = program.comparison(given(time_limit=limit), allow_code=False)
    assert made.time_limit == seconds


def test_a_time_limit_in_a_config(clr, tmp_path, monkeypatch):
    monkeypatch.setenv("STEPS", "100000")
    monkeypatch.setenv("WAIT", "0.1")
    lines = [
        "name: mine",
        f"command: {written(tmp_path)}",
        "arms: {base: {lr: 0.5}, new: {lr: 1}}",
        "metric: {name: val_loss}",
        "time_limit: 0.8s",
        "compare: {seeds: 1}",
    ]
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    done = clr("compare", "--config", "mine.yaml", "--allow-code")
    assert done.stderr.count("stopped by the time limit; its rows count") == 2
    assert summary(tmp_path, "mine")["num_seeds"] == 1


def given(**changes) -> program.ProgramArguments:
    made = {
        "config": None,
        "sets": (),
        "name": None,
        "command": "train {lr} {seed} {out}",
        "arms": ("base:lr=1", "new:lr=2"),
        "reads": (),
        "metric": {"name": "val_loss"},
        "compare": {},
        **changes,
    }
    return program.ProgramArguments(**made)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "train {lr} {out}"}, "--cmd: command: {seed} is missing"),
        ({"command": "train {lr} {seed}"}, "--cmd: command: {out} is missing"),
        ({"command": "train {lr} {seed} {out} {"}, "command: Single '{' encountered"),
        ({"command": "train {lr.real} {seed} {out}"}, "{lr.real} is not a placeholder"),
        ({"command": "train {lr:.3g} {seed} {out}"}, "{lr} is not a placeholder"),
        ({"command": "train '{lr} {seed} {out}"}, "command: No closing quotation"),
        (
            {"arms": ("base:lr=1", "new:rl=2")},
            "arms.new: the command contains {lr}; give lr a value",
        ),
        ({"arms": ("base:lr=1", "new:lr=2,wd=1")}, "arms.new.wd: not a placeholder of the command"),
        ({"arms": ("base:lr=1", "new:lr=2,seed=1")}, "arms.new.seed: not a placeholder"),
        ({"arms": ("base:lr=1",)}, "arms: a comparison needs two or more"),
        ({"arms": ()}, "give two or more --arm name:key=value to compare"),
        ({"arms": ("base:lr=1", "base:lr=2")}, "--arm base: this arm is given twice"),
        ({"arms": ("base:lr",)}, "--arm 'base:lr': write it as name:key=value"),
        ({"arms": ("../x:lr=1", "new:lr=2")}, "arms.../x: '../x': expected 1 to 100 letters"),
        ({"metric": {}}, "give --metric NAME"),
        ({"metric": {"name": "glow"}}, "--mode: say which glow is better"),
        (
            {"metric": {"name": "bleu", "mode": "high"}},
            "metric.mode: 'high' must be 'min' or 'max'",
        ),
        ({"reads": ("loss (.+)",)}, "read: 'loss (.+)' has no named group"),
        ({"reads": ("loss (?P<a",)}, "is not a regular expression"),
        ({"reads": ("(?P<val_los>.+)",)}, "no pattern of read has a group val_loss; did you mean"),
        ({"compare": {"baseline": "bas"}}, "compare.baseline: 'bas' is not an arm; did you mean"),
        ({"compare": {"seeds": "auto:3"}}, "compare.seeds: auto:3: the cap must be at least 8"),
        ({"sets": ("a=1",)}, "--set works only with --config"),
        ({"time_limit": "30x"}, "time_limit: '30x': not a duration; write 90s, 30m or 1.5h"),
        ({"time_limit": "0"}, "time_limit: '0' must be greater than 0"),
        ({"metric": {"name": "seed", "mode": "min"}}, "'seed': this name is reserved"),
        ({"name": "../x"}, "name: '../x': expected 1 to 100 letters"),
    ],
)
def test_what_cannot_be_run_is_refused_in_a_line(changes, message):
    with pytest.raises(InputError) as caught:
        program.comparison(given(**changes), allow_code=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_values_are_kept_as_they_are_typed():
    config = program.comparison(given(arms=("a:lr=3e-4", "b:lr=1_000")), allow_code=False)
    assert config.arms == {"a": {"lr": "3e-4"}, "b": {"lr": "1_000"}}


def test_a_known_metric_needs_no_direction():
    config = program.comparison(given(metric={"name": "val_accuracy"}), allow_code=False)
    assert (config.metric.mode, config.metric.unit) == ("max", "%")
