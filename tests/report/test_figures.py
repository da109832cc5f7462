"""Figures: what they show for plausible, thin and broken results."""

from __future__ import annotations

import io
import math
import re
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from clr_cli import schedules
from clr_cli.format import Scale
from clr_cli.records import (
    KNOWN,
    TEST_ACCURACY,
    Peak,
    Probed,
    RateAnswer,
    RatioAt,
    RunRecord,
    Stopped,
)
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.curves import curves, mean_interval
from clr_cli.report.figures.epochs import epoch_curves
from clr_cli.report.figures.probes import probes
from clr_cli.report.figures.range_test import range_test
from clr_cli.report.figures.seeds import seed_curves
from clr_cli.report.figures.style import (
    NEUTRAL,
    THEME,
    arm_colors,
    arm_looks,
    new_figure,
    note_above,
    save_figures,
    spread_apart,
    to_bytes,
)
from clr_cli.report.figures.svg import compact, to_svg
from clr_cli.report.figures.times import time_ratio, time_to_target
from clr_cli.report.figures.tuning import tuned_rates

PER_EPOCH = 50
PARAMS: dict[str, dict[str, Any]] = {
    "constant": {"kind": "constant", "lr": 0.05},
    "clr": {"kind": "triangular", "base_lr": 0.001, "max_lr": 0.14, "step_size_epochs": 2},
    "one_cycle": {"kind": "one_cycle", "max_lr": 0.14},
    "cosine": {"kind": "cosine", "lr": 0.1},
}


def make_records(
    arms: tuple[str, ...] = ("constant", "clr"),
    seeds: int = 6,
    epochs: int = 12,
    diverged: tuple[tuple[str, int], ...] = (),
) -> list[RunRecord]:
    """Plausible runs: a lower learning rate at the end gives a higher accuracy.

    A diverged run stops after a third of its epochs with a loss that is not finite.
    """
    records = []
    for arm in arms:
        total = epochs * PER_EPOCH
        params = dict(PARAMS.get(arm, PARAMS["cosine"]))
        kind = params.pop("kind")
        schedule = schedules.make(
            kind, params, iterations_per_epoch=PER_EPOCH, total_iterations=total
        )
        for seed in range(seeds):
            random = np.random.default_rng([seed, len(arm)])
            rows = []
            for epoch in range(1, epochs + 1):
                lr = schedule.lr(epoch * PER_EPOCH - 1)
                learned = 1 - math.exp(-epoch / 1.5)
                accuracy = 0.1 + learned * (0.85 - 0.5 * lr) + random.normal(0, 0.004)
                row = {
                    "epoch": epoch,
                    "iteration": epoch * PER_EPOCH,
                    "lr": lr,
                    "train_loss": 0.02 + 2 * (1 - accuracy),
                    "train_accuracy": accuracy,
                    "val_loss": 3.5 * (1 - accuracy),
                    "val_accuracy": accuracy - 0.003,
                    "test_loss": 3.6 * (1 - accuracy),
                    "test_accuracy": accuracy,
                    "train_seconds": 1.5 + random.uniform(0, 0.1),
                    "eval_seconds": 0.2,
                }
                rows.append(row)
                if (arm, seed) in diverged and epoch >= epochs / 3:
                    row |= {"train_loss": math.nan, "test_loss": math.inf, "test_accuracy": 0.1}
                    break
            result = {
                "final": rows[-1],
                "train_seconds": sum(row["train_seconds"] for row in rows),
                "schedule": schedules.resolved(kind, schedule),
                "iterations_per_epoch": PER_EPOCH,
            }
            status = "diverged" if (arm, seed) in diverged else "finished"
            records.append(RunRecord(arm, seed, status, rows, result))
    return records


@dataclass(frozen=True)
class Sweep:
    """What the figure needs of range_test.Sweep."""

    seed: int
    lr: list[float]
    train_loss: list[float]
    val_lr: list[float]
    val_accuracy: list[float]
    val_loss: list[float] = field(default_factory=list)
    stopped: Stopped | None = None


