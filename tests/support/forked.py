"""Start ``clr`` many times quickly: real processes, forked from a server that has imported torch.

A process started here can be killed like any other, but does not pay for the imports again. What
is written to stdout and stderr goes to files, so that it can be read while the process runs.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import TextIO

CONTEXT = multiprocessing.get_context("forkserver")
# What a command that trains, compares and draws would import.
CONTEXT.set_forkserver_preload(
    [
        "torch._dynamo",  # at the first step of an optimizer
        "torchvision.datasets",
        "scipy.stats",
        "matplotlib.backends.backend_agg",
        "matplotlib.backends.backend_svg",
        "clr_cli.cli.compare",
        "clr_cli.cli.range_test",
        "clr_cli.cli.report",
        "clr_cli.cli.train",
        "clr_cli.analysis.summary",
        "clr_cli.execution.engines",
        "clr_cli.execution.setup",
        "clr_cli.execution.training_task",
        "clr_cli.report.page",
        "clr_cli.report.write",
        "clr_cli.study.training",
        "clr_cli.training.loop",
        "support.forked",
    ]
)


def start_server() -> None:
    """Start the server with all these modules, before workers of ``clr`` ask for fewer."""
    forkserver.ensure_running()


def _main(
    arguments: list[str], folder: Path, streams: tuple[Path, Path], environment: Mapping[str, str]
) -> None:
    os.setpgid(0, 0)  # a group of its own, as a shell gives every command
    os.environ.clear()  # the server's: what the first test had set
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in enumerate(streams, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_NOCTTY), number)
    sys.stdout, sys.stderr = map(_text, (1, 2))  # the server's know no terminal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores Ctrl-C
    sys.argv = ["clr", *arguments]
    from clr_cli.cli.app import main

    main()


def _text(number: int) -> TextIO:
    return open(number, "w", buffering=1, errors="backslashreplace", closefd=False)


@dataclass(frozen=True)
class Clr:
    """A running ``clr``, whose stdout.txt and stderr.txt are in ``prints``."""

    process: multiprocessing.process.BaseProcess
    prints: Path

    @property
    def stdout(self) -> str:
        return (self.prints / "stdout.txt").read_text()

    @property
    def stderr(self) -> str:
        return (self.prints / "stderr.txt").read_text()

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def wait_for(self, text: str) -> None:
        """Wait until it has written the text to stderr."""
        while text not in self.stderr:
            assert self.running or text in self.stderr, self.stderr
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def signal(self, number: int) -> None:
        """Send a signal to the child's whole group, as a terminal does.

        Until the child has made its group it is in that of pytest, which must not be reached.
        """
        while self.running:
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(self.process.pid) == self.process.pid:
                    os.killpg(self.process.pid, number)
                    return
            time.sleep(0.005)

    def wait(self, seconds: float = 600) -> int:
        """The exit code; minus the signal's number for a process that was killed.

        seconds: for one that hangs; a busy machine is no reason to fail.
        """
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.kill()
            raise TimeoutError(f"clr is still running: {self.stderr}")
        return self.process.exitcode


def start(
    folder: Path,
    *arguments: object,
    prints: Path | None = None,
    terminal: Mapping[int, Path] | None = None,
) -> Clr:
    """Start ``clr`` with the arguments in ``folder``; what it prints is kept beside the folder.

    terminal: streams (1, 2) that go to a terminal instead.
    """
    prints = prints or folder.with_name(f"{folder.name}-prints")
    for each in (folder, prints):
        each.mkdir(parents=True, exist_ok=True)
    for name in ("stdout.txt", "stderr.txt"):
        (prints / name).write_text("")
    files = {1: prints / "stdout.txt", 2: prints / "stderr.txt"} | dict(terminal or {})
    streams = (files[1], files[2])
    given = ([str(a) for a in arguments], folder, streams, dict(os.environ))
    process = CONTEXT.Process(target=_main, args=given, daemon=False)
    process.start()
    atexit.register(_end, process)  # a test that fails leaves its process running
    return Clr(process, prints)


def _end(process: multiprocessing.process.BaseProcess) -> None:
    if process.is_alive():  # of one that has ended, another process may have the number by now
        process.kill()
