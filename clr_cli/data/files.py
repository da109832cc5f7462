"""Data sets in people's own files: one .npz file, or folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clr_cli.data.arrays import ARRAY_NAMES, Arrays, Images, Labels, one_line, shape_text
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.config.sections import DatasetConfig

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


def npz(config: DatasetConfig) -> Arrays:
    """People's own arrays in one .npz file: uint8 (N, H, W, C) or (N, H, W), integer labels."""
    path = _path(config, "an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in ARRAY_NAMES if name in archive}
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", key="dataset.path") from None
    except Exception as error:  # a damaged archive raises whatever zip, zlib or numpy trip over
        raise InputError(
            f"{path}: not a readable .npz file ({one_line(error)}); write it again, "
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


def imagefolder(config: DatasetConfig) -> Arrays:
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
                f"{file}: the image is {shape_text(image.shape)} but {first} is "
                f"{shape_text(shape)}; all images must have one size; resize them"
            )
        images[index] = image
    return images


def _read_image(file: Path) -> Images:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # a damaged image raises whatever its decoder trips over
        raise InputError(f"{file}: not a readable image ({one_line(error)})") from error