def make_sweep(seed: int, lrs: np.ndarray, *, diverges: bool = False) -> Sweep:
    random = np.random.default_rng(seed)
    accuracy = np.clip(0.9 - 2 * (np.log10(lrs) + 1) ** 2 / 4, 0.1, 1)
    loss = 2.3 * (1 - accuracy) + np.abs(random.normal(0, 0.05, len(lrs)))
    stopped = None
    if diverges:
        loss[-3:] = [50.0, 1e6, math.nan]
        stopped = Stopped(reason="non-finite", iteration=len(lrs), lr=float(lrs[-1]))
    points = slice(None, None, 10)
    return Sweep(
        seed,
        lrs.tolist(),
        loss.tolist(),
        lrs[points].tolist(),
        accuracy[points].tolist(),
        stopped=stopped,
    )


def labels(figure: Any) -> list[tuple[str, str]]:
    return [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]


def texts(figure: Any) -> str:
    return to_svg(figure)


def final_label(figure: Any, arm: str) -> str:
    found = [t.get_text() for t in figure.axes[0].texts if t.get_text().startswith(f"{arm} ")]
    assert len(found) == 1
    return found[0]


POINTS = Scale("%", 2)
DIFFERENCE = plots.DifferenceRow("clr", {0: 0.02, 1: None}, (0.02, 0.01, 0.03))


class TestColours:
    def test_do_not_depend_on_the_order(self) -> None:
        arms = ["zeta", "clr", "alpha", "constant", "one_cycle"]
        assert arm_colors(arms, "constant") == arm_colors(arms[::-1], "constant")

    def test_known_names_keep_theirs_in_any_company(self) -> None:
        alone = arm_colors(["clr"])["clr"]
        assert arm_colors(["a", "b", "clr", "constant"])["clr"] == alone
        assert arm_colors(["constant"]) == {"constant": NEUTRAL}

    def test_the_baseline_is_neutral_whatever_its_name(self) -> None:
        colors = arm_colors(["constant", "clr"], baseline="clr")
        assert colors["clr"] == NEUTRAL
        assert colors["constant"] != NEUTRAL

    def test_many_arms_all_look_different(self) -> None:
        arms = [f"arm{k}" for k in range(40)]
        assert len(set(arm_looks(arms, "arm0").values())) == 40

    def test_all_have_a_dark_counterpart(self) -> None:
        figure = epoch_curves(make_records(diverged=(("clr", 1),)), KNOWN["test_loss"])
        assert set(re.findall(r"#[0-9a-f]{6}", texts(figure))) <= set(THEME)


