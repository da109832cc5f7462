"""The HTML pages: one file each, with nothing to fetch, whole without its script.

Text and layout are in the templates, whose values are all escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple
from zlib import crc32

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from clr_cli import format as words
from clr_cli.analysis.headline import headline
from clr_cli.analysis.rates import config_lines
from clr_cli.records import KNOWN, Summary
from clr_cli.report.controlled import controlled_rows
from clr_cli.report.figures import svg as drawing
from clr_cli.report.figures.style import THEME, arm_colors
from clr_cli.report.tables import (
    VERDICTS,
    certainty_table,
    costs_table,
    explain,
    first_table,
    results_table,
    robustness_table,
    rows_are,
    seeds_tables,
    tuning_table,
    verdict,
)

TITLES = {
    "range_test": "Range test",
    "lr_schedule": "Learning rate",
    **{name: metric.heading for name, metric in KNOWN.items()},
    "every_seed": "Every seed",
    "tuning": "Search for the rates",
    "paired_difference": "Paired difference",
    "difference": "Difference",
    "time_to_target": "Time to target",
    "time_ratio": "Time to target, relative to the baseline",
}

MAIN = ("paired_difference", "difference")  # of the first screen
CONTENTS = "<!-- contents -->"  # where a page lists its headings, once they are known


class Drawn(NamedTuple):
    """A figure of a page: its id, title, caption, SVG, and whether it needs the whole width."""

    id: str
    title: str
    caption: str
    svg: Markup
    kind: str = ""


def draw(key: str, figure: Figure, title: str, caption: str, kind: str = "") -> Drawn:
    """Return a figure as a page shows it."""
    svg = inline_svg(figure, f"{title}. {caption}", key)
    return Drawn(key, title, caption, Markup(svg), kind)


def html(
    summary: Summary,
    figures: Mapping[str, Figure],
    captions: Mapping[str, str],
) -> str:
    """Return the page of a comparison. captions: by figure."""
    arms = summary.arms
    names = [arm.name for arm in arms]
    rows = controlled_rows(summary)
    middle = (len(rows) + 1) // 2
    titles = TITLES | {"metric": summary.metric.heading}
    drawn = {
        key: draw(f"f{k}", figure, titles.get(key, key), captions.get(key, ""))
        for k, (key, figure) in enumerate(figures.items(), 1)
    }
    comparisons = summary.comparisons
    main = next((drawn[key] for key in MAIN if key in drawn), None)
    search, several = drawn.get("tuning"), len(comparisons) > 1
    certainty = certainty_table(summary) if comparisons else None
    robustness = robustness_table(summary) if comparisons else None
    one = "seed" if summary.design == "paired" else "run"
    numbers = {
        f"f{k}": {"axes": drawing.numbers(figure), "one": one}
        for k, figure in enumerate(figures.values(), 1)
    }
    return render(
        "page.html.j2",
        {"figures": numbers, "paired": summary.design == "paired"},
        summary=summary,
        names=names,
        colors=arm_colors(names, summary.baseline),
        words={*VERDICTS.values()},
        none_sign=words.NONE,
        claims=[(c.verdict, verdict(c), c.sentence, c.arm) for c in comparisons]
        or [("", "", summary.verdict, "")],
        first=first_table(summary),
        results=results_table(summary),
        certainty=certainty,
        certainty_lead=certainty and explain(certainty, several=several),
        robustness=robustness,
        robustness_lead=robustness and explain(robustness, several=several),
        headline=headline(summary),
        main=main,
        figures=[each for each in drawn.values() if each not in (main, search)],
        search=search,
        chosen=_chosen(summary),
        controlled=[rows[:middle], rows[middle:]],
        tuning=tuning_table(summary.tuning) if summary.tuning else None,
        seeds=seeds_tables(summary),
        metric=summary.metric.heading,
        rows_are=rows_are(summary),
        costs=costs_table(summary),
        reproduce=_reproduce(summary),
        version=summary.controlled.versions.get("clr", ""),
    )


def _chosen(summary: Summary) -> str:
    """Return the lines of a config that use the rates that were searched for."""
    answers = summary.tuning.arms.values() if summary.tuning else ()
    lines = [found.partition("\n") for each in answers if (found := config_lines(each))]
    return "\n".join([lines[0][0], *(line for _, _, line in lines)]) if lines else ""


def _reproduce(summary: Summary) -> list[tuple[str, str]]:
    """Return what repeats the comparison: a lead, and a text to copy, for each step."""
    command, config = summary.reproduce.command.strip(), summary.reproduce.config.strip()
    if not config:
        return [("", command)] if command else []
    file = f"{summary.experiment}.yaml"
    again = f"clr compare --config {shlex.quote(f'./{file}')}"
    again += " --allow-code" if "--allow-code" in command else ""
    steps = [(f"Save the config below as {file}, then:", again), ("The config:", config)]
    return steps + ([("It was made by:", command)] if command else [])


@cache
def _environment() -> Environment:
    room = files("clr_cli.report")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        loader=FunctionLoader(lambda name: room.joinpath(name).read_text("utf-8")),
    )
    environment.filters["tied"] = _tied
    return environment


@cache
def _shared() -> tuple[str, str]:
    """Return the script and the style of every page: a live one is made again and again."""
    script, css = (files("clr_cli.report").joinpath(name) for name in ("page.js", "report.css"))
    return script.read_text("utf-8"), css.read_text("utf-8")


def render(template: str, numbers: Mapping[str, Any], **values: Any) -> str:
    """Return a page from a template. numbers: what its script knows of its figures."""
    script, css = _shared()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = json.dumps(numbers, separators=(",", ":"), allow_nan=False)
    values = {"reload": None, "colors": {}, "words": (), "none_sign": words.NONE} | values
    page = _environment().get_template(template)
    made = page.render(
        css=Markup(theme_css() + css),
        numbers=Markup(text.replace("<", "\\u003c")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        contents=Markup(CONTENTS),
        **values,
    )
    made = _with_classes(made)
    there = re.findall(r'<(?:details|section) id="([^"]*)".*?<h2>(.*?)</h2>', made, re.S)
    links = "".join(f'<li><a href="#{id}">{title}</a></li>' for id, title in there)
    return made.replace(CONTENTS, links if len(there) > 3 else "", 1)


def _with_classes(page: str) -> str:
    """Return the page with a class for every style that its figures use: a third fewer letters."""
    classes: dict[str, str] = {}

    def name(style: re.Match[str]) -> str:
        return f' class="{classes.setdefault(style[1], f"s{len(classes)}")}"'

    figures = re.compile(r"<svg .*?</svg>", re.S)
    made = figures.sub(lambda svg: re.sub(r' style="([^"]*)"', name, svg[0]), page)
    rules = "".join(f".{each}{{{style}}}\n" for style, each in classes.items())
    return made.replace("</style>", f"{rules}</style>", 1)


def _tied(text: str) -> Markup:
    """Escape a text; tie numbers to their signs at a line's end, and print minus as a minus."""
    text = re.sub(r"(?<![\w.)])-(?=\d)", "−", escape(text))
    return Markup(re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<&] ?)|(?<=p =) (?=\d)", "&nbsp;", text))


