"""What a function is made from: noticed where it has changed, and not where it is the same."""

from __future__ import annotations

import argparse
import ast
import copy
import enum
import functools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from clr_cli.execution.fingerprint import Fingerprint, fingerprint

SCRIPT = """
import math
from dataclasses import dataclass

RATE, LAYERS, CONFIG = 0.1, [64, 64], {"wd": 0.01, "betas": (0.9, 0.95)}
history, results, count, unused = [], {}, 0, 1
selves = {}
selves["self"] = selves

@dataclass
class Settings:
    depth: int = 2
    def scale(self, x):
        return x * self.depth

settings = Settings(3)

class Base:
    def step(self, x):
        return x - 1

class Model(Base):
    width = 8
    def forward(self, x):
        return self.step(x) * self.width

def helper(x):
    return x + 1

def train(seed, momentum=0.9):
    global count
    count += 1
    history.append(seed)
    results[seed] = [helper(x) for x in LAYERS]
    selves["self"]
    return settings.scale(RATE) + CONFIG["wd"] + Model().forward(math.sqrt(seed)) + momentum
"""


def made(old: str = "", new: str = "", calls: int = 0, name: str = "train") -> Fingerprint:
    assert old in SCRIPT
    script: dict = {"__name__": "__main__"}
    exec(SCRIPT.replace(old, new) if old else SCRIPT, script)
    for seed in range(calls):
        script[name](seed)
    return fingerprint(script[name])


def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def test_code_and_values_are_named():
    found = made()
    assert set(found.code) >= {"train", "helper", "Model.forward", "Base.step", "Settings.scale"}
    assert found.values["RATE"] == "0.1"
    assert found.values["LAYERS"] == "[64, 64]"
    assert found.values["CONFIG"] == "{'wd': 0.01, 'betas': [0.9, 0.95]}"
    assert found.values["settings.depth"] == "3"
    assert found.values["momentum"] == "0.9"
    assert not {"history", "results", "count", "unused", "selves"} & set(found.values)


@pytest.mark.parametrize(
    ("old", "new", "code", "values"),
    [
        ("RATE, LAYERS, CONFIG = 0.1", "RATE, LAYERS, CONFIG = 0.2", set(), {"RATE"}),
        ("[64, 64]", "[64, 32]", set(), {"LAYERS"}),
        ('"wd": 0.01', '"wd": 0.02', set(), {"CONFIG"}),
        ("Settings(3)", "Settings(4)", set(), {"settings.depth"}),
        ("width = 8", "width = 9", set(), {"Model.width"}),
        ("momentum=0.9", "momentum=0.8", set(), {"momentum"}),
        ("x + 1", "x + 2", {"helper"}, set()),
        ("x - 1", "x - 2", {"Base.step"}, set()),
        ("math.sqrt(seed)", "math.exp(seed)", {"train"}, set()),
        ("history.append(seed)", "history.append(seed) if seed else None", {"train"}, set()),
        ("for x in LAYERS]", "for x in LAYERS if x in {1, 2}]", {"train"}, set()),
    ],
)
def test_a_change_is_noticed_and_named(old, new, code, values):
    before, after = made(), made(old, new)
    assert differing(before.code, after.code) == code
    assert differing(before.values, after.values) == values


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def helper", "# a comment\n\n\ndef helper"),
        ("return x + 1", "return (x\n        + 1)"),
        ("unused = [], {}, 0, 1", "unused = [], {}, 0, 2"),
    ],
)
def test_what_changes_nothing_is_the_same(old, new):
    assert made(old, new) == made()


TRYING = """
import math
def train(seed):
    {before}
    try:
        {within}
    except ValueError:
        return 0.0
    return math.exp(seed)
"""


