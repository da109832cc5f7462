"""Execute several tasks in one process: each goes on while others wait for their device."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Generator, Iterable

from clr_cli import interrupt
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.task import Event, Task, execute_in_turns
from clr_cli.training.ranks import SINGLE, Ranks
from clr_cli.training.stream import POLL_SECONDS, Turn

Running = Generator[Event | Turn, None, None]


def interleave(
    tasks: Iterable[tuple[int, Task] | None], at_once: int = 1, ranks: Ranks = SINGLE
) -> Generator[Event, None, None]:
    """Execute numbered tasks, ``at_once`` at a time, and yield their events.

    A None among the tasks means that no task is available yet. If one raises, the others save
    their work, as after a signal. Raises InputError, EnvironmentFailure, Stopped.
    """
    running: list[Running] = []
    source = iter(tasks)
    more = True
    try:
        while more or running:
            while more and len(running) < at_once:
                following = next(source, END)
                if isinstance(following, End):
                    more = False
                elif following is None:
                    break
                else:
                    index, task = following
                    running.append(execute_in_turns(task, index, ranks))
            worked = False
            for each in tuple(running):
                item = next(each, END)
                worked |= item is not Turn.WAITING
                if isinstance(item, End):
                    running.remove(each)
                elif isinstance(item, Event):
                    yield item
            if not worked:
                time.sleep(POLL_SECONDS)
    except (Exception, interrupt.Stopped):
        for each in running:
            _stop(each)
        raise
    finally:
        for each in running:
            each.close()


def _stop(running: Running) -> None:
    # Only the first error is reported.
    with contextlib.suppress(interrupt.Stopped, InputError, EnvironmentFailure):
        running.throw(interrupt.Stopped(signal.SIGTERM))


class End:
    """A marker after the last task."""


END = End()
