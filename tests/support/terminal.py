"""The command line in this process, with its output."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from clr_cli.cli import app


@dataclass(frozen=True)
class Told:
    """What a command printed."""

    stdout: str
    stderr: str


def invoke(*arguments: str, code: int = 0) -> Told:
    """Run a command as ``clr`` does, errors included; it must exit with ``code``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        exited = app.run([*arguments])
    assert exited == code, err.getvalue()
    return Told(out.getvalue(), err.getvalue())
