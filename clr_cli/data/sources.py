"""Load a data set by name, as uint8 image tensors (N, H, W, C) with int64 labels.

To add one: write a function that returns ``Arrays``, and add it to DATASETS.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clr_cli.config.hints import did_you_mean
from clr_cli.data import digits, digits_file, files, torchvision_sets
from clr_cli.data.arrays import Arrays, Images, shape_text
from clr_cli.data.split import validation_mask
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.config.sections import DatasetConfig

_CHUNK = 4096  # images handled together where a copy of the whole set would be too large
_MAX_RENDERED = 1_000_000  # synthetic images: 3 GB in memory and in the cache


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, H, W, C), contiguous, and labels int64 (N,), on the CPU."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """The three splits, and the statistics that normalize them.

    mean and std are per channel, of the train split alone, with pixels in 0..1; a channel that
    never changes has std 1. fingerprint changes with any image or label of any split. notes are
    remarks on the data for the user.
    """

    name: str
    train: Split
    val: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    classes: tuple[str, ...] = ()  # the names of the classes
    notes: tuple[str, ...] = ()


def load(config: DatasetConfig) -> Data:
    """Read, download or render the data set of a config, and check it.

    Validation images are the data set's own, if it has any, or are carved from the train split.

    Raises:
        InputError: the data is missing, damaged or unusable for classification, or does not fit
            val_size or split.
        EnvironmentFailure: the disk is full.
    """
    if config.name not in DATASETS:
        hint = did_you_mean(config.name, [*DATASETS])
        raise InputError(f"{config.name!r} is unknown{hint}", key="dataset.name")
    where = str(config.path) if config.path is not None else config.name
    arrays = DATASETS[config.name](config)
    num_classes = _check(arrays, where)
    if config.sides not in (None, arrays.train_images.shape[1:3]):  # a folder is read at its size
        arrays = arrays.resized(*config.sides)
    train_images, train_labels, test_images, test_labels, val_images, val_labels = arrays
    notes = []
    if val_images is None or val_labels is None:
        carved = validation_mask(train_labels, num_classes, config.val_size, config.split)
        val_images, val_labels = train_images[carved], train_labels[carved]
        train_images, train_labels = _without(train_images, carved), train_labels[~carved]
    else:
        _refuse_carving(config)
        notes.append(f"validation: the data set's own {len(val_labels):,} images")
    mean, std = _mean_std(train_images)
    notes += [
        f"warning: channel {channel} never changes in the training images (always "
        f"{round(255 * mean[channel])}); the model learns nothing from it"
        for channel in range(len(mean))
        if std[channel] == 1  # that of any other channel is at most .5
    ]
    train = Split(torch.from_numpy(train_images), torch.from_numpy(train_labels))
    val = Split(torch.from_numpy(val_images), torch.from_numpy(val_labels))
    test = Split(torch.from_numpy(test_images), torch.from_numpy(test_labels))
    return Data(
        name=config.name,
        train=train,
        val=val,
        test=test,
        num_classes=num_classes,
        mean=mean,
        std=std,
        fingerprint=_fingerprint((train, val, test)),
        classes=_class_names(config, num_classes),
        notes=tuple(notes),
    )


def _class_names(config: DatasetConfig, num_classes: int) -> tuple[str, ...]:
    """Return the names of the classes in the order of their labels.

    They are the folders of an imagefolder, torchvision's names, or else the labels.
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
        # torchvision has already checked the sum of this file.
        with open(config.root / source.base_folder / source.meta["filename"], "rb") as file:
            return tuple(pickle.load(file, encoding="latin1")[source.meta["key"]])
    return tuple(map(str, range(num_classes)))


def _refuse_carving(config: DatasetConfig) -> None:
    """Raise InputError if the config carves validation images from a set that has its own."""
    for key, value in (("val_size", config.val_size), ("split", config.split or None)):
        if value is not None:
            raise InputError(
                f"{value} cannot be used: this data set has its own validation images. Remove this "
                "key (and set compare.vary: [seed]), or remove those images",
                key=f"dataset.{key}",
            )


