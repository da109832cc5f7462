"""Keep the data set of this process's tasks: loaded once, or preloaded by another process."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, fields
from typing import Any

import torch

from clr_cli.config.sections import DatasetConfig
from clr_cli.data import arrays, sources
from clr_cli.data.batches import Resident, augmented, to_device


@dataclass(frozen=True)
class Packed:
    """A loaded data set as arrays that the tasks of a Ray node share.

    The node does not need the data set's files.
    """

    dataset: DatasetConfig
    git_commit: str | None
    facts: dict[str, Any]
    splits: dict[str, tuple[arrays.Images, arrays.Labels]]

    def use(self) -> None:
        """Make the tasks of this process use this data set."""
        global _preloaded
        splits = {
            name: sources.Split(torch.from_numpy(images), torch.from_numpy(labels))
            for name, (images, labels) in self.splits.items()
        }
        _preloaded = (self, sources.Data(**{**self.facts, **splits}))


_preloaded: tuple[Packed, sources.Data] | None = None
_resident: tuple[object, Resident, str] | None = None  # data set and device, images, fingerprint


def pack(dataset: DatasetConfig) -> Packed:
    """Load a bare data set for other processes. Raises InputError, EnvironmentFailure."""
    loaded = sources.load(dataset)
    facts = {field.name: getattr(loaded, field.name) for field in fields(loaded)}
    splits = {name: facts.pop(name) for name in ("train", "val", "test")}
    arrays = {name: (s.images.numpy(), s.labels.numpy()) for name, s in splits.items()}
    return Packed(dataset, git_commit(), facts, arrays)


def resident(dataset: DatasetConfig, device: torch.device) -> tuple[Resident, str]:
    """Return the data set on its device, and its fingerprint.

    The last one is kept, so runs that differ in augmentation alone load it once per process.
    Raises InputError, EnvironmentFailure.
    """
    global _resident
    key, augment = (dataset.bare, device), dataset.augment.model_dump()
    if _resident is None or _resident[0] != key:
        _resident = None  # frees its memory
        is_here = _preloaded is not None and _preloaded[0].dataset == dataset.bare
        loaded = _preloaded[1] if is_here else sources.load(dataset)  # type: ignore[index]
        _resident = key, to_device(loaded, device, **augment), loaded.fingerprint
    _, images, fingerprint = _resident
    _resident = key, augmented(images, **augment), fingerprint
    return _resident[1], fingerprint


def git_commit() -> str | None:
    """Return the commit of the folder in which the user started this; None without git."""
    if _preloaded is not None:
        return _preloaded[0].git_commit
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
