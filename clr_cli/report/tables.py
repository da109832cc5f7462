"""A summary as tables of plain text, which the HTML page and the Markdown share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli import format as words
from clr_cli.format import Scale, number
from clr_cli.records import KNOWN, Metric

VERDICTS = {
    "no_difference": "undecided",
    "too_few_seeds": "too few runs",
}
Table = tuple[list[str], list[list[str]]]  # header and rows of plain text; the arm comes first
CLOCKS = {
    "images": "Images",
    "iterations": "Iterations",
    "epochs": "Epochs",
    "seconds": "Seconds",
}


def rows_are(summary: Mapping[str, Any]) -> str:
    """What a row of a table is: a schedule, where the arms have one."""
    return "Schedule" if any(arm["schedule"] for arm in summary["arms"]) else "Arm"


def name_of(summary: Mapping[str, Any]) -> str:
    """The metric that is compared, as a heading."""
    label = Metric(**summary["metric"]).label
    return label[:1].upper() + label[1:]


def _known(header: list[str], rows: list[list[str]]) -> Table:
    """Without the columns in which nothing is known."""
    kept = [k for k in range(len(header)) if not k or any(row[k] != words.NONE for row in rows)]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def results_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: what came out; and against the baseline, where it is not the baseline itself."""
    against = {c["arm"]: c for c in summary["comparisons"]}
    holm, scale, main = len(against) > 1, Scale.of(summary), summary["metric"]["name"]
    unit = f" ({scale.points.strip()})" if scale.points else ""
    beside = [name for name in ("test_loss",) if name != main]
    header = [rows_are(summary), "Runs", name_of(summary)]
    header += [KNOWN[name].label.capitalize() for name in beside]
    header += [f"Difference{unit} [95 %]", "p (Holm)" if holm else "p", "Wins / ties / losses"]
    header += [f"{CLOCKS[clock_of(summary)]} to target", "Verdict"]
    rows = []
    for arm in summary["arms"]:
        other = against.get(arm["name"])
        runs = trained(arm).replace(" ", "\N{NO-BREAK SPACE}")
        row = [arm["name"], runs, scale.spread(arm["metrics"][main])]
        for name in beside:
            found = arm["metrics"].get(name, {})
            infinite = found and arm["diverged"] and found["mean"] is None
            row.append(words.loss("inf" if infinite else found.get("mean")))
        if other is None:
            row += [words.NONE, words.NONE, words.NONE]
        else:
            paired = summary["design"] == "paired"  # else P(better) tells, if anything does
            counts = [other[key] for key in ("wins", "ties", "losses")]
            row += [
                scale.difference(other["difference"]),
                words.p_value(other["p_holm" if holm else "p"]),
                " / ".join(map(str, counts)) if paired else words.NONE,
            ]
        row += [median_time(arm)]
        row += ["baseline" if other is None else verdict(other)]
        rows.append(row)
    return _known(header, rows)


def trained(arm: Mapping[str, Any]) -> str:
    """How many runs of an arm there are; where some failed, how many trained: "8 of 10"."""
    runs, failed = arm["n"] + arm["failed"], arm["diverged"] + arm["failed"]
    return f"{runs - failed} of {runs}" if failed else str(runs)


def _failed(arm: Mapping[str, Any]) -> str:
    """How many runs failed to train, and how large the true share may be (one-sided 95 %)."""
    found = arm["failing"]
    if found is None:  # written by an earlier version
        return words.NONE
    text = f"{found['count']} of {found['runs']} (up to {100 * found['high']:.0f} %)"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


# What columns mean, by the beginnings of their headings.
EXPLAINED = {
    "Failed to train": "Failed to train: how many runs, and how large the true share may be"
    " (one-sided 95 %).",
    "P(better)": "P(better): how often a run is better than what it is compared with.",
    "Smallest detectable": "Smallest detectable: the true difference that this many runs find with"
    " 80 % power.",
    "Runs to show": "Runs to show: how many runs of either arm would find a true difference of that"
    " size, with 80 % power.",
    "Seeds to show": "Seeds to show: how many would find a true difference of that size, with 80 %"
    " power.",
    "Over seeds and test images": "This one covers other test images of the same kind too; beside"
    " it, how much of the error each source brings.",
    "At each run's best": "The last column takes each run at the epoch that was best on validation,"
    " not at the last one: a lead that shrinks there is partly a matter of when training stops.",
}


