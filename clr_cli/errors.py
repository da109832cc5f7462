"""Define the two ways in which a command can fail; each has its own exit code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class InputError(Exception):
    """The config, an option or the data is wrong or missing (exit code 2).

    Its text is one line: where (file, then key), what is wrong, and what to do.

    Args:
        message: what is wrong, with the value, and what to do.
        key: the key of the config, such as ``training.batch_size``.
        source: the file or option that contains the key.
    """

    def __init__(self, message: str, *, key: str | None = None, source: object = None) -> None:
        super().__init__(message)
        self.key = key
        self.source = source

    def __str__(self) -> str:
        where = (self.source, self.key)
        return ": ".join([*(str(part) for part in where if part is not None), str(self.args[0])])

    def within(self, source: Path) -> InputError:
        """Return the error, with ``source`` as the file if it names a key but no file."""
        if self.key is not None and self.source is None:
            self.source = source
        return self

    def as_option(self) -> InputError:
        """Return the error, with its key written as an option if it names no file."""
        if self.key is not None and self.source is None:
            self.key = f"--{self.key}"
        return self


class EnvironmentFailure(Exception):
    """The machine failed: a full disk, a lost worker, a held lock (exit code 1)."""


def reason(error: Mapping[str, Any]) -> str:
    """Return the text of a pydantic error, without its key: ``-1 must be greater than 0``."""
    message: str = error["msg"]
    if error["type"] == "value_error":  # raised by a model of ours
        return message.removeprefix("Value error, ")
    if message.startswith("Input should be "):
        return f"{excerpt(error['input'])} must be {message.removeprefix('Input should be ')}"
    return f"{excerpt(error['input'])}: {message[:1].lower()}{message[1:]}"


def excerpt(value: Any) -> str:
    """Return a value for a message: on one line, without control codes, at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
