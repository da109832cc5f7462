"""Data sets by name: every one ends as uint8 image tensors (N, H, W, C) with int64 labels.

The validation split is carved from the training split as contiguous blocks, the same for every
seed: neighbouring images often show the same object (in SVHN, the same house plate), so that
single images drawn at random would leak into validation.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import io
import math
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clr_cli.data import digits
from clr_cli.errors import EnvironmentFailure, InputError

if TYPE_CHECKING:
    from clr_cli.config.sections import DatasetConfig

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Arrays = tuple[Images, Labels, Images, Labels]  # train images and labels, test images and labels

ARRAY_NAMES = ("train_images", "train_labels", "test_images", "test_labels")
OFFLINE = "run on the embedded data instead: clr compare --config quickstart.yaml"

_IMAGE_SUFFIXES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".webp",
    ".ppm",
    ".pgm",
    ".tif",
    ".tiff",
}
_CHUNK = 4096  # images looked at together where a copy of the whole set would be large
_MAX_BLOCKS = 10
_MIN_BLOCK = 50  # images; smaller sets are carved in fewer blocks
_MAX_RENDERED = 1_000_000  # synthetic images: 3 GB in memory and in the cache
_TIMEOUT = 30.0  # seconds without an answer before a download counts as failed


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, H, W, C), contiguous, and labels int64 (N,), on the CPU."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """The three splits, and what normalising needs.

    mean and std are per channel, of the train split alone, with pixels in 0..1; a channel that
    never changes has std 1. fingerprint changes with any image or label of any split.
    """

    name: str
    train: Split
    val: Split
    test: Split
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str


def load(config: DatasetConfig) -> Data:
    """Read (download, render) the data set of a config, check it and carve the validation split.

    Raises InputError when the data is missing, damaged or not usable for classification, or when
    val_size does not fit it; EnvironmentFailure when the disk is full.
    """
    if config.name not in DATASETS:
        near = difflib.get_close_matches(config.name, DATASETS, 1)
        hint = f"did you mean {near[0]}?" if near else "choose one of " + ", ".join(DATASETS)
        raise InputError(f"there is no data set {config.name!r}; {hint}", key="dataset.name")
    where = str(config.path) if config.path is not None else config.name
    arrays = DATASETS[config.name](config)
    num_classes = _check(arrays, where)
    images, labels, test_images, test_labels = arrays
    chosen = validation_mask(labels, num_classes, config.val_size)
    val = Split(torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]))
    train_images = _without(images, chosen)
    train = Split(torch.from_numpy(train_images), torch.from_numpy(labels[~chosen]))
    test = Split(torch.from_numpy(test_images), torch.from_numpy(test_labels))
    mean, std = _mean_std(train_images)
    fingerprint = _fingerprint((train, val, test))
    return Data(config.name, train, val, test, num_classes, mean, std, fingerprint)


def _check(arrays: Arrays, where: str) -> int:
    """The number of classes of arrays that fit together; InputError for those that do not."""
    untyped: tuple[npt.NDArray[Any], ...] = arrays
    for name, array in zip(ARRAY_NAMES, untyped, strict=True):
        if len(array) == 0:
            raise InputError(f"{where}: {name} is empty; every split needs images")
    train_images, train_labels, test_images, test_labels = arrays
    for split, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        if len(images) != len(labels):
            raise InputError(
                f"{where}: {split}_images has {len(images)} images but {split}_labels has "
                f"{len(labels)} labels; they must match"
            )
    if train_images.shape[1:] != test_images.shape[1:]:
        raise InputError(
            f"{where}: train images are {_size(train_images.shape[1:])} but test images are "
            f"{_size(test_images.shape[1:])}; all images must have one size"
        )
    classes = np.unique(train_labels)
    if len(classes) < 2:
        raise InputError(f"{where}: train_labels has one class only; at least two are needed")
    if classes[0] != 0 or classes[-1] != len(classes) - 1:
        unused = next(k for k in range(len(classes) + 1) if k not in classes)
        raise InputError(
            f"{where}: train_labels must use every class from 0 on, but they go from {classes[0]} "
            f"to {classes[-1]} and class {unused} has no image; number the classes 0, 1, 2, ..."
        )
    low, high = test_labels.min(), test_labels.max()
    if low < 0 or high >= len(classes):
        raise InputError(
            f"{where}: test_labels holds {low if low < 0 else high}, "
            f"but the classes of train_labels are 0..{len(classes) - 1}"
        )
    return len(classes)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def validation_mask(
    labels: Labels, num_classes: int, val_size: int | None
) -> npt.NDArray[np.bool_]:
    """Which training images become validation: True for exactly val_size of them, (N,).

    Ten (in small sets fewer) equal blocks of neighbours, spread evenly over the training images.
    If these would leave a class out of validation or of training, as where images are sorted by
    class: one block of neighbours from the middle of each class, as large as the class's share.
    Default size: a tenth of the training images, at most 5000.
    """
    total = len(labels)
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise InputError(
            f"training images: class {counts.argmin()} has one image only; two are needed, "
            "one to train on and one for validation"
        )
    size = min(5000, max(total // 10, num_classes)) if val_size is None else val_size
    if not num_classes <= size <= total - num_classes:
        raise InputError(
            f"{size} does not fit {total} training images of {num_classes} classes; "
            f"choose {num_classes}..{total - num_classes} (validation is carved from them)",
            key="dataset.val_size",
        )
    chosen = np.zeros(total, np.bool_)
    blocks = max(1, min(_MAX_BLOCKS, size // _MIN_BLOCK))
    for block in range(blocks):
        length = (block + 1) * size // blocks - block * size // blocks
        start, stop = block * total // blocks, (block + 1) * total // blocks
        first = start + (stop - start - length) // 2
        chosen[first : first + length] = True
    held = np.bincount(labels[chosen], minlength=num_classes)
    if chosen.sum() == size and held.min() > 0 and (counts - held).min() > 0:
        return chosen
    chosen[:] = False
    for label, share in enumerate(_shares(counts, size)):
        members = np.flatnonzero(labels == label)
        first = (len(members) - share) // 2
        chosen[members[first : first + share]] = True
    return chosen


def _shares(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """size divided over the classes in proportion to counts: at least 1, and at least 1 left."""
    shares: npt.NDArray[np.int64] = (counts * size // counts.sum()).clip(1, counts - 1)
    while shares.sum() < size:
        shares[(counts - shares).argmax()] += 1
    while shares.sum() > size:
        shares[shares.argmax()] -= 1
    return shares


def _without(images: Images, chosen: npt.NDArray[np.bool_]) -> Images:
    """The images that are not chosen, moved together in place: SVHN with extra fills 1.8 GB."""
    kept = 0
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK][~chosen[start : start + _CHUNK]]
        images[kept : kept + len(part)] = part
        kept += len(part)
    return images[:kept]


def _mean_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, in units of 0..1, from exact integer sums."""
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


