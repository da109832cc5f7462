"""What a person sees on a real terminal: a pseudo-terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from support import forked
from support.summaries import summarize

from clr_cli.cli import app, progress, show, terminal
from clr_cli.records import Metric, RunRecord

COLUMNS = 80


def on_a_terminal(*arguments: str, cwd: Path, results: bool = False) -> tuple[str, str]:
    """(stdout, what the terminal got) of clr with stderr, and results too, on a pseudo-terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    terminal = Path(os.ttyname(theirs))
    streams = {1: terminal, 2: terminal} if results else {2: terminal}
    child = forked.start(cwd, *arguments, terminal=streams)
    while child.running and not select.select([ours], [], [], 0.05)[0]:
        pass  # it is ours that keeps the terminal open until the child has opened it
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # Linux ends a pseudo-terminal so
        pass
    os.close(ours)
    assert child.wait() == 0, seen.decode()
    return child.stdout, seen.decode()


@pytest.mark.slow
def test_bars_are_live_fit_the_terminal_and_count_every_run(tiny: Path, tmp_path: Path) -> None:
    out, seen = on_a_terminal("compare", "--config", str(tiny), "--jobs", "1", cwd=tmp_path)
    assert "\r" in seen  # drawn again in place
    frames = [frame for frame in re.split(r"[\r\n]+|\x1b\[[0-9;]*[A-Za-z]", seen) if frame.strip()]
    bars = [frame for frame in frames if "epoch" in frame and "|" in frame]
    assert any("run 0/4" in bar for bar in bars)
    assert any("run 4/4" in bar and "12/12" in bar for bar in bars)
    assert any(bar.strip().startswith("clr, seed 1") for bar in bars)
    assert max(len(bar) for bar in bars) <= COLUMNS
    assert "\x1b" not in out  # results are plain text
    assert "\r" not in out
    # The plan and the notes are not torn by the bars.
    assert "4, 1 at a time" in seen

    on_a_pipe, _ = on_a_terminal("report", "outputs/tiny", cwd=tmp_path)
    _, linked = on_a_terminal("report", "outputs/tiny", cwd=tmp_path, results=True)
    shown = re.sub(r"\x1b\]8;;.*?\x1b\\|\x1b\[[0-9;]*m", "", linked)
    lines = shown.splitlines()
    assert max(len(line) for line in lines) <= COLUMNS
    # Every column of the wide table is there, in blocks that each name the arms.
    assert "wrote outputs/tiny/compare/" in lines
    target = (tmp_path / "outputs/tiny/compare/report.html").as_uri()
    link = rf"\x1b\]8;;{re.escape(target)}\x1b\\outputs/tiny/compare/report.html\x1b\]8;;\x1b\\"
    assert re.fullmatch(link, linked.splitlines()[-1])
    assert "\x1b" not in on_a_pipe
    assert on_a_pipe.splitlines()[-1] == "outputs/tiny/compare/report.html"
    for column in out.strip().splitlines()[0].split("  "):
        assert column.strip() in shown
    assert sum(line.startswith("constant ") for line in lines) > 1


@pytest.mark.slow
def test_a_second_call_shows_full_bars_at_once(tiny: Path, tmp_path: Path) -> None:
    on_a_terminal("train", "--config", str(tiny), "--schedule", "clr", cwd=tmp_path)
    _, seen = on_a_terminal("train", "--config", str(tiny), "--schedule", "clr", cwd=tmp_path)
    assert re.search(r"100%.*3/3", seen)


@pytest.mark.parametrize("arguments", [(), ("config",), ("schedule",)])
def test_a_command_without_arguments_prints_its_help(arguments: tuple[str, ...], clr: Any) -> None:
    done = clr(*arguments, check=False)
    assert done.returncode == 2
    assert done.stdout.startswith(f"Usage: {' '.join(('clr', *arguments))} [OPTIONS] COMMAND")
    assert len(done.stdout.splitlines()) > 5
    assert done.stderr == ""


