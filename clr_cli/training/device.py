"""Choose a run's device and precision, and seed its random numbers."""

from __future__ import annotations

import torch

from clr_cli.errors import InputError


def resolve_device(name: str) -> torch.device:
    """Return a device; auto: CUDA, else MPS, else CPU. Raises InputError for a missing one."""
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
        raise InputError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def describe_device(device: torch.device) -> str:
    """Return a GPU's name, or the kind of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return fp32 or bf16; ``auto`` is bf16 if the hardware supports it."""
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
    """Make CUDA compute the same bits each time, and fp32 in full precision.

    Resuming is exact, but cuDNN's fastest kernels add in any order. TF32 uses 10 of a factor's 23
    bits, so a comparison of bf16 with it would not be one with fp32. The settings belong to the
    process, whose runs may take turns, so they are the same for every precision.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def generator_of(device: torch.device) -> torch.Generator | None:
    """Return the generator of layers on this device; None if it is the CPU's."""
    if device.type != "cuda":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def seed_layers(device: torch.device, seed: int) -> None:
    """Seed the generators of layers on the CPU and this device.

    This is called at every step. ``torch.manual_seed`` takes hundreds of times as long, because it
    tries every backend.
    """
    torch.default_generator.manual_seed(seed)
    own = generator_of(device)
    if own is not None:
        own.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