def _check(arrays: Arrays, where: str) -> int:
    """Return the number of classes. Raises InputError for arrays that do not fit together."""
    splits = arrays.splits()
    for split, (images, labels) in splits.items():
        for name, array in (("images", images), ("labels", labels)):
            if len(array) == 0:
                raise InputError(f"{where}: {split}_{name} is empty; every split needs images")
        if len(images) != len(labels):
            raise InputError(
                f"{where}: {split}_images has {len(images)} images but {split}_labels has "
                f"{len(labels)} labels; they must match"
            )
    for split, (images, _) in splits.items():
        if images.shape[1:] != arrays.train_images.shape[1:]:
            raise InputError(
                f"{where}: train images are {shape_text(arrays.train_images.shape[1:])} but "
                f"{split} images are {shape_text(images.shape[1:])}; all images must have one size"
            )
    classes = np.unique(arrays.train_labels)
    if len(classes) < 2:
        raise InputError(f"{where}: train_labels has only one class; expected at least two")
    if classes[0] != 0 or classes[-1] != len(classes) - 1:
        unused = next(k for k in range(len(classes) + 1) if k not in classes)
        raise InputError(
            f"{where}: train_labels go from {classes[0]} to {classes[-1]}, but class {unused} has "
            "no image; number the classes 0, 1, 2, ... without a gap"
        )
    for split, (_, labels) in splits.items():
        low, high = labels.min(), labels.max()
        if low < 0 or high >= len(classes):
            raise InputError(
                f"{where}: {split}_labels contains {low if low < 0 else high}, "
                f"but the classes of train_labels are 0..{len(classes) - 1}"
            )
    return len(classes)


def _without(images: Images, chosen: npt.NDArray[np.bool_]) -> Images:
    """Drop the chosen images in place: a copy of SVHN with extra would take 1.8 GB."""
    count = 0
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK][~chosen[start : start + _CHUNK]]
        images[count : count + len(part)] = part
        count += len(part)
    return images[:count]


def _mean_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, for pixels in 0..1, from integer sums."""
    mean, std = [], []
    count = images[..., 0].size
    for channel in range(images.shape[-1]):
        total = squares = 0
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK, :, :, channel].ravel()
            total += int(part.sum(dtype=np.uint64))
            squares += int(np.square(part, dtype=np.uint16).sum(dtype=np.uint64))
        mean.append(total / count / 255)
        std.append(math.sqrt(count * squares - total * total) / count / 255 or 1.0)
    return tuple(mean), tuple(std)


def _fingerprint(splits: tuple[Split, ...]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for split in splits:
        digest.update(repr(tuple(split.images.shape)).encode())
        digest.update(split.images.numpy().data)
        digest.update(split.labels.numpy().data)
    return digest.hexdigest()


def _synthetic_digits(config: DatasetConfig) -> Arrays:
    for key, size, least in (
        ("train_size", config.train_size, 2 * digits.CLASSES),
        ("test_size", config.test_size, 1),
    ):
        if not least <= size <= _MAX_RENDERED:
            raise InputError(f"dataset.{key}: {size} must be within {least}..{_MAX_RENDERED}")
    return Arrays(*digits_file.load(config.root, config.train_size, config.test_size))


DATASETS: dict[str, Callable[[DatasetConfig], Arrays]] = {
    "synthetic_digits": _synthetic_digits,
    "svhn": torchvision_sets.svhn,
    "cifar10": torchvision_sets.cifar,
    "cifar100": torchvision_sets.cifar,
    "mnist": torchvision_sets.mnist,
    "fashion_mnist": torchvision_sets.mnist,
    "imagefolder": files.imagefolder,
    "npz": files.npz,
}
