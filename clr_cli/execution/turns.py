"""Execute several tasks in one process: each goes on while the others wait for their device."""

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
    """The events of numbered tasks, ``at_once`` of them at a time; None: no more of them for now.

    If one raises, the others keep what they have done, as after a signal. Raises InputError,
    EnvironmentFailure, Stopped.
    """
    running: list[Running] = []
    source = iter(tasks)
    more = True
    try:
        while more or running:
            while more and len(running) < at_once:
                given = next(source, END)
                if isinstance(given, End):
                    more = False
                elif given is None:
                    break
                else:
                    index, task = given
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
    # What else goes wrong then is not what the user has to hear of.
    with contextlib.suppress(interrupt.Stopped, InputError, EnvironmentFailure):
        running.throw(interrupt.Stopped(signal.SIGTERM))


class End:
    """Behind the last."""


END = End()
