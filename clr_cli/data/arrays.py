"""What every data set is made of: four arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Arrays = tuple[Images, Labels, Images, Labels]  # train images and labels, test images and labels

ARRAY_NAMES = ("train_images", "train_labels", "test_images", "test_labels")


def shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
