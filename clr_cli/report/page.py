"""The HTML page of a comparison: one file without scripts and without anything to fetch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from matplotlib.figure import Figure

from clr_cli.report import captions as words
from clr_cli.report.figures import comparison as plots
from clr_cli.report.figures.style import THEME, arm_colors
from clr_cli.report.tables import (
    Table,
    certainty_table,
    contract_rows,
    costs_table,
    median_time,
    results_table,
    seeds_table,
    tuning_table,
    verdict,
)

TUNING = (
    "Every schedule in this table had the same learning-rate trials, the others had none; the"
    " arrow marks the one chosen, by final validation accuracy, on a seed that the comparison does"
    " not use. Edge: the best trial is the grid's first or last, so a better one may lie outside."
)
TITLES = {
    "range_test": "Range test",
    "lr_schedule": "Learning rate",
    "train_loss": "Training loss",
    "test_loss": "Test loss",
    "test_accuracy": "Test accuracy",
    "paired_difference": "Paired difference",
    "time_to_target": "Time to target",
}


def html(
    summary: Mapping[str, Any],
    figures: Mapping[str, Figure],
    captions: Mapping[str, str],
    *,
    config: str,
    command: str,
) -> str:
    """One page without scripts and without anything to fetch."""
    css = files("clr_cli.report").joinpath("report.css").read_text("utf-8")
    colors = arm_colors([arm["name"] for arm in summary["arms"]], summary["baseline"])
    name = escape(str(summary["experiment"]))
    arms = " or ".join(escape(arm["name"]) for arm in summary["arms"])
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{name}: {arms}</title>",
        f"<style>\n{_theme_css()}{css}</style>\n</head>\n<body>\n<main>",
        _header(summary),
        "<h2>Result</h2>",
        '<p class="lead">After the last epoch, which was declared in advance; mean ± standard'
        " deviation over seeds. The test set was only reported, it chose nothing.</p>",
        _table(results_table(summary), colors, "cards"),
    ]
    if summary["comparisons"]:
        parts += [
            "<h2>How sure</h2>",
            '<p class="lead">P(better): how often the schedule beats the baseline on the same seed.'
            " Smallest detectable: the true difference that this many seeds find with 80 % power."
            " Seeds to show it: for a true difference as large as the one seen.</p>",
            _table(certainty_table(summary), colors, "cards"),
        ]
    parts += ["<h2>Figures</h2>", '<div class="figures">']
    for k, (key, figure) in enumerate(figures.items(), 1):
        title = TITLES.get(key, key)
        text = captions.get(key, "")
        parts.append(
            f"<figure>{inline_svg(figure, f'f{k}', f'{title}. {text}')}"
            f"<figcaption><b>{k}. {escape(title)}.</b> {escape(text)}</figcaption></figure>"
        )
    parts.append("</div>")
    parts += ["<h2>What was compared</h2>", _contract(summary)]
    if summary["tuning"]:
        parts += [
            "<h2>Tuning</h2>",
            f'<p class="lead">{TUNING}</p>',
            _table(tuning_table(summary), colors, "cards"),
        ]
    parts += ["<h2>Every seed</h2>", _seeds(summary, colors)]
    parts += ["<h2>Cost</h2>", _table(costs_table(summary), colors, "cards")]
    if command or config:
        parts.append("<h2>How to reproduce</h2>")
        parts += [
            f"<pre>{escape(text.strip())}</pre>" for text in (command, config) if text.strip()
        ]
    version = (summary["contract"].get("versions") or {}).get("clr", "")
    parts.append(
        f"<footer>Made by clr {escape(str(version))} from runs.csv and summary.json.</footer>"
    )
    return "\n".join([*parts, "</main>\n</body>\n</html>\n"])


def _header(summary: Mapping[str, Any]) -> str:
    claims = [
        f'<li><span class="chip {escape(c["verdict"])}">{escape(verdict(c))}</span>'
        f" {_tied(c['sentence'])}</li>"
        for c in summary["comparisons"]
    ] or [f"<li>{_tied(summary['verdict'])}</li>"]
    many = " many" if len(claims) > 1 else ""
    return (
        f'<header><p class="over">Comparison of learning-rate schedules</p>'
        f"<h1>{escape(str(summary['experiment']))}</h1>\n"
        f'<ul class="verdict{many}">{"".join(claims)}</ul>\n'
        f'<p class="scope">{escape(summary["scope"])}</p></header>'
    )


def _tied(text: str) -> str:
    """Escaped; numbers do not part from their signs at a line's end, and minus is a minus."""
    text = re.sub(r"(?<![\w.)])-(?=\d)", "−", escape(text))
    return re.sub(r"(?<=\d) (?=%)|(?<=\bp) (?=[=<&] ?)|(?<=p =) (?=\d)", "&nbsp;", text)


def _table(table: Table, colors: Mapping[str, str], kind: str) -> str:
    header, rows = table
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = []
    for first, *cells in rows:
        named = zip(header[1:], cells, strict=True)
        tds = "".join(_cell(label, cell) for label, cell in named)
        body.append(f'<tr><th scope="row">{_arm(first, colors)}</th>{tds}</tr>')
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{chr(10).join(body)}</tbody></table></div>"
    )


def _cell(label: str, text: str) -> str:
    empty = ' class="none"' if text == words.NONE else ""
    return f'<td data-label="{escape(label)}"{empty}>{escape(text)}</td>'


def _arm(name: str, colors: Mapping[str, str]) -> str:
    if name not in colors:
        return escape(name)
    return f'<span class="dot" style="background:var(--c{colors[name][1:]})"></span>{escape(name)}'


def _seeds(summary: Mapping[str, Any], colors: Mapping[str, str]) -> str:
    header, rows = seeds_table(summary)
    arms = len(summary["arms"])
    groups = f'<tr><th></th><th scope="colgroup" colspan="{arms}">Final test accuracy</th>'
    groups += f'<th scope="colgroup" colspan="{arms}">Iterations to target</th></tr>'
    head = "".join(f'<th scope="col">{_arm(cell, colors)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(seed)}</th>'
        + "".join(f"<td>{escape(c)}</td>" for c in cells)
        + "</tr>"
        for seed, *cells in rows
    )
    mean = "".join(
        f"<td>{words.accuracy(a['test_accuracy']['mean'])}</td>" for a in summary["arms"]
    )
    mean += "".join(f"<td>{escape(median_time(a))}</td>" for a in summary["arms"])
    foot = f'<tr><th scope="row">mean / median</th>{mean}</tr>'
    return (
        f'<div class="wide"><table class="seeds"><thead>{groups}<tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody><tfoot>{foot}</tfoot></table></div>"
    )


def _contract(summary: Mapping[str, Any]) -> str:
    rows = contract_rows(summary)
    middle = (len(rows) + 1) // 2
    columns = [rows[:middle], rows[middle:]]
    lists = [
        "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in column) + "</dl>"
        for column in columns
    ]
    return f'<div class="two">{"".join(lists)}</div>'


def inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an <svg> for the page: no foreign names, its own ids, colours as variables."""
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
        r"#[0-9a-f]{6}", lambda m: f"var(--c{m[0][1:]})" if m[0] in THEME else m[0], style
    )


def _theme_css() -> str:
    light = "".join(f"--c{color[1:]}:{color};" for color in THEME)
    dark = "".join(f"--c{color[1:]}:{other};" for color, other in THEME.items())
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
