"""The figure of a search for every arm's rate: scores against rates, and which of them are good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from clr_cli.format import percent_tick
from clr_cli.report.figures.probes import RATE, cut, highest, rate_axis
from clr_cli.report.figures.style import (
    PAPER,
    RED,
    SIZE,
    Size,
    arm_looks,
    arm_rows,
    dress,
    new_figure,
    note_above,
)
from clr_cli.report.figures.svg import mark, tell

if TYPE_CHECKING:
    from clr_cli.records import RateAnswer

ROW = 0.27  # inches of an arm's interval


def tuned_rates(
    answers: Mapping[str, RateAnswer], *, baseline: str | None = None, size: Size | None = None
) -> Figure:
    """Draw the mean score of every rate that was tried, and below it every arm's good rates.

    answers: by arm, with a rate that was tried each. A cross marks rates at which a run failed; the
    ring is the rate that was chosen.
    """
    rows = ROW * len(answers) + 0.75
    figure = new_figure(size or (SIZE[0], SIZE[1] - 0.5 + rows))
    top, below = figure.subplots(
        2, 1, sharex=True, height_ratios=(figure.get_figheight() - rows, rows)
    )
    looks = arm_looks(list(answers), baseline)
    first = next(iter(answers.values()))
    means = [each.mean for answer in answers.values() for each in answer.tried]
    known = [mean for mean in means if mean is not None]
    for row, (arm, answer) in enumerate(answers.items()):
        color, marker = looks[arm]
        learned = [(each.rate, each.mean) for each in answer.tried if each.mean is not None]
        if learned:
            rates, scores = zip(*learned, strict=True)
            style: dict[str, Any] = {"color": color, "marker": marker, "mec": PAPER, "zorder": 3}
            mark(top.plot(rates, scores, lw=1.8, ms=5, mew=0.7, **style), arm)
            tell(top, arm, rates, scores)
        failed = [each.rate for each in answer.tried if None in each.scores]
        cross: dict[str, Any] = {"color": RED, "ms": 6, "mew": 1.6, "zorder": 4}
        mark(below.plot(failed, [row] * len(failed), "x", **cross), arm)
        if answer.low is not None and answer.high is not None:
            bar: dict[str, Any] = {"color": color, "lw": 6, "alpha": 0.35, "zorder": 2}
            ends = [answer.low, answer.high]
            mark(below.plot(ends, [row, row], solid_capstyle="butt", **bar), arm)
        if answer.max_lr is not None:
            ring: dict[str, Any] = {"color": color, "ms": 8, "mew": 1, "mec": PAPER, "zorder": 5}
            mark(below.plot([answer.max_lr], [row], marker, **ring), arm)
    dress(top, ylabel=first.metric.heading)
    dress(below, xlabel=RATE)
    every = [each.rate for answer in answers.values() for each in answer.tried]
    rate_axis(below, every)
    top.tick_params(which="both", length=0)
    if first.metric.unit == "%":
        top.yaxis.set_major_formatter(FuncFormatter(percent_tick))
    if first.metric.mode == "min" and known:
        cut(top, known, highest(known, first))
    arm_rows(below, list(answers), looks, bottom=0.6)
    crosses = "× a run failed" if any(mean is None for mean in means) else ""
    note_above(below, ["bar: good rates", "mark: the chosen one", crosses])
    return figure
