"""A summary as tables of plain text, which the HTML page, the Markdown and the terminal share."""

from __future__ import annotations

from clr_cli import format as words
from clr_cli import records
from clr_cli.format import Scale, number
from clr_cli.records import KNOWN, ArmSummary, Comparison, Spread, Summary, Tuning, Verdict

# The words of a verdict, in tables and as the classes of their colors.
VERDICTS: dict[Verdict, str] = {
    "better": "better",
    "worse": "worse",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "too_few_runs": "too few runs",
    "seed_changes_nothing": "no noise",
    "identical": "identical",
}
CLOCKS = {clock: clock.capitalize() for clock in records.CLOCKS}
Table = tuple[list[str], list[list[str]]]  # header and rows of plain text; the arm comes first


def rows_are(summary: Summary) -> str:
    """Return what a row of a table is: a schedule, where the arms have one."""
    return "Schedule" if any(arm.schedule for arm in summary.arms) else "Arm"


def _without_empty(header: list[str], rows: list[list[str]]) -> Table:
    """Return the table without its empty columns."""
    kept = [k for k in range(len(header)) if not k or any(row[k] != words.NONE for row in rows)]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def results_table(summary: Summary) -> Table:
    """Return the results of every arm, and its difference from the baseline."""
    against = {c.arm: c for c in summary.comparisons}
    holm, scale, metric = len(against) > 1, summary.scale, summary.metric
    unit = f" ({scale.points.strip()})" if scale.points else ""
    beside = [name for name in ("test_loss",) if name != metric.name]
    header = [rows_are(summary), "Runs", metric.heading]
    header += [KNOWN[name].heading for name in beside]
    header += [
        f"Difference{unit}{_level(summary)}",
        "p (Holm)" if holm else "p",
        "Wins / ties / losses",
    ]
    header += [f"{CLOCKS[summary.clock]} to target", "Verdict"]
    rows = []
    for arm in summary.arms:
        c, value = against.get(arm.name), _mean(arm.metrics[metric.name], scale)
        row = [arm.name, trained(arm).replace(" ", "\N{NO-BREAK SPACE}"), value]
        row += [_loss(arm, name) for name in beside]
        if c is None:
            row += [words.NONE] * 3
        else:
            d, paired = c.difference, summary.design == "paired"  # else see P(better)
            row.append(scale.difference(d.mean, d.low, d.high))
            row.append(words.p_value(c.p_holm if holm else c.p))
            row.append(f"{c.wins} / {c.ties} / {c.losses}" if paired else words.NONE)
        row += [median_time(arm), "baseline" if c is None else verdict(c)]
        rows.append(row)
    return _without_empty(header, rows)


def first_table(summary: Summary) -> Table:
    """Return the result in a few columns, the best arm first: what the first screen shows."""
    against = {c.arm: c for c in summary.comparisons}
    scale, metric = summary.scale, summary.metric
    unit = f" ({scale.points.strip()})" if scale.points else ""
    level = _level(summary).replace(" %", "\N{NO-BREAK SPACE}%")
    chances = {} if summary.best is None else summary.best.probabilities
    header = [rows_are(summary), metric.heading, f"Difference{unit}{level}"]
    header += ["Best?", "Verdict"] if chances else ["Verdict"]
    rows = []
    for arm in summary.best_first:
        c, value = against.get(arm.name), _mean(arm.metrics[metric.name], scale)
        row = [arm.name, value.replace("± ", "±\N{NO-BREAK SPACE}")]
        if c is None:
            row += [words.NONE, "baseline"]
        else:
            d = c.difference
            row += [scale.difference(d.mean, d.low, d.high), verdict(c)]
        if chances:
            row.insert(3, _chance(arm.name, summary))
        if trained(arm) != str(arm.failing.runs):
            row[1] += f" ({trained(arm)} trained)".replace(" ", "\N{NO-BREAK SPACE}")
        rows.append(row)
    return header, rows


def _chance(arm: str, summary: Summary) -> str:
    """Return how likely an arm is the best; "no" outside of the set that contains the best."""
    best = summary.best
    if best is None or arm not in best.probabilities:
        return words.NONE
    if arm not in best.arms:
        return "no"
    share = round(100 * best.probabilities[arm])
    return f"{share}\N{NO-BREAK SPACE}%" if share else "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"


