"""Checkpoints stay in their run; a run is made longer in place, or decays from a plateau."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.left_behind import left_by
from support.plans import plan

from clr_cli.config.load import load
from clr_cli.errors import InputError
from clr_cli.execution.branch import branch_epochs, plateau_of
from clr_cli.execution.task import execute
from clr_cli.execution.training_task import Run
from clr_cli.paths import CHECKPOINT


def one(config: Path, folder: Path, kind: str, epochs: int, seed: int = 0, **fields) -> Run:
    """A run of an arm that is given as YAML."""
    (run,) = plan(
        config,
        folder,
        f"schedules.arm={kind}",
        f"training.epochs={epochs}",
        "compare={schedules: [arm]}",
        seeds=(seed,),
    )
    return replace(run, **fields)


def stop_in_epoch_2(run: Run) -> None:
    events = execute(run)
    while next(events).kind != "row":
        pass
    events.close()
    assert not run.directory.finished


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 1}, "run: arm, seed 1 there, arm, seed 0 now"),
        ({"kind": "{kind: constant, lr: 0.02}"}, "config.schedules.arm.lr: 0.02 there, 0.05 now"),
        ({"kind": "{kind: cosine, lr: 0.05}", "epochs": 4}, "kind: cosine there, constant now"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(easy, tmp_path, other, said):
    run = one(easy, tmp_path / "a", "{kind: constant, lr: 0.05}", 2)
    stranger = one(
        easy, tmp_path / "b", **{"kind": "{kind: constant, lr: 0.05}", "epochs": 2} | other
    )
    stop_in_epoch_2(run)
    stop_in_epoch_2(stranger)
    shutil.copy(stranger.path / CHECKPOINT, run.path / CHECKPOINT)
    with pytest.raises(InputError, match="the checkpoint belongs to another run") as caught:
        list(execute(run))
    assert said.removeprefix("config.") in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_a_checkpoint_fits_whatever_changes_nothing_about_the_run(easy, tmp_path):
    run = one(easy, tmp_path / "a", "{kind: constant, lr: 0.05}", 2)
    stop_in_epoch_2(run)
    moved = replace(run, path=tmp_path / "moved")
    shutil.copytree(run.path, moved.path)
    list(execute(moved))
    assert moved.directory.finished


INDEPENDENT = [
    pytest.param("{kind: constant, lr: 0.05, warmup_epochs: 0.5}", marks=pytest.mark.slow),
    "{kind: triangular2, base_lr: 0.001, max_lr: 0.1, step_size_epochs: 0.5}",
    "{kind: cosine, lr: 0.05, total_epochs: 3}",
    pytest.param("{kind: sgdr, max_lr: 0.1, t_0_epochs: 1}", marks=pytest.mark.slow),
    pytest.param("{kind: step, lr: 0.05, step_size_epochs: 1}", marks=pytest.mark.slow),
]
DEPENDENT = [
    ("{kind: cosine, lr: 0.05}", "cosine depends on the length of the run (total: 80 there"),
    ("{kind: step, lr: 0.05}", "step depends on the length of the run (step_size: 27 there"),
    ("{kind: one_cycle}", "one_cycle depends on the length of the run (total: 80 there"),
]


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_more_epochs_are_those_of_a_run_that_had_them_from_the_start(easy, tmp_path, kind):
    whole = one(easy, tmp_path / "whole", kind, 3)
    list(execute(whole))
    list(execute(one(easy, tmp_path / "grown", kind, 2)))
    longer = one(easy, tmp_path / "grown", kind, 3, extends=True)
    rows = [event for event in execute(longer) if event.kind == "row"]
    assert len(rows) == 1
    assert left_by(longer.directory) == left_by(whole.directory)
    model = [(run.path / "model.pt").read_bytes() for run in (whole, longer)]
    assert model[0] == model[1]
    list(execute(whole_again := one(easy, tmp_path / "grown", kind, 3)))
    assert whole_again.directory.finished


@pytest.mark.parametrize(("kind", "said"), DEPENDENT)
def test_a_schedule_that_lasts_the_run_is_not_made_longer(easy, tmp_path, kind, said):
    short = one(easy, tmp_path, kind, 2)
    list(execute(short))
    before = left_by(short.directory)
    with pytest.raises(InputError, match="2 epochs cannot become 3") as caught:
        list(execute(one(easy, tmp_path, kind, 3, extends=True)))
    assert said in str(caught.value)
    assert left_by(short.directory) == before


def test_only_epochs_may_differ_and_only_where_it_is_asked_for(easy, tmp_path):
    kind = "{kind: constant, lr: 0.05}"
    list(execute(one(easy, tmp_path, kind, 2)))
    with pytest.raises(InputError, match="training.epochs: 2 there, 3 now"):
        list(execute(one(easy, tmp_path, kind, 3)))
    with pytest.raises(InputError, match="schedules.arm.lr: 0.05 there, 0.06 now"):
        list(execute(one(easy, tmp_path, "{kind: constant, lr: 0.06}", 3, extends=True)))
    with pytest.raises(InputError, match="training.epochs: 2 there, 1 now"):
        list(execute(one(easy, tmp_path, kind, 1, extends=True)))


def test_a_run_that_was_killed_while_it_was_made_longer_goes_on(easy, tmp_path):
    kind = "{kind: constant, lr: 0.05}"
    whole = one(easy, tmp_path / "whole", kind, 3)
    list(execute(whole))
    short = one(easy, tmp_path / "grown", kind, 2)
    list(execute(short))
    events = execute(longer := one(easy, tmp_path / "grown", kind, 3, extends=True))
    assert next(events).kind == "start"
    events.close()
    assert not longer.directory.finished
    assert not (longer.path / "model.pt").exists(), "that of the shorter run would be taken for it"
    list(execute(longer))
    assert left_by(longer.directory) == left_by(whole.directory)


def test_train_more_counts_from_the_run_that_is_there(clr, easy):
    args = ("train", "--config", easy, "--schedule", "constant", "--set", "training.epochs=1")
    absent = clr(*args, "--more", "1", check=False)
    assert absent.returncode == 2
    assert "--more: outputs/easy/train/constant/seed-0 contains no run" in absent.stderr
    clr(*args)
    assert "epoch 2/2" in clr(*args, "--more", "1").stderr


WSD = "{kind: wsd, lr: 0.05, decay_share: 0.4, warmup_epochs: 0.5, min_lr: 0.003}"


@pytest.mark.slow
def test_a_branch_is_the_run_that_decays_there(clr, easy, tmp_path):
    args = ("train", "--config", easy, "--set", f"schedules.wsd={WSD}", "--schedule", "wsd")
    clr(*args, "--branch", "1")
    assert json.loads(clr(*args, "--branch", "2", "--json").stdout)["arm"] == "wsd-from-2"
    folder = tmp_path / "outputs" / "easy" / "train"
    for epoch, epochs in ((1, 2), (2, 3)):
        whole = one(easy, tmp_path / f"whole-{epochs}", WSD, epochs)
        list(execute(whole))
        branch = replace(whole, path=folder / f"wsd-from-{epoch}" / "seed-0")
        metrics, result, weights = left_by(branch.directory)
        expected = left_by(whole.directory)
        assert (metrics, weights) == (expected[0], expected[2])
        assert result == {**expected[1], "arm": f"wsd-from-{epoch}"}
    plateau = replace(whole, path=folder / "wsd-plateau" / "seed-0")
    assert [row["epoch"] for row in plateau.directory.read_metrics()] == [1, 2]
    assert "nothing was trained" in clr(*args, "--branch", "1").stderr
    shutil.rmtree(folder / "wsd-from-1" / "seed-0")
    gone = clr(*args, "--branch", "1", check=False)
    assert gone.returncode == 2
    assert "the plateau has reached epoch 2" in gone.stderr
    other = clr("train", "--config", easy, "--schedule", "clr", "--branch", "1", check=False)
    assert other.returncode == 2
    assert "only wsd has a plateau to branch from, not triangular" in other.stderr


@pytest.mark.parametrize(("epoch", "epochs"), [(10, 13), (40, 50), (80, 100)])
def test_a_decay_begins_where_it_branches(easy, epoch, epochs):
    arm = load(str(easy), ["schedules.w={kind: wsd, lr: 0.1}"]).schedule("w")
    assert branch_epochs(arm, epoch, 10) == epochs


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("{kind: wsd, total_epochs: 5}", "leave total_epochs out"),
        ("{kind: wsd, warmup_epochs: 4}", "the rate is not constant there"),
        ("{kind: wsd, decay_share: 1.0}", "the rate is not constant there"),
        ("{kind: linear}", "not linear"),
    ],
)
def test_what_has_no_plateau_cannot_branch(easy, arm, said):
    schedule = load(str(easy), [f"schedules.w={arm}"]).schedule("w")
    with pytest.raises(InputError, match=said):
        plateau_of(schedule) and branch_epochs(schedule, 3, 10)
