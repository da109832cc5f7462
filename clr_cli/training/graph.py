"""A training step recorded once as a CUDA graph and replayed: the GPU is not kept waiting.

The kernels of a small network take less time than starting them one by one from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

EAGER_STEPS = 3  # cuDNN and the allocator settle in these; they are real steps of the training

Step = Callable[[Any, Tensor, Tensor], tuple[Tensor, Tensor]]


class StepGraph:
    """``step(state, images, labels)`` on one CUDA device, with the same state and shapes always.

    Whatever the step reads from Python is frozen into the graph; what changes from step to step
    (the learning rate) has to be a tensor. A state whose tensors were replaced needs a new graph.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._eager_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, state: Any, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The step's loss and count, as tensors of the caller's."""
        # Streams and captures belong to the current device, which need not be the run's.
        with torch.cuda.device(self._device):
            return self._take(state, images, labels)

    def _take(self, state: Any, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self._eager_steps < EAGER_STEPS:
            self._eager_steps += 1
            return self._run_aside(state, images, labels)
        if self._graph is None:
            self._capture(state, images, labels)
        assert self._graph is not None
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._loss.clone(), self._correct.clone()

    def _run_aside(self, state: Any, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # Autograd remembers the stream of a first backward pass: it must be the capture's.
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._step(state, images, labels)
        current.wait_stream(self._stream)
        return result

    def _capture(self, state: Any, images: Tensor, labels: Tensor) -> None:
        for group in state.optimizer.param_groups:
            if "capturable" in group:  # AdamW wants to be told, and warns when told too early
                group["capturable"] = True
        self._images, self._labels = images.clone(), labels.clone()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._loss, self._correct = self._step(state, self._images, self._labels)
