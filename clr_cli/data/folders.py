"""Read folders of images, one for each class, as torchvision's ImageFolder does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from clr_cli.data.arrays import Arrays, Images, fitted, one_line, shape_text
from clr_cli.errors import InputError

# torchvision's suffixes, and .gif.
SUFFIXES = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".pgm"),
    *(".png", ".ppm", ".tif", ".tiff", ".webp"),
)
OTHER_NAMES = ("valid", "validation")  # names that people give to val/
WIDE = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes of 16 bits a pixel
UNKNOWN_RANGE = {"F": "32-bit floats", "I": "32-bit integers"}


def read_folder(path: Path, image_size: tuple[int, int] | None = None) -> Arrays:
    """Read path/train/<class>/, path/test/<class>/ and, if it exists, path/val/<class>/ as RGB.

    The classes are the folders in train, sorted by name. A class's images may be in folders at
    any depth below it; their order is that of torchvision's ImageFolder. Pixels of 16 bits are
    scaled to 8.

    Args:
        path: the folder.
        image_size: (H, W) to which every image is resized and cropped; None: all have one size.

    Raises:
        InputError: a folder, a class or its images are missing, an image cannot be read or has
            pixels that do not fit 8 bits, or the sizes differ.
    """
    for name in OTHER_NAMES:
        if (path / name).is_dir():
            raise InputError(
                f"{path / name} would be ignored: validation images are read from "
                f"{path / 'val'}; rename the folder"
            )
    names = ("train", "test", "val") if (path / "val").is_dir() else ("train", "test")
    files = {split: class_files(path / split) for split in names}
    classes = {name: label for label, name in enumerate(files["train"])}
    for split, folders in files.items():
        for name in folders:
            if name not in classes:
                raise InputError(
                    f"{path / split / name}: {path / 'train'} has no class of this name"
                )
    first = next(iter(files["train"].values()))[0]
    arrays: list[Any] = []
    for folders in files.values():
        together = [file for members in folders.values() for file in members]
        labels = [classes[name] for name, members in folders.items() for _ in members]
        arrays += [_read_images(together, first, image_size), np.array(labels, np.int64)]
    return Arrays(*arrays)


def class_files(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class folder, at any depth, in ImageFolder's order."""
    files = {}
    classes = sorted(folder.iterdir()) if folder.is_dir() else []
    for entry in classes:
        if entry.is_dir() and not entry.name.startswith("."):
            files[entry.name] = [
                Path(below, name)
                for below, _, names in sorted(os.walk(entry, followlinks=True))
                for name in sorted(names)
                if name.lower().endswith(SUFFIXES)
            ]
            if not files[entry.name]:
                raise InputError(f"{entry}: contains no images ({' '.join(SUFFIXES)}); add some")
    if not files:
        raise InputError(
            f"{folder}: contains no folders of classes; "
            "put the images in train/<class>/ and test/<class>/",
            key="dataset.path",
        )
    return files


def _read_images(files: list[Path], first: Path, image_size: tuple[int, int] | None) -> Images:
    """Read the files as one array; all images must have the size of the first."""
    shape = read_image(first, image_size).shape
    images = np.empty((len(files), *shape), np.uint8)
    for index, file in enumerate(files):
        image = read_image(file, image_size)
        if image.shape != shape:
            raise InputError(
                f"{file}: the image is {shape_text(image.shape)} but {first} is "
                f"{shape_text(shape)}; all images must have one size; "
                "set dataset.image_size to resize them"
            )
        images[index] = image
    return images


def read_image(file: Path, image_size: tuple[int, int] | None = None) -> Images:
    """Read one image as RGB, (H, W, 3).

    With ``image_size`` (H, W), it is resized and cropped by ``fitted``.

    Raises:
        InputError: it cannot be read, or its pixels do not fit 8 bits.
    """
    from PIL import Image

    try:
        with Image.open(file) as opened:
            image = _in_eight_bits(opened)
    except Exception as error:  # decoders raise all kinds of errors for a damaged file
        raise InputError(f"{file}: not a readable image ({one_line(error)})") from error
    if image is None:
        raise InputError(
            f"{file}: its pixels are {UNKNOWN_RANGE[opened.mode]}, whose range is unknown; "
            "save it with 8 or 16 bits a channel"
        )
    if image_size is not None:
        image = fitted(image, image_size)
    return np.asarray(image)


def _in_eight_bits(image: Any) -> Any:
    """Return a Pillow image as RGB, 16 bits scaled to 8; None if its range is unknown."""
    from PIL import Image

    # Pillow's own conversion clips at 255. Old versions open a PNG of 16 bits as mode I.
    if image.mode in WIDE or (image.mode == "I" and image.format == "PNG"):
        pixels = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((pixels + 128) // 257).astype(np.uint8)).convert("RGB")
    return None if image.mode in UNKNOWN_RANGE else image.convert("RGB")
