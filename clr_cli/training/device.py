"""Where a run trains, in which precision, and how its random numbers are seeded."""

from __future__ import annotations

import torch

from clr_cli.errors import InputError


def resolve_device(name: str) -> torch.device:
    """Find a device; auto is CUDA, then MPS, then the CPU. Raises InputError for a missing one."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name.partition(":")[0], False):
        there = ", ".join(kind for kind, there in available.items() if there)
        raise InputError(f"--device {name}: not available here; available: {there}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return device


def describe_device(device: torch.device) -> str:
    """Return a GPU's name, or the kind of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return fp32 or bf16; ``auto`` is bf16 where the hardware computes in it."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # Without AVX-512 BF16 or AMX, bf16 is emulated and slower than fp32.
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        fast = False
    return "bf16" if fast else "fp32"


def make_exact(device: torch.device) -> None:
    """Let CUDA compute the same bits each time, and fp32 as fp32.

    Resume is promised to be exact, and cuDNN's fastest kernels add in any order. TF32 keeps 10 bits
    of a factor's 23: a comparison of bf16 with it would not be one with fp32. These settings are
    the process's, so they are the same for every precision: its runs may take turns.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def generator_of(device: torch.device) -> torch.Generator | None:
    """Return the generator from which layers on this device draw, if it is not the CPU's."""
    if device.type != "cuda":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def seed_layers(device: torch.device, seed: int) -> None:
    """Seed what layers draw from on the CPU and this device.

    It is called at every step: ``torch.manual_seed`` goes through every backend that there might
    be, and takes hundreds of times as long.
    """
    torch.default_generator.manual_seed(seed)
    own = generator_of(device)
    if own is not None:
        own.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
