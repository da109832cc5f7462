"""The HTML page of a comparison: one file without scripts and without anything to fetch.

Its text and layout are in page.html.j2, whose values are all escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from clr_cli import format as words
from clr_cli.analysis.headline import headline
from clr_cli.records import KNOWN, Summary
from clr_cli.report.controlled import controlled_rows
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.style import THEME, arm_colors
from clr_cli.report.tables import (
    CLOCKS,
    certainty_table,
    costs_table,
    explain,
    median_time,
    results_table,
    robustness_table,
    rows_are,
    seeds_table,
    tuning_table,
    verdict,
)

TITLES = {
    "range_test": "Range test",
    "lr_schedule": "Learning rate",
    **{name: metric.heading for name, metric in KNOWN.items()},
    "paired_difference": "Paired difference",
    "difference": "Difference",
    "time_to_target": "Time to target",
    "time_ratio": "Time to target, relative to the baseline",
}

MAIN = {"Paired difference", "Difference"}  # of the first screen


def html(
    summary: Summary,
    figures: Mapping[str, Figure],
    captions: Mapping[str, str],
) -> str:
    """Return the page. captions: by figure; command: what repeats the comparison."""
    room = files("clr_cli.report")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    environment.filters["tied"] = _tied
    template = environment.from_string(room.joinpath("page.html.j2").read_text("utf-8"))
    arms = summary.arms
    names = [arm.name for arm in arms]
    reproduce = (summary.reproduce.command, summary.reproduce.config)
    rows = controlled_rows(summary)
    middle = (len(rows) + 1) // 2
    titles = TITLES | {"metric": summary.metric.heading}
    drawn = []
    for k, (key, figure) in enumerate(figures.items(), 1):
        title, text = titles.get(key, key), captions.get(key, "")
        drawn.append((title, text, Markup(inline_svg(figure, f"f{k}", f"{title}. {text}"))))
    comparisons, metric = summary.comparisons, summary.metric.name
    main = [figure for figure in drawn if figure[0] in MAIN]
    certainty = certainty_table(summary) if comparisons else None
    robustness = robustness_table(summary) if comparisons else None
    return template.render(
        summary=summary,
        names=names,
        colors=arm_colors(names, summary.baseline),
        none_sign=words.NONE,
        css=Markup(theme_css() + room.joinpath("report.css").read_text("utf-8")),
        claims=[(c.verdict, verdict(c), c.sentence) for c in comparisons]
        or [("", "", summary.verdict)],
        results=results_table(summary),
        certainty=certainty,
        certainty_lead=certainty and explain(certainty),
        robustness=robustness,
        robustness_lead=robustness and explain(robustness),
        headline=headline(summary),
        main=main[0] if main else None,
        figures=[figure for figure in drawn if figure not in main],
        controlled=[rows[:middle], rows[middle:]],
        tuning=tuning_table(summary.tuning) if summary.tuning else None,
        seeds=seeds_table(summary),
        foot=[summary.scale.shown(arm.metrics[metric].mean) for arm in arms]
        + [median_time(arm) for arm in arms if summary.target],
        metric=summary.metric.heading,
        clock=CLOCKS[summary.clock],
        rows_are=rows_are(summary),
        costs=costs_table(summary),
        reproduce=[text for each in reproduce if (text := each.strip())],
        version=summary.controlled.versions.get("clr", ""),
    )


def _tied(text: str) -> Markup:
    """Escape a text; tie numbers to their signs at a line's end, and print minus as a minus."""
    text = re.sub(r"(?<![\w.)])-(?=\d)", "−", escape(text))
    return Markup(re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<&] ?)|(?<=p =) (?=\d)", "&nbsp;", text))


def inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """Return a figure as an <svg> with ids of its own.

    Its colors are variables of the page; where no page defines them, they are the figure's own.
    """
    svg = plots.to_svg(figure)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    box = re.search(r'viewBox="([^"]*)"', svg)
    head = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(label)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = svg.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    svg = re.sub(r'style="[^"]*"', lambda m: _themed(m[0]), svg)
    return re.sub(r' d="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)


def _themed(style: str) -> str:
    style = re.sub(r"font-family: [^;]*sans-serif", "font-family: inherit", style)
    return re.sub(
        r"#([0-9a-f]{6})", lambda m: f"var(--c{m[1]}, {m[0]})" if m[0] in THEME else m[0], style
    )


def theme_css() -> str:
    """Return the colors of the figures as CSS variables, for light and dark pages."""
    light = "".join(f"--c{color[1:]}:{color};" for color in THEME)
    dark = "".join(f"--c{color[1:]}:{other};" for color, other in THEME.items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
