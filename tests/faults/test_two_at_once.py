"""Two commands under one name at the same time: neither loses the look of the other."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from support import forked

import clr_cli as clr
from clr_cli.records import Summary

PROGRAM = """
import json, random, sys
name, seed, out = sys.argv[1:]
loss = {"old": 2.0, "new": 1.9}[name] + random.Random(name + seed).gauss(0, 0.1)
open(out, "w").write(json.dumps({"val_loss": loss}))
"""


def value(arm: str, seed: int) -> float:
    return {"old": 2.0, "new": 1.9}[arm] + random.Random(f"{arm}{seed}").gauss(0, 0.1)


def from_table(folder: Path, seeds: int) -> forked.Clr:
    rows = [f"{arm},{seed},{value(arm, seed)}" for arm in ("old", "new") for seed in range(seeds)]
    path = folder / f"{seeds}.csv"
    path.write_text("\n".join(["arm,seed,val_loss", *rows]))
    return forked.start(
        *(folder, "compare", "--from", path, "--name", "same", "--paired"),
        prints=folder / f"prints-{seeds}",
    )


def by_program(folder: Path, seeds: int) -> forked.Clr:
    (folder / "train.py").write_text(PROGRAM)
    command = f"{sys.executable} train.py {{name}} {{seed}} {{out}}"
    arms = ("--arm", "old:name=old", "--arm", "new:name=new")
    return forked.start(
        *(folder, "compare", "--cmd", command, *arms, "--metric", "val_loss", "--name", "same"),
        *("--seeds", seeds, "--paired", "--jobs", 1),
        prints=folder / f"prints-{seeds}",
    )


def call(folder: Path, seeds: int) -> None:
    os.chdir(folder)
    arms = {arm: lambda seed, arm=arm: value(arm, seed) for arm in ("old", "new")}
    clr.compare(arms, metric="val_loss", seeds=seeds, paired=True, directory="outputs/same")


@pytest.mark.parametrize("start", [from_table, by_program])
def test_of_two_commands_at_once_each_counts_the_look_of_the_other(tmp_path, start):
    for child in [start(tmp_path, seeds) for seeds in (6, 8)]:
        assert child.wait() == 0, child.stderr
    check(tmp_path)


def test_of_two_calls_at_once_each_counts_the_look_of_the_other(tmp_path):
    children = [forked.CONTEXT.Process(target=call, args=(tmp_path, seeds)) for seeds in (6, 8)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
        assert child.exitcode == 0
    check(tmp_path)


def check(folder: Path) -> None:
    """Check that both looks are on record, whichever came last, and decide by the rule of looks."""
    written = folder / "outputs/same/compare"
    summary = Summary.model_validate_json((written / "summary.json").read_text())
    assert [look.n for look in summary.looks] == [6, 8]
    assert summary.rule == "sequential"
    assert not [path for path in written.iterdir() if path.name.startswith(".")]
