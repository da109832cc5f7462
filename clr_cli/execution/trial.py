"""Measure how many runs one GPU should train at a time, on models that are thrown away."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch

from clr_cli.data.sources import Split
from clr_cli.training.loop import train_and_score
from clr_cli.training.state import TrainState
from clr_cli.training.stream import POLL_SECONDS, Turn

CANDIDATES = (1, 2, 4, 6, 8, 12)
GAIN = 1.05  # more runs at a time must train this much faster to be worth their memory
ROOM = 0.8  # the share of the free memory that may be used
SECONDS = 0.3  # seconds of each measurement
SETTLING = 8  # steps before a measurement, in which graphs are recorded and cuDNN chooses kernels


def runs_at_once(build: Callable[[], TrainState], free: Callable[[], int]) -> int:
    """Return the number of runs that train most images per second together.

    Args:
        build: makes the initial state of a run.
        free: returns the free bytes of the device's memory.
    """
    states: list[TrainState] = []
    rates: dict[int, float] = {}
    try:
        before = free()
        states.append(_warm_up(build()))
        after = free()
        most = 1 + int(ROOM * after / max(1, before - after))
        steps = round(SECONDS * measure(states, SETTLING) / states[0].batch_size)
        for count in (each for each in CANDIDATES if each <= most):
            states += [_warm_up(build()) for _ in range(count - len(states))]
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
    return fewest_as_fast(rates)


def _warm_up(state: TrainState) -> TrainState:
    """Take some steps and evaluate, so that the run has allocated all its memory."""
    measure([state], SETTLING, [state.data.val])
    return state


def fewest_as_fast(rates: Mapping[int, float]) -> int:
    """Return the fewest runs at a time that are as fast as any, up to a factor of GAIN.

    >>> fewest_as_fast({1: 300e3, 2: 450e3, 4: 500e3, 6: 505e3})
    4
    >>> fewest_as_fast({})
    1
    """
    best = max(rates.values(), default=0)
    return min((count for count, rate in rates.items() if rate * GAIN >= best), default=1)


def measure(states: Sequence[TrainState], steps: int, splits: Sequence[Split] = ()) -> float:
    """Return the images per second that these runs train together, over ``steps`` steps of each.

    Afterwards they are evaluated on ``splits``.
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
