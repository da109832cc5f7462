"""Run a program; when clr ends, end the program and all processes that it started.

This is a script: ``python supervisor.py GRACE LOCK PROGRAM ARGUMENT...``. Its standard input is a
pipe that clr keeps open and never writes to. When clr dies, even by SIGKILL, the pipe closes; then
the program gets SIGTERM, and SIGKILL after GRACE seconds. LOCK is a descriptor that stays open
until the program has ended. The exit code is the program's, or 128 + the signal that ended it.

On Linux it ends every descendant, whatever its session; elsewhere, the program's process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TICK = 0.05  # seconds between two checks of the processes that are left


def main(grace: float, lock: int, command: list[str]) -> int:
    """Run the command to its end; return its exit code."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # clr decides
    os.set_inheritable(lock, False)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans below become children of this process
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        _become(command)
    with contextlib.suppress(OSError):  # the child does the same: the first one counts
        os.setpgid(child, child)

    code: int | None = None
    deadline: float | None = None  # when the remaining processes are killed
    held = True  # whether clr is alive
    while True:
        watched = [woken, sys.stdin.fileno()] if held else [woken]
        ready, _, _ = select.select(watched, [], [], None if deadline is None else TICK)
        if woken in ready:
            os.read(woken, 4096)
        if held and sys.stdin.fileno() in ready:
            held = False
        code = _reap(child, code)
        if held and code is None:
            continue
        left = _left(child)
        if not left and code is not None:
            return code
        if deadline is None:
            deadline = time.monotonic() + grace
            _signal(left, signal.SIGTERM)
            _signal(left, signal.SIGCONT)  # a stopped process cannot react
        elif time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)


def _become(command: list[str]) -> None:
    """Execute the program in this process, the child."""
    os.setpgid(0, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # in case the supervisor itself is killed
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, sys.stdin.fileno())
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _reap(child: int, code: int | None) -> int | None:
    """Collect all processes that have ended; return the program's exit code once it has ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = os.waitstatus_to_exitcode(status)
                code = ended if ended >= 0 else 128 - ended
    return code


def _left(child: int) -> list[int]:
    """Return the remaining processes; a group's number is negative."""
    if not LINUX:
        try:
            os.killpg(child, 0)
        except OSError:
            return []
        return [-child]
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents.setdefault(int(parent), []).append(int(name))
    descendants, below = [], [os.getpid()]
    while below:
        children = parents.get(below.pop(), [])
        descendants += children
        below += children
    return descendants


def _signal(processes: list[int], signum: int) -> None:
    for pid in processes:
        with contextlib.suppress(OSError):
            os.kill(pid, signum)


def prctl(option: int, value: int) -> None:
    """Set a property of this process, on Linux; its manual page has them all."""
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
