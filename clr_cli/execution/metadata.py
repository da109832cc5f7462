"""Run metadata: on what machine and with which versions a run was made."""

from __future__ import annotations

import platform
import subprocess

import torch

from clr_cli import __version__


def versions() -> dict[str, str]:
    """The versions of clr, torch and Python."""
    return {
        "clr": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def describe_device(device: torch.device) -> str:
    """The GPU's name, or the kind of any other device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def git_commit() -> str | None:
    """The commit of the folder the user works in, if it is a git checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