def inline_svg(figure: Figure, label: str, prefix: str = "") -> str:
    """Return a figure as an <svg> whose ids begin with a prefix, by default one of its own.

    Its colors are variables of the page; where no page defines them, they are the figure's own.
    """
    svg = drawing.to_svg(figure)
    prefix = prefix or f"f{crc32(svg.encode()):x}"  # a notebook has figures of many pages
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    box = re.search(r'viewBox="([^"]*)"', svg)
    head = f'<svg viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(label)}">'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    # Only what a script or a reference looks for keeps its id.
    svg = re.sub(r' id="(?:line2d|text|patch|FillBetween\w*|figure)_\d+"', "", svg)
    svg = re.sub(r'(?<=>)\s+(?=<)| transform="rotate\(-0 [^"]*"|<!--.*?-->', "", svg)
    svg = re.sub(r'(?<= [xy])="(-?\d+\.\d\d)\d*"', r'="\1"', svg)
    ids: dict[str, str] = {}  # instead of matplotlib's hashes
    svg = re.sub(
        r'(?<=id="|f="#|rl\(#)([mp])[0-9a-f]{10}\b',
        lambda m: ids.setdefault(m[0], f"{m[1]}{len(ids)}"),
        svg,
    )
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = svg.replace('="url(#', f'="url(#{prefix}-').replace('xlink:href="#', f'href="#{prefix}-')
    svg = re.sub(r'style="[^"]*"', lambda m: _themed(m[0]), svg)
    return re.sub(r' d="([^"]*)"', lambda m: f' d="{drawing.compact(m[1])}"', svg)


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
