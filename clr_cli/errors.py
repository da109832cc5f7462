"""The two ways a command can fail, told apart because they have different exit codes."""

from __future__ import annotations


class InputError(Exception):
    """The config, an option or the data is wrong or missing (exit code 2).

    The message is one line: what is wrong, where (file, key, value), what to do.
    """


class EnvironmentFailure(Exception):
    """The machine failed us: a full disk, a lost worker, a held lock (exit code 1)."""
