"""The examples in the docstrings of analysis/ hold."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from clr_cli import analysis


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(analysis.__path__)]
)
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    module = importlib.import_module(f"clr_cli.analysis.{name}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", ["times", "planning", "sweeps"])
def test_every_public_function_of_the_rules_has_an_example(name: str) -> None:
    module = importlib.import_module(f"clr_cli.analysis.{name}")
    public = [
        value
        for key, value in vars(module).items()
        if callable(value) and not key.startswith("_") and value.__module__ == module.__name__
    ]
    functions = [value for value in public if not isinstance(value, type)]
    assert functions
    without = [f.__name__ for f in functions if ">>>" not in (f.__doc__ or "")]
    assert without == []
