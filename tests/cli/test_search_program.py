"""``clr range-test --cmd``: the good rates of a user's program."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
import yaml
from support.programs import written

from clr_cli.cli import program_options
from clr_cli.errors import InputError
from clr_cli.execution.task import TaskOptions
from clr_cli.paths import Experiment
from clr_cli.study.program import ProgramProbes

# Best at .004; within 3 % of 1.5 for half a decade and a little to either side; it fails from 1 on.
BOWL = """
import json, math, random, sys
lr, seed, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if lr >= 1: sys.exit("diverged")
random.seed(f"{lr}, {seed}")
loss = 1.5 + 0.15 * math.log10(lr / 0.004) ** 2 + random.gauss(0, 0.002)
open(out, "a").write(json.dumps({"step": 1, "val_loss": loss}) + "\\n")
open(sys.argv[0] + ".runs", "a").write("x")
"""


def test_the_rates_of_a_program(clr, tmp_path):
    command = ("range-test", "--cmd", written(tmp_path, BOWL), "--metric", "val_loss")
    clr(*command, "--start", "0.0003", "--jobs", "2")
    folder = tmp_path / "outputs/program/rates"
    found = json.loads((folder / "result.json").read_text())
    reach = 10 ** math.sqrt(0.045 / 0.15)
    assert found["max_lr"] == pytest.approx(0.004, rel=0.25)
    assert found["low"] == pytest.approx(0.004 / reach, rel=0.35)
    assert found["high"] == pytest.approx(0.004 * reach, rel=0.35)
    assert {"probes.csv", "rates.png", "report.html"} <= {path.name for path in folder.iterdir()}
    runs = len((tmp_path / "train.py.runs").read_text())
    done = clr(*command, "--start", "0.02", "--jobs", "1")
    again = json.loads((folder / "result.json").read_text())
    assert [again[key] for key in ("low", "high", "max_lr", "tried")] == [
        found[key] for key in ("low", "high", "max_lr", "tried")
    ]
    more = len((tmp_path / "train.py.runs").read_text()) - runs
    assert more <= 3, "another start costs only the probes that are missing"
    assert "good rates" in done.stdout


def test_a_program_that_fails_at_once_is_no_reason_to_search_on(clr, tmp_path):
    command = written(tmp_path, "raise SystemExit('no such file: data.bin')")
    done = clr("range-test", "--cmd", command, "--metric", "val_loss", check=False)
    assert done.returncode == 2
    assert "no such file: data.bin" in done.stderr
    assert "before its first row" in done.stderr.splitlines()[-1]


def test_an_arm_gives_the_other_values():
    given = program_options.ProgramArguments(
        *(None, (), None, "train {lr} {wd} {seed} {out}", ("base:lr=1,wd=0.1",), ()),
        metric={"name": "val_loss"},
    )
    found = program_options.search(given, start=0.1, delta=None, allow_code=False)
    assert (found.values, found.start) == ({"wd": "0.1"}, 0.1)


def test_probes_have_the_time_limit(tmp_path):
    given = program_options.ProgramArguments(
        *(None, (), None, "train {lr} {seed} {out}", (), ()),
        metric={"name": "val_loss"},
        time_limit="30m",
    )
    found = program_options.search(given, start=0.1, delta=None, allow_code=False)
    probes = ProgramProbes(config=found, options=TaskOptions(Experiment(tmp_path, "x")))
    assert probes.task((0, 0)).time_limit == 1800


@pytest.mark.parametrize(
    ("command", "arms", "options", "message"),
    [
        ("train {seed} {out}", (), {}, "command: {lr} is missing, the learning rate"),
        ("train {lr} {wd} {seed} {out}", (), {}, "arm: the command contains {wd}; give wd a value"),
        ("train {lr} {seed} {out}", ("a:wd=1",), {}, "arm.wd: not a placeholder of the command"),
        ("train {lr} {seed} {out}", ("a",), {}, "--arm a: not found"),
        ("train {lr} {seed} {out}", ("a:lr=1", "b:lr=2"), {}, "the rates of one arm"),
        ("train {lr} {seed} {out}", (), {"start": 0.0}, "start: 0.0 must be greater than 0"),
        ("train {lr} {seed} {out}", (), {"delta": -1.0}, "delta: -1.0 must be greater than 0"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_line(command, arms, options, message):
    given = program_options.ProgramArguments(
        *(None, (), None, command, arms, ()), metric={"name": "val_loss"}
    )
    with pytest.raises(InputError) as caught:
        program_options.search(given, **{"start": None, "delta": None, **options}, allow_code=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_clrs_own_training_are_refused(clr, tmp_path):
    command = ("range-test", "--cmd", "train {lr} {seed} {out}", "--metric", "val_loss")
    for option in (("--schedule", "clr"), ("--sweeps", "3"), ("--certify", "2")):
        done = clr(*command, *option, check=False)
        assert done.returncode == 2
        assert f"{option[0]} is for clr's own training" in done.stderr
    done = clr("range-test", "--start", "0.1", check=False)
    assert "--start works only with --cmd" in done.stderr


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_config_of_a_program_is_valid_or_refused_in_a_line(tmp_path, seed):
    """Keys dropped, renamed, or with values of another kind; both commands."""
    moments = random.Random(seed)
    tree = {
        "name": "mine",
        "command": "train {lr} {wd} {seed} {out}",
        "read": ["(?P<val_loss>.+)"],
        "arms": {"a": {"lr": 1, "wd": 0.1}, "b": {"lr": 2, "wd": 0.2}},
        "metric": {"name": "val_loss", "mode": "min", "unit": ""},
        "compare": {"baseline": "a", "seeds": 3, "margin": 0.1, "paired": True},
    }
    values = [None, True, -1, 1e300, math.nan, "", "x", "{", "{}", "(", [], {}, [1], {"a": []}]
    for _ in range(moments.randint(1, 3)):
        node = tree
        while True:
            key = moments.choice([*node])
            below = node[key]
            if isinstance(below, dict) and below and moments.random() < 0.6:
                node = below
                continue
            if moments.random() < 0.3:
                del node[key]
            else:
                node[key] = moments.choice(values)
            break
        tree = tree or {"command": "x"}
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(tree))
    given = program_options.ProgramArguments(*(str(config), (), None, None, ("a",), ()), metric={})
    for make in (
        lambda: program_options.search(given, start=None, delta=None, allow_code=True),
        lambda: program_options.comparison(replace(given, arms=()), allow_code=True),
    ):
        try:
            make()
        except InputError as error:
            assert "\n" not in str(error)
