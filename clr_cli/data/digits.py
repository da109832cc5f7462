"""Synthetic house-number digits: 32x32 color images, rendered with matplotlib's fonts.

In the manner of SYN NUMBERS (Ganin & Lempitsky, 2015, "Unsupervised Domain Adaptation by
Backpropagation"), as a stand-in for SVHN that needs no download: the labeled digit is in the
middle, and neighboring digits intrude from the sides.

The pixels follow from the glyph masks by integer seeds and by float operations that IEEE 754 rounds
exactly (no sin, exp or matrix product), so machines with the same FreeType give the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clr_cli.data.arrays import Images, Labels

VERSION = 1  # of the rendering below; raise it with every change that changes pixels
SIZE = 32
CLASSES = 10

_SEED = 1702
_BLOCK = 500  # images rendered at once; each block has its own seed
_CELL = 64  # a glyph mask is _CELL x _CELL with the digit in its center
_INK = 44  # the height of a digit in its mask
_STROKES = (0, 2)  # outline widths in mask pixels: as drawn, and heavier

# matplotlib's fonts with lining digits (those of cmmi10 are old-style).
_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
    "cmr10",
    "cmb10",
    "cmss10",
    "cmtt10",
)

Arrays = tuple[Images, Labels, Images, Labels]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Glyphs:
    """Masks (faces * 10 + 1, _CELL, _CELL) in 0..1, the last one blank, and their ink widths."""

    masks: Floats
    widths: Floats


def render(train_size: int, test_size: int) -> Arrays:
    """Render train images and labels, test images and labels: uint8 (N, 32, 32, 3) and int64 (N,).

    The first N images of a split are the same for every size of either split. Every ten consecutive
    labels contain each digit once.
    """
    return (*_split(0, train_size), *_split(1, test_size))


def _split(stream: int, size: int) -> tuple[Images, Labels]:
    images = np.empty((size, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(size, np.int64)
    for block, start in enumerate(range(0, size, _BLOCK)):
        stop = min(start + _BLOCK, size)
        pixels, digits = _block(np.random.Generator(np.random.PCG64([_SEED, stream, block])))
        images[start:stop] = pixels[: stop - start]
        labels[start:stop] = digits[: stop - start]
    return images, labels


@cache
def _glyphs() -> Glyphs:
    """Draw every digit in every face once, at a higher resolution than the images need."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    masks, widths = [], []
    for name in _FONTS:
        file = str(folder / f"{name}.ttf")
        basic = ImageFont.Layout.BASIC  # Raqm is not everywhere
        trial = ImageFont.truetype(file, 100, layout_engine=basic).getbbox("0")
        points = round(_INK * 100 / (trial[3] - trial[1]))
        font = ImageFont.truetype(file, points, layout_engine=basic)
        for stroke in _STROKES:
            for digit in range(CLASSES):
                left, top, right, bottom = font.getbbox(str(digit), stroke_width=stroke)
                origin = ((_CELL - left - right) / 2, (_CELL - top - bottom) / 2)
                cell = Image.new("L", (_CELL, _CELL), 0)
                ImageDraw.Draw(cell).text(origin, str(digit), 255, font, stroke_width=stroke)
                masks.append(np.asarray(cell, np.float32) / np.float32(255))
                widths.append(right - left)
    masks.append(np.zeros((_CELL, _CELL), np.float32))
    widths.append(0)
    stacked = np.stack(masks)
    # An image samples about every second mask pixel, so smooth a little against aliasing.
    for axis in (1, 2):
        around = np.roll(stacked, 1, axis) + np.roll(stacked, -1, axis)
        stacked = stacked * np.float32(0.5) + around * np.float32(0.25)
    stacked[:, [0, -1], :] = 0  # sampling outside a mask is clamped to its border
    stacked[:, :, [0, -1]] = 0
    return Glyphs(stacked, np.array(widths, np.float32))


