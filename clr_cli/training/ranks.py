"""One training run on several processes, as torchrun starts them: its ranks and what they share.

Each rank trains on its part of every batch; rank 0 alone evaluates, prints and writes. With one
process everything here is the identity.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clr_cli import interrupt
from clr_cli.errors import InputError

if TYPE_CHECKING:  # torch is imported where it is needed: a single process has nothing to share
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """One of the processes that share a run. ``flags``: a group for what is on the CPU."""

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

    def mean(self, values: Tensor) -> Tensor:
        """Average a tensor over the ranks."""
        return self._sum(values) / self.world

    def total(self, value: Tensor | int) -> Tensor | int:
        """Sum a number over the ranks."""
        if self.world == 1:
            return value
        import torch

        return self._sum(torch.as_tensor(value))

    def _sum(self, values: Tensor) -> Tensor:
        if self.world == 1:
            return values
        import torch.distributed as dist

        summed = values.clone()
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
        """Raise Stopped, on all ranks in the same step, if a signal has come to any of them."""
        if self.world == 1:
            interrupt.check()
            return
        import torch
        import torch.distributed as dist

        # A signal that comes while the ranks ask each other counts at the next step: no rank may
        # stop on what the others have not heard of.
        signum = torch.tensor(interrupt.pending() or 0)
        dist.all_reduce(signum, dist.ReduceOp.MAX, group=self.flags)
        if signum:
            raise interrupt.Stopped(int(signum))


SINGLE = Ranks()


def launched() -> int:
    """Return how many processes torchrun has started for this run; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def on_this_machine() -> int:
    """Return how many of these processes run here."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def own_device(device: torch.device) -> torch.device:
    """Return this rank's device: each rank of a machine takes a GPU of its own."""
    if launched() == 1 or device.type != "cuda":
        return device
    import torch

    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise InputError(
            f"torchrun: {on_this_machine()} processes, but {torch.cuda.device_count()} GPUs here"
        )
    return torch.device("cuda", local)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks that torchrun has started, if it has, and leave them at the end."""
    if launched() == 1:
        yield SINGLE
        return
    import torch
    import torch.distributed as dist

    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    flags = dist.new_group(backend="gloo")  # asking NCCL would make the host wait for the device
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), flags)
    except interrupt.Stopped:  # all ranks stop; after any other error the others may still wait
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()
