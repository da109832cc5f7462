"""The report: files in, one page or Markdown out."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.summaries import summarize
from test_figures import PER_EPOCH, make_records

from clr_cli import format
from clr_cli.analysis.headline import headline
from clr_cli.analysis.rates import Scoring
from clr_cli.errors import InputError
from clr_cli.records import (
    VAL_ACCURACY,
    ControlledVariables,
    Metric,
    Probed,
    RateAnswer,
    Reproduce,
    RunRecord,
    Summary,
    Tuning,
)
from clr_cli.report import captions
from clr_cli.report import comparison as report
from clr_cli.report.answers import Comparison
from clr_cli.report.figures.range_test import range_test
from clr_cli.report.runs import read_runs_csv, write_runs_csv
from clr_cli.report.tables import explain, first_table

FOUR = ("constant", "clr", "one_cycle", "cosine")
NO_RUNS = write_runs_csv([])
EVIL = "<script>alert('&\"x\"')</script>"


def make_summary(records: list[RunRecord], epochs: int = 12, **options: Any) -> Summary:
    context = ControlledVariables(
        varied="the learning-rate schedule",
        also_differs=[],
        dataset="synthetic_digits",
        train_size=16_000,
        val_size=4_000,
        test_size=5_000,
        num_classes=10,
        model="cnn",
        parameters=123_456,
        optimizer="sgd",
        momentum=0.9,
        weight_decay=5e-4,
        epochs=epochs,
        batch_size=128,
        iterations=epochs * PER_EPOCH,
        precision="fp32",
        device="cpu",
        threads=2,
        versions={"clr": "0.1.0", "torch": "2.9.0", "python": "3.11.2"},
        determinism="bit-identical on the same machine",
    )
    options = {"experiment": "digits", "baseline": "constant"} | options
    return summarize(records, context=context, num_classes=10, **options)


def make_page(records: list[RunRecord], **options: Any) -> str:
    summary = make_summary(records, **options)
    return report.render(summary, records, report.figures(summary, records))


class Reader(HTMLParser):
    """Collects tags, their attributes and the text; fails on unbalanced elements."""

    VOID = frozenset({"meta", "path", "use", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self.open}:
            self.words += data


@pytest.fixture(scope="module")
def page() -> str:
    return make_page(make_records(FOUR, diverged=(("one_cycle", 3),)))


class TestPage:
    def test_is_self_contained(self, page: str) -> None:
        tags = Reader(page).tags
        assert "://" not in page
        assert not {"link", "img", "iframe", "image"} & {tag for tag, _ in tags}
        assert all(
            (attrs.get("href") or "#").startswith("#") and "src" not in attrs for _, attrs in tags
        )
        assert "url(" not in page.replace("url(#", "")

    def test_only_its_own_script_may_run_and_nothing_is_fetched(self, page: str) -> None:
        tags = Reader(page).tags
        policy = next(a["content"] for t, a in tags if t == "meta" and "http-equiv" in a)
        assert policy is not None
        assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha")
        scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
        assert (len(scripts), f"'sha256-{digest}'" in policy) == (1, True)
        assert not re.search(r"\bfetch\(|XMLHttp|import\(|innerHTML|eval\(", scripts[0])

    def test_the_numbers_of_the_curves_are_in_it(self) -> None:
        records = make_records(seeds=3)
        text = make_page(records)
        told = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S)
        assert told is not None
        curves = [
            axes["curves"]
            for figure in json.loads(told[1])["figures"].values()
            for axes in figure["axes"]
        ]
        means = [
            np.mean([r.epochs[k]["test_accuracy"] for r in records if r.arm == "clr"])
            for k in range(12)
        ]
        assert any(
            curve["clr"][0] == [*range(1, 13)] and curve["clr"][1] == pytest.approx(means, rel=1e-5)
            for curve in curves
        )

    def test_ids_are_unique_and_references_meet_them(self, page: str) -> None:
        ids = [attrs["id"] for _, attrs in Reader(page).tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        used = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', page)
        assert {a or b for a, b in used} <= set(ids)

    def test_figures_of_several_pages_in_one_document_share_no_ids(self) -> None:
        pages = []
        for seeds in (3, 4):
            records = make_records(seeds=seeds)
            pages.append(Comparison(make_summary(records), records)._repr_html_())
        ids = [{*re.findall(r'\bid="([^"]*)"', text)} for text in pages]
        assert all(len(each) > 5 for each in ids)
        assert not ids[0] & ids[1]

    def test_the_main_figure_is_the_difference_whatever_the_metric_is_called(self) -> None:
        records = make_records(seeds=3)
        for record in records:
            for row in (*record.epochs, record.result["final"]):
                row["difference"] = row["test_accuracy"]
        text = make_page(records, metric=Metric(name="difference", mode="max"))
        (main,) = re.findall(r'class="main">.*?<b>(.*?)[.]</b>', text, re.S)
        assert main == "Paired difference"

    def test_says_the_verdict_first_and_whole(self) -> None:
        records = make_records()
        words = Reader(make_page(records)).words.replace("\N{NO-BREAK SPACE}", " ")
        summary = make_summary(records)
        first, sentence = headline(summary), summary.comparisons[0].sentence
        words = words[words.index(first) :]
        order = [first, "Result", "Paired difference", "Figures", "In detail", sentence, "How sure"]
        places = [words.index(text) for text in order]
        assert places == sorted(places)

    def test_has_every_figure_with_words_for_those_who_cannot_see_it(self, page: str) -> None:
        figures = [attrs for tag, attrs in Reader(page).tags if tag == "svg"]
        assert len(figures) == 7
        assert all(len(attrs["aria-label"] or "") > 30 for attrs in figures)

    def test_the_range_test_comes_first_when_there_is_one(self) -> None:
        records = make_records(seeds=2)
        summary = make_summary(records)
        figure = range_test([])
        made = report.figures(summary, records, range_test=figure)
        assert next(iter(made)) == "range_test"
        assert len(made) == 9
        assert "<b>Range test.</b>" in report.render(summary, records, made)

    def test_figures_follow_the_color_scheme(self, page: str) -> None:
        svgs = "".join(re.findall(r"<svg.*?</svg>|^[.]s[0-9]+{.*?}$", page, flags=re.S | re.M))
        assert "var(--c" in svgs
        own = re.sub(r"var\(--c([0-9a-f]{6}), #\1\)", "", svgs)  # where no page defines them
        assert not re.search(r"#[0-9a-f]{6}\b", own)
        used = set(re.findall(r"var\((--c\w+)", page))
        light, dark = (page.split("prefers-color-scheme: dark", 1))[:2]
        assert all(f"{name}:" in light and f"{name}:" in dark for name in used)

    def test_escapes_every_string(self) -> None:
        records = make_records(("constant", EVIL), seeds=2)
        evil = {"dataset": EVIL, "device": EVIL, "also_differs": [EVIL], "versions": {"clr": EVIL}}
        reproduce = Reproduce(command=EVIL, config=EVIL)
        tree = make_summary(records, experiment=EVIL, reproduce=reproduce).plain()
        tree["contract"] |= evil
        tree["scope"] = tree["target"]["source"] = EVIL
        summary = Summary.model_validate(tree)
        text = report.render(summary, records, report.figures(summary, records))
        assert [tag for tag, _ in Reader(text).tags].count("script") == 2  # numbers, and ours
        assert Reader(text).words.count(EVIL) >= 8

    @pytest.mark.usefixtures("drawing")
    def test_tells_how_to_reproduce(self) -> None:
        records = make_records(seeds=1)
        reproduce = Reproduce(config="a: 1 & 2", command="clr compare")
        text = make_page(records, reproduce=reproduce)
        assert "a: 1 &amp; 2" in text
        assert "Save the config below as digits.yaml, then:" in text
        assert "clr compare --config ./digits.yaml" in text
        assert "How to reproduce" not in make_page(records)

    @pytest.mark.parametrize(
        "records",
        [
            make_records(seeds=1),
            make_records(("constant",)),
            make_records(seeds=2, diverged=(("clr", 0), ("clr", 1))),
            make_records(seeds=2, diverged=(("constant", 0), ("constant", 1))),
            [*make_records(("constant",), 2), RunRecord("clr", 0, "failed", [], {})],
        ],
        ids=["one seed", "one arm", "arm diverged", "baseline diverged", "arm failed"],
    )
    def test_thin_results_make_a_page_without_nan(self, records: list[RunRecord]) -> None:
        summary = make_summary(records)
        words = Reader(make_page(records)).words + report.markdown(summary)
        assert not re.search(r"\b(nan|None|inf)\b", words)

    def test_says_how_many_runs_diverged(self, page: str) -> None:
        words = Reader(page).words
        assert "5\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}6" in words
        assert "1 of 6 runs of one_cycle failed to train." in words
        assert "1 of 6 runs of one_cycle diverged" in words

    def test_does_not_depend_on_when_it_is_made(self, page: str) -> None:
        assert page == make_page(make_records(FOUR, diverged=(("one_cycle", 3),)))


def test_the_first_table_says_how_likely_an_arm_of_the_set_is_the_best() -> None:
    arms = ("constant", "clr", "one_cycle")  # one_cycle ends at the lowest rate, constant far above
    summary = make_summary(make_records(arms, seeds=8))
    best = summary.best
    assert best is not None
    assert sum(best.probabilities.values()) == pytest.approx(1, abs=1e-3)
    header, rows = first_table(summary)
    said = {row[0]: row[header.index("Best?")] for row in rows}
    assert set(said) == set(arms)
    for arm, cell in said.items():
        share = round(100 * best.probabilities[arm])
        expected = (
            f"{share}\N{NO-BREAK SPACE}%" if share else "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"
        )
        assert cell == (expected if arm in best.arms else "no")
    assert said["constant"] == "no"
    assert "Best?" not in first_table(make_summary(make_records(seeds=6)))[0]


def test_what_corrects_for_several_arms_is_said_of_several_arms() -> None:
    header = ["Arm", "P(better)"], [["a"], ["b"], ["c"]]
    assert "corrects for several arms" in explain(header, several=True)
    assert "several" not in explain(header, several=False)


class TestMarkdown:
    def test_holds_the_numbers_of_the_summary(self) -> None:
        summary = make_summary(make_records(FOUR))
        text = report.markdown(summary).replace("\\", "").replace("\N{NO-BREAK SPACE}", " ")
        text = text.replace("&lt;", "<")
        for arm in summary.arms:
            spread = arm.metrics["test_accuracy"]
            shown = f"{100 * spread.mean:.2f} ± {100 * spread.sd:.2f} %"
            assert f"| {arm.name} | 6 | {shown} |" in text
        for c in summary.comparisons:
            d = c.difference
            ends = f"[{100 * d.low:+.2f}, {100 * d.high:+.2f}]".replace("-", "−")
            assert f"{100 * d.mean:+.2f}".replace("-", "−") + f" {ends}" in text
            assert c.sentence in text

    def test_every_table_is_rectangular(self) -> None:
        text = report.markdown(make_summary(make_records(("constant", "a|b"), seeds=2)))
        tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
        assert len(tables) == 5
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1

    def test_takes_names_as_text(self) -> None:
        records = make_records(("constant", "<b>*x*</b>"), seeds=2)
        text = report.markdown(make_summary(records))
        assert "<b>" not in text
        assert r"&lt;b&gt;\*x\*&lt;/b&gt;" in text


WHOLE = json.dumps(make_summary(make_records()).plain())


class TestFiles:
    def test_runs_csv_gives_the_records_back(self) -> None:
        records = make_records(FOUR, seeds=2, diverged=(("clr", 1),))
        records.append(RunRecord("clr", 7, "diverged", [], {}))
        records.append(RunRecord('odd, "name"\nwith a line', 0, "failed", [], {}))
        back = read_runs_csv(write_runs_csv(records))
        assert [(r.arm, r.seed, r.status) for r in back] == [
            (r.arm, r.seed, r.status) for r in records
        ]
        for before, after in zip(records, back, strict=True):
            assert repr(after.epochs) == repr([dict(row) for row in before.epochs])

    def test_runs_csv_is_tidy(self) -> None:
        lines = write_runs_csv(make_records(seeds=2, epochs=3)).splitlines()
        assert lines[0].startswith("arm,seed,status,epoch,iteration,lr,train_loss")
        assert len(lines) == 1 + 2 * 2 * 3

    def test_a_page_from_the_files_is_the_page_from_memory(self, tmp_path: Path) -> None:
        records = make_records(diverged=(("clr", 2),))
        summary = make_summary(records)
        (tmp_path / "summary.json").write_text(
            json.dumps(summary.plain(), allow_nan=False), "utf-8"
        )
        (tmp_path / "runs.csv").write_text(write_runs_csv(records), "utf-8")
        loaded, rows = report.load(tmp_path)
        assert report.render(loaded, rows, report.figures(loaded, rows)) == make_page(records)

    @pytest.mark.parametrize(
        ("summary", "runs", "message"),
        [
            (None, "", "summary.json not found"),
            ("{}", None, "runs.csv not found"),
            ("{", "", "damaged"),
            ("{}", NO_RUNS, "experiment: missing; run the same clr compare again"),
            ('{"schema": 1}', NO_RUNS, "schema: 1: this file is from another version of clr"),
            ("[]", NO_RUNS, "does not fit"),
            (WHOLE, "a,b\n1,2\n", "has no column"),
            (WHOLE, "", "has no column"),
            (WHOLE, NO_RUNS, "not the runs of summary.json"),
        ],
    )
    def test_wrong_files_are_refused_in_a_line(
        self, tmp_path: Path, summary: str | None, runs: str | None, message: str
    ) -> None:
        for name, text in (("summary.json", summary), ("runs.csv", runs)):
            if text is not None:
                (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(InputError, match=message) as caught:
            report.load(tmp_path)
        assert "\n" not in str(caught.value)

    def test_needs_no_torch_and_no_pyplot(self) -> None:
        code = "import clr_cli.report.comparison, sys\n"
        code += "print({'torch', 'matplotlib.pyplot'} & {*sys.modules})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == "set()", done.stderr


class TestFigures:
    def test_schedules_come_from_the_summary_alone(self) -> None:
        rates, momenta = report.schedule_curves(make_summary(make_records()))
        assert max(rates["clr"][1]) == pytest.approx(0.14)
        assert set(rates["constant"][1]) == {0.05}
        assert rates["clr"][0][-1] == pytest.approx(12, abs=0.05)
        assert momenta == {}

    def test_a_cycled_momentum_gets_its_panel(self) -> None:
        records = make_records()
        summary = make_summary(records)
        summary.arms[1].schedule.update(base_momentum=0.85, max_momentum=0.95)
        figure = report.figures(summary, records)["lr_schedule"]
        assert [ax.get_ylabel() for ax in figure.axes] == ["Learning rate", "Momentum"]

    def test_take_another_size(self) -> None:
        records = make_records(seeds=2)
        made = report.figures(make_summary(records), records, size=(4, 2.5))
        assert {tuple(figure.get_size_inches()) for figure in made.values()} == {(4, 2.5)}

    def test_captions_tell_what_the_numbers_say(self) -> None:
        records = make_records(seeds=6, diverged=(("clr", 0),))
        summary = make_summary(records, target=0.999)
        texts = captions.captions(summary, records, report.schedule_curves(summary)[0])
        assert "clr moves between 0.001 and 0.14 in 3 cycles" in texts["lr_schedule"]
        assert "clr is ahead of constant with 5 of 5 seeds" in texts["paired_difference"]
        assert "clr never held it (6 of 6 runs missed)" in texts["time_to_target"]
        assert "1 of 6 runs of clr diverged" in texts["test_accuracy"]

    def test_captions_say_only_what_is_so(self) -> None:
        records = make_records(seeds=2)
        words = captions.captions(make_summary(records), records, {})["every_seed"]
        assert words.endswith("the difference at the end, clr minus constant.")
        records = [*make_records(("constant", "cosine"), 2), RunRecord("clr", 0, "failed", [], {})]
        texts = captions.captions(make_summary(records), records, {})
        assert texts["every_seed"] == "Each panel shows the runs of one seed."
        assert texts["time_to_target"].count("No run of clr finished.") == 1

    @pytest.mark.parametrize(
        ("low", "high", "words"),
        [
            (0.002, 0.004, "wholly outside"),
            (-0.0005, 0.0005, "wholly inside ±0.1 points"),
            (0.0005, 0.004, "leaves out zero but overlaps ±"),
            (-0.002, 0.002, "contains zero"),
            (None, None, "too few seeds"),
        ],
    )
    def test_the_interval_is_placed(self, low: Any, high: Any, words: str) -> None:
        records = make_records()
        summary = make_summary(records)
        tree = summary.plain()
        tree["comparisons"][0]["difference"] |= {"low": low, "high": high}
        summary = Summary.model_validate(tree)
        text = captions.captions(summary, records, {})["paired_difference"]
        assert words in text


@pytest.mark.parametrize(
    ("function", "raw", "text"),
    [
        (format.loss, None, "–"),
        (format.loss, math.inf, "∞"),
        (format.count, 12345.0, "12,345"),
        (format.p_value, 0.0004, "< 0.001"),
        (format.moment, 999.7, "1,000"),
        (format.moment, 0.4217, "0.422"),
        (format.epochs, 999.7, "1,000 epochs"),
        (format.number, 1500.0, "1,500"),
        (format.loss, 0.0, "0.000"),
        (format.loss, 1.2e-5, "1.2e-05"),
        (format.duration, 0, "0 s"),
        (format.duration, 59.96, "1 min 00 s"),
        (format.duration, 3700, "1 h 01 min"),
    ],
)
def test_numbers_in_words(function: Any, raw: Any, text: str) -> None:
    assert function(raw) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.5, 0.25, None), "0.5 [0.25, ∞]"),
        ((0.5, None, None), "0.5"),
        ((0.0, 0.0, 1.0), "baseline missed"),
        ((None, None, None), "–"),
    ],
)
def test_ratios_in_words(numbers: Any, text: str) -> None:
    assert format.ratio(*numbers) == text


def test_tuning_has_its_table_on_the_page_and_in_markdown() -> None:
    arms = {}
    for k, arm in enumerate(("constant", "clr")):
        tried = [
            Probed(rate=lr, scores=[], mean=0.8 + lr + k / 100) for lr in (0.025, 0.05, 0.1)[k:]
        ]
        good: dict[str, Any] = {"inconclusive": "noise"}
        if k:  # a search for max_lr leaves base_lr as it is
            good = {"low": 0.05, "high": 0.125, "schedule": arm, "kind": "triangular"}
        question = Scoring(VAL_ACCURACY).question(0.1)
        arms[arm] = RateAnswer(**question, experiment="x", max_lr=0.08, tried=tried, **good)
    records = make_records(("constant", "clr"))
    tuning = Tuning(arms=arms)
    summary = make_summary(records, tuning=tuning)
    words = Reader(report.render(summary, records, {})).words.replace("\N{NO-BREAK SPACE}", " ")
    for row in ("keylrlr", "chosen0.080.08", "good ratesnoise0.05 to 0.125", "0.02582.50 %–"):
        assert row in words
    assert "clr: {kind: triangular, lr: 0.08}" in words
    text = report.markdown(summary).replace("\N{NO-BREAK SPACE}", " ")
    assert "| good rates | noise | 0.05 to 0.125 |" in text
    assert "| 0.05 | 85.00 % | 86.00 % |" in text
