"""Tuning: every kind at any rate, and what is kept of a search."""

from __future__ import annotations

import pytest

from clr_cli import schedules
from clr_cli.analysis import tuning
from clr_cli.analysis.lattice import RatesFound, Tried
from clr_cli.config.model import Config

CONFIG = Config.model_validate({})


@pytest.mark.parametrize("kind", schedules.KINDS)
@pytest.mark.parametrize("rate", [1e-5, 0.3, 20.0])
def test_every_kind_can_be_tried_at_any_rate(kind, rate):
    arm = CONFIG.schedule(kind).at_rate(rate)
    assert arm.rate == rate
    made = schedules.make(kind, arm.params, iterations_per_epoch=100, total_iterations=1000)
    assert max(made.lr(i) for i in range(1000)) <= rate * (1 + 1e-12)


def test_all_rates_of_an_arm_are_scaled_together():
    arms = Config.model_validate(
        {
            "schedules": {
                "clr": {"kind": "triangular", "base_lr": 0.01, "max_lr": 0.1},
                "auto": {"kind": "triangular", "base_lr": "auto", "max_lr": "auto"},
                "cosine": {"kind": "cosine", "lr": 0.1, "min_lr": 0.01},
            }
        }
    ).schedules
    assert arms["clr"].at_rate(1.0).params == pytest.approx({"base_lr": 0.1, "max_lr": 1.0})
    assert arms["auto"].at_rate(1.0).params == {"base_lr": 0.01, "max_lr": 1.0}
    assert arms["cosine"].at_rate(0.001).params == pytest.approx({"lr": 0.001, "min_lr": 0.0001})
    assert CONFIG.schedule("clr").at_rate(0.5).params == {"base_lr": 0.005, "max_lr": 0.5}


def test_what_a_search_found_is_kept_and_a_search_without_an_answer_is_refused():
    tried = (Tried(0.1, (0.8,), 0.8), Tried(0.2, (0.9,), 0.9), Tried(0.4, (None,), None))
    found = RatesFound(tried, low=0.15, high=0.25, max_lr=0.2041, inconclusive="within 2")
    kept = tuning.record({"clr": found}, {"clr": "max_lr"}, {"clr": 5.0}, 3).arms["clr"]
    assert (kept.value, kept.low, kept.inconclusive) == (0.2, 0.15, "within 2")
    without = {"clr": RatesFound(tried, inconclusive="two separate segments")}
    with pytest.raises(ValueError, match="clr: two separate segments"):
        tuning.record(without, {"clr": "max_lr"}, {"clr": 5.0}, 3)