# ---- npz -----------------------------------------------------------------------------------------


def _npz(config: DatasetConfig) -> Arrays:
    """People's own arrays in one .npz file: uint8 (N, H, W, C) or (N, H, W), integer labels."""
    path = _path(config, "an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in ARRAY_NAMES if name in archive}
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", key="dataset.path") from None
    except Exception as error:  # a damaged archive raises whatever zip, zlib or numpy trip over
        raise InputError(
            f"{path}: not a readable .npz file ({_one_line(error)}); write it again, "
            "with numpy.savez and without pickled objects"
        ) from error
    for name in ARRAY_NAMES:
        if name not in found:
            raise InputError(f"{path}: has no array {name}; needed are " + ", ".join(ARRAY_NAMES))
    return (
        _npz_images(found["train_images"], f"{path}: train_images"),
        _npz_labels(found["train_labels"], f"{path}: train_labels"),
        _npz_images(found["test_images"], f"{path}: test_images"),
        _npz_labels(found["test_labels"], f"{path}: test_labels"),
    )


def _npz_images(array: npt.NDArray[Any], what: str) -> Images:
    if array.dtype != np.uint8:
        raise InputError(f"{what} is {array.dtype}; it must be uint8 with pixels 0..255")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] > 4 or 0 in array.shape[1:]:
        raise InputError(
            f"{what} has shape {array.shape}; it must be N,H,W or N,H,W,C with 1 to 4 channels last"
        )
    return np.ascontiguousarray(array)