class TestEpochCurves:
    @pytest.mark.parametrize("key", KNOWN)
    def test_axes_are_labelled(self, key: str) -> None:
        figure = epoch_curves(make_records(), KNOWN[key])
        assert labels(figure) == [("Epoch", KNOWN[key].label.capitalize())]

    def test_the_final_label_is_the_mean_of_the_last_epoch(self) -> None:
        records = make_records()
        last = [r.epochs[-1]["test_accuracy"] for r in records if r.arm == "clr"]
        label = final_label(epoch_curves(records, KNOWN["test_accuracy"]), "clr")
        assert label == f"clr {100 * np.mean(last):.2f}\N{NO-BREAK SPACE}%"

    def test_small_values_have_a_label_with_digits(self) -> None:
        records = make_records(("clr",), 1)
        for row in records[0].epochs:
            row["test_loss"] = 1.234e-5
        assert final_label(epoch_curves(records, KNOWN["test_loss"]), "clr") == "clr 1.23e-05"

    def test_the_mean_of_the_ends_is_that_of_a_summary_to_the_last_digit(self) -> None:
        ends = [0.7863, 0.7022, 0.7541]
        rows = [[{"epoch": 1, "x": end}] for end in ends]
        records = [RunRecord("a", k, "finished", row, {}) for k, row in enumerate(rows)]
        assert curves(records, "x")["a"].mean == statistics.fmean(ends) != np.mean(ends)

    def test_a_diverged_run_leaves_the_mean_and_says_so(self) -> None:
        records = make_records(diverged=(("clr", 2),))
        figure = epoch_curves(records, KNOWN["test_accuracy"])
        last = [r.epochs[-1]["test_accuracy"] for r in records if r.arm == "clr" and r.seed != 2]
        assert f"{100 * np.mean(last):.2f}" in final_label(figure, "clr")
        assert final_label(figure, "clr").endswith("(5 of 6)")
        assert "diverged" in figure.axes[0].get_title(loc="left")

    def test_epochs_are_whole(self) -> None:
        ax = epoch_curves(make_records(epochs=1), KNOWN["test_loss"]).axes[0]
        assert [tick for tick in ax.get_xticks() if 0.5 <= tick <= 1.5] == [1]

    @pytest.mark.parametrize(("seeds", "bands"), [(1, 0), (2, 0), (3, 1), (6, 1)])
    def test_an_interval_needs_three_seeds(self, seeds: int, bands: int) -> None:
        figure = epoch_curves(make_records(("clr",), seeds), KNOWN["test_accuracy"])
        low, high = mean_interval(np.random.default_rng(0).normal(size=(seeds, 4)))[1:]
        assert np.isfinite(high - low).all() == bool(bands)
        assert ("interval" in figure.axes[0].get_title(loc="left")) == bool(bands)

    def test_the_interval_is_students(self) -> None:
        from scipy import stats

        values = np.random.default_rng(1).normal(size=(6, 1))
        expected = stats.t.interval(0.95, 5, values.mean(), stats.sem(values[:, 0]))
        _, low, high = mean_interval(values)
        assert (low[0], high[0]) == pytest.approx(expected)

    @pytest.mark.parametrize("key", ["train_loss", "test_accuracy"])
    def test_an_early_accident_is_cut_off_and_named(self, key: str) -> None:
        records = make_records(epochs=40)
        records[0].epochs[0] |= {"train_loss": 5e4, "test_accuracy": 0.0}
        ax = epoch_curves(records, KNOWN[key]).axes[0]
        low, high = ax.get_ylim()
        final = [r.epochs[-1][key] for r in records]
        assert low < min(final) <= max(final) < high
        assert high - low < 0.5
        assert "axis cut" in ax.get_title(loc="left")

    def test_a_calm_curve_is_not_cut(self) -> None:
        records = make_records(("clr",), 1)
        for row in records[0].epochs:
            row["test_accuracy"] = 0.90 + 0.001 * row["epoch"]
        ax = epoch_curves(records, KNOWN["test_accuracy"]).axes[0]
        assert ax.get_ylim()[0] < 0.901
        assert ax.get_title(loc="left") == ""

    @pytest.mark.parametrize("key", ["train_loss", "test_loss", "test_accuracy"])
    @pytest.mark.parametrize(
        "records",
        [
            [],
            make_records(("clr",), 1, epochs=1),
            make_records(("clr",), 3, diverged=(("clr", 0), ("clr", 1), ("clr", 2))),
            [RunRecord("clr", 0, "diverged", [], {}), *make_records(("constant",))],
        ],
        ids=["nothing", "one epoch", "all diverged", "diverged at once"],
    )
    def test_thin_results_draw(self, key: str, records: list[RunRecord]) -> None:
        assert "Epoch" in texts(epoch_curves(records, KNOWN[key]))

    def test_arms_that_end_together_get_a_panel_of_their_last_tenth(self) -> None:
        assert len(epoch_curves(make_records(), KNOWN["test_accuracy"]).axes) == 1
        arms = ("cosine", "other", "third", "clr")  # of equal curves but for clr's
        records = make_records(arms, epochs=40)
        whole, end = epoch_curves(records, KNOWN["test_accuracy"]).axes
        assert end.get_xlim() == (36, 40)
        finals = [r.epochs[-1]["test_accuracy"] for r in records]
        assert np.ptp(end.get_ylim()) < 0.5 * np.ptp(whole.get_ylim())
        assert end.get_ylim()[0] < np.mean(finals) < end.get_ylim()[1]
        named = {text.get_text().split()[0] for text in end.texts}
        assert named == {*arms}
        assert len(whole.texts) < len(arms)

    def test_arms_of_unequal_length_meet_at_their_ends(self) -> None:
        records = make_records(("cosine", "other", "third", "fourth"), epochs=40)
        for record in records[:6]:
            del record.epochs[36:]
        whole, end = epoch_curves(records, KNOWN["test_accuracy"]).axes
        assert end.get_xlim() == (90, 100)
        marks = [line for line in whole.lines if len(line.get_xdata()) == 1]
        assert sorted(float(line.get_xdata()[0]) for line in marks) == [36, 40, 40, 40]

    def test_quotation_marks_stay_text(self) -> None:
        arms = ('a"b\'c style="}"', "d id='arm::x'")
        svg = texts(epoch_curves(make_records(arms, 1), KNOWN["test_loss"]))
        root = ElementTree.fromstring(svg.replace('"http://www.w3.org/2000/svg"', '""', 1))
        for arm in arms:
            assert any((each.text or "").startswith(arm) for each in root.iter())
        assert {each.get("data-arm") for each in root.iter()} == {None, *arms}
        assert ' style="}"' not in svg

    def test_dollar_signs_stay_text(self) -> None:
        figure = epoch_curves(make_records(("a$^b$",), 1), KNOWN["test_loss"])
        assert "a$^b$" in texts(figure)


