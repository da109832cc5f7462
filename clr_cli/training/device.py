"""Where a run trains, and in which precision."""

from __future__ import annotations

import torch

from clr_cli.errors import InputError


def resolve_device(name: str) -> torch.device:
    """``auto`` is CUDA, then MPS, then the CPU. Raises InputError if the device is not there."""
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


def resolve_precision(precision: str, device: torch.device) -> str:
    """``auto`` is bf16 where the hardware computes in it, else fp32."""
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
