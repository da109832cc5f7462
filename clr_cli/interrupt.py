"""Ctrl-C and SIGTERM (Slurm's preemption, a container's stop): training ends after its step.

Signals belong to the process, so this is the one module with state of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

_pending: int | None = None
_deferred = 0  # how many want signals to wait; runs that take turns begin and end in any order
_insist = True


class Stopped(BaseException):
    """The process was asked to stop."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def install(*signals: signal.Signals, insist: bool = True) -> None:
    """Let these signals raise Stopped: at once, or at the next ``check`` while deferred.

    A second one ends the process on the spot (files are replaced whole, so it does no damage),
    unless it does not ``insist``: torchrun passes on what the terminal has sent already.
    """
    global _insist
    _insist = insist
    for signum in signals:
        signal.signal(signum, _stop)


def _stop(signum: int, _: object) -> None:
    global _pending
    if _pending is not None:
        if _insist:
            os._exit(128 + signum)
        return
    _pending = signum
    if not _deferred:
        raise Stopped(signum)


def pending() -> int | None:
    """The signal that has come, if one has."""
    return _pending


def check() -> None:
    """Raises Stopped if a signal has come."""
    if _pending is not None:
        raise Stopped(_pending)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within, a signal is only remembered: what is being done comes to a ``check`` first."""
    global _deferred
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1
    check()
