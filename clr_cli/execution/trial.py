"""How many runs at a time does one GPU gain from? A short trial, on models that are thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch

from clr_cli.data.sources import Split
from clr_cli.training.loop import train_and_score
from clr_cli.training.state import TrainState
from clr_cli.training.stream import POLL_SECONDS, Turn

CANDIDATES = (1, 2, 4, 6, 8, 12)
GAIN = 1.05  # more runs at a time that train no faster together are not worth their memory
ROOM = 0.8  # of the free memory
SECONDS = 0.3  # of each measurement
SETTLING = 8  # steps before it: graphs are recorded, cuDNN settles


def runs_at_once(build: Callable[[], TrainState], free: Callable[[], int]) -> int:
    """The number of runs that train most images a second together.

    Args:
        build: makes the fresh state of a run.
        free: bytes of the device's memory that are free.
    """
    states: list[TrainState] = []
    rates: dict[int, float] = {}
    try:
        before = free()
        states.append(_settled(build()))
        after = free()
        most = 1 + int(ROOM * after / max(1, before - after))
        steps = round(SECONDS * measure(states, SETTLING) / states[0].batch_size)
        for count in (each for each in CANDIDATES if each <= most):
            states += [_settled(build()) for _ in range(count - len(states))]
            best = max(rates.values(), default=0.0)
            rates[count] = measure(states, max(SETTLING, steps))
            if rates[count] < GAIN * best:
                break
    except torch.OutOfMemoryError:
        pass  # as many as there were before
    finally:
        states.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return enough(rates)


def _settled(state: TrainState) -> TrainState:
    """After some steps and an evaluation, so that all the memory it needs is taken."""
    measure([state], SETTLING, [state.data.val])
    return state


def enough(rates: Mapping[int, float]) -> int:
    """The fewest runs at a time that are as fast as any, within what is no gain.

    >>> enough({1: 300e3, 2: 450e3, 4: 500e3, 6: 505e3})
    4
    >>> enough({})
    1
    """
    best = max(rates.values(), default=0)
    return min((count for count, rate in rates.items() if rate * GAIN >= best), default=1)


def measure(states: Sequence[TrainState], steps: int, splits: Sequence[Split] = ()) -> float:
    """Images a second that these runs train together, for so many steps of each.

    They are evaluated on ``splits`` after them.
    """
    running = [train_and_score(state, state.iteration + steps, splits) for state in states]
    started = time.perf_counter()
    while running:
        worked = False
        for each in tuple(running):
            try:
                worked |= next(each) is Turn.WORKED
            except StopIteration:
                running.remove(each)
        if not worked:
            time.sleep(POLL_SECONDS)
    return steps * sum(state.batch_size for state in states) / (time.perf_counter() - started)
