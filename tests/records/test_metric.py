"""The direction and the unit of a metric: what its name and its values decide."""

from __future__ import annotations

import pytest

from clr_cli.errors import InputError
from clr_cli.format import Scale
from clr_cli.records import KNOWN, TEST_ACCURACY, VAL_ACCURACY, Metric


def written(metric: Metric, value: float, difference: float) -> tuple[str, str]:
    scale = Scale(metric.unit, 2)
    return scale.shown(value).replace("\N{NO-BREAK SPACE}", " "), scale.signed(difference)


def test_accuracies_as_fractions_are_shown_in_percent():
    metric = Metric.resolve("test_accuracy", values=[0.90, 0.93])
    assert metric == TEST_ACCURACY
    assert written(metric, 0.90, 0.93 - 0.90) == ("90.00 %", "+3.00")


def test_accuracies_as_percent_are_shown_as_they_are():
    metric = Metric.resolve("test_accuracy", values=[90.0, 93.0])
    assert (metric.mode, metric.unit) == ("max", "")
    assert written(metric, 90.0, 93.0 - 90.0) == ("90.00", "+3.00")


def test_before_there_are_values_a_known_accuracy_counts_as_fractions():
    planned = Metric.resolve("val_accuracy")
    assert planned == VAL_ACCURACY
    measured = Metric.resolve("val_accuracy", values=[0.5, float("nan"), 71.5])
    assert measured.unit == ""


def test_a_value_that_is_not_finite_decides_nothing():
    values = [0.5, float("nan"), float("inf")]
    assert Metric.resolve("test_accuracy", values=values).unit == "%"


@pytest.mark.parametrize(
    ("name", "mode"),
    [("val_loss", "min"), ("Eval_Perplexity", "min"), ("top1_acc", "max"), ("my_accuracy", "max")],
)
def test_the_name_decides_the_direction(name, mode):
    metric = Metric.resolve(name, values=[0.2, 0.3])
    assert (metric.mode, metric.unit) == (mode, "")
    assert metric.direction == f"{'lower' if mode == 'min' else 'higher'} is better"


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_stated_overrides_the_name(name):
    metric = Metric.resolve(name, mode="max", unit="nats", values=[0.5])
    assert (metric.mode, metric.unit) == ("max", "nats")


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        ({"name": "score"}, "mode", "which score is better"),
        ({"name": "bleu", "mode": "higher"}, "mode", "'higher'"),
        ({"name": "x", "mode": "max", "unit": "%", "values": [0.5, 93.0]}, "unit", "93"),
        ({"name": "x", "mode": "max", "unit": "a\nb"}, "unit", "printable"),
        ({"name": "x", "mode": "max", "unit": "u" * 31}, "unit", "30"),
        ({"name": "x" * 201, "mode": "max"}, "metric", "200"),
        ({"name": "", "mode": "max"}, "metric", "1 to"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(arguments, key, message):
    with pytest.raises(InputError, match=message) as caught:
        Metric.resolve(**arguments)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)
