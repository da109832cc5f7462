"""runs.csv: names that a spreadsheet would compute are text there, and read back as they were."""

from __future__ import annotations

import csv
import io

import pytest

from clr_cli.records import RunRecord
from clr_cli.report.runs import read_runs_csv, write_runs_csv

NAMES = ["=HYPERLINK(1)", "@x", "+1", "-1", "'quoted", "'=x", "''", "\tx", "clr", "a'b", "a=b"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_a_formula_and_every_name_comes_back(name):
    rows = [{"epoch": 1, "loss": -0.5, name: 2.0}]
    record = RunRecord(arm=name, seed=0, status="finished", epochs=rows, result={})
    text = write_runs_csv([record])
    assert read_runs_csv(text) == [record]
    head, cells = csv.reader(io.StringIO(text))
    assert not [cell for cell in (*head, cells[0]) if cell[:1] in {*"=+-@\t\r"}]
    assert "-0.5" in cells  # numbers stay numbers
