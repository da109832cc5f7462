"""Symbolic links where clr writes: nothing behind one is written, emptied or deleted.

The output folder and an experiment's folder may be links; below them, none is followed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import forked
from support.programs import written

from clr_cli.config import load as configs
from clr_cli.errors import InputError
from clr_cli.execution.program import Program
from clr_cli.execution.run_directory import RunDirectory
from clr_cli.execution.task import execute
from clr_cli.execution.training_task import Run
from clr_cli.files import check_writable, write_atomic
from clr_cli.paths import Experiment, links_to

PRECIOUS = "something of the user's\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside the output folder, alone in its folder."""
    path = tmp_path / "outside" / "precious.txt"
    path.parent.mkdir()
    path.write_text(PRECIOUS)
    return path


def untouched(victim: Path) -> bool:
    return victim.read_text() == PRECIOUS and os.listdir(victim.parent) == [victim.name]


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Run:
    config = configs.load(str(tiny), ["training.epochs=1"])
    path = Experiment(tmp_path / "outputs", "tiny").run("clr", 0)
    arm = config.schedule("clr")
    return Run(config=config, seed=0, path=path, device="cpu", threads=1, arm="clr", schedule=arm)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(
        command=written(tmp_path),
        arm="a",
        values={"lr": "0.5"},
        metric="val_loss",
        path=Experiment(tmp_path / "outputs", "program").run("a", 0),
        seed=0,
    )


def refused(task: Run | Program, link: Path) -> None:
    with pytest.raises(
        InputError, match="is a symbolic link, and clr does not write through"
    ) as caught:
        list(execute(task))
    assert str(caught.value).startswith(f"{link}: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (".lock", "precious.txt"),
        (".lock", "new.txt"),
        (".config.yaml.part", "precious.txt"),
        (".checkpoint.new.pt.part", "precious.txt"),
        ("metrics.jsonl", "new.txt"),
    ],
)
def test_no_file_of_a_run_is_written_through_a_link(run, victim, name, target):
    run.path.mkdir(parents=True)
    link = run.path / name
    link.symlink_to(victim.with_name(target))
    refused(run, link)
    assert untouched(victim)


def test_a_link_in_place_of_a_whole_file_is_replaced_by_the_file(run, victim):
    run.path.mkdir(parents=True)
    (run.path / "result.json").symlink_to(victim.parent / "new.txt")
    for name in ("metrics.jsonl", "checkpoint.pt"):
        (run.path / name).symlink_to(victim)
    list(execute(run))
    assert run.directory.finished
    for name in ("result.json", "metrics.jsonl", "checkpoint.pt"):
        assert not (run.path / name).is_symlink()
    assert untouched(victim)


@pytest.mark.parametrize("name", [".program", "out.jsonl", ".seconds.json.part"])
def test_no_file_of_a_program_is_written_through_a_link(program, victim, name):
    program.path.mkdir(parents=True)
    link = program.path / name
    link.symlink_to(victim)
    refused(program, link)
    assert untouched(victim)


def test_a_log_of_a_program_that_is_a_link_is_replaced_by_a_file(program, victim):
    program.path.mkdir(parents=True)
    log = program.path / "output.log"
    log.symlink_to(victim)
    list(execute(program))
    assert log.is_file()
    assert not log.is_symlink()
    assert untouched(victim)


def test_a_named_pipe_in_place_of_a_lock_or_a_temporary_file_is_no_endless_wait(tmp_path):
    os.mkfifo(tmp_path / ".x.part")
    with pytest.raises(Exception, match=r"x: cannot be written"):
        write_atomic(tmp_path / "x", "text")


@pytest.mark.parametrize("depth", range(3))
def test_no_folder_of_an_experiment_is_followed(run, victim, depth):
    link = [run.path, *run.path.parents][depth]
    link.parent.mkdir(parents=True)
    link.symlink_to(victim.parent)
    refused(run, link)
    assert untouched(victim)


@pytest.mark.parametrize("name", ["train", "probes", "compare", "range-test", "rates"])
def test_the_command_refuses_such_a_folder_before_it_loads_the_data(tiny, tmp_path, victim, name):
    link = tmp_path / "outputs" / "tiny" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim.parent)
    for folder in Experiment(tmp_path / "outputs", "tiny").written:
        if folder != link:
            check_writable(folder)
    with pytest.raises(InputError, match=f"tiny/{name}: is a symbolic link"):
        check_writable(link)


def test_overwrite_deletes_links_and_not_what_they_lead_to(tmp_path, victim):
    directory = RunDirectory(Experiment(tmp_path / "outputs", "x").run("a", 0))
    directory.path.mkdir(parents=True)
    (directory.path / "file").symlink_to(victim)
    (directory.path / "folder").symlink_to(victim.parent)
    (directory.path / "own").mkdir()
    (directory.path / "own" / "deep").symlink_to(victim.parent)
    with directory.lock():
        directory.prepare({"name": "x"}, overwrite=True)
    assert {path.name for path in directory.path.iterdir()} == {".lock", "config.yaml"}
    assert untouched(victim)


@pytest.mark.parametrize("name", ["outputs", "outputs/tiny"])
def test_the_output_folder_and_the_experiment_may_be_links(tiny, tmp_path, name):
    disk = tmp_path / "scratch"
    disk.mkdir()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(disk)
    command = ("train", "--config", tiny, "--set", "training.epochs=1", "--device", "cpu")
    child = forked.start(tmp_path, *command)
    assert child.wait() == 0, child.stderr
    assert len([*disk.rglob("train/clr/seed-0/result.json")]) == 1


def test_every_folder_below_an_experiment_is_looked_at_whatever_an_arm_is_called(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "outputs").symlink_to(outside)  # which is allowed
    here = Experiment(tmp_path / "outputs", "train")
    runs = [here.run("train", 0), here.trial("clr@0.1", 1), here.tuned_run("clr@0.1", 1)]
    runs += [here.sweep("0.1-1", 0), here.probe("clr@1", 40, 0), here.program_probe("a@1", 0)]
    for run in runs:
        run.parent.mkdir(parents=True, exist_ok=True)
        assert links_to(run) == []
    for number, run in enumerate(runs):
        for folder in (run, *run.relative_to(here.folder).parents):
            if folder == Path("."):
                continue
            place = here.folder / folder
            moved = outside / f"moved-{number}"
            if place.exists():
                place.rename(moved)
            place.symlink_to(moved)
            assert links_to(run) == [place]
            place.unlink()
            if moved.exists():
                moved.rename(place)