def _block(rng: np.random.Generator) -> tuple[Images, Labels]:
    """Render one block of _BLOCK images and return them with their labels.

    hard, 0..1 per image, controls contrast, blur, grain and texture together.
    """
    labels = rng.permuted(np.tile(np.arange(CLASSES), (_BLOCK // CLASSES, 1)), axis=1).ravel()
    hard = _uniform(rng, 0.0, 1.0)
    hard *= hard  # as on the street: most numbers are easy to read, a few are hard
    images = _compose(rng, _coverage(rng, labels), hard)
    images = _blur(rng, images, hard)
    for channels, strength in ((1, 0.16), (3, 0.07)):  # gray grain and colored grain
        grain = rng.integers(-128, 128, (_BLOCK, SIZE, SIZE, channels), np.int8)
        images += grain * (_uniform(rng, 0.0, strength) * (hard + 0.1))[:, None, None, None]
    return np.rint(images.clip(0, 255)).astype(np.uint8), labels


def _uniform(
    rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...] = (_BLOCK,)
) -> Floats:
    return (low + (high - low) * rng.random(shape)).astype(np.float32)


def _coverage(rng: np.random.Generator, labels: Labels) -> Floats:
    """Return how much of each pixel the digits cover: (_BLOCK, SIZE, SIZE)."""
    glyphs = _glyphs()
    blank = len(glyphs.masks) - 1
    face = rng.integers(0, len(_FONTS) * len(_STROKES), _BLOCK) * CLASSES
    around = [
        np.where(rng.random(_BLOCK) < 0.75, face + rng.integers(0, CLASSES, _BLOCK), blank)
        for _ in range(2)
    ]
    x, y = _glyph_coordinates(rng)
    centre = glyphs.widths[face + labels] / 2
    coverage = _sample(glyphs.masks, face + labels, x, y)
    for side, glyph in zip((-1, 1), around, strict=True):
        away = side * (centre + glyphs.widths[glyph] / 2 + _uniform(rng, 1.0, 11.0))
        raised = _uniform(rng, -4.0, 4.0)
        beside = _sample(glyphs.masks, glyph, x - away[:, None, None], y - raised[:, None, None])
        np.maximum(coverage, beside, out=coverage)
    return coverage


def _glyph_coordinates(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the position of each image's pixels, in mask pixels from the center of its digit."""
    half = _uniform(rng, -0.16, 0.16) * _uniform(rng, 0.0, 1.0)  # tan(angle / 2): up to 18 degrees
    cos, sin = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    shear = _uniform(rng, -0.2, 0.2)
    height = _uniform(rng, 18.0, 29.0)  # of the digit, in image pixels
    stretch = _uniform(rng, 0.85, 1.4)  # mask pixels per image pixel: across over along
    right, down = _uniform(rng, -2.0, 2.0), _uniform(rng, -2.0, 2.0)
    grid = np.arange(SIZE, dtype=np.float32) - np.float32((SIZE - 1) / 2)
    dx = (grid[None, :] - right[:, None])[:, None, :]
    dy = (grid[None, :] - down[:, None])[:, :, None]
    c, s, scale = cos[:, None, None], sin[:, None, None], (_INK / height)[:, None, None]
    y = (c * dy - s * dx) * scale
    x = (c * dx + s * dy) * scale * stretch[:, None, None] + shear[:, None, None] * y
    return x, y


def _sample(masks: Floats, glyph: Labels, x: Floats, y: Floats) -> Floats:
    """Interpolate one mask per image bilinearly."""
    middle = np.float32((_CELL - 1) / 2)
    x = (x + middle).clip(0, _CELL - 1.001)
    y = (y + middle).clip(0, _CELL - 1.001)
    column, row = x.astype(np.int32), y.astype(np.int32)
    x, y = x - column.astype(np.float32), y - row.astype(np.float32)
    at = (glyph[:, None, None] * _CELL + row) * _CELL + column
    flat = masks.ravel()
    upper = flat[at] * (1 - x) + flat[at + 1] * x
    lower = flat[at + _CELL] * (1 - x) + flat[at + _CELL + 1] * x
    sampled: Floats = upper * (1 - y) + lower * y
    return sampled


def _compose(rng: np.random.Generator, coverage: Floats, hard: Floats) -> Floats:
    """Paint the digits on a background: (_BLOCK, SIZE, SIZE, 3), in 0..255, not yet clipped."""
    light = _uniform(rng, 25.0, 230.0)
    contrast = 12 + 135 * (1 - hard) * _uniform(rng, 0.5, 1.0)
    contrast *= np.where(rng.random(_BLOCK) < 0.5, -1, 1)
    contrast = np.where((light + contrast).clip(5, 250) == light + contrast, contrast, -contrast)
    back = _shaded(rng, light) + _plate_edge(rng) + _texture(rng, hard)
    shadow = _uniform(rng, -0.6, 0.5).clip(0, 1)[:, None, None] * np.roll(coverage, (1, 1), (1, 2))
    back *= (1 - shadow)[..., None]
    alpha = coverage[..., None]
    return (back * (1 - alpha) + _shaded(rng, light + contrast) * alpha).astype(np.float32)


def _shaded(rng: np.random.Generator, light: Floats) -> Floats:
    """Draw colors of the given lightness (_BLOCK,) with a gradient in a random direction."""
    saturation = 70 * _uniform(rng, 0.0, 1.0) * _uniform(rng, 0.0, 1.0)
    tint = _uniform(rng, -1.0, 1.0, (_BLOCK, 3)) * saturation[:, None]
    tint -= (tint[:, :1] + tint[:, 1:2] + tint[:, 2:]) / 3
    color = (light[:, None] + tint)[:, None, None, :]
    return color + _plane(rng, 28.0)[..., None]


def _plane(rng: np.random.Generator, strength: float) -> Floats:
    """Draw a linear ramp over each image: 0 in the middle, 2 * strength at most at the corners."""
    grid = np.linspace(-1, 1, SIZE).astype(np.float32)
    across, along = _uniform(rng, -strength, strength), _uniform(rng, -strength, strength)
    return across[:, None, None] * grid[None, None, :] + along[:, None, None] * grid[None, :, None]


def _plate_edge(rng: np.random.Generator) -> Floats:
    """Draw the edge of a plate or door frame through two images in five: (_BLOCK, S, S, 3)."""
    ramp = _plane(rng, 8.0) + _uniform(rng, -6.0, 6.0)[:, None, None]
    present = rng.random((_BLOCK, 1)) < 0.4
    step = _uniform(rng, -55.0, 55.0, (_BLOCK, 1)) + _uniform(rng, -15.0, 15.0, (_BLOCK, 3))
    return (ramp.clip(-0.5, 0.5) + 0.5)[..., None] * (step * present)[:, None, None, :]


def _texture(rng: np.random.Generator, hard: Floats) -> Floats:
    """Draw blotches of 4 pixels, linearly interpolated: (_BLOCK, SIZE, SIZE, 1)."""
    coarse = _uniform(rng, -1.0, 1.0, (_BLOCK, SIZE // 4 + 1, SIZE // 4 + 1))
    coarse *= (_uniform(rng, 0.0, 30.0) * (hard + 0.2))[:, None, None]
    near = np.arange(SIZE) // 4
    weight: Floats = np.array([0, 0.25, 0.5, 0.75] * (SIZE // 4), np.float32)
    rows: Floats = coarse[:, near] * (1 - weight)[:, None] + coarse[:, near + 1] * weight[:, None]
    both: Floats = rows[:, :, near] * (1 - weight) + rows[:, :, near + 1] * weight
    return both[..., None]


def _blur(rng: np.random.Generator, images: Floats, hard: Floats) -> Floats:
    """Smooth with three taps repeatedly: the hardest up to a standard deviation of 3 pixels."""
    passes = (_uniform(rng, 2.0, 13.0) * hard + _uniform(rng, 0.0, 2.5)).astype(np.int32)
    weight = _uniform(rng, 0.1, 0.33)
    pixel = np.arange(SIZE)
    up, down = (pixel - 1).clip(0), (pixel + 1).clip(max=SIZE - 1)
    for done in range(passes.max()):
        chosen = np.flatnonzero(passes > done)
        part, w = images[chosen], weight[chosen, None, None, None]
        for axis in (1, 2):
            before, after = np.take(part, up, axis), np.take(part, down, axis)
            part = part * (1 - 2 * w) + (before + after) * w
        images[chosen] = part
    return images
