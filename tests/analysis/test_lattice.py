"""The parts of a search for rates, at their edges: what learned, what is good, where it ends."""

from __future__ import annotations

import math
import statistics

import pytest
from scipy import stats
from test_probing import run

from clr_cli.analysis import lattice
from clr_cli.analysis.lattice import ProbeRequest, Scale, center, crossing
from clr_cli.analysis.probing import search
from clr_cli.analysis.replay import Inconclusive, Replay


@pytest.mark.parametrize(
    ("images", "learned", "sign"),
    [
        (None, 0.1 + 0.1 * 0.9, 0.1 + 0.01 * 0.9),  # a share of the way to 1
        (100, 0.1 + 6 * 0.03, 0.1 + 4 * 0.03),  # so many standard deviations of 100 images
    ],
)
def test_a_probe_has_learned_where_its_score_is_clear_of_chance(images, learned, sign):
    replay = Replay({}, Scale(0.03, chance=0.1, images=images), 3)
    assert [replay.learned(learned + gap) for gap in (-1e-6, 1e-6)] == [False, True]
    assert [replay.shows_sign(sign + gap) for gap in (-1e-6, 1e-6)] == [False, True]
    unknown = Replay({}, Scale(0.03), 3)
    assert (unknown.learned(-9.0), unknown.learned(-math.inf)) == (True, False)
    assert not unknown.shows_sign(9.0)


def test_a_failed_probe_leaves_its_rate_without_a_mean():
    replay = Replay({(0, 0): 0.5, (0, 1): 0.7, (1, 0): 0.5, (1, 1): None}, Scale(0.03), 3)
    replay.need({1: 2, 0: 2}, "bracket")
    assert [(each.rate, each.mean) for each in replay.tried()] == [
        (0.1, pytest.approx(0.6)),
        (0.2, None),
    ]
    assert replay.tried()[1].scores == (0.5, None)


@pytest.mark.parametrize(("depth", "asked"), [(0.0399, {-4, 4}), (0.0401, {-2, 2})])
def test_a_search_walks_on_until_a_rate_lies_four_thirds_of_delta_below_the_best(depth, asked):
    """A rate that far below gets its second seed; one that is nearer sends the search on."""
    first = search({}, 0.1, Scale(0.03, chance=0.1))
    assert isinstance(first, ProbeRequest)
    assert first.probes == ((-2, 0), (0, 0), (2, 0))
    scores = {(-2, 0): 0.9 - depth, (0, 0): 0.9, (2, 0): 0.9 - depth}
    more = search(scores, 0.1, Scale(0.03, chance=0.1))
    assert {k for k, _ in more.probes} == asked
    assert {seed for _, seed in more.probes} == {int(depth > 0.04)}


@pytest.mark.parametrize(("k", "first"), [(0.9, 0), (1.1, 2), (-40, -22), (40, 8)])
def test_a_search_starts_at_the_nearest_second_place(k, first):
    asked = search({}, lattice.rate(k), Scale(0.03, chance=0.1))
    assert [place for place, _ in asked.probes] == [first - 2, first, first + 2]


def test_the_center_weighs_places_by_what_they_stand_for_and_how_good_they_are():
    means = {4: 0.5, 0: 0.90, 1: 0.91, 3: 0.89, -1: 0.5}
    least = (0.90 + 0.91 + 0.89) / 3 - 0.03
    octaves = {0: 1.0, 1: 1.5, 3: 1.5}
    weights = {k: (means[k] - least) * width for k, width in octaves.items()}
    expected = sum(k * w for k, w in weights.items()) / sum(weights.values())
    assert center(means, 0.03) == pytest.approx(expected, abs=0.06)
    assert center({5: 0.2}, 0.03) == 5


def test_between_two_separate_runs_of_good_places_the_best_place_is_the_center():
    apart = {-3: 0.90, -2: 0.91, -1: 0.5, 0: 0.5, 1: 0.5, 2: 0.90, 3: 0.90}
    assert center(apart, 0.03) == -2
    joined = dict.fromkeys(range(-3, 4), 0.9)
    assert center(joined, 0.03) == pytest.approx(0)


def test_a_crossing_is_interpolated_over_any_distance():
    means = {0: 0.9, 2: 0.8, -4: 0.7, -6: 0.9}
    assert crossing(means, 0, 0.85, 1) == pytest.approx(1.0)
    assert crossing(means, 0, 0.85, -1) == pytest.approx(-1.0)
    assert crossing(means, 0, 0.75, 1) == 2
    assert crossing(means, 0, 0.8, 1) == 2  # what is exactly so good is good


def test_the_bound_is_that_of_one_sided_t_intervals_of_all_other_rates():
    wobble = (0.0, 0.015, -0.015)

    def score(k, seed):
        return 0.9 - 0.004 * k**2 + wobble[seed] if abs(k) < 6 else 0.2

    found, _ = run(score, scale=Scale(0.03, chance=0.1))
    place = lattice.place(found.max_lr)
    assert place == pytest.approx(0, abs=1e-6)
    means = {round(lattice.place(each.rate)): each for each in found.tried}
    groups = [
        each.scores for each in found.tried if each.mean > 0.9 - 0.08 and len(each.scores) > 1
    ]
    freedom = sum(len(scores) - 1 for scores in groups)
    squares = sum((len(scores) - 1) * statistics.variance(scores) for scores in groups)
    assert found.sd == pytest.approx(math.sqrt(squares / freedom))
    others = [each for k, each in means.items() if k != 0]
    quantile = stats.t.isf(0.05 / len(others), freedom)
    gains = [
        each.mean
        - means[0].mean
        + quantile * found.sd * math.sqrt(1 / len(each.scores) + 1 / len(means[0].scores))
        for each in others
    ]
    assert found.bound == pytest.approx(max(gains))
    assert found.bound > 0


def test_between_two_places_the_bound_is_from_the_line_between_them():
    found, _ = run(
        lambda k, _: 0.9 - 0.01 * (k - 0.5) ** 2 if abs(k) < 6 else 0.2, scale=Scale(0.03, 0.1)
    )
    place = lattice.place(found.max_lr)
    low = math.floor(place)
    assert 0.2 < place - low < 0.8
    means = {round(lattice.place(each.rate)): each.mean for each in found.tried}
    here = means[low] + (place - low) * (means[low + 1] - means[low])
    gains = [mean - here for k, mean in means.items() if k not in (low, low + 1)]
    assert found.sd == 0
    assert found.bound == pytest.approx(max(0.0, *gains))
    skewed = {-1: 0.84, 0: 0.89, 1: 0.88, 2: 0.89, 3: 0.885, 4: 0.84}
    found, _ = run(lambda k, _: skewed.get(k, 0.2), scale=Scale(0.03, 0.1))
    place = lattice.place(found.max_lr)
    low = math.floor(place)
    here = skewed[low] + (place - low) * (skewed[low + 1] - skewed[low])
    others = [mean for k, mean in skewed.items() if k not in (low, low + 1)]
    assert found.bound == pytest.approx(max(others) - here)
    assert found.bound > 0.001


def test_what_ends_a_search_says_what_was_learned():
    error = Inconclusive("why", learned=False, too_short=True)
    assert (error.learned, error.too_short) == (False, True)
    assert (Inconclusive("why").learned, Inconclusive("why").too_short) == (True, False)