def test_durations_are_told_as_they_were_given(clr: Any) -> None:
    plot = ("schedule", "plot", "--config", "quickstart.yaml", "--schedule", "clr")
    assert "step_size_epochs 2; 2 cycles" in clr(*plot).stderr
    known = clr(*plot, "--iterations-per-epoch", "100").stderr
    assert "step_size 200; 2 cycles" in known


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--schedules", "clr,cosin", "'cosin' is unknown; did you mean 'cosine'?"),
        ("--seeds", "banana", "expected a number, a list such as 0,1,7, or auto"),
    ],
)
def test_a_typo_in_a_list_is_named(option: str, value: str, said: str, clr: Any) -> None:
    done = clr("compare", "--config", "quickstart.yaml", option, value, check=False)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("tty", "environment", "colored"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_a_verdict_has_its_color_only_where_colors_are_seen(
    tty: bool,
    environment: dict[str, str],
    colored: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty)
    verdict = "clr is better than constant. Undecided between a and b. c is equivalent to d."
    terminal.verdict(verdict)
    said = capsys.readouterr().out
    for word, code in (("better", 32), ("Undecided", 33), ("equivalent", 34)):
        assert (f"\x1b[1;{code}m{word}\x1b[0m" in said) == colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", said) == f"{verdict}\n"


def test_the_options_of_a_command_are_in_groups_and_none_is_left_out(clr: Any) -> None:
    words = clr("compare", "--help").stdout
    sections = re.findall(r"^(\w[\w ]*):$", words, re.M)
    assert sections[:3] == ["Options", "What decides", "Rates"]
    for option in ("--config", "--seeds", "--baseline", "--tune", "--cmd", "--from", "--jobs"):
        assert len(re.findall(rf"^  (?:-\w, )?{option}[ \n]", words, re.M)) == 1


def test_nothing_saved_yet_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress.Progress, "saved", False)
    monkeypatch.setattr(progress.Progress, "programs", False)
    assert app._saved("all progress") == ""
    shown = progress.Progress(["a"], 2)
    shown.feed(0, "note", "the data are read")
    assert app._saved("all progress") == ""
    shown.feed(0, "start", 0)
    assert "all progress is saved" in app._saved("all progress")
    monkeypatch.setattr(progress.Progress, "programs", True)
    assert "every finished run is saved" in app._saved("all progress")


def test_the_rows_of_a_sweep_are_points(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress.Progress, "saved", False)
    numbers = dict.fromkeys(
        ("train_loss", "val_accuracy", "lr", "train_seconds", "eval_seconds"), 1
    )
    progress.Progress(["sweep 0"], 100, unit="point").feed(0, "row", numbers)
    assert capsys.readouterr().err.startswith("point 1/100  loss 1.000")


def test_an_arm_whose_runs_all_failed_has_not_diverged(capsys: pytest.CaptureFixture[str]) -> None:
    loss = Metric(name="loss", mode="min")
    records = [RunRecord("new", seed, "failed", [], {}) for seed in range(6)]
    for seed in range(6):
        final = {"loss": 1 + seed / 10}
        records.append(RunRecord("old", seed, "finished", [], {"final": final}))
    show.print_summary(summarize(records, baseline="old", metric=loss, margin=None))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("new "))
    assert "failed" in line
    assert "diverged" not in line


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("compare --config quick", ["quickstart.yaml"]),
        ("compare --config quickstart.yaml --schedules clr,one", ["clr,one_cycle"]),
        ("comp", ["compare"]),
    ],
)
def test_the_shell_completes_configs_and_arms(typed: str, offered: list[str]) -> None:
    words = ["clr", *typed.split()]
    environment = {
        **os.environ,
        "_CLR_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "from clr_cli.cli.app import app; app(prog_name='clr')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == offered, done.stderr
