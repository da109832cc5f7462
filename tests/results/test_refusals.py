"""Damaged results are refused in a line that names the file, the place and what was expected."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest

from clr_cli.errors import InputError
from clr_cli.results import Query, read_results
from clr_cli.results.overview import overview

ROWS = "arm,seed,val_loss\n" + "".join(f"{a},{k},{k}.5\n" for a in "ab" for k in range(4))
LINES = "".join(json.dumps({"arm": a, "seed": k, "loss": 1.5}) + "\n" for a in "ab" for k in (0, 1))


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, ROWS)
    return file.getvalue()


def refusal(path: Path, content: str | bytes, **options: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        read_results(Query((str(path),), **options))
    said = str(caught.value)
    assert "\n" not in said
    assert str(path) in said
    return said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.csv.gz", gzip.compress(ROWS.encode())[:-20], "a damaged archive"),
        ("r.csv.zip", zipped("a.csv", "b.csv"), "a zip archive of 2 files; unpack it"),
        ("r.csv", ROWS.replace("arm,seed", "seed,seed"), "the column 'seed' occurs twice"),
        ("r.csv", ",".join(["x", *map(str, range(2500)), "x\n"]), "the column 'x' occurs twice"),
        ("r.csv", ROWS + "a,4\n", "line 10: 2 cells for 3 columns"),
        ("r.csv", ROWS.replace("val_loss", "val\x07loss"), "is not printable"),
        ("r.json", "[1, 2]", "item 1: not a JSON object"),
        ("r.json", '[{"arm": ', "line 1: not JSON"),
        ("r.jsonl", LINES + '{"arm": \n', "line 5: not JSON"),
        ("r.jsonl", LINES + "[1]\n", "line 5: not a JSON object"),
        ("trainer_state.json", '{"log_history": [', "damaged (not JSON)"),
        ("trainer_state.json", '{"log_history": [1]}', "log_history: expected a list of rows"),
        (
            "monitor.csv",
            '#{"t_start": 1}\nr,l,t\n1.5,3,0.1\nx,3,0.2\n',
            "line 4: r 'x' is not a number",
        ),
        ("monitor.csv", '#{"t_start": 1}\nr,l,t\n5 %,3,\n1,x,2\n', "line 4: l 'x' is not a number"),
        ("r.parquet", b"PAR1 and no more", "a damaged Parquet file"),
        ("mlflow.db", b"SQLite format 3\0 and no more", "a damaged database"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isprintable() else "content",
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, name, content, said):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    assert said in refusal(tmp_path / name, content)


def test_whole_archives_are_read(tmp_path):
    for name, content in (("r.csv.gz", gzip.compress(ROWS.encode())), ("r.zip", zipped("a.csv"))):
        (tmp_path / name).write_bytes(content)
        assert len(read_results(Query((str(tmp_path / name),))).records) == 8


def test_a_database_of_something_else_is_no_store(tmp_path):
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (x)")
    with pytest.raises(InputError, match="not an MLflow database"):
        read_results(Query((str(path),)))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("metrics/loss", "1 2 x\n", "line 1: expected 'time value step'"),
        ("metrics/loss", b"\xff\xfe\x00", "cannot be read as text"),
        ("meta.yaml", "a: [", "not YAML"),
    ],
)
def test_a_damaged_run_of_mlflow_is_named(tmp_path, file, text, said):
    for run in ("one", "two"):
        folder = tmp_path / "mlruns/0" / run
        (folder / "metrics").mkdir(parents=True)
        (folder / "params").mkdir()
        (folder / "meta.yaml").write_text(f"run_name: {run}\nstart_time: 1\n")
        (folder / "metrics/loss").write_text("1 2.5 0\n2 2.0 1\n")
    path = folder / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        read_results(Query((str(tmp_path / "mlruns"),)))
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_in_a_folder_is_left_out_and_counted(tmp_path):
    (tmp_path / "a.csv").write_text(ROWS)
    (tmp_path / "b.csv").write_text(ROWS.replace("arm,seed", "seed,seed"))
    found = read_results(Query((str(tmp_path),)))
    assert len(found.records) == 8
    assert any("1 files cannot be read and are left out" in note for note in found.notes)
    (tmp_path / "a.csv").write_text((tmp_path / "b.csv").read_text())
    with pytest.raises(InputError, match="no file of results can be read: .*occurs twice"):
        read_results(Query((str(tmp_path),)))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("arm", "--where arm: write it as column=value"),
        ("=a", "--where =a: write it as column=value"),
        ("arm=c", "its values are 'a', 'b'"),
        ("size=3", "not a column; the columns are 'arm', 'seed', 'val_loss'"),
    ],
)
def test_a_choice_of_rows_that_fits_none_is_refused(tmp_path, condition, said):
    (tmp_path / "r.csv").write_text(ROWS)
    with pytest.raises(InputError) as caught:
        read_results(Query((str(tmp_path / "r.csv"),), where=(condition,)))
    assert said in str(caught.value)


def test_results_of_which_no_command_can_be_made_say_what_is_missing(tmp_path):
    (tmp_path / "r.csv").write_text("arm,seed,note\na,0,x\nb,0,y\n")
    found = overview(Query((str(tmp_path / "r.csv"),)))
    assert found.command is None
    assert found.missing


def test_runs_are_counted_in_words(tmp_path):
    (tmp_path / "r.csv").write_text("arm,seed,step,loss\na,0,1,1.5\n")
    facts = dict(overview(Query((str(tmp_path / "r.csv"),))).facts)
    assert (facts["arms"], facts["runs"]) == ("a (1 run)", "1 run, none failed, 1 row each")
    (tmp_path / "r.csv").write_text("arm,seed,step,loss\na,0,1,1.5\na,1,1,nan\na,1,2,nan\n")
    facts = dict(overview(Query((str(tmp_path / "r.csv"),))).facts)
    assert (facts["arms"], facts["runs"]) == ("a (2 runs)", "2 runs, 1 failed, 1 to 2 rows each")
