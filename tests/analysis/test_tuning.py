"""Equal tuning: the grid, the trials of every kind, and the choice on validation."""

from __future__ import annotations

import pytest

from clr_cli import schedules
from clr_cli.analysis import tuning
from clr_cli.config.model import Config
from clr_cli.errors import InputError
from clr_cli.records import RunRecord

CONFIG = Config.model_validate({"range_test": {"min_lr": 1e-5, "max_lr": 0.1}})


@pytest.mark.parametrize("kind", schedules.KINDS)
@pytest.mark.parametrize("rate", [1e-5, 0.3])
def test_every_kind_can_be_tried_at_any_rate_of_the_grid(kind, rate):
    arm = tuning.trial(CONFIG.schedule(kind), rate)
    assert arm.params[tuning.rate_key(arm)] == rate
    made = schedules.make(kind, arm.params, iterations_per_epoch=100, total_iterations=1000)
    assert max(made.lr(i) for i in range(1000)) <= rate * (1 + 1e-12)


def test_a_base_rate_above_the_trial_follows_it_down():
    assert tuning.trial(CONFIG.schedule("clr"), 1e-4).params["base_lr"] == 1e-4
    assert tuning.trial(CONFIG.schedule("clr"), 0.1).params["base_lr"] == 0.001


def test_a_rate_that_does_not_fit_is_refused():
    cosine = type(CONFIG.schedule("cosine"))(kind="cosine", lr=0.1, min_lr=0.01)
    with pytest.raises(InputError, match=r"--tune: cosine at 0.001: lr: 0.001 is below min_lr"):
        tuning.trial(cosine, 0.001)


def test_the_grid_is_even_in_log_rate_and_needs_two_trials():
    assert tuning.grid(CONFIG, 5) == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    with pytest.raises(InputError, match="--tune 1"):
        tuning.grid(CONFIG, 1)


def test_the_best_on_validation_is_chosen_and_an_edge_flagged():
    def record(rate, accuracy):
        final = {"val_accuracy": accuracy}
        result = {"final": final, "train_seconds": 2.0, "num_classes": 10}
        status = "finished" if accuracy else "diverged"
        return RunRecord(tuning.trial_name("constant", rate), 0, status, [], result)

    arms = {"constant": CONFIG.schedule("constant")}
    rates = [0.01, 0.1, 1.0]
    middle = [record(0.01, 0.5), record(0.1, 0.9), record(1.0, None)]
    chosen = tuning.choose(arms, rates, middle)
    assert chosen["seconds"] == {"constant": 6.0}
    assert (chosen["arms"]["constant"]["value"], chosen["arms"]["constant"]["edge"]) == (0.1, False)
    assert chosen["arms"]["constant"]["trials"][2]["val_accuracy"] == 0.1  # diverged: chance
    edge = tuning.choose(arms, rates, [record(0.01, 0.95), *middle[1:]])
    assert (edge["arms"]["constant"]["value"], edge["arms"]["constant"]["edge"]) == (0.01, True)
