"""Tables of results, changed at random: a page, or one clear line. Never a traceback.

The default is a few; CLR_TEST_FUZZ=2000 is what was promised, of tables and of all kinds of files.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from support.results_makers import MAKERS
from support.summaries import summarize

from clr_cli.errors import InputError
from clr_cli.records import Metric
from clr_cli.report import comparison as report
from clr_cli.results import Query, read_results

MUTATIONS = int(os.environ.get("CLR_TEST_FUZZ", "100"))
CELLS = [
    *("", " ", "nan", "inf", "-inf", "1e308", "-1e308", "1e30", "1e-320", "-0", "0", "1", "-1"),
    *("1_0", "0x1", "9" * 400, "x" * 5000, "<script>", '"', "'", "\x00", "\x1b[31m", "\u202e", "é"),
    *("None", "null", "NA", "true", "1,5", "1;5", "a\tb", "arm", "seed", "val_loss", "=1+1", "½"),
]
HEADER = ["arm", "seed", "step", "seconds", "val_loss"]


def rows(random_: random.Random) -> list[list[str]]:
    """Two or three arms of five or six runs with three measurements, or one."""
    steps = random_.choice([[0, 10, 20], [10]])
    return [
        [
            arm,
            str(seed),
            str(step),
            f"{step / 7:.3f}",
            f"{3 + random_.gauss(0, 0.1) - step / 20:.4f}",
        ]
        for arm in ("adam", "muon", "sgd")[: random_.choice([2, 2, 3])]
        for seed in range(random_.choice([5, 6]))
        for step in steps
    ]


def mutated(random_: random.Random) -> bytes:
    """A table in one of its forms with a few cells, lines or bytes changed."""
    table = [list(HEADER), *rows(random_)]
    for _ in range(random_.randint(1, 3)):
        line = random_.choice(table)
        match random_.randrange(12):
            case 0 if line:
                del line[random_.randrange(len(line))]
            case 1:
                table.insert(random_.randrange(len(table) + 1), list(random_.choice(table)))
            case 2:
                column = random_.randrange(len(HEADER))
                for each in table:
                    del each[column : column + 1]
            case 3:
                table.remove(line)
            case 4 | 5 | 6 if line:
                line[random_.randrange(len(line))] = random_.choice(CELLS)
            case _ if line:
                line[-1] = random_.choice(CELLS)
    form = random_.choice(["csv", "tsv", "jsonl"])
    if form == "jsonl":
        head = table[0]
        data = "\n".join(json.dumps(dict(zip(head, line, strict=False))) for line in table[1:])
    else:
        data = "\n".join(("," if form == "csv" else "\t").join(line) for line in table)
    content = bytearray(data.encode())
    if random_.random() < 0.2 and content:
        for _ in range(random_.randint(1, 4)):
            content[random_.randrange(len(content))] = random_.randrange(256)
    return bytes(content)


def outcome(query: Query, random_: random.Random, *, drawn: bool) -> bool:
    """Return whether results give a page; else they gave one line, which is checked."""
    try:
        results = read_results(query)
        records = results.records
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert line.isprintable()
        assert len(line) < 2000
        return False
    arms = list(dict.fromkeys(record.arm for record in records))
    first_arm = next((r.arm for r in records if r.status != "failed"), None)
    summary = summarize(
        records,
        experiment="fuzz",
        context={"source": "fuzz", "notes": results.notes},
        baseline=2.5 if len(arms) < 2 or first_arm is None else first_arm,
        paired=random_.random() < 0.3 and not results.numbered,
        metric=Metric(name=results.metric, mode=random_.choice(["min", "max"])),
        margin=random_.choice([None, 0.01]),
    )
    figures = report.figures(summary, records) if drawn else {}
    page = report.render(summary, records, figures)
    assert page.count("<script") == 2  # the page has its numbers and its code
    assert report.markdown(summary)
    return True


@pytest.mark.parametrize("first", range(0, MUTATIONS, 50))
def test_a_mutated_table_gives_a_page_or_a_line(first, tmp_path):
    path: Path = tmp_path / "results"
    pages = 0
    for seed in range(first, first + 50):
        random_ = random.Random(seed)
        path.write_bytes(mutated(random_))
        query = Query((str(path),), metric=random_.choice([None, "val_loss"]))
        pages += outcome(query, random_, drawn=pages % 10 == 0)
    assert 0 < pages < 50


def mutate_file(folder: Path, random_: random.Random) -> None:
    """Change one of a folder's files: bytes, a line, a cell, a cut; or remove it."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    path = random_.choice(files)
    data = path.read_bytes()
    where = random_.randrange(len(data) or 1)
    lines = data.split(b"\n")
    match random_.randrange(6):
        case 0 if len(files) > 1:
            path.unlink()
            return
        case 1:
            data = data[:where]
        case 2:
            data = data[:where] + bytes([random_.randrange(256)]) + data[where + 1 :]
        case 3:
            lines.insert(random_.randrange(len(lines)), random_.choice(lines))
            data = b"\n".join(lines)
        case _:
            at = random_.randrange(len(lines))
            cells = lines[at].split(b",")
            cells[random_.randrange(len(cells))] = random_.choice(CELLS).encode()
            lines[at] = b",".join(cells)
            data = b"\n".join(lines)
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "maker"), MAKERS, ids=[maker.__name__ for _, maker in MAKERS])
def test_a_mutated_file_of_any_kind_gives_a_page_or_a_line(kind, maker, tmp_path, monkeypatch):
    count = max(5, MUTATIONS // len(MAKERS))
    pages = 0
    for seed in range(count):
        folder = tmp_path / str(seed)
        folder.mkdir()
        monkeypatch.chdir(folder)
        options = dict(pairs := list(zip(*[iter(maker(folder))] * 2, strict=True)))
        assert len(options) == len(pairs)
        random_ = random.Random(f"{kind}{seed}")
        for _ in range(random_.randint(1, 3)):
            mutate_file(folder, random_)
        query = Query(
            (options["--from"],),
            arm_columns=tuple(filter(None, [options.get("--arm-column")])),
            metric=options.get("--metric"),
            run_name=options.get("--run-name"),
        )
        pages += outcome(query, random_, drawn=False)
    assert pages > 0 or count < 20 or maker.__name__ == "zipped"  # an archive notices any change
