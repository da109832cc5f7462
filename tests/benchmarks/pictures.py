"""Pictures for READMEs, small enough to be kept."""

from __future__ import annotations

import io

from PIL import Image

COLORS = 256  # a page and a figure have few: a picture of them is half as large


def shrink(png: bytes) -> bytes:
    """Return the picture with `COLORS` colors, without dots in its areas."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()
