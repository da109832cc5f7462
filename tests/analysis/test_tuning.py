"""Tuning: every kind at any rate."""

from __future__ import annotations

import pytest

from clr_cli import schedules
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
