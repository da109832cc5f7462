"""The answers of a run to the test images, one bit each, as result.json keeps them."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import numpy.typing as npt


def pack(right: npt.NDArray[np.bool_]) -> str:
    """Answers (right or wrong, (N,)) as text: one bit an image, in base64."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def unpack(text: str, count: int) -> npt.NDArray[np.bool_] | None:
    """The answers of ``pack``; None for a text that does not hold ``count`` of them.

    >>> unpack(pack(np.array([True, False, True])), 3).tolist()
    [True, False, True]
    """
    try:
        packed = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        return None
    return np.unpackbits(packed, count=count).astype(bool) if 8 * len(packed) >= count else None
