"""A comparison over several data sets -> its page, Markdown and figure; from across.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clr_cli import format as words
from clr_cli.analysis.headline import headline
from clr_cli.files import write_atomic, write_json
from clr_cli.paths import ACROSS, MARKDOWN, PAGE
from clr_cli.records import Combination, Difference, OverAll, Summary, Verdict, read
from clr_cli.report import page
from clr_cli.report.comparison import markdown_table, plain
from clr_cli.report.figures.across import across as draw_across
from clr_cli.report.figures.style import FORMATS, Size, arm_colors, save_figures
from clr_cli.report.runs import REMEDY
from clr_cli.report.tables import VERDICTS, Table

FIGURE = "across"
HOLDS = {"mixed": "mixed"} | {str(k): v for k, v in VERDICTS.items()}  # by `records.Holds`
CAPTION = (
    "Each line is the interval that decides on one data set; it excludes zero where the arm is"
    " better or worse there. The mean counts every data set the same, and says nothing of others."
)


class Cell(NamedTuple):
    """A cell of arms by data sets: a number, its interval, a verdict and its words; or "" each."""

    text: str = ""
    interval: str = ""
    verdict: str = ""
    said: str = ""


def write(
    folder: Path,
    combination: Combination,
    formats: Sequence[str] = FORMATS,
    size: Size | None = None,
) -> list[Path]:
    """Write across.json, the page, its Markdown and the figure; return their paths."""
    write_json(folder / ACROSS, combination.plain())
    figure = draw_across(combination, size=size)
    drawn = page.draw("f1", figure, "Differences by data set", CAPTION)
    write_atomic(folder / PAGE, _html(combination, drawn))
    write_atomic(folder / MARKDOWN, _markdown(combination))
    saved = save_figures({FIGURE: figure}, folder, formats)
    return [*(folder / name for name in (ACROSS, PAGE, MARKDOWN)), *saved]


def load(folder: Path) -> Combination:
    """Read the combination in a folder. Raises InputError for a damaged one."""
    return read(Combination, folder / ACROSS, remedy=REMEDY)


# --- tables ----------------------------------------------------------------------------------


def holds(arm: OverAll, total: int) -> str:
    """Return what an arm is on all data sets: "better on all 3", "better on 2, worse on 1"."""
    if len(arm.counts) == 1:
        every = "both" if total == 2 else f"all {total}"
        return f"{VERDICTS[next(iter(arm.counts))]} on {every}"
    return ", ".join(f"{VERDICTS[verdict]} on {n}" for verdict, n in arm.counts.items())


def cells(combination: Combination) -> tuple[list[str], list[list[Cell]]]:
    """Return header and rows of arms: over all data sets, then on each.

    The baseline's row has its means, another arm's its differences from them.
    """
    sets, scale, first = combination.data_sets, combination.scale, combination.first
    unit = f" ({scale.points.strip()})" if scale.points else ""
    header = ["Arm", "On all", f"Mean difference{unit}", *(data.name for data in sets)]
    rows = []
    if first.reference is None:
        means = [Cell(scale.shown(_mean(data.summary))) for data in sets]
        rows.append([Cell(first.baseline), Cell("baseline"), Cell(words.NONE), *means])
    for arm in combination.arms:
        on = [_cell(c.difference, c.verdict, scale) for c in combination.on_each(arm.arm)]
        over = Cell(verdict=arm.holds, said=holds(arm, len(sets)))
        rows.append([Cell(arm.arm), over, _cell(arm.mean, arm.mean_verdict, scale), *on])
    return header, rows


def _mean(summary: Summary) -> float | None:
    base = next(arm for arm in summary.arms if arm.name == summary.baseline)
    return base.metrics[summary.metric.name].mean


def _cell(difference: Difference, verdict: Verdict, scale: words.Scale) -> Cell:
    text = scale.difference(difference.mean, difference.low, difference.high)
    number, _, interval = text.partition(" ")
    return Cell(number, interval, verdict, VERDICTS[verdict])


def table(combination: Combination) -> Table:
    """Return `cells` as plain text."""
    header, rows = cells(combination)
    texts = [[" ".join(filter(None, (c.text, c.interval, c.said))) for c in row] for row in rows]
    return header, texts


def data_sets_table(combination: Combination) -> Table:
    """Return every data set: its runs, those of searches, and the arms that could be the best.

    Columns of numbers that are all zero are left out.
    """
    sets, best = [data.summary for data in combination.data_sets], combination.best
    counts = {
        "Runs": [sum(arm.failing.runs for arm in each.arms) for each in sets],
        "Failed": [sum(arm.failing.count for arm in each.arms) for each in sets],
        "Stuck": [sum(len(arm.stuck) for arm in each.arms) for each in sets],
        "Runs to tune": [
            sum(found.probes for found in each.tuning.arms.values()) if each.tuning else 0
            for each in sets
        ],
    }
    table = {"Data set": [*(data.name for data in combination.data_sets), "All"]}
    for head, numbers in counts.items():
        if any(numbers):
            table[head] = [*map(words.count, numbers), words.count(sum(numbers))]
    if best is not None:
        could = [", ".join(each.best.arms) for each in sets if each.best]
        table["Could be the best [95 %]"] = [*could, ", ".join(best) or "none on all"]
    return [*table], [[*row] for row in zip(*table.values(), strict=True)]


# --- pages -----------------------------------------------------------------------------------


def _html(combination: Combination, drawn: page.Drawn) -> str:
    base = combination.first.baseline
    sets = data_sets_table(combination)
    links = [f"{data.folder}/{PAGE}" for data in combination.data_sets]
    one = combination.arms[0] if len(combination.arms) == 1 else None
    return page.render(
        "across.html.j2",
        {"figures": {}, "paired": False},
        combination=combination,
        colors=arm_colors([base, *(arm.arm for arm in combination.arms)], base),
        chip=one and (one.holds, holds(one, len(combination.data_sets))),
        first=cells(combination),
        levels=sorted({f"{100 * arm.mean.level:.3g}" for arm in combination.arms}),
        sets=(sets[0], list(zip([*links, ""], sets[1], strict=True))),
        figure=drawn,
        metric=combination.first.metric,
        said=[(data.name, headline(data.summary)) for data in combination.data_sets],
    )


def _markdown(combination: Combination) -> str:
    parts = [
        f"### {plain(combination.experiment)}",
        f"**{plain(combination.verdict)}**",
        markdown_table(table(combination)),
        "\n".join(f"- {plain(arm.sentence)}" for arm in combination.arms),
        markdown_table(data_sets_table(combination)),
        "\n".join(
            f"- {plain(data.name)}: {plain(headline(data.summary))}"
            for data in combination.data_sets
        ),
    ]
    return "\n\n".join(parts) + "\n"
