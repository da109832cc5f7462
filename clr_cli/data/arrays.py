"""Define the arrays of a data set: images and labels of two or three splits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


class Arrays(NamedTuple):
    """A data set: images uint8 (N, H, W, C), labels int64 (N,).

    Without ``val_images`` and ``val_labels``, validation is carved from the training images.
    """

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    val_images: Images | None = None
    val_labels: Labels | None = None

    def splits(self) -> dict[str, tuple[Images, Labels]]:
        """Return the images and labels of each split by its name."""
        named = {
            "train": (self.train_images, self.train_labels),
            "test": (self.test_images, self.test_labels),
        }
        if self.val_images is not None and self.val_labels is not None:
            named["val"] = (self.val_images, self.val_labels)
        return named

    def resized(self, height: int, width: int) -> Arrays:
        """Return the same data set with images of height x width: see ``fitted``."""
        images: dict[str, Any] = {
            f"{split}_images": _resize(images, height, width)
            for split, (images, _) in self.splits().items()
        }
        return self._replace(**images)


def _resize(images: Images, height: int, width: int) -> Images:
    """Resize and crop images (N, H, W, C), each channel by ``fitted``."""
    from PIL import Image

    result = np.empty((len(images), height, width, images.shape[-1]), np.uint8)
    for image, target in zip(images, result, strict=True):
        for channel in range(images.shape[-1]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            target[..., channel] = np.asarray(fitted(plane, (height, width)))
    return result


def fitted(image: Any, size: tuple[int, int]) -> Any:
    """Resize a Pillow image to cover a size (H, W), and crop it in the middle.

    Pillow's bilinear filter averages over the pixels that a smaller image leaves out. It computes
    in integers, so every machine gets the same pixels.
    """
    from PIL import Image, ImageOps

    return ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)


ARRAY_NAMES = Arrays._fields[:4]
VAL_NAMES = Arrays._fields[4:]


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape for a message: 32x32x3."""
    return "x".join(str(n) for n in shape)


def one_line(error: BaseException) -> str:
    """Return an error's text in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
