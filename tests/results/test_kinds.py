"""Every kind of file: the command of the docs gives a verdict, and `clr results` names the kind."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest
from support.results_makers import MAKERS

from clr_cli.cli import app
from clr_cli.results.kinds import KINDS

pytestmark = pytest.mark.usefixtures("drawing")
IDS = [maker.__name__ for _, maker in MAKERS]


@pytest.fixture
def clr(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["clr", *arguments])
        code = app.run(list(arguments))
        return code, *capsys.readouterr()

    return command


def needs(kind: str) -> None:
    """Skip the test where the library of a kind is missing: it is an extra."""
    if kind in (libraries := {"Parquet": "pyarrow", "TensorBoard": "tensorboard"}):
        pytest.importorskip(libraries[kind])


def test_every_kind_has_a_file_in_these_tests():
    assert {kind for kind, _ in MAKERS} == {*KINDS}


@pytest.mark.parametrize(("kind", "maker"), MAKERS, ids=IDS)
def test_the_command_of_the_docs_gives_a_verdict(clr, tmp_path, kind, maker):
    needs(kind)
    options = maker(tmp_path)
    code, out, err = clr("compare", *options, "--json")
    assert (code, "Traceback" in err) == (0, False), err
    summary = json.loads(out)
    assert [arm["name"] for arm in summary["arms"]] == ["base", "new"]
    assert [arm["n"] for arm in summary["arms"]] == [5, 5]
    (comparison,) = summary["comparisons"]
    assert comparison["verdict"] == "better"
    scale = 100 if "monitor" in kind else 1
    expected = pytest.approx(0.02 * scale, abs=0.003 * scale)
    assert comparison["difference"]["mean"] == expected


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "maker"), MAKERS, ids=IDS)
def test_results_names_the_kind_and_a_command_that_works(clr, tmp_path, kind, maker):
    needs(kind)
    options = maker(tmp_path)
    metric = options[options.index("--metric") :] if "--metric" in options else []
    place = re.split(r"/?[{*]", options[1])[0] or "."  # a folder, where the command has a pattern
    code, out, err = clr("results", place, *metric, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert dict(found["facts"])["kind"] == kind
    assert found["command"] is not None, found
    program, *arguments = shlex.split(found["command"])
    assert program == "clr"
    code, out, err = clr(*arguments, "--name", "pasted", "--json")
    assert code == 0, err
    assert len(json.loads(out)["arms"]) >= 2
