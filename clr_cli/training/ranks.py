"""Share one training run among several processes, the ranks that torchrun starts.

Each rank trains on its part of every batch; rank 0 alone evaluates, prints and writes. With one
process, nothing here changes a value.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clr_cli import interrupt
from clr_cli.errors import InputError

if TYPE_CHECKING:  # a single process shares nothing, so it need not import torch
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """One of the processes that share a run. ``flags``: a process group for CPU tensors."""

    rank: int = 0
    world: int = 1
    flags: Any = None

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with its gradients averaged over the ranks."""
        if self.world == 1:
            return model
        from torch import nn

        on = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=on)

    def without_averaging(self, model: Any) -> AbstractContextManager[None]:
        """Return a context for a part of a batch whose gradient is only added up on each rank."""
        return contextlib.nullcontext() if self.world == 1 else model.no_sync()

    def total(self, values: Tensor | int) -> Tensor:
        """Sum a number or a tensor over several ranks."""
        import torch
        import torch.distributed as dist

        summed = torch.as_tensor(values).clone()
        dist.all_reduce(summed)
        return summed

    def share(self, value: Any) -> Any:
        """Return rank 0's value, on every rank."""
        if self.world == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.flags)
        return box[0]

    def check(self) -> None:
        """Raise Stopped, on all ranks in the same step, if a signal has reached any of them."""
        if self.world == 1:
            interrupt.check()
            return
        import torch
        import torch.distributed as dist

        # A signal during this exchange counts at the next step: a rank must not stop for a signal
        # that the other ranks do not know.
        signum = torch.tensor(interrupt.pending() or 0)
        dist.all_reduce(signum, dist.ReduceOp.MAX, group=self.flags)
        if signum:
            raise interrupt.Stopped(int(signum))


SINGLE = Ranks()


def under_torchrun() -> bool:
    """Return whether torchrun started this process; a job's environment may set WORLD_SIZE too."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def own_rank() -> int:
    """Return the number of this process among those that torchrun started; 0 without torchrun."""
    return int(os.environ["RANK"]) if under_torchrun() else 0


def world_size() -> int:
    """Return the number of processes that torchrun started for this run; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if under_torchrun() else 1


def local_world_size() -> int:
    """Return how many of these processes run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if under_torchrun() else 1


def own_device(device: torch.device) -> torch.device:
    """Return this rank's device: each rank of a machine has its own GPU."""
    if world_size() == 1 or device.type != "cuda":
        return device
    import torch

    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise InputError(
            f"torchrun: {local_world_size()} processes for "
            f"{torch.cuda.device_count()} GPUs; start one per GPU"
        )
    return torch.device("cuda", local)


@contextlib.contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other ranks of torchrun, if there are any, and leave them at the end."""
    if world_size() == 1:
        yield SINGLE
        return
    import torch
    import torch.distributed as dist

    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    flags = dist.new_group(backend="gloo")  # with NCCL, the host would wait for the device
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), flags)
    except interrupt.Stopped:  # here all ranks stop; after another error they may still wait
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()
