"""The ``clr`` command: its subcommands, and how every failure becomes a line and an exit code.

No heavy imports: commands check their input before torch or matplotlib is loaded.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from typing import Annotated

import typer

from clr_cli import __version__, interrupt
from clr_cli.cli import (
    compare,
    export,
    inspect,
    range_test,
    report,
    results_command,
    terminal,
    train,
)
from clr_cli.errors import EnvironmentFailure, InputError

app = typer.Typer(
    name="clr",
    help="Find good learning rates, train with a schedule, compare schedules honestly.",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing rich would take longer than everything else
    pretty_exceptions_enable=False,
)
app.command("range-test", epilog="Example: clr range-test --config quickstart.yaml")(
    range_test.command
)
app.command("train", epilog="Example: clr train --config quickstart.yaml --schedule clr --seed 0")(
    train.command
)
app.command(
    "compare", epilog="Example: clr compare --config quickstart.yaml --schedules constant,clr"
)(compare.command)
app.command("report", epilog="Example: clr report outputs/quickstart/compare")(report.command)
app.command("results", epilog="Example: clr results runs")(results_command.command)
app.command("export", epilog="Example: clr export outputs/quickstart/train/clr/seed-0")(
    export.command
)
app.add_typer(inspect.config_app, name="config")
app.add_typer(inspect.schedule_app, name="schedule")

TRAINING = ("range-test", "train", "compare")  # the commands that leave something to resume
RESUME = "every finished epoch is saved; run the same command again to resume"
SAVED = ": all progress is saved; run the same command again to resume"


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
    """The ``clr`` script: run a command, turn every failure into a line and an exit code."""
    alone = "TORCHELASTIC_RUN_ID" not in os.environ
    interrupt.install(signal.SIGINT, signal.SIGTERM, insist=alone)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a result is worth more than its typography
        sys.stdout.reconfigure(errors="replace")
    # --debug is an option of every command, wherever it stands.
    sys.exit(run([argument for argument in sys.argv[1:] if argument != "--debug"]))


def run(arguments: list[str]) -> int:
    resume = f"; {RESUME}" if any(argument in TRAINING for argument in arguments) else ""
    try:
        try:
            code = int(app(arguments, prog_name="clr", standalone_mode=False) or 0)
            sys.stdout.flush()
            return code
        except Exception:
            interrupt.check()  # an extension in C may have made another error of Stopped
            raise
    except interrupt.Stopped as stop:
        terminal.error(f"interrupted{SAVED if resume else ''}")
        return stop.exit_code
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _explain(error, resume)


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
    if hasattr(error, "format_message"):  # a usage error of click or of Typer's own copy of it
        terminal.error(f"{error.format_message()} (see clr --help)")
        return 2
    terminal.error("this is a bug in clr; please report it with the traceback above")
    return 1
