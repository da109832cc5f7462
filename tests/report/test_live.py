"""The page while runs are made: how far each is, curves so far, no verdict, and its end."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from test_figures import make_records
from test_report import Reader, make_summary

from clr_cli.analysis.headline import headline
from clr_cli.analysis.study import Study
from clr_cli.cli.live import LivePage
from clr_cli.errors import InputError
from clr_cli.execution.task import Event
from clr_cli.records import TEST_ACCURACY, Metric, Probed, RateAnswer
from clr_cli.report import index, live, rates, write

STUDY = Study(name="digits", arms=("constant", "clr"), baseline="constant", seeds=(0, 1))


@dataclass
class Directory:
    rows: list[dict[str, Any]] = field(default_factory=list)

    def read_metrics(self) -> list[dict[str, Any]]:
        return self.rows


@dataclass
class Task:
    arm: str
    seed: int
    directory: Directory = field(default_factory=Directory)


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": None if epoch == 3 else 1 / epoch, "test_accuracy": 0.5}


TASKS = [Task(arm, seed) for seed in STUDY.seeds for arm in STUDY.arms]
HALF = [
    *(Event(0, kind, value) for kind, value in (("start", 0), ("row", row(1)), ("row", row(2)))),
    Event(0, "end", "finished"),
    *(Event(1, kind, value) for kind, value in (("start", 0), ("row", row(1)))),
]


def cells(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr.*?</tr>", page.partition("<tbody>")[2].partition("</tbody>")[0], re.S)
    return [re.sub(r"<[^>]*>", " ", each).split("  ") for each in rows]


def follow(folder: Path, events: Any) -> None:
    page = LivePage(STUDY, folder, epochs=2)
    page.began -= 1e9  # there was time enough for any number of pages
    for _ in page.follow(TASKS, events):  # type: ignore[arg-type]
        pass


def stopped() -> Any:
    yield from HALF
    raise KeyboardInterrupt


def test_a_stopped_comparison_leaves_its_runs_and_curves_without_a_verdict(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, stopped())
    page = (tmp_path / "report.html").read_text("utf-8")
    words = [[word.strip() for word in row if word.strip()] for row in cells(page)]
    assert words == [["constant", "finished", "waiting"], ["clr", "epoch 1 of 2", "waiting"]]
    assert "1 of 4 runs have ended; the command was stopped. Run it again to continue." in page
    assert page.count("<svg") == 2
    assert 'http-equiv="refresh"' not in page
    assert not re.search("better than|worse than|undecided", page.partition("<style>")[0])
    assert live.remake(tmp_path).read_text("utf-8") == page


def test_a_running_one_reads_itself_again_and_says_how_long_it_takes(tmp_path: Path) -> None:
    follow(tmp_path, (event for event in HALF))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert 'http-equiv="refresh"' in page
    assert "1 of 4 runs have ended; about " in page


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    tasks = [Task("constant", 0, Directory([row(1), row(2)])), *TASKS[1:]]
    page = LivePage(STUDY, tmp_path, epochs=2)
    events = (Event(0, *each) for each in (("start", 2), ("end", "finished")))
    assert len([*page.follow(tasks, events)]) == 2  # type: ignore[arg-type]
    runs = json.loads((tmp_path / "progress.json").read_text())["runs"]
    assert [len(each["rows"]) for each in runs] == [2, 0, 0, 0]


def test_runs_that_will_never_be_made_do_not_count(tmp_path: Path) -> None:
    page = LivePage(STUDY, tmp_path, epochs=1)
    for tasks in (TASKS, [Task("constant", 2)]):  # clr was decided after two seeds
        ends = [Event(k, kind, "finished") for k in range(len(tasks)) for kind in ("start", "end")]
        for _ in page.follow(tasks, (end for end in ends)):  # type: ignore[arg-type]
            page.began -= 1e9
    text = live.remake(tmp_path).read_text("utf-8")
    assert "5 of 5 runs have ended" in text
    assert "waiting" not in text.partition("<tbody>")[2].partition("</tbody>")[0]


def test_making_it_takes_a_small_share_of_the_time(tmp_path: Path) -> None:
    page = LivePage(STUDY, tmp_path, epochs=2)
    page.spent = 1e9
    for _ in page.follow(TASKS, (event for event in HALF)):  # type: ignore[arg-type]
        assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "report.html").exists()


def test_a_run_that_learned_nothing_is_named(tmp_path: Path) -> None:
    def run(seed: int, state: str, last: float) -> live.RunState:
        rows: list[dict[str, float | None]] = [{"epoch": 1, "test_accuracy": last}]
        return live.RunState(arm="clr", seed=seed, state=state, total=1, rows=rows)

    runs = [run(0, "finished", 0.9), run(1, "finished", 0.11), run(2, "running", 0.1)]
    known: dict[str, Any] = {"experiment": "digits", "metric": TEST_ACCURACY, "seeds": [0, 1, 2]}
    progress = live.Progress(**known, baseline="clr", arms=["clr"], runs=runs, chance=0.1)
    page = live.write(tmp_path, progress).read_text("utf-8")
    assert [word.strip() for word in cells(page)[0] if word.strip()] == [
        *("clr", "finished", "stuck", "epoch 1 of 1")
    ]
    assert "2 of 3 runs have ended, 1 run learned nothing" in page
    assert "clr 50.50\N{NO-BREAK SPACE}% (2 of 3)" in page  # of those that finished


def test_a_damaged_file_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        live.remake(tmp_path)


def test_the_page_of_a_search_without_an_answer_says_why(tmp_path: Path) -> None:
    about: dict[str, Any] = {"experiment": "digits", "metric": TEST_ACCURACY, "start": 0.1}
    about |= {"relative": False, "within": "3 points", "delta": 0.03, "probes": 2}
    tried = [Probed(rate=rate, scores=[0.1], mean=0.1) for rate in (0.1, 0.2)]
    answer = RateAnswer(**about, tried=tried, inconclusive="nothing was learned; train longer")
    rates.write(tmp_path / "digits" / "range-test", answer)
    rates.write(tmp_path / "digits" / "range-test" / "clr", answer)
    page = (tmp_path / "digits" / "range-test" / "report.html").read_text("utf-8")
    assert '<p class="verdict">No answer: nothing was learned; train longer</p>' in page
    words = Reader(page).words
    assert words.count("nothing was learned") == 1
    assert re.search(r"Every probe.*0.1\s*10.00\s%\s*10.00\s%\s*0.2", words, re.S)
    index.write(tmp_path)
    listed = (tmp_path / "index.html").read_text("utf-8")
    assert listed.count("No answer: nothing was learned") == 2
    assert 'href="digits/range-test/clr/report.html"' in listed
    assert ">range-test, clr<" in listed


def test_scores_of_any_size_are_shown_with_digits() -> None:
    about: dict[str, Any] = {"experiment": "x", "metric": Metric(name="mse", mode="min")}
    about |= {"relative": False, "within": "1e-8", "delta": 1e-8, "probes": 1, "start": 0.1}
    answer = RateAnswer(**about, tried=[Probed(rate=0.1, scores=[1.25e-7], mean=1.25e-7)])
    assert "1.25e-07" in rates.page(answer, {})


@pytest.mark.usefixtures("drawing")
def test_the_index_has_every_experiment_with_its_state(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path / "half" / "compare", stopped())
    records = make_records(seeds=6)
    write.write_comparison(tmp_path / "whole & more" / "compare", make_summary(records), records)
    broken = tmp_path / "broken" / "compare"
    broken.mkdir(parents=True)
    (broken / "report.html").touch()
    (broken / "summary.json").write_text("{")
    again = tmp_path / "rerun" / "compare"  # more seeds of a finished comparison
    write.write_comparison(again, make_summary(records), records)
    with pytest.raises(KeyboardInterrupt):
        follow(again, stopped())
    page = index.write(tmp_path).read_text("utf-8")
    words = Reader(page).words
    assert "4 results" in words
    states = (
        ("half", "stopped"),
        ("rerun", "stopped"),
        ("whole & more", "finished"),
        ("broken", "damaged"),
    )
    for name, state in states:
        row = words[words.index(name) :]
        assert row.index(state) < 400
    assert 'href="whole%20%26%20more/compare/report.html"' in page
    assert headline(make_summary(records)).split(" (")[0] in words.replace(
        "\N{NO-BREAK SPACE}", " "
    )
