"""runs.csv: names that a spreadsheet would compute are text there, and read back as they were."""

from __future__ import annotations

import csv
import io

import pytest

from clr_cli.records import RunRecord
from clr_cli.report.runs import read_runs_csv, write_runs_csv
from clr_cli.results import Query, read_results

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


def test_names_come_back_from_files_of_results_too(tmp_path):
    names = [name for name in NAMES if name.isprintable()]
    rows = [{"epoch": 1, "=loss": -0.5}]
    records = [RunRecord(name, 0, "finished", rows, {}) for name in names]
    path = tmp_path / "runs.csv"
    path.write_text(write_runs_csv(records))
    found = read_results(Query((str(path),)))
    assert [run.arm for run in found.records] == names
    assert found.metric == "=loss"
    path.write_text("arm,seed,loss\n'=x,0,1\n'=x,1,2\n")  # not a runs.csv: as it is
    assert {run.arm for run in read_results(Query((str(path),))).records} == {"'=x"}
