"""The verdict, the interval that is printed beside it, and p say the same, everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clr_cli.analysis import planning
from clr_cli.analysis.headline import headline
from clr_cli.analysis.study import Study
from clr_cli.analysis.summary import analyse
from clr_cli.cli.show import print_summary
from clr_cli.records import (
    TEST_ACCURACY,
    Comparison,
    Metric,
    RunRecord,
    Summary,
    read,
)
from clr_cli.report.tables import results_table
from clr_cli.study.collect import collect
from clr_cli.study.table import TableSource

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"
RESULTS = sorted(REFERENCE.rglob("summary.json"))
LOSS = Metric(name="val_loss", mode="min", unit="")
NUMBER = r"[-+−]?[\d,]*\.?\d+(?:e[-−]?\d+)?"
IN_SENTENCES = re.compile(rf"% interval ({NUMBER}) to ({NUMBER})")
IN_TABLES = re.compile(rf"[\[(]({NUMBER})(?: to|,) ({NUMBER})[\])]")
DESIGNS = ("paired", "unpaired", "number")


def ends(pattern: re.Pattern[str], text: str) -> tuple[float, float] | None:
    found = pattern.search(text)
    if found is None:
        return None
    low, high = (float(end.replace(",", "").replace("−", "-")) for end in found.groups())
    return low, high


def side(interval: tuple[float | None, float | None] | None) -> int:
    """1 for an interval above zero, -1 below, 0 for one that contains zero or is unbounded."""
    low, high = interval or (None, None)
    if low is None or high is None:
        return 0
    return int(low > 0) - int(high < 0)


def check_one(c: Comparison, summary: Summary) -> None:
    sign = summary.metric.sign
    decided = {"better": sign, "worse": -sign}.get(c.verdict, 0)
    d = c.difference
    assert side((d.low, d.high)) == decided
    if c.p_holm is not None:
        assert (c.p_holm <= 0.05) == bool(decided)
    if c.verdict == "equivalent":
        assert -summary.margin < d.low <= d.high < summary.margin
    if c.verdict in ("undecided", "equivalent"):
        assert d.low <= 0 <= d.high
    for text in [c.sentence, *([headline(summary)] if len(summary.comparisons) == 1 else [])]:
        said = ends(IN_SENTENCES, text.split(" reached ")[0].split(" sooner ")[0])
        if decided:  # a size, without signs
            assert said is not None
            assert 0 < said[0] <= said[1]
        elif said is not None:
            assert said[0] <= 0 <= said[1]


def check(summary: Summary) -> int:
    """Check every comparison of a summary, and its row of the page's table; return how many."""
    header, rows = results_table(summary)
    column = next((k for k, name in enumerate(header) if name.startswith("Difference")), None)
    cells = {row[0]: row[column] for row in rows} if column is not None else {}
    for c in summary.comparisons:
        check_one(c, summary)
        shown = ends(IN_TABLES, cells.get(c.arm, ""))
        assert side(shown) == side((c.difference.low, c.difference.high)), cells
    return len(summary.comparisons)


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: str(file.parent.relative_to(REFERENCE)))
def test_reference_results_say_what_their_intervals_show(file, capsys):
    summary = read(Summary, file, remedy="make it again")
    assert check(summary) == len(summary.arms) - (summary.reference is None)
    print_summary(summary)
    printed = capsys.readouterr().out
    for c in summary.comparisons:
        (row,) = (line for line in printed.splitlines() if line.startswith(f"{c.arm}  "))
        assert side(ends(IN_TABLES, row)) == side((c.difference.low, c.difference.high))


def records(values: dict[str, np.ndarray], metric: Metric) -> list[RunRecord]:
    return [
        RunRecord(arm, seed, "finished", [], {"final": {metric.name: float(value)}})
        for arm, each in values.items()
        for seed, value in enumerate(each)
    ]