def test_what_is_tried_counts():
    one, two = (
        TRYING.format(before=before, within=within)
        for before, within in (("math.sqrt(1)", "pass"), ("pass", "math.sqrt(1)"))
    )
    texts = []
    for text in (one, two):
        script: dict = {"__name__": "__main__"}
        exec(text, script)
        texts.append(fingerprint(script["train"]).code["train"])
    assert texts[0] != texts[1]


def test_statements_may_be_compiled_one_by_one():
    """As a notebook does it: what is imported is then not known when a function is compiled."""
    script: dict = {"__name__": "__main__"}
    for node in ast.parse(SCRIPT).body:
        exec(compile(ast.Module([node], []), "cell", "exec"), script)
    assert fingerprint(script["train"]) == made()


def test_what_a_function_fills_is_the_same_after_it_was_called():
    assert made(calls=3) == made()


def test_arguments_of_a_partial_and_the_object_of_a_method_count():
    def run(rate, seed):
        return rate * seed

    class Trainer:
        def __init__(self, rate):
            self.rate = rate

        def train(self, seed):
            return self.rate * seed

    one, two = (fingerprint(functools.partial(run, rate)) for rate in (0.1, 0.2))
    assert one.code == two.code
    assert differing(one.values, two.values) == {"function.1"}
    one, two = (fingerprint(Trainer(rate).train) for rate in (0.1, 0.2))
    assert one.code == two.code
    assert differing(one.values, two.values) == {"train.self.rate"}


@dataclass(slots=True)
class Slotted:
    rate: float
    parent: object = None


class Mode(enum.Enum):
    ONE, TWO = 1, 2


@functools.cache
def cached(x):
    return x


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        (argparse.Namespace(gain=0.1), argparse.Namespace(gain=-0.1), {"used.gain"}),
        (SimpleNamespace(gain=0.1), SimpleNamespace(gain=-0.1), {"used.gain"}),
        (Slotted(0.1), Slotted(0.2), {"used.rate"}),
        (Path("a"), Path("b"), {"used"}),
        (np.float32(0.5), np.float32(0.25), {"used"}),
        (torch.float32, torch.bfloat16, {"used"}),
        (torch.optim.SGD, torch.optim.Adam, {"used"}),
        ({"lr": 0.1, "of": nn.Linear}, {"lr": 0.2, "of": nn.Linear}, {"used"}),
        ({"lr": 0.1, "of": nn.Linear}, {"lr": 0.1, "of": nn.Conv2d}, {"used"}),
        ([Slotted(0.1), nn.Linear(1, 1)], [Slotted(0.2), nn.Linear(1, 1)], {"used"}),
        ({Mode.ONE}, {Mode.TWO}, {"used"}),
        ([functools.partial(pow, 2)], [functools.partial(pow, 3)], {"partial.1"}),
    ],
    ids=str,
)
def test_a_value_in_an_object_or_container_counts(one, other, names):
    before, again, after = (
        fingerprint(lambda seed, used=used: used) for used in (one, copy.copy(one), other)
    )
    assert before == again
    assert differing(before.values, after.values) == names


def test_two_values_of_one_name_both_count():
    def of(inner, outer):
        def helper(rate=inner):
            return rate

        return fingerprint(lambda seed, rate=outer: rate + helper())

    assert of(1, 2).values == {"rate": "2", "rate'": "1"}
    assert of(2, 2).values == {"rate": "2"}


def test_what_a_cached_function_does_counts():
    assert "cached" in fingerprint(lambda seed: cached(seed)).code


def test_an_object_that_contains_itself_is_written_once():
    loop: list = [nn.Linear]
    loop.append(Slotted(0.1, loop))
    assert fingerprint(lambda seed: loop).values["loop"] == (
        "[<Linear>, Slotted(rate=0.1, parent=[<Linear>, <Slotted>])]"
    )


def test_installed_packages_do_not_count():
    assert set(fingerprint(lambda seed: np.random.default_rng(seed).normal()).code) == {
        "test_installed_packages_do_not_count.<locals>.<lambda>"
    }