class TestEverySeed:
    def test_a_panel_has_the_runs_of_one_seed_and_their_difference(self) -> None:
        records = make_records(seeds=5)
        figure = seed_curves(records, TEST_ACCURACY, scale=POINTS, baseline="constant")
        assert figure is not None
        panels = [ax for ax in figure.axes if ax.get_visible()]
        assert len(panels) == 5
        last = {(r.arm, r.seed): r.epochs[-1]["test_accuracy"] for r in records}
        for seed, ax in enumerate(panels):
            lead = 100 * (last["clr", seed] - last["constant", seed])
            assert ax.get_title(loc="left") == f"seed {seed}: +{lead:.2f}"
            ends = {float(line.get_ydata()[-1]) for line in ax.lines}
            assert ends == {last["clr", seed], last["constant", seed]}
        assert len({ax.get_ylim() for ax in panels}) == 1

    def test_what_failed_has_no_difference(self) -> None:
        records = make_records(seeds=3, diverged=(("clr", 1),))
        figure = seed_curves(records, TEST_ACCURACY, scale=POINTS, baseline="constant")
        assert figure is not None
        assert figure.axes[1].get_title(loc="left") == "seed 1"

    @pytest.mark.parametrize(("arms", "seeds"), [(2, 9), (4, 2), (1, 3), (2, 1)])
    def test_too_many_or_too_few_have_none(self, arms: int, seeds: int) -> None:
        records = make_records(("constant", "clr", "cosine", "other")[:arms], seeds=seeds)
        assert seed_curves(records, TEST_ACCURACY, scale=POINTS, baseline="constant") is None


def test_the_search_for_rates_shows_every_arms_scores_and_good_rates() -> None:
    def answer(best: float, low: float, failed: float) -> RateAnswer:
        tried = [Probed(rate=low * 2**k, scores=[0.8 - k / 10], mean=0.8 - k / 10) for k in (0, 1)]
        tried.append(Probed(rate=failed, scores=[None], mean=None))
        about: dict[str, Any] = {"experiment": "digits", "metric": TEST_ACCURACY, "start": best}
        about |= {"relative": False, "within": "3 points", "delta": 0.03, "probes": 3}
        return RateAnswer(**about, low=low, high=2 * low, max_lr=best, tried=tried)

    answers = {"constant": answer(0.05, 0.04, 0.7), "clr": answer(0.1, 0.08, 2.0)}
    top, below = tuned_rates(answers, baseline="constant").axes
    assert all(line.get_ydata() == pytest.approx([0.8, 0.7]) for line in top.lines)
    drawn = [line.get_xdata() for line in below.lines]
    for best, low, failed in ((0.05, 0.04, 0.7), (0.1, 0.08, 2.0)):
        assert any(list(x) == [low, 2 * low] for x in drawn)
        assert any(list(x) == [best] for x in drawn)
        assert any(list(x) == [failed] for x in drawn)
    assert below.get_xlim()[0] < 0.04 < 2.0 < below.get_xlim()[1]


