"""The values of options: what is typed is what counts, and an error names the option."""

from __future__ import annotations

import pytest

from clr_cli.cli import options, program_options
from clr_cli.errors import InputError


@pytest.mark.parametrize("name", ["2024", "2026-11-26", "on", "null", "007", "1_0"])
def test_a_name_is_not_yaml(tiny, name):
    loaded = options.load(str(tiny), None, name, {"compare.baseline": name})
    assert (loaded.name, loaded.compare.baseline) == (name, name)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("a #b", {}, "--name: 'a #b': expected"),
        ("[x", {}, "--name: '[x': expected"),
        (None, {"range_test.min_lr": -1.0}, "--min-lr: -1.0 must be"),
        (None, {"compare.schedules": ["clr", ""]}, "--schedules: '': expected"),
    ],
)
def test_an_error_names_the_option(tiny, name, values, said):
    with pytest.raises(InputError) as caught:
        options.load(str(tiny), None, name, values)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("a, b ", ["a", "b"]),
        ('"SGD, lr 0.1", Adam', ["SGD, lr 0.1", "Adam"]),
        ('5" disk,b', ['5" disk', "b"]),
        ("a,", ["a", ""]),
        ("", [""]),
        ("a\rb", ["a b"]),
    ],
)
def test_lists_are_split_in_one_way(text, parts):
    assert options.parse_list(text) == parts


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", 3), ("0, 1,7", [0, 1, 7]), ("auto:9", "auto:9"), (None, None)]
)
def test_seeds_are_a_number_a_list_or_auto(text, seeds):
    assert program_options.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (options.parse_jobs, "²"),
        (program_options.parse_seeds, "²"),
        (program_options.parse_seeds, "9" * 5000),
        (program_options.parse_seeds, "1,"),
        *((program_options.parse_target, text) for text in ("nan", "inf", "2e15", "much")),
    ],
)
def test_what_is_no_number_is_refused(parse, text):
    with pytest.raises(InputError, match="^--(jobs|seeds|target) .*: expected a "):
        parse(text)


def test_a_target_may_be_zero():
    assert program_options.parse_target("0") == 0