def certainty_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: how often it fails, how sure its difference is, and what more seeds could show."""
    scale, wanted = Scale.of(summary), summary["detect"] or summary["margin"]
    header = [rows_are(summary), "Failed to train", "P(better) [95 %]", "Smallest detectable"]
    kind = "Seeds" if summary["design"] == "paired" else "Runs"
    header += [f"{kind} to show {number((wanted or 0) * scale.factor)}{scale.points}"]
    header += ["Time to target, × baseline [95 %]", "The same in seconds"]
    main = clock_of(summary)
    against = {c["arm"]: c for c in summary["comparisons"]}
    rows = []
    for arm in summary["arms"]:
        c = against.get(arm["name"])
        if c is None:
            rows.append([arm["name"], _failed(arm), *[words.NONE] * 5])
            continue
        chance = [words.value((c["superiority"] or {}).get(k)) for k in ("estimate", "low", "high")]
        texts = [words.NONE if x is None else f"{x:.2f}" for x in chance]
        smallest = words.value(c["smallest_detectable"])
        times = (c["time_to_target"] or {}).get("clocks", {})
        rows.append(
            [
                arm["name"],
                _failed(arm),
                f"{texts[0]} [{texts[1]}, {texts[2]}]" if chance[0] is not None else words.NONE,
                words.NONE if smallest is None else scale.bare(smallest) + scale.points,
                words.count(c["seeds_needed"]),
                words.ratio(times.get(main)),
                words.NONE if main == "seconds" else words.ratio(times.get("seconds")),
            ]
        )
    return _known(header, rows)


def explained(table: Table) -> str:
    """What the columns of a table mean."""
    said = [
        text
        for start, text in EXPLAINED.items()
        if any(cell.startswith(start) for cell in table[0])
    ]
    several = " Intervals are per arm; the verdict corrects for several arms."
    return " ".join(said) + (several if len(table[1]) > 2 else "")


def further_table(summary: Mapping[str, Any]) -> Table | None:
    """Per arm: the difference with test images drawn too, and at each run's best epoch."""
    scale = Scale.of(summary)
    header = [rows_are(summary), "Over seeds and test images [95 %]", "Error from seeds / images"]
    header += ["At each run's best validation epoch [95 %]"]
    rows = []
    for c in summary["comparisons"]:
        drawn, best = c["images"], c["best_epoch"]
        errors = words.NONE
        if drawn is not None:
            errors = " / ".join(scale.bare(drawn[k]) for k in ("seeds_error", "images_error"))
            errors += scale.points
        with_mean = {**(drawn or {}), "mean": c["difference"]["mean"] if drawn else None}
        rows.append([c["arm"], scale.difference(with_mean), errors, scale.difference(best or {})])
    made = _known(header, rows)
    return made if len(made[0]) > 1 else None


def seeds_table(summary: Mapping[str, Any]) -> Table:
    """Per seed: each arm's value at the end, then its time to the target if there is one."""
    arms, scale, main = summary["arms"], Scale.of(summary), summary["metric"]["name"]
    seeds = list(dict.fromkeys(s for arm in arms for s in arm["metrics"][main]["values"]))
    names = [arm["name"] for arm in arms]
    header = ["Seed" if summary["design"] == "paired" else "Run", *names]
    header += names if summary["target"] else []
    rows = []
    for seed in seeds:
        row = [seed]
        row += [
            "diverged"
            if seed in map(str, arm["diverged_seeds"])
            else scale.shown(arm["metrics"][main]["values"].get(seed))
            for arm in arms
        ]
        for arm in arms if summary["target"] else []:
            times = main_times(arm)["values"]
            missed = "missed" if seed in times else words.NONE
            row.append(missed if times.get(seed) is None else words.moment(times[seed]))
        rows.append(row)
    return header, rows


def clock_of(summary: Mapping[str, Any]) -> str:
    """What the times to target of a summary are counted in first."""
    for arm in summary["arms"]:
        for clock in (arm["time_to_target"] or {}).get("clocks", {}):
            return str(clock)
    return "iterations"


def main_times(arm: Mapping[str, Any]) -> Mapping[str, Any]:
    """An arm's times to target on the first clock."""
    clocks = (arm["time_to_target"] or {}).get("clocks", {})
    return next(iter(clocks.values()), {"values": {}, "median": None})


def tuning_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: the rate chosen, the interval of good ones, and what every rate tried came to."""
    tuning = summary["tuning"]
    rates = sorted({trial["value"] for best in tuning["arms"].values() for trial in best["trials"]})
    rows = []
    for arm, best in tuning["arms"].items():
        tried = {trial["value"]: trial["val_accuracy"] for trial in best["trials"]}
        interval = words.NONE
        if best["low"] is not None:
            interval = f"{number(best['low'])} to {number(best['high'])}"
        row = [f"{arm} ({best['key']})", number(best["value"]), best["doubt"] or interval]
        for rate in rates:
            row.append(
                ("failed" if tried[rate] is None else words.accuracy(tried[rate]))
                if rate in tried
                else words.NONE
            )
        rows.append(row)
    return ["Schedule", "Chosen", "Good rates", *(number(rate) for rate in rates)], rows


def costs_table(summary: Mapping[str, Any]) -> Table | None:
    """Per arm: the seconds that its runs, its tuning and the range test it used have cost."""
    if any(arm["cost"] is None for arm in summary["arms"]):
        return None
    header = [rows_are(summary), "Runs", "Training", "Tuning", "Range test", "Together"]
    rows = []
    for arm in summary["arms"]:
        parts = [arm["cost"].get(f"{k}_seconds") for k in ("train", "tuning", "range_test")]
        rows.append(
            [
                arm["name"],
                str(arm["cost"]["runs"]),
                *(words.duration(part) for part in parts),
                words.duration(sum(words.value(part) or 0.0 for part in parts)),
            ]
        )
    return header, rows


def median_time(arm: Mapping[str, Any]) -> str:
    """The median time to the target, with the number of runs that reached it if not all."""
    if arm["time_to_target"] is None:
        return words.NONE
    times = main_times(arm)
    n = len(times["values"])
    reached = sum(time is not None for time in times["values"].values())
    median = words.moment(times["median"]) if words.value(times["median"]) is not None else "missed"
    median = "missed" if median == "∞" else median
    return median if reached == n else f"{median} ({reached} of {n})"


def verdict(comparison: Mapping[str, Any]) -> str:
    """The verdict's key in words."""
    return VERDICTS.get(comparison["verdict"], str(comparison["verdict"]))