def _npz_labels(array: npt.NDArray[Any], what: str) -> Labels:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{what} is {array.dtype} of shape {array.shape}; it must be one integer per image"
        )
    return array.astype(np.int64)


def _path(config: DatasetConfig, kind: str) -> Path:
    if config.path is None:
        raise InputError(f"{config.name} needs the path of {kind}", key="dataset.path")
    return config.path


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# ---- imagefolder ---------------------------------------------------------------------------------


def _imagefolder(config: DatasetConfig) -> Arrays:
    """People's own image files, path/train/<class>/* and path/test/<class>/*, read as RGB.

    The classes are the folders in train, sorted by name.
    """
    path = _path(config, "a folder with train/<class>/ and test/<class>/ in it")
    train, test = _class_files(path / "train"), _class_files(path / "test")
    for name in test:
        if name not in train:
            raise InputError(f"{path / 'test' / name}: {path / 'train'} has no class of this name")
    classes = {name: label for label, name in enumerate(train)}
    first = next(iter(train.values()))[0]
    return (
        _read_images([file for files in train.values() for file in files], first),
        np.array([classes[name] for name, files in train.items() for _ in files], np.int64),
        _read_images([file for files in test.values() for file in files], first),
        np.array([classes[name] for name, files in test.items() for _ in files], np.int64),
    )


