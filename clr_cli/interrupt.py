"""Answer Ctrl-C and SIGTERM (Slurm's preemption, a container's stop): end after the step.

Signals belong to the process, so this is the one module with state of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

_pending: int | None = None
_deferred = 0  # how many want signals to wait; runs that take turns begin and end in any order
_exit_on_second_signal = True


class Stopped(BaseException):
    """The process was asked to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def install(*signals: signal.Signals, exit_on_second_signal: bool = True) -> None:
    """Let these signals raise Stopped: at once, or at the next ``check`` while deferred.

    A second one ends the process at once (files are replaced whole, so it does no damage), unless
    ``exit_on_second_signal`` is false: torchrun sends again what the terminal has sent already.
    """
    global _exit_on_second_signal
    _exit_on_second_signal = exit_on_second_signal
    for signum in signals:
        signal.signal(signum, _stop)


def _stop(signum: int, _: object) -> None:
    global _pending
    if _pending is not None:
        if _exit_on_second_signal:
            os._exit(128 + signum)
        return
    _pending = signum
    if not _deferred:
        raise Stopped(signum)


def pending() -> int | None:
    """Return the signal that has come, or None."""
    return _pending


def check() -> None:
    """Raise Stopped if a signal has come."""
    if _pending is not None:
        raise Stopped(_pending)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Keep a signal that comes within until the next ``check``, at the latest at the end."""
    global _deferred
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
    check()