def test_a_bad_rate_does_not_hide_the_good_ones() -> None:
    tried = [Probed(rate=r, scores=[s], mean=s) for r, s in ((0.1, 0.5), (0.2, 0.6), (0.4, 1e4))]
    about: dict[str, Any] = {"experiment": "x", "metric": KNOWN["val_loss"], "start": 0.1}
    about |= {"relative": True, "within": "5 %", "delta": 0.05, "probes": 3, "tried": tried}
    answer = RateAnswer(**about, low=0.1, high=0.2, max_lr=0.15)
    for figure in (probes(answer, []), tuned_rates({"a": answer})):
        assert figure.axes[0].get_ylim() == pytest.approx((0.44, 1.5))


def test_an_arm_that_misses_a_target_has_no_ratio_there() -> None:
    points = [
        RatioAt(target=target, ratio=ratio, low=None, high=None)
        for target, ratio in ((0.5, 0.8), (0.6, 0.7), (0.7, None))
    ]
    never = [point.model_copy(update={"ratio": None}) for point in points]
    curves = {"clr": points, "never": never}
    ax = time_ratio(curves, TEST_ACCURACY, POINTS, target=0.6, baseline="constant").axes[0]
    drawn = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(drawn, [[0.8, 0.7, np.nan]])
    assert [text.get_text() for text in ax.texts] == ["clr"]
    low, high = ax.get_ylim()
    assert 0.6 < low < 0.7
    assert 1 < high < 1.2


def test_a_path_of_several_lines_keeps_the_place_of_each() -> None:
    assert compact("M -4 -4 \nL 4 4 \nM -4 4 \nL 4 -4 \n") == "M-4-4l8 8M-4 4l8-8"


class TestOtherFigures:
    def test_lr_schedule_shows_each_arm_and_its_momentum(self) -> None:
        curve = ([0.0, 1.0, 2.0], [0.1, 0.2, 0.1])
        figure = plots.lr_schedule(
            {"clr": curve, "constant": curve}, momentum={"clr": ([0, 1, 2], [0.95, 0.85, 0.95])}
        )
        assert labels(figure) == [("", "Learning rate"), ("Epoch", "Momentum")]
        drawn = [[line for line in ax.lines if len(line.get_xdata()) == 3] for ax in figure.axes]
        assert [*map(len, drawn)] == [2, 1]
        colors = arm_colors(["clr", "constant"])
        assert to_hex(figure.axes[1].lines[0].get_color()) == colors["clr"]

    def test_paired_difference_is_in_points(self) -> None:
        figure = plots.difference(
            [DIFFERENCE], TEST_ACCURACY, POINTS, baseline="constant", margin=0.001
        )
        assert "constant" in labels(figure)[0][0]
        assert labels(figure)[0][1] == "Arm"
        assert "+2.00 [+1.00, +3.00]" in texts(figure)
        assert "seed 0" in texts(figure)
        assert "seed 1" not in texts(figure)

    def test_paired_difference_without_an_interval(self) -> None:
        thin = plots.DifferenceRow("clr", {0: 0.02}, (0.02, None, None))
        none = plots.DifferenceRow("cosine", {})
        figure = plots.difference(
            [thin, none], TEST_ACCURACY, POINTS, baseline="constant", margin=0.001
        )
        assert ">+2.00<" in texts(figure)

    def test_time_to_target_sets_misses_apart(self) -> None:
        times = {"constant": {0: 500, 1: None}, "clr": {0: 300, 1: 200}}
        figure = time_to_target(times, goal="it is 90 %", limit=600)
        assert "not reached" in texts(figure)
        assert "median 250" in texts(figure)
        marks = [float(x) for line in figure.axes[0].lines for x in line.get_xdata()]
        assert sum(x > 600 for x in marks) == 1
        assert all(labels(figure)[0])

    def test_time_to_target_without_a_miss_or_a_hit(self) -> None:
        assert "not reached" not in texts(time_to_target({"clr": {"0": 3}}, goal="x"))
        assert "not reached" in texts(time_to_target({"clr": {"0": None}}, goal="x"))