def _level(summary: Summary) -> str:
    """Return the confidence of the arms' intervals for a heading: " [95 %]", " [98 to 99 %]"."""
    known = (c.difference for c in summary.comparisons if c.difference.low is not None)
    levels = sorted({100 * difference.level for difference in known})
    named = dict.fromkeys(f"{level:.3g}" for level in (*levels[:1], *levels[-1:]))
    return f" [{' to '.join(named)} %]" if levels else ""


def _mean(spread: Spread, scale: Scale) -> str:
    """Return mean and standard deviation with their unit."""
    text = scale.mean_sd(spread.mean, spread.sd)
    return text if text == words.NONE else text + scale.unit_text


def _loss(arm: ArmSummary, name: str) -> str:
    """Return a loss beside the metric; infinite where a run diverged."""
    if name not in arm.metrics:
        return words.NONE
    mean = arm.metrics[name].mean
    return words.loss(float("inf") if mean is None and arm.diverged else mean)


def trained(arm: ArmSummary) -> str:
    """Return how many runs of an arm there are; where some failed, how many trained: "8 of 10"."""
    runs, failed = arm.failing.runs, arm.failing.count
    return f"{runs - failed} of {runs}" if failed else str(runs)


def _failed(arm: ArmSummary) -> str:
    """Return how many runs failed, and how large the true share may be (one-sided 95 %)."""
    failing = arm.failing
    text = f"{failing.count} of {failing.runs} (up to {100 * failing.high:.0f} %)"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


# What columns mean, by the beginnings of their headings.
EXPLANATIONS = {
    "Failed to train": "Failed to train: how many runs, and how large the true share may be"
    " (one-sided 95 %).",
    "P(better)": "P(better): how often a run is better than what it is compared with.",
    "Smallest detectable": "Smallest detectable: the true difference that this many runs find with"
    " 80 % power.",
    "Runs to show": "Runs to show: how many runs of either arm would find a true difference of that"
    " size, with 80 % power.",
    "Seeds to show": "Seeds to show: how many would find a true difference of that size, with 80 %"
    " power.",
    "Over seeds and test images": "The interval here also covers other test images of the same"
    " kind; the next column splits the error by source.",
    "At each run's best": "The last column uses each run's best validation epoch instead of its"
    " last; if the lead shrinks there, it is partly due to when training stops.",
}


def explain(table: Table, *, several: bool) -> str:
    """Return what the columns of a table mean; `several`: whether several arms are judged."""
    said = [
        text
        for start, text in EXPLANATIONS.items()
        if any(cell.startswith(start) for cell in table[0])
    ]
    said += ["Intervals are per arm; the verdict corrects for several arms."] * several
    return " ".join(said)


def certainty_table(summary: Summary) -> Table:
    """Return how often every arm fails, how sure its difference is, and what more seeds show."""
    scale, wanted = summary.scale, summary.detect or summary.margin or 0.0
    kind = "Seeds" if summary.design == "paired" else "Runs"
    header = [rows_are(summary), "Failed to train", "P(better) [95 %]", "Smallest detectable"]
    header += [f"{kind} to show {number(wanted * scale.factor)}{scale.points}"]
    header += ["Time to target, × baseline [95 %]", "The same in seconds"]
    against = {c.arm: c for c in summary.comparisons}
    rows = []
    for arm in summary.arms:
        row = [arm.name, _failed(arm), *[words.NONE] * 5]
        if arm.name in against:
            row[2:] = _certainty(against[arm.name], summary)
        rows.append(row)
    return _without_empty(header, rows)


def _certainty(c: Comparison, summary: Summary) -> list[str]:
    scale, p, smallest = summary.scale, c.superiority, c.smallest_detectable
    clocks = {} if c.time_to_target is None else c.time_to_target.clocks
    ratios = {k: words.ratio(ratio.ratio, ratio.low, ratio.high) for k, ratio in clocks.items()}
    main = ratios.pop(summary.clock, words.NONE)
    return [
        words.NONE if p is None else f"{p.estimate:.2f} [{p.low:.2f}, {p.high:.2f}]",
        words.NONE if smallest is None else scale.bare(smallest) + scale.points,
        words.count(c.seeds_needed),
        main,
        ratios.get("seconds", words.NONE),
    ]


