"""Read data sets from the user's files: one .npz file, or folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clr_cli.data.arrays import ARRAY_NAMES, VAL_NAMES, Arrays, Images, Labels, one_line
from clr_cli.data.folders import read_folder
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.config.sections import DatasetConfig


def npz(config: DatasetConfig) -> Arrays:
    """Read the user's arrays from one .npz file.

    Images are uint8 (N, H, W, C) or (N, H, W), labels are integers. ``val_images`` and
    ``val_labels`` may be left out together.

    Raises:
        InputError: the file is missing or damaged, or an array is missing or has a wrong type.
    """
    path = _path(config, "an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {n: archive[n] for n in (*ARRAY_NAMES, *VAL_NAMES) if n in archive}
    except FileNotFoundError:
        raise InputError(f"{path}: not found", key="dataset.path") from None
    except Exception as error:  # zip, zlib and numpy raise all kinds of errors for a damaged file
        raise InputError(
            f"{path}: not a readable .npz file ({one_line(error)}); save it again with "
            "numpy.savez, without object arrays"
        ) from error
    has_validation = any(name in arrays for name in VAL_NAMES)
    needed = (*ARRAY_NAMES, *VAL_NAMES) if has_validation else ARRAY_NAMES
    for name in needed:
        if name not in arrays:
            raise InputError(f"{path}: no array {name}; expected {', '.join(needed)}")
    checked: dict[str, Any] = {
        name: (_npz_images if name.endswith("images") else _npz_labels)(array, f"{path}: {name}")
        for name, array in arrays.items()
    }
    return Arrays(**checked)


def _npz_images(array: npt.NDArray[Any], what: str) -> Images:
    if array.dtype != np.uint8:
        raise InputError(f"{what} is {array.dtype}; expected uint8 with pixels 0..255")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] > 4 or 0 in array.shape[1:]:
        raise InputError(
            f"{what} has shape {array.shape}; expected N,H,W or N,H,W,C with 1 to 4 channels"
        )
    return np.ascontiguousarray(array)


def _npz_labels(array: npt.NDArray[Any], what: str) -> Labels:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{what} is {array.dtype} of shape {array.shape}; expected one integer per image"
        )
    return array.astype(np.int64)


def imagefolder(config: DatasetConfig) -> Arrays:
    """Read the user's image files: train/<class>/, test/<class>/ and, optionally, val/<class>/.

    See ``read_folder``; ``dataset.image_size`` resizes images of different sizes.
    """
    path = _path(config, "a folder that contains train/<class>/ and test/<class>/")
    return read_folder(path, config.sides)


def _path(config: DatasetConfig, kind: str) -> Path:
    if config.path is None:
        raise InputError(f"{config.name} needs the path of {kind}", key="dataset.path")
    return config.path
