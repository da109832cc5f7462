"""Order a run's work: at once on a CPU, in the run's own CUDA stream on a GPU.

Runs of one process take turns: each is a generator that yields a ``Turn`` wherever another may go
on. Global state of the process (current stream, random numbers) is the same before and after.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # programs take turns without torch
    import torch
    from torch import Tensor

POLL_SECONDS = 1e-4  # between two checks of a busy device
T = TypeVar("T")


class Turn(enum.Enum):
    """Why a run lets others go on: it WORKED and could go on, or is WAITING for device or disk."""

    WORKED = enum.auto()
    WAITING = enum.auto()


class Fence:
    """A point in a stream, which is reached when all work enqueued before it is done.

    ``at`` is the host's time at which this was noticed.
    """

    def __init__(self, event: torch.cuda.Event | None = None) -> None:
        self._event = event
        self.at = time.perf_counter()

    def is_reached(self) -> bool:
        """Return whether the device has reached the fence, without waiting."""
        if self._event is not None and self._event.query():  # type: ignore[no-untyped-call]
            self._event, self.at = None, time.perf_counter()
        return self._event is None

    def wait(self) -> None:
        """Block this thread until the fence is reached."""
        if self._event is not None:
            self._event.synchronize()


class Stream:
    """The queue of one run's work on its device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cuda: torch.cuda.Stream | None = None
        if device.type == "cuda":
            import torch

            self.cuda = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.cuda.wait_stream(torch.cuda.current_stream(device))

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Enqueue all work of the block in this stream. Never yield a turn within it."""
        if self.cuda is None:
            yield
            return
        import torch

        with torch.cuda.device(self.device), torch.cuda.stream(self.cuda):
            yield

    def fence(self) -> Fence:
        """Return a fence after all work that is enqueued so far."""
        import torch

        if self.cuda is None:
            if self.device.type == "mps":
                torch.mps.synchronize()
            return Fence()
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(self.cuda)
        return Fence(event)

    def fetch(self, value: Tensor) -> Tensor:
        """Return a copy on the CPU, which may be read after a later fence is reached."""
        if self.cuda is None:
            return value.detach().clone().cpu()
        import torch

        pinned = torch.empty_like(value, device="cpu", pin_memory=True)
        return pinned.copy_(value.detach(), non_blocking=True)

    def send(self, value: Tensor, to: Tensor) -> None:
        """Copy a CPU tensor into a tensor on the device, without waiting."""
        # The allocator keeps pinned memory until the copy is done.
        pinned = value if self.cuda is None else value.pin_memory()
        to.copy_(pinned, non_blocking=True)


def alone(turns: Iterator[T | Turn]) -> Iterator[T]:
    """Yield a run's items without its turns, for a run that is alone in its process."""
    for item in turns:
        if not isinstance(item, Turn):
            yield item
        elif item is Turn.WAITING:
            time.sleep(POLL_SECONDS)
