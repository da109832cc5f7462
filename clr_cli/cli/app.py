"""Define the ``clr`` command, its subcommands, and the message and exit code of every failure.

A command's module is loaded when the command is used, and loads torch, matplotlib or pydantic after
its options are checked: ``clr --help`` loads none of them.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clr_cli import __version__, interrupt
from clr_cli.cli import terminal
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.training.ranks import own_rank, under_torchrun

PLAIN: dict[str, Any] = {  # importing rich would take longer than the rest
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
# Command -> the first line of its help, and the example at the end. Its module has its name.
COMMANDS = {
    "range-test": (
        "Which range of learning rates works here?",
        "clr range-test --config quickstart.yaml",
    ),
    "train": (
        "Train one run with one schedule. The same command again resumes it.",
        "clr train --config quickstart.yaml --schedule clr --seed 0",
    ),
    "compare": (
        "Is one arm better than another? By how much, how certain, how much sooner?",
        "clr compare --config quickstart.yaml --schedules constant,clr",
    ),
    "results": (
        "Show what files of results contain, and the command that compares them.",
        "clr results runs",
    ),
    "report": (
        "Make the figures and the page of a comparison or a range test again, without training.",
        "clr report outputs/quickstart/compare",
    ),
    "export": (
        "Export a trained model for use without clr, and a description of it.",
        "clr export outputs/quickstart/train/clr/seed-0",
    ),
}
# Commands with subcommands, which are in clr_cli/cli/inspect.py.
GROUPS = {
    "config": "Look at configs and their schema.",
    "schedule": "Look at schedules without training.",
}
TRAINING = ("range-test", "train", "compare")  # the commands that leave something to resume
RESUME = "run the same command again to resume"
NOT_SAVED = "nothing was saved yet; run the same command again to start over"


class _Grouped(TyperCommand):
    """A command whose help has its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        from clr_cli.cli.options import HELP_GROUPS

        left = {str(param.name): param for param in self.get_params(ctx)}
        sections = []
        for title, names in HELP_GROUPS.items():
            sections.append((title, [left.pop(name) for name in names if name in left]))
        sections.insert(0, ("Options", [*left.values()]))
        for title, params in sections:
            records = [r for param in params if (r := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class _Commands(TyperGroup):
    """The commands; each is loaded on first use."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[str, Any] = dict.fromkeys([*COMMANDS, *GROUPS])
        self.commands = names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in GROUPS:
            group = getattr(importlib.import_module("clr_cli.cli.inspect"), f"{cmd_name}_app")
            return typer.main.get_group(group)
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"clr_cli.cli.{cmd_name.replace('-', '_')}")
        alone = typer.Typer(add_completion=False, **PLAIN)
        example = f"Example: {COMMANDS[cmd_name][1]}"
        alone.command(cmd_name, cls=_Grouped, epilog=example)(module.command)
        return typer.main.get_command(alone)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        lines = {name: line for name, (line, _) in COMMANDS.items()} | GROUPS
        with formatter.section("Commands"):
            formatter.write_dl([*lines.items()])


app = typer.Typer(
    name="clr",
    cls=_Commands,
    help="Find good learning rates, train with a schedule, compare schedules honestly.",
    no_args_is_help=True,
    **PLAIN,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"clr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Find good learning rates, train with a schedule, compare schedules honestly."""


def main() -> None:
    """Run the ``clr`` script: a command, whose failures become a line and an exit code."""
    _open_standard_streams()
    alone = not under_torchrun()
    interrupt.install(signal.SIGINT, signal.SIGTERM, exit_on_second_signal=alone)
    if isinstance(sys.stdout, io.TextIOWrapper):  # replace characters that the terminal lacks
        sys.stdout.reconfigure(errors="replace")
    # --debug is an option of every command, at any position.
    sys.exit(run([argument for argument in sys.argv[1:] if argument != "--debug"]))


def _open_standard_streams() -> None:
    """Open /dev/null for standard streams that are closed (``clr ... >&-``).

    Otherwise the next opened file, for instance a run's, would get the stream's number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    trains = _trains(arguments)
    try:
        try:
            code = int(app(arguments, prog_name="clr", standalone_mode=False) or 0)
            sys.stdout.flush()
            return code
        except Exception as error:
            interrupt.check()  # an extension in C may have replaced Stopped by another error
            if type(error).__name__ != "NoArgsIsHelpError":  # click's, or Typer's own copy
                raise
            print(error, flush=True)
            return 2
    except interrupt.Stopped as stop:
        saved = _saved("all progress") or NOT_SAVED  # a training saves its state when it is stopped
        terminal.error(f"interrupted: {saved}" if trains else "interrupted")
        return stop.exit_code
    except BrokenPipeError:  # the reader of the output has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        saved = _saved("every finished epoch") if trains else ""
        return _explain(error, saved and f"; {saved}")


def _saved(kept: str) -> str:
    """Say what is left to resume from, ``kept`` of clr's own training; "" if no run has begun."""
    progress = getattr(sys.modules.get("clr_cli.cli.progress"), "Progress", None)
    if not own_rank() and not getattr(progress, "saved", False):  # rank 0 alone shows progress
        return ""
    if getattr(progress, "programs", False):  # clr cannot save the state of a program
        kept = "every finished run"
    return f"{kept} is saved; {RESUME}"


def _trains(arguments: Sequence[str]) -> bool:
    """Return whether this command can be resumed after an interruption."""
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    options = {argument.partition("=")[0] for argument in arguments}
    return name in TRAINING and not options & {"--from", "--help"}


def _explain(error: Exception, resume: str) -> int:
    """Print one line about a failure and return its exit code."""
    failures = InputError | EnvironmentFailure | OSError
    known = isinstance(error, failures) or hasattr(error, "format_message")
    if not known or "--debug" in sys.argv:
        traceback.print_exception(error)
    if isinstance(error, InputError):
        terminal.error(str(error))
        return 2
    if isinstance(error, EnvironmentFailure):
        terminal.error(f"{error}{resume}")
        return 1
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        terminal.error(f"{where}{error.strerror or error}{resume}")
        return 1
    if hasattr(error, "format_message"):  # a usage error of click, or of Typer's copy of click
        command = getattr(getattr(error, "ctx", None), "command_path", "clr")
        terminal.error(f"{error.format_message()} (see {command} --help)")
        return 2
    terminal.error("this is a bug in clr; please report it with the traceback above")
    return 1
