"""Figures, tables and sentences of runs that tell any metric, at any places."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from support.summaries import summarize

from clr_cli.analysis.headline import headline
from clr_cli.format import Scale, decimals
from clr_cli.records import ControlledVariables, Look, Metric, RunRecord
from clr_cli.report import comparison as report
from clr_cli.report import tables
from clr_cli.report.captions import captions
from clr_cli.report.controlled import controlled_rows
from clr_cli.report.figures.curves import axis_of, curves
from clr_cli.report.figures.epochs import epoch_curves

LOSS = Metric(name="val_loss", mode="min")
BITS = Metric(name="bits", mode="min", unit="bpb")


def run(arm, seed, values, *, every=100, key="iteration", status="finished", metric="val_loss"):
    rows = [{key: every * k, metric: v} for k, v in enumerate(values)]
    result = {"final": {metric: values[-1]}} if status == "finished" else {}
    return RunRecord(arm, seed, status, rows, result)


def group(arm, ends, **options):
    return [run(arm, k, [9.0, 5.0, end + 0.5, end], **options) for k, end in enumerate(ends)]


ENDS = [3.30, 3.31, 3.29, 3.305, 3.295, 3.302]


def summary_of(*records, **options):
    options = {"baseline": "adam", "paired": False, "margin": None, "metric": LOSS, **options}
    return summarize(
        [r for each in records for r in each],
        experiment="t",
        context=ControlledVariables(source="a"),
        **options,
    )


def arms(*shifts, **options):
    names = ["adam", *(f"arm{k}" for k in range(1, len(shifts)))]
    return [
        group(name, [e + s for e in ENDS], **options) for name, s in zip(names, shifts, strict=True)
    ]


class TestCurves:
    def test_runs_that_stop_at_different_places(self):
        records = [run("a", 0, [4, 3, 2]), run("a", 1, [4, 3, 2, 1])]
        found = curves(records, "val_loss", "iteration")["a"]
        assert found.x.tolist() == [0, 100, 200, 300]
        assert found.values[1].tolist() == [4, 3, 2, 1]
        assert np.isnan(found.values[0]).tolist() == [False, False, False, True]
        assert found.final.tolist() == [2, 1]

    def test_runs_that_were_measured_at_different_places_are_interpolated(self):
        records = [run("a", 0, [4, 2]), run("a", 1, [4, 3, 2], every=50)]
        found = curves(records, "val_loss", "iteration")["a"]
        assert found.values.tolist() == [[4, 3, 2], [4, 3, 2]]

    def test_many_different_places_become_a_grid(self):
        rng = np.random.default_rng(0)
        records = [
            RunRecord(
                "a",
                k,
                "finished",
                [{"seconds": t, "val_loss": 5 - t / 100} for t in np.sort(rng.uniform(0, 100, 90))],
                {},
            )
            for k in range(10)
        ]
        found = curves(records, "val_loss", "seconds")["a"]
        assert found.values.shape == (10, 400)
        inside = np.isfinite(found.values)
        lines = np.broadcast_to(5 - found.x / 100, found.values.shape)
        assert found.values[inside] == pytest.approx(lines[inside])

    def test_a_value_that_is_not_finite_leaves_its_neighbors(self):
        found = curves([run("a", 0, [4, math.nan, 2])], "val_loss", "iteration")["a"]
        assert np.isnan(found.values[0]).tolist() == [False, True, False]

    def test_the_axis_is_what_every_row_tells(self):
        assert axis_of([run("a", 0, [1, 2])], "val_loss") == "iteration"
        assert axis_of([run("a", 0, [1, 2], key="seconds")], "val_loss") == "seconds"
        mixed = [run("a", 0, [1, 2]), run("a", 1, [1, 2], key="seconds")]
        assert axis_of(mixed, "val_loss") is None
        assert axis_of([RunRecord("a", 0, "finished", [{"val_loss": 1}], {})], "val_loss") is None

    def test_the_figure_says_where_an_arm_ended(self):
        figure = epoch_curves(arms(0, -0.5)[1], LOSS, axis="iteration", scale=Scale("", 2))
        (ax,) = figure.axes
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("Iteration", "Validation loss")
        assert any(text.get_text() == "arm1 2.80" for text in ax.texts)


class TestDifference:
    def test_lower_is_better_and_the_sides_say_so(self):
        summary = summary_of(*arms(0, -0.5))
        figure = report.figures(summary, [])["difference"]
        label = figure.axes[0].get_xlabel()
        assert label.startswith("← better")
        assert "Validation loss minus adam’s mean" in label

    def test_unpaired_runs_are_drawn_from_the_baselines_mean(self):
        summary = summary_of(*arms(0, -0.5))
        ax = report.figures(summary, [])["difference"].axes[0]
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["adam", "arm1"]
        drawn = sorted(
            x for line in ax.lines if len(line.get_xdata()) == 6 for x in line.get_xdata()
        )
        centred = np.array(ENDS) - np.mean(ENDS)
        assert drawn == pytest.approx(sorted([*centred, *(centred - 0.5)]))

    def test_many_arms_are_told_apart(self):
        records = arms(*(0.01 * k for k in range(10)))
        summary = summary_of(*records)
        ax = report.figures(summary, [])["difference"].axes[0]
        swatches = [line for line in ax.lines if len(line.get_xdata()) == 1 and line.get_ms() == 6]
        assert len({(line.get_color(), line.get_marker()) for line in swatches}) == 10


class TestTimeRatio:
    def test_the_axis_of_a_loss_is_told_in_losses(self):
        records = arms(0, -0.5)
        summary = summary_of(*records)
        flat = [record for each in records for record in each]
        ax = report.figures(summary, flat)["time_ratio"].axes[0]
        ticks = [float(tick.get_text()) for tick in ax.get_xticklabels()]
        assert ticks == sorted(ticks, reverse=True)
        assert len(ticks) > 2
        assert ax.get_xlabel() == "Validation loss to be held"
        assert "ratio of means" in ax.get_title(loc="left")


class TestTables:
    def test_what_is_not_known_has_no_column(self):
        finals = [
            [RunRecord(r.arm, r.seed, r.status, r.epochs[-1:], r.result) for r in each]
            for each in arms(0, -0.5, key="nothing")
        ]
        summary = summary_of(*finals)
        assert tables.results_table(summary)[0] == [
            "Arm", "Runs", "Validation loss", "Difference [95 %]", "p", "Verdict",
        ]  # fmt: skip
        assert tables.certainty_table(summary)[0] == [
            "Arm", "Failed to train", "Smallest detectable",
        ]  # fmt: skip
        assert tables.robustness_table(summary) is None
        assert tables.costs_table(summary) is None
        assert tables.seeds_table(summary)[0] == ["Run", "adam", "arm1"]
        labels = [label for label, _ in controlled_rows(summary)]
        assert labels == ["Results", "Metric", "Design"]

    def test_a_unit_and_a_margin(self):
        records = arms(0, -0.5, metric="bits")
        summary = summary_of(*records, metric=BITS, margin=0.1, detect=0.2)
        header, rows = tables.results_table(summary)
        assert "Difference (bpb) [95 %]" in header
        assert rows[1][2].endswith("\N{NO-BREAK SPACE}bpb")
        assert "Runs to show 0.2\N{NO-BREAK SPACE}bpb" in tables.certainty_table(summary)[0]
        assert ("Margin", "±0.1\N{NO-BREAK SPACE}bpb count as equal") in controlled_rows(summary)

    def test_of_other_peoples_runs_nobody_knows_how_the_seeds_were_chosen(self):
        every = [run for each in arms(0, -0.5) for run in each]
        records = [replace(run, seed=run.seed - 1) for run in every]
        looks = [Look(n=6, runs={"adam": 6, "arm1": 6})]
        theirs = summary_of(records, paired=True, looks=looks)
        assert ("Seeds", "6") in controlled_rows(theirs)
        ours = {"controlled": ControlledVariables()}
        said = ("Seeds", "chosen by hand: -1, 0, 1, 2, 3, 4")
        assert said in controlled_rows(theirs.model_copy(update=ours))
        first = summary_of(every, paired=True, looks=looks).model_copy(update=ours)
        assert ("Seeds", "6, fixed in advance") in controlled_rows(first)


class TestHeadline:
    def test_many_are_counted(self):
        summary = summary_of(*arms(0, *(0.0001 * k for k in range(7))))
        assert headline(summary).startswith("7 of 7 arms are undecided: arm1, arm2,")
        better = summary_of(*arms(0, *(-0.1 * k for k in range(1, 7)), 0.0001, 0.0002))
        assert headline(better).startswith("6 of 8 arms are better than adam: arm6, arm5,")

    def test_a_number_has_a_side(self):
        ends = [*ENDS, *(end + 0.002 for end in ENDS)]
        shifts = {"adam": 0.0, "arm1": -0.5, "arm2": -0.4}
        groups = [group(arm, [end + shift for end in ends]) for arm, shift in shifts.items()]
        said = headline(summary_of(*groups, baseline=3.0))
        assert said.startswith("arm1 and arm2 have a mean below 3. adam has a mean above 3.")

    def test_captions_of_many_arms_are_short(self):
        records = arms(0, *(-0.1 * k for k in range(1, 8)))
        flat = [record for each in records for record in each]
        texts = captions(summary_of(*records), flat, {})
        assert texts["difference"].startswith(
            "The 99.3 % interval leaves out zero: arm1, arm2, arm3,"
        )
        assert texts["time_to_target"].startswith("Median iterations: arm1 300, arm2 300, ")
        assert "Missed by 3 of 6 runs of adam." in texts["time_to_target"]


@pytest.mark.parametrize(
    ("spreads", "values", "expected"),
    [
        ([0.0013, 0.0008], [3.278], 5),
        ([None, 0.0013], [3.278], 4),
        ([0.0], [123.4], 1),
        ([], [0.0], 2),
        ([5_000.0], [1e6], 0),
        ([1e-15], [1.0], 12),
    ],
)
def test_as_many_decimals_as_the_noise_allows(spreads, values, expected):
    assert decimals(spreads, values) == expected


@pytest.mark.parametrize(
    ("scale", "raw", "text"),
    [
        (Scale("%", 2), 0.9508, "95.08\N{NO-BREAK SPACE}%"),
        (Scale("", 4), 3.27866, "3.2787"),
        (Scale("s", 1), 1234.56, "1,234.6\N{NO-BREAK SPACE}s"),
        (Scale("", 12), 1.5e-13, "1.5e-13"),
        (Scale("", 0), 2.5e12, "2.5e+12"),
        (Scale("", 3), None, "–"),
        (Scale("", 3), -0.0001, "0.000"),
    ],
)
def test_values_as_they_are_written(scale, raw, text):
    assert scale.shown(raw) == text


def test_a_target_keeps_the_digits_that_it_has():
    assert Scale("%", 2).brief(0.8775) == "87.75 %"
    assert Scale("%", 2).brief(0.9) == "90 %"
    assert Scale("", 4).brief(3.28) == "3.28"