class TestRangeTest:
    @pytest.mark.parametrize(
        ("lrs", "scale"),
        [(np.linspace(0.001, 0.5, 2000), "linear"), (np.geomspace(1e-4, 1, 2000), "log")],
    )
    def test_the_ramp_gives_the_axis(self, lrs: np.ndarray, scale: str) -> None:
        sweeps = [make_sweep(k, lrs) for k in range(3)]
        figure = range_test(sweeps, peak=Peak(lr=0.14, accuracy=0.9))
        assert figure.axes[0].get_xscale() == scale
        assert labels(figure) == [("", "Validation accuracy"), ("Learning rate", "Training loss")]
        assert "highest at 0.14" in texts(figure)

    def test_the_peak_is_circled(self) -> None:
        sweep = make_sweep(0, np.geomspace(1e-3, 1, 300))
        figure = range_test([sweep], peak=Peak(lr=0.15, accuracy=0.7))
        circles = [line for line in figure.axes[0].lines if line.get_markersize() > 15]
        assert [(c.get_xdata()[0], c.get_ydata()[0]) for c in circles] == [(0.15, 0.7)]

    def test_a_blow_up_does_not_crush_the_loss(self) -> None:
        sweep = make_sweep(0, np.linspace(0.001, 0.5, 2000), diverges=True)
        smooth_loss = [(sweep.lr[:-1], sweep.train_loss[:-1])]
        figure = range_test([sweep], smooth_loss=smooth_loss)
        assert figure.axes[1].get_ylim()[1] < 5
        assert "1 of 1 stopped" in texts(figure)

    def test_an_inconclusive_test_still_draws(self) -> None:
        nothing = Sweep(0, [0.1], [math.nan], [], [])
        assert "Learning rate" in texts(range_test([nothing]))

    def test_long_ramps_stay_small(self) -> None:
        sweep = make_sweep(0, np.geomspace(1e-4, 1, 100_000))
        assert len(texts(range_test([sweep]))) < 400_000


class TestFiles:
    def test_svg_is_the_same_twice(self) -> None:
        first, second = (to_svg(epoch_curves(make_records(), KNOWN["test_loss"])) for _ in range(2))
        assert first == second

    def test_png_has_the_size_asked_for(self) -> None:
        figure = epoch_curves(make_records(("clr",), 1), KNOWN["test_loss"], size=(4, 3))
        image = matplotlib.image.imread(io.BytesIO(to_bytes(figure, dpi=100)))
        assert image.shape[:2] == (300, 400)

    def test_every_format_is_what_its_name_says(self, tmp_path: Path) -> None:
        figure = epoch_curves(make_records(("clr",), 1), KNOWN["test_loss"])
        written = save_figures({"a": figure}, tmp_path, ("pdf", "png", "svg"))
        starts = [path.read_bytes()[:4] for path in written]
        assert starts == [b"%PDF", b"\x89PNG", b"<?xm"]
        assert [path.name for path in written] == ["a.pdf", "a.png", "a.svg"]
        assert b"Type3" not in written[0].read_bytes()


@pytest.mark.parametrize("heights", [[0.5, 0.5, 0.5], [0.0, 0.01], [0.9, 0.95, 1.0], [0.1, 0.9]])
def test_labels_are_spread_apart_within_the_axes(heights: list[float]) -> None:
    placed = spread_apart(heights, 0.1)
    assert np.diff(placed).min() >= 0.1 - 1e-9
    assert min(placed) >= -1e-9
    assert max(placed) <= 1 + 1e-9


def test_a_note_that_is_longer_than_its_figure_is_wide_goes_on_in_another_line() -> None:
    figure = new_figure((3, 2))
    ax = figure.subplots()
    note_above(ax, ["point: one data set", "diamond: mean of all", "line: deciding interval"])
    figure.savefig(io.BytesIO(), format="png")
    note = ax.get_title(loc="left")
    (text,) = ax.findobj(lambda each: isinstance(each, Text) and each.get_text() == note)
    assert text.get_window_extent().width <= figure.bbox.width
    assert text.get_window_extent().y1 <= figure.bbox.height
