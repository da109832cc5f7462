"""Start a program under the supervisor, time it, and end it with everything that it started.

The script `supervisor` runs the program. It ends the program when this process closes a pipe, on
purpose or because it was killed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, ClassVar

from clr_cli import interrupt
from clr_cli.execution import supervisor
from clr_cli.files import open_own, refuse_link, write_json
from clr_cli.records import ProgramSeconds, read
from clr_cli.training.stream import Turn

REMEDY = "delete the run's folder and run again"  # for a damaged file of a run
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
PAUSE = 0.02  # seconds between two reads of its output
CLOCK_SECONDS = 10.0  # seconds between two writes of its running time


class Clock:
    """The running time of a program over all its starts; on disk, so that a kill loses little."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._before = read(ProgramSeconds, path, remedy=REMEDY).seconds if path.exists() else 0.0
        self._started = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """The running time so far."""
        return self._before + time.monotonic() - self._started

    def save(self, *, now: bool = False) -> None:
        """Write the time every `CLOCK_SECONDS`, or now."""
        if now or time.monotonic() - self._saved >= CLOCK_SECONDS:
            self._saved = time.monotonic()
            write_json(self.path, {"seconds": self.seconds})


class Running:
    """A running program. slot: its number among those that run at the same time."""

    _all: ClassVar[list[Running]] = []

    def __init__(self) -> None:
        taken = {each.slot for each in self._all}
        self.slot: int = next(slot for slot in itertools.count() if slot not in taken)
        self._held, self._pipe = os.pipe()
        self._all.append(self)

    def start(
        self, argv: Sequence[str], *, folder: Path, log: int, lock: int, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the program in a folder. log, lock: descriptors. Raises OSError."""
        own = [sys.executable, "-I", "-S", supervisor.__file__, str(GRACE), str(lock)]
        try:
            return subprocess.Popen(
                [*own, *argv],
                stdin=self._held,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                cwd=folder,
                env=env,
                start_new_session=True,
            )
        except (OSError, ValueError):
            self.end()
            raise
        finally:
            os.close(self._held)

    def end(self) -> None:
        """Make the supervisor end the program, if it still runs."""
        if self in self._all:
            self._all.remove(self)
            os.close(self._pipe)

    @classmethod
    def end_all(cls) -> None:
        """End all programs at the same time."""
        for each in tuple(cls._all):
            each.end()


def lock_of(folder: Path) -> IO[str]:
    """Open the file that a program's supervisor locks, for the caller to lock and close."""
    return open(open_own(folder / ".program", os.O_RDWR))


def wait_for_earlier(folder: Path) -> Generator[Turn, None, IO[str]]:
    """Wait until an earlier program of this folder has ended; return the locked file.

    If clr is killed, its supervisor ends the program within `GRACE` seconds.
    """
    file = lock_of(folder)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            interrupt.check()
            time.sleep(PAUSE)
            yield Turn.WAITING


def drop_cut_line(path: Path) -> None:
    """Cut off an unfinished last line, which a kill left: it may end in half a number."""
    refuse_link(path)
    if path.is_file():
        with open(path, "rb+") as file:
            text = file.read()
            file.truncate(max(text.rfind(b"\n"), text.rfind(b"\r")) + 1)


def gpus() -> list[str]:
    """Return the GPUs that programs may use, by their CUDA numbers."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [each for each in visible.split(",") if each]
    if not may_have_gpu():
        return []
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def may_have_gpu() -> bool:
    """Return False if this machine surely has no GPU, so that torch need not be imported."""
    drivers = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg", "/dev/kfd")
    return sys.platform != "linux" or any(map(os.path.exists, drivers))
