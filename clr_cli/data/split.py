"""Choose the training images that become validation: contiguous blocks.

Neighboring images often show the same object (in SVHN, the same house plate), so a random choice of
single images would leak training images into validation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clr_cli.data.arrays import Labels
from clr_cli.errors import InputError

_MAX_BLOCKS = 10
_MIN_BLOCK = 50  # images; smaller sets have fewer blocks


def validation_mask(
    labels: Labels, num_classes: int, val_size: int | None, split: int = 0
) -> npt.NDArray[np.bool_]:
    """Choose which training images become validation: True for exactly val_size of them, (N,).

    Ten (in small sets fewer) equal blocks of neighbors, spread evenly over the training images.
    If these would leave a class out of validation or of training, as where images are sorted by
    class: one block of neighbors from the middle of each class, as large as the class's share.
    Default size: a tenth of the training images, at most 5000.

    split: which of many such splits. From 1 on, the blocks are shifted through the training images
    (each class's block through the class) by an offset drawn from this number.
    """
    total = len(labels)
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < 2:
        raise InputError(
            f"training images: class {counts.argmin()} has only one image; expected at least "
            "two, one to train on and one for validation"
        )
    size = min(5000, max(total // 10, num_classes)) if val_size is None else val_size
    if not num_classes <= size <= total - num_classes:
        raise InputError(
            f"{size} validation images cannot be taken from {total} training images of "
            f"{num_classes} classes; choose {num_classes} to {total - num_classes}",
            key="dataset.val_size",
        )
    chosen = np.zeros(total, np.bool_)
    blocks = max(1, min(_MAX_BLOCKS, size // _MIN_BLOCK))
    for block in range(blocks):
        length = (block + 1) * size // blocks - block * size // blocks
        start, stop = block * total // blocks, (block + 1) * total // blocks
        first = start + (stop - start - length) // 2
        chosen[first : first + length] = True
    turn = float(np.random.default_rng(split).random()) if split else 0.0
    chosen = np.roll(chosen, int(turn * total))
    in_validation = np.bincount(labels[chosen], minlength=num_classes)
    if chosen.sum() == size and in_validation.min() > 0 and (counts - in_validation).min() > 0:
        return chosen
    chosen[:] = False
    for label, share in enumerate(_shares(counts, size)):
        members = np.flatnonzero(labels == label)
        first = (len(members) - share) // 2
        start = first + int(turn * len(members))
        chosen[np.take(members, range(start, start + share), mode="wrap")] = True
    return chosen


def _shares(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Divide ``size`` over the classes in proportion to counts: at least 1, and at least 1 left."""
    shares: npt.NDArray[np.int64] = (counts * size // counts.sum()).clip(1, counts - 1)
    while shares.sum() < size:
        shares[(counts - shares).argmax()] += 1
    while shares.sum() > size:
        shares[shares.argmax()] -= 1
    return shares
