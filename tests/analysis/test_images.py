"""The interval over seeds and test images: against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from clr_cli.analysis.images import crossed
from clr_cli.records import pack, unpack


def simulated(rng, seeds, images, *, by_seed, by_image):
    """Paired differences -1, 0, 1 whose expected mean over seeds and images is .02."""
    arm = by_seed * rng.standard_normal((seeds, 1)) + by_image * rng.standard_normal((1, images))
    chance = np.clip(0.1 + arm, 0, 0.5)  # of a difference in the arm's favour
    other = np.clip(0.08 - arm, 0, 0.5)
    draw = rng.random((seeds, images))
    return np.where(draw < chance, 1, np.where(draw > 1 - other, -1, 0))


@pytest.mark.parametrize(
    ("by_seed", "by_image"), [(0.02, 0.0), (0.0, 0.02), (0.02, 0.02), (0.002, 0.03)]
)
def test_coverage(by_seed, by_image):
    rng = np.random.default_rng(0)
    tables = [simulated(rng, 8, 300, by_seed=by_seed, by_image=by_image) for _ in range(800)]
    found = [crossed(table) for table in tables]
    truth = np.mean(tables)
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert 0.93 <= covered <= 0.985


def test_each_source_is_told_from_the_other():
    rng = np.random.default_rng(1)
    by_seed = crossed(simulated(rng, 12, 500, by_seed=0.03, by_image=0.0))
    assert by_seed.seeds_error > 3 * by_seed.images_error
    by_image = crossed(simulated(rng, 40, 500, by_seed=0.0, by_image=0.08))
    assert by_image.images_error > by_image.seeds_error


def test_more_images_narrow_only_their_own_share():
    rng = np.random.default_rng(2)
    tables = (simulated(rng, 8, n, by_seed=0.02, by_image=0.08) for n in (100, 10_000))
    few, many = map(crossed, tables)
    assert many.images_error < few.images_error / 3
    assert many.high - many.low > 0.01  # what the seeds bring stays


def test_equal_runs_have_no_interval_but_a_point():
    found = crossed(np.zeros((3, 5)))
    assert (found.low, found.high) == (0, 0)


@pytest.mark.parametrize("shape", [(2, 2), (3, 7), (6, 4)])
def test_the_interval_is_that_of_the_analysis_of_variance(shape):
    table = np.random.default_rng([1, *shape]).integers(-1, 2, shape) + 2 * np.arange(shape[1])
    seeds, images = shape
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    by_seeds, by_images = rows.var(ddof=1) * images, columns.var(ddof=1) * seeds
    cells = ((table - rows[:, None] - columns + mean) ** 2).sum() / ((seeds - 1) * (images - 1))
    variance = (by_seeds + by_images - cells) / table.size
    assert by_images > cells
    parts = (by_seeds / table.size) ** 2 / (seeds - 1) + (by_images / table.size) ** 2 / (
        images - 1
    )
    half = stats.t.ppf(0.975, variance**2 / parts) * np.sqrt(variance)
    found = crossed(table)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    errors = [max(each - cells, 0) / table.size for each in (by_seeds, by_images)]
    assert (found.seeds_error, found.images_error) == pytest.approx(np.sqrt(errors))


def test_too_small_a_table_is_refused():
    with pytest.raises(ValueError, match="1 seeds and 9 images"):
        crossed(np.zeros((1, 9)))


def test_answers_survive_as_text():
    right = np.random.default_rng(3).random(26_032) < 0.9
    text = pack(right)
    assert len(text) < 4500  # SVHN's test images
    assert np.array_equal(unpack(text, len(right)), right)
    assert unpack(text, 8 * len(text)) is None
    assert unpack("not base64!", 8) is None
