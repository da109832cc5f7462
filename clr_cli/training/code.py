"""People's own functions, named in a config as ``module.path:function``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from clr_cli.config.hints import did_you_mean
from clr_cli.errors import InputError

ALLOW_CODE = "CLR_ALLOW_CODE"


def import_callable(name: str, key: str, allow_code: bool) -> Callable[..., Any]:
    """Import the function (or class) of that name.

    It is imported only with ``allow_code`` or CLR_ALLOW_CODE=1 in the environment.

    Raises:
        InputError: running code is not allowed, or it is not there; ``key`` is the config's.
    """
    if not (allow_code or os.environ.get(ALLOW_CODE) == "1"):
        raise InputError(
            f"{name!r} runs your own code; pass --allow-code (or {ALLOW_CODE}=1)", key=key
        )
    path, _, attribute = name.partition(":")
    # An installed command does not look for modules in the current folder, where people keep them.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(path)
    except Exception as error:
        raise InputError(f"cannot import {path!r}: {first_line(error)}", key=key) from error
    function: Any = getattr(module, attribute, None)
    if not callable(function):
        known = [each for each, value in vars(module).items() if callable(value)]
        hint = did_you_mean(attribute, known)
        raise InputError(f"{path} has no function {attribute!r}{hint}", key=key)
    return function  # type: ignore[no-any-return]


def first_line(error: Exception) -> str:
    """Return the error's type and the first line of its text."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
