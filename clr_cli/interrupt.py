"""Handle Ctrl-C and SIGTERM (preemption by Slurm, a stopped container): stop after the step.

Signals belong to the process, so this module alone has global state.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

_pending: int | None = None
_deferred = 0  # how many blocks defer signals; runs that take turns begin and end in any order
_exit_on_second_signal = True


class Stopped(BaseException):
    """The process was asked to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def install(*signals: signal.Signals, exit_on_second_signal: bool = True) -> None:
    """Make these signals raise Stopped: at once, or at the next ``check`` while deferred.

    A second signal ends the process at once, without damage to files, unless
    ``exit_on_second_signal`` is false: torchrun repeats the signal that the terminal has sent.
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
    """Return the signal that has arrived, or None."""
    return _pending


def check() -> None:
    """Raise Stopped if a signal has arrived."""
    if _pending is not None:
        raise Stopped(_pending)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Defer signals within the block to the next ``check``, at the latest to its end."""
    global _deferred
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
    check()