def robustness_table(summary: Summary) -> Table | None:
    """Return every arm's difference over test images too, and at each run's best epoch."""
    scale = summary.scale
    header = [rows_are(summary), "Over seeds and test images [95 %]", "Error from seeds / images"]
    header += ["At each run's best validation epoch [95 %]"]
    rows = []
    for c in summary.comparisons:
        row = [c.arm, *[words.NONE] * 3]
        if (images := c.images) is not None:
            row[1] = scale.difference(c.difference.mean, images.low, images.high)
            errors = scale.bare(images.seeds_error), scale.bare(images.images_error)
            row[2] = " / ".join(errors) + scale.points
        if (best := c.best_epoch) is not None:
            row[3] = scale.difference(best.mean, best.low, best.high)
        rows.append(row)
    table = _without_empty(header, rows)
    return table if len(table[0]) > 1 else None


def seeds_tables(summary: Summary) -> list[tuple[str, Table, list[str]]]:
    """Return every seed's final values, and its times to the target if there is one.

    Each is what the table shows, the table with an arm a column, and its last row.
    """
    (header, rows), many = seeds_table(summary), len(summary.arms)
    means = [summary.scale.shown(arm.metrics[summary.metric.name].mean) for arm in summary.arms]
    tables = [(f"Final {summary.metric.label}", slice(1, many + 1), ["mean", *means])]
    if summary.target:
        medians = ["median", *(median_time(arm) for arm in summary.arms)]
        clock = f"{CLOCKS[summary.clock]} to target"
        tables.append((clock, slice(many + 1, None), medians))
    return [
        (caption, ([header[0], *header[part]], [[row[0], *row[part]] for row in rows]), foot)
        for caption, part, foot in tables
    ]


def seeds_table(summary: Summary) -> Table:
    """Return every seed: each arm's final value, then its time to the target if there is one."""
    arms, scale, main = summary.arms, summary.scale, summary.metric.name
    seeds = dict.fromkeys(seed for arm in arms for seed in arm.metrics[main].values)
    names = [arm.name for arm in arms]
    header = ["Seed" if summary.design == "paired" else "Run", *names]
    header += names if summary.target else []
    rows = []
    for seed in seeds:
        row = [str(seed)]
        for arm in arms:
            value = scale.shown(arm.metrics[main].values.get(seed))
            row.append("diverged" if seed in arm.diverged_seeds else value)
        for arm in arms if summary.target else []:
            time = arm.times.values.get(seed)
            missed = "missed" if seed in arm.times.values else words.NONE
            row.append(missed if time is None else words.moment(time))
        rows.append(row)
    return header, rows


def tuning_table(tuning: Tuning) -> Table:
    """Return every arm's chosen rate, its good rates, and the mean score of every rate tried.

    An arm is a column: there are more rates than arms as a rule.
    """
    rates = sorted({each.rate for best in tuning.arms.values() for each in best.tried})
    columns = []
    for best in tuning.arms.values():
        interval = words.NONE
        if best.low is not None and best.high is not None:
            interval = f"{number(best.low)} to {number(best.high)}"
        means = {each.rate: each.mean for each in best.tried}
        scores = {k: "failed" if m is None else words.percent(m) for k, m in means.items()}
        column = [
            best.key or "lr",
            words.NONE if best.max_lr is None else number(best.max_lr),
            best.inconclusive or interval,
        ]
        columns.append(column + [scores.get(rate, words.NONE) for rate in rates])
    first = ["key", "chosen", "good rates", *(number(rate) for rate in rates)]
    return ["Rate", *tuning.arms], [[*row] for row in zip(first, *columns, strict=True)]


def costs_table(summary: Summary) -> Table | None:
    """Return the seconds of every arm: of its runs, its tuning and the range test that it used."""
    rows = []
    for arm in summary.arms:
        if (cost := arm.cost) is None:
            return None
        parts = [cost.train_seconds, cost.tuning_seconds, cost.range_test_seconds]
        rows.append([arm.name, str(cost.runs), *map(words.duration, [*parts, sum(parts)])])
    return [rows_are(summary), "Runs", "Training", "Tuning", "Range test", "Together"], rows


def median_time(arm: ArmSummary) -> str:
    """Return the median time to the target, and how many runs reached it if not all did."""
    if arm.time_to_target is None:
        return words.NONE
    times = [*arm.times.values.values()]
    reached = sum(time is not None for time in times)
    if arm.times.median is None:
        return f"reached in {reached} of {len(times)}"
    median = words.moment(arm.times.median)
    return median if reached == len(times) else f"{median} (reached in {reached} of {len(times)})"


def verdict(comparison: Comparison) -> str:
    """Return the verdict in words."""
    return VERDICTS[comparison.verdict]
