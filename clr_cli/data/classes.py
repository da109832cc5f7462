"""The names of a data set's classes, for whoever uses the trained model."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clr_cli.config.sections import DatasetConfig


def class_names(config: DatasetConfig, num_classes: int) -> tuple[str, ...]:
    """Name the classes of a data set that has been read, in the order of their labels.

    The folders of an imagefolder and torchvision's names; else the labels themselves.
    """
    if config.name == "imagefolder" and config.path is not None:
        folders = (entry for entry in (config.path / "train").iterdir() if entry.is_dir())
        return tuple(sorted(f.name for f in folders if not f.name.startswith(".")))
    if config.name == "fashion_mnist":
        from torchvision.datasets import FashionMNIST

        return tuple(FashionMNIST.classes)
    if config.name in ("cifar10", "cifar100"):
        from torchvision.datasets import CIFAR10, CIFAR100

        source: Any = CIFAR10 if config.name == "cifar10" else CIFAR100
        # torchvision has just checked the sum of this file.
        with open(config.root / source.base_folder / source.meta["filename"], "rb") as file:
            return tuple(pickle.load(file, encoding="latin1")[source.meta["key"]])
    return tuple(map(str, range(num_classes)))
