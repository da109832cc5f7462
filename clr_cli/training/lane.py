"""Where a run's work is done: here and now on a CPU, in a stream of its own on CUDA.

Runs of one process take turns: each is a generator that yields a ``Turn`` wherever another may go
on. Nothing that belongs to the whole process (current stream, random numbers) is changed across it.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # torch is imported where there is a device: programs take turns without it
    import torch
    from torch import Tensor

POLL_SECONDS = 1e-4  # between two looks at a device that is still busy
T = TypeVar("T")


class Turn(enum.Enum):
    """Why a run lets others go on: WORKED, it can go on itself; WAITING, for device or disk."""

    WORKED = enum.auto()
    WAITING = enum.auto()


class Mark:
    """A moment in a lane: reached once all that was enqueued before it is done.

    ``at`` is then the time by the host's clock at which that was seen.
    """

    def __init__(self, event: torch.cuda.Event | None = None) -> None:
        self._event = event
        self.at = time.perf_counter()

    def reached(self) -> bool:
        if self._event is not None and self._event.query():  # type: ignore[no-untyped-call]
            self._event, self.at = None, time.perf_counter()
        return self._event is None

    def wait(self) -> None:
        """Block this thread until it is reached."""
        if self._event is not None:
            self._event.synchronize()


class Lane:
    """The order in which one run's work is done on its device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            import torch

            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream(device))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What is done within goes to this lane. Never yield a turn within."""
        if self.stream is None:
            yield
            return
        import torch

        with torch.cuda.device(self.device), torch.cuda.stream(self.stream):
            yield

    def mark(self) -> Mark:
        import torch

        if self.stream is None:
            if self.device.type == "mps":
                torch.mps.synchronize()
            return Mark()
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self.stream)
        return Mark(event)

    def fetched(self, value: Tensor) -> Tensor:
        """A copy on the CPU, to be read once a mark made after it is reached."""
        if self.stream is None:
            return value.detach().clone().cpu()
        import torch

        pinned = torch.empty_like(value, device="cpu", pin_memory=True)
        return pinned.copy_(value.detach(), non_blocking=True)

    def sent(self, value: Tensor, to: Tensor) -> None:
        """Copy a tensor of the CPU into one of the device's, without waiting."""
        # The allocator of pinned memory keeps it until the copy is done.
        pinned = value if self.stream is None else value.pin_memory()
        to.copy_(pinned, non_blocking=True)


def alone(turns: Iterator[T | Turn]) -> Iterator[T]:
    """What a run yields besides turns, if no other takes turns with it."""
    for item in turns:
        if not isinstance(item, Turn):
            yield item
        elif item is Turn.WAITING:
            time.sleep(POLL_SECONDS)


def finished(turns: Generator[Turn, None, T]) -> T:
    """What a generator of turns returns, if no other takes turns with it."""
    while True:
        try:
            turn = next(turns)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if turn is Turn.WAITING:
            time.sleep(POLL_SECONDS)