def judged(
    values: dict[str, np.ndarray], metric: Metric, design: str, *, grows: bool, margin: float | None
) -> Summary:
    most = max(map(len, values.values()))
    study = Study(
        name="simulated",
        arms=tuple(values),
        baseline={"%": 0.8, "": 2.0}[metric.unit] if design == "number" else "base",
        seeds=tuple(range(most)),
        cap=most if grows else None,
        paired=design == "paired",
        metric=metric,
        margin=margin,
    )
    source = TableSource(records(values, metric), metric.name, "", "")
    return analyse(study, collect(study, source))


def simulated(count: int, first: int = 0) -> Iterator[Summary]:
    """Studies of 1 to 5 arms, 3 to 9 runs: paired, unpaired, a number; fixed, and look by look."""
    for k in range(first, first + count):
        rng = np.random.default_rng(k)
        design, metric = DESIGNS[k % 3], (TEST_ACCURACY, LOSS)[k // 3 % 2]
        grows = design != "number" and k % 4 == 0
        center, noise = {"%": (0.8, 0.005), "": (2.0, 0.02)}[metric.unit]
        names = ["base", *(f"arm{j}" for j in range(rng.integers(1, 6)))]
        sizes = rng.integers(3, 10, len(names)) if design == "unpaired" else []
        same = 9 if grows else int(rng.integers(3, 10))
        draw = (rng.standard_normal, rng.standard_exponential)[k // 6 % 2]
        values = {}
        for j, name in enumerate(names):
            runs = int(sizes[j]) if len(sizes) and not grows else same
            shift = rng.choice([0.0, 1.0, 2.0, 4.0]) * (j > 0)
            values[name] = center + noise * (shift + draw(runs))
            if k % 10 == 0:  # few values, so that there are ties
                values[name] = np.round(values[name], 2)
            if k % 29 == 0:  # the seed changes nothing
                values[name] = np.full(runs, values[name][0])
        margin = (None, noise)[k % 2]
        yield judged(values, metric, design, grows=grows, margin=margin)


@pytest.fixture
def _unplanned(monkeypatch):
    for planned in ("smallest_detectable", "runs_needed"):  # no part of a verdict, and slow
        monkeypatch.setattr(planning, planned, lambda *spreads, **options: None)


@pytest.mark.usefixtures("_unplanned")
def test_simulated_comparisons_say_what_their_intervals_show():
    summaries = [*simulated(220)]
    assert sum(map(check, summaries)) >= 650
    found = [c for summary in summaries for c in summary.comparisons]
    words = {c.verdict for c in found}
    assert words >= {"better", "worse", "equivalent", "undecided", "too_few_runs"}
    assert "seed_changes_nothing" in words
    assert sum(c.decided_at is not None for c in found) > 33  # by looks


@pytest.mark.slow
def test_many_more_simulated_comparisons_say_what_their_intervals_show():
    assert sum(map(check, simulated(1_940, 220))) >= 5_800


@pytest.mark.usefixtures("_unplanned")
@pytest.mark.parametrize("metric", [TEST_ACCURACY, LOSS], ids=lambda metric: metric.name)
@pytest.mark.parametrize("design", ["paired", "unpaired"])
@pytest.mark.parametrize("gap", [1e-3, 1e-5, 1e-9])
def test_an_end_beside_zero_is_shown_with_the_digits_to_tell_its_side(metric, design, gap):
    rng = np.random.default_rng(5)
    center, noise = {"%": (0.5, 0.02), "": (2.0, 0.2)}[metric.unit]
    base, arm = (center + noise * rng.standard_normal(8) for _ in range(2))

    def compare(shift: float) -> Summary:
        values = {"base": base, "arm": arm + shift}
        return judged(values, metric, design, grows=False, margin=None)

    first = compare(0.0).comparisons[0].difference
    for shift, verdict in [
        (gap * noise - first.low, +1),
        (-gap * noise - first.low, 0),
        (-gap * noise - first.high, -1),
        (gap * noise - first.high, 0),
    ]:
        summary = compare(shift)
        check(summary)
        (comparison,) = summary.comparisons
        low, high = comparison.difference.low, comparison.difference.high
        assert min(abs(low), abs(high)) < 2 * gap * noise
        assert side((low, high)) == verdict
