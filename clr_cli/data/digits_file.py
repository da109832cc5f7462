"""Cache the synthetic digits in a file, so that the next run need not render them again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from clr_cli.data.digits import VERSION, Arrays, render


def load(root: Path, train_size: int, test_size: int) -> Arrays:
    """Return the images and labels of ``render``, from a cache file in root if there is one.

    A damaged file is replaced. If root cannot be written, nothing is cached.
    """
    file = root / f"synthetic_digits-{VERSION}-{train_size}-{test_size}.npz"
    arrays = _read(file)
    if arrays is None:
        arrays = render(train_size, test_size)
        with contextlib.suppress(OSError):
            _write(file, arrays)
    return arrays


def _read(file: Path) -> Arrays | None:
    try:
        with np.load(file, allow_pickle=False) as archive:
            return tuple(archive[f"arr_{i}"] for i in range(4))  # a zip file has checksums
    except Exception:  # zip, zlib and numpy raise all kinds of errors for a damaged file
        return None


def _write(file: Path, arrays: Arrays) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with part.open("wb") as stream:
            np.savez(stream, *arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