def _class_files(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class folder, both sorted by name."""
    found = {}
    classes = sorted(folder.iterdir()) if folder.is_dir() else []
    for entry in classes:
        if entry.is_dir() and not entry.name.startswith("."):
            files = [f for f in sorted(entry.iterdir()) if f.suffix.lower() in _IMAGE_SUFFIXES]
            if not files:
                suffixes = " ".join(sorted(_IMAGE_SUFFIXES))
                raise InputError(f"{entry}: no images in it ({suffixes}); add some")
            found[entry.name] = files
    if not found:
        raise InputError(
            f"{folder} has no folders of classes; "
            "put the images in train/<class>/ and test/<class>/",
            key="dataset.path",
        )
    return found


def _read_images(files: list[Path], first: Path) -> Images:
    """The files as one array, all of the size of the first."""
    shape = _read_image(first).shape
    images = np.empty((len(files), *shape), np.uint8)
    for index, file in enumerate(files):
        image = _read_image(file)
        if image.shape != shape:
            raise InputError(
                f"{file}: the image is {_size(image.shape)} but {first} is {_size(shape)}; "
                "all images must have one size; resize them"
            )
        images[index] = image
    return images


def _read_image(file: Path) -> Images:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # a damaged image raises whatever its decoder trips over
        raise InputError(f"{file}: not a readable image ({_one_line(error)})") from error


# ---- torchvision ---------------------------------------------------------------------------------


def _svhn(config: DatasetConfig) -> Arrays:
    """SVHN, cropped digits (Netzer et al., 2011); with dataset.extra, train takes in the extra."""
    from torchvision.datasets import SVHN

    names = ["train", "extra", "test"] if config.extra else ["train", "test"]
    files = {SVHN.split_list[name][1]: SVHN.split_list[name][2] for name in names}
    with _fetching(config, files):
        splits = [SVHN(str(config.root), name, download=config.download) for name in names]
    *train, test = splits
    images = np.empty((sum(len(s.data) for s in train), 32, 32, 3), np.uint8)
    done = 0
    for split in train:
        images[done : done + len(split.data)] = split.data.transpose(0, 2, 3, 1)
        done += len(split.data)
    return (
        images,
        np.concatenate([s.labels for s in train]),
        np.ascontiguousarray(test.data.transpose(0, 2, 3, 1)),
        test.labels,
    )


def _cifar(config: DatasetConfig) -> Arrays:
    """CIFAR-10 and CIFAR-100 (Krizhevsky, 2009)."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = CIFAR10 if config.name == "cifar10" else CIFAR100
    files = {f"{source.base_folder}/{n}": md5 for n, md5 in source.train_list + source.test_list}
    with _fetching(config, files):
        train, test = (source(str(config.root), t, download=config.download) for t in (True, False))
    return (
        np.ascontiguousarray(train.data),
        np.array(train.targets, np.int64),
        np.ascontiguousarray(test.data),
        np.array(test.targets, np.int64),
    )


def _mnist(config: DatasetConfig) -> Arrays:
    """MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017): 28x28, one channel."""
    from torchvision.datasets import MNIST, FashionMNIST

    source = MNIST if config.name == "mnist" else FashionMNIST
    files = {f"{source.__name__}/raw/{n.removesuffix('.gz')}": None for n, _ in source.resources}
    with _fetching(config, files):
        train, test = (source(str(config.root), t, download=config.download) for t in (True, False))
    return (
        train.data.numpy()[..., None],
        train.targets.numpy(),
        test.data.numpy()[..., None],
        test.targets.numpy(),
    )


@contextlib.contextmanager
def _fetching(config: DatasetConfig, files: Mapping[str, str | None]) -> Iterator[None]:
    """Around torchvision's download and reading of files (their MD5 sums, where it knows them).

    Its messages go to stderr, its bars only to a terminal, and whatever goes wrong becomes one
    InputError that says which files are missing or damaged.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    bars = sys.stderr if sys.stderr.isatty() else io.StringIO()
    try:
        with contextlib.redirect_stdout(sys.stderr), contextlib.redirect_stderr(bars):
            yield
    except Exception as error:  # a damaged file raises whatever its reader trips over
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise EnvironmentFailure(f"{config.root}: the disk is full; free some space") from error
        raise InputError(_unusable(config, files, _one_line(error))) from error
    finally:
        socket.setdefaulttimeout(timeout)


def _unusable(config: DatasetConfig, files: Mapping[str, str | None], reason: str) -> str:
    from torchvision.datasets.utils import check_integrity

    missing = [name for name in files if not (config.root / name).is_file()]
    damaged = [
        name
        for name, md5 in files.items()
        if name not in missing and not check_integrity(config.root / name, md5)
    ]
    bad = [f"missing {', '.join(missing)}"] if missing else []
    bad += [f"damaged {', '.join(damaged)} (wrong MD5 sum)"] if damaged else []
    if not bad:
        why = f"one of {', '.join(files)} cannot be read: {reason}"
    elif config.download:
        why = f"{', '.join(bad)}, and the download failed: {reason}"
    else:
        why = f"{', '.join(bad)}, and dataset.download is false"
    return (
        f"data set {config.name} in folder {config.root}: {why}; "
        f"put intact files there, or {OFFLINE}"
    )


# ---- synthetic_digits ----------------------------------------------------------------------------


def _synthetic_digits(config: DatasetConfig) -> Arrays:
    for key, size, least in (
        ("train_size", config.train_size, 2 * digits.CLASSES),
        ("test_size", config.test_size, 1),
    ):
        if not least <= size <= _MAX_RENDERED:
            raise InputError(f"dataset.{key}: {size} must be within {least}..{_MAX_RENDERED}")
    return digits.load(config.root, config.train_size, config.test_size)


# To add a data set: one function that returns its four arrays, and one entry here.
DATASETS: dict[str, Callable[[DatasetConfig], Arrays]] = {
    "synthetic_digits": _synthetic_digits,
    "svhn": _svhn,
    "cifar10": _cifar,
    "cifar100": _cifar,
    "mnist": _mnist,
    "fashion_mnist": _mnist,
    "imagefolder": _imagefolder,
    "npz": _npz,
}
