"""The interval of a difference over seeds and test images: both are random samples.

All runs classify the same test images, so paired runs form a table of seeds by images. Its mean is
uncertain because other seeds, and other images, would have given another mean.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import special

from clr_cli.analysis.rule import ALPHA
from clr_cli.records import OverImages


def crossed(differences: npt.ArrayLike) -> OverImages:
    """Return the 95 % interval of a mean over seeds and test images, both drawn at random.

    The variance of the mean is estimated by the analysis of variance of a crossed table with one
    value in a cell, and its degrees of freedom by Satterthwaite's rule (Satterthwaite 1946, "An
    Approximate Distribution of Estimates of Variance Components"). Resampling both sides of the
    table (Owen 2007, "The pigeonhole bootstrap") counts the noise of single cells three times and
    has too few seeds to draw from; this needs no random numbers and takes milliseconds.

    Args:
        differences: right answers of the arm minus those of the baseline, each -1, 0 or 1:
            (seeds, images), with at least 2 of both.

    Raises:
        ValueError: fewer than 2 seeds or images.

    >>> crossed([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]).seeds_error
    0.0

    """
    table = np.asarray(differences, np.float64)
    seeds, images = table.shape
    if min(seeds, images) < 2:
        raise ValueError(f"{seeds} seeds and {images} images: at least 2 of both are needed")
    rows, columns, mean = table.mean(1), table.mean(0), float(table.mean())
    by_seeds = float(rows.var(ddof=1)) / seeds  # holds the noise of single cells, as by_images does
    by_images = float(columns.var(ddof=1)) / images
    rest = float(np.square(table - rows[:, None] - columns + mean).sum())
    cells = rest / ((seeds - 1) * (images - 1)) / (seeds * images)
    variance = by_seeds + max(by_images - cells, 0.0)
    if variance == 0:
        return OverImages(low=mean, high=mean, seeds_error=0.0, images_error=0.0)
    freedom = variance**2 / (by_seeds**2 / (seeds - 1) + by_images**2 / (images - 1))
    half = float(special.stdtrit(freedom, 1 - ALPHA / 2)) * math.sqrt(variance)
    return OverImages(
        low=mean - half,
        high=mean + half,
        seeds_error=math.sqrt(max(by_seeds - cells, 0.0)),
        images_error=math.sqrt(max(by_images - cells, 0.0)),
    )
