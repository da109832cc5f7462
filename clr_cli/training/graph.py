"""Record a step once as a CUDA graph and replay it, so that the GPU need not wait for Python.

Python takes longer to start a small network's kernels one by one than the GPU to run them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from clr_cli.errors import InputError
from clr_cli.training.stream import Stream

WARM_UP = 3  # steps before, in which cuDNN, the allocator and the optimizer settle


class Graph:
    """A step that takes and returns nothing; all that changes from call to call is on the device.

    Values that it reads from Python are frozen. The state must keep the same tensors.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._graph: torch.cuda.CUDAGraph | None = None

    def replay(self, step: Callable[[], None]) -> None:
        """Take one step in the stream. Raises InputError if it cannot be recorded."""
        if self._graph is None:
            self._graph = self._record(step)
        self._graph.replay()

    def _record(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        failed: list[RuntimeError] = []
        try:
            # thread_local: other threads write checkpoints meanwhile.
            with torch.cuda.graph(
                graph, stream=self._stream.cuda, capture_error_mode="thread_local"
            ):
                try:
                    step()
                except RuntimeError as error:  # then ending the capture fails as well
                    failed.append(error)
                    raise
        except RuntimeError as error:
            first = failed[0] if failed else error
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            reason = str(first).partition("\n")[0]
            raise InputError(
                f"this model's step cannot be recorded ({reason}); set it to false",
                key="training.cuda_graph",
            ) from first
        return graph


def waits_for_device(step: Callable[[], None], device: torch.device) -> bool:
    """Take the step; return whether the host waited for the device, which a graph cannot do."""
    if device.type != "cuda":
        step()
        return False
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return any("synchronizing CUDA operation" in str(each.message) for each in caught)
