"""A summary as tables of plain text, which the HTML page and the Markdown share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli import format as words
from clr_cli.format import number

VERDICTS = {
    "no_difference": "no detectable difference",
    "too_few_seeds": "too few seeds",
}
_CONTRACT = {
    "dataset": "Data set",
    "model": "Model",
    "parameters": "Parameters",
    "optimizer": "Optimizer",
    "momentum": "Momentum",
    "weight_decay": "Weight decay",
    "epochs": "Epochs",
    "batch_size": "Batch size",
    "iterations": "Iterations per run",
    "precision": "Precision",
    "device": "Device",
    "threads": "Threads",
    "determinism": "Determinism",
}

Table = tuple[list[str], list[list[str]]]  # header and rows of plain text; the arm comes first


def results_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: what came out; and against the baseline, where it is not the baseline itself."""
    against = {c["arm"]: c for c in summary["comparisons"]}
    holm = len(against) > 1
    header = ["Schedule", "Runs", "Test accuracy", "Test loss", "Difference (points) [95 %]"]
    header += [
        "p (Holm)" if holm else "p",
        "Wins / ties / losses",
        "Iterations to target",
        "Verdict",
    ]
    rows = []
    for arm in summary["arms"]:
        other = against.get(arm["name"])
        lost = [f"{arm[key]} {key}" for key in ("diverged", "failed") if arm.get(key)]
        row = [arm["name"], ", ".join([str(arm["n"]), *lost]), words.spread(arm["test_accuracy"])]
        infinite = arm["diverged"] and arm["test_loss"]["mean"] is None
        row.append(words.loss("inf" if infinite else arm["test_loss"]["mean"]))
        if other is None:
            row += [words.NONE, words.NONE, words.NONE]
        else:
            row += [
                words.difference(other["difference"]),
                words.p_value(other["p_holm" if holm else "p"]),
            ]
            row += [f"{other['wins']} / {other['ties']} / {other['losses']}"]
        row += [median_time(arm)]
        row += ["baseline" if other is None else verdict(other)]
        rows.append(row)
    return header, rows


def _failed(arm: Mapping[str, Any]) -> str:
    """How many runs failed to train, and how large the true share may be (one-sided 95 %)."""
    found = arm["failing"]
    if found is None:  # written by an earlier version
        return words.NONE
    text = f"{found['count']} of {found['runs']} (up to {100 * found['high']:.0f} %)"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def certainty_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: how often it fails, how sure its difference is, and what more seeds could show."""
    header = ["Schedule", "Failed to train", "P(better) [95 %]", "Smallest detectable"]
    header += [
        f"Seeds to show {number(100 * (summary['detect'] or summary['margin']))} points",
        "Time to target, × baseline [95 %]",
        "The same in seconds",
    ]
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
        time = c["time_to_target"]
        rows.append(
            [
                arm["name"],
                _failed(arm),
                f"{texts[0]} [{texts[1]}, {texts[2]}]" if chance[0] is not None else words.NONE,
                words.NONE if smallest is None else f"{100 * smallest:.2f} points",
                words.count(c["seeds_needed"]),
                words.ratio(time),
                words.ratio(time.get("seconds")),
            ]
        )
    return header, rows


def further_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: the difference with test images drawn too, and at each run's best epoch."""
    header = ["Schedule", "Over seeds and test images [95 %]", "Error from seeds / images"]
    header += ["At each run's best validation epoch [95 %]"]
    rows = []
    for c in summary["comparisons"]:
        drawn, best = c["images"], c["best_epoch"]
        errors = words.NONE
        if drawn is not None:
            errors = " / ".join(f"{100 * drawn[k]:.2f}" for k in ("seeds_error", "images_error"))
            errors += " points"
        with_mean = {**(drawn or {}), "mean": c["difference"]["mean"] if drawn else None}
        rows.append([c["arm"], words.difference(with_mean), errors, words.difference(best or {})])
    return header, rows


def seeds_table(summary: Mapping[str, Any]) -> Table:
    """Per seed: each arm's final test accuracy, then its iterations to the target."""
    arms = summary["arms"]
    seeds = list(dict.fromkeys(s for arm in arms for s in arm["test_accuracy"]["values"]))
    names = [arm["name"] for arm in arms]
    header = ["Seed", *names, *names]
    rows = []
    for seed in seeds:
        row = [seed]
        row += [
            "diverged"
            if seed in map(str, arm["diverged_seeds"])
            else words.accuracy(arm["test_accuracy"]["values"].get(seed))
            for arm in arms
        ]
        for arm in arms:
            times = arm["time_to_target"]["iterations"]["values"]
            missed = "missed" if seed in times else words.NONE
            row.append(missed if times.get(seed) is None else words.count(times[seed]))
        rows.append(row)
    return header, rows


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


def costs_table(summary: Mapping[str, Any]) -> Table:
    """Per arm: the seconds that its runs, its tuning and the range test it used have cost."""
    header = ["Schedule", "Runs", "Training", "Tuning", "Range test", "Together"]
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


def contract_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What differs and what was equal, as (label, text)."""
    contract = summary["contract"]
    rows = [("Differs", str(contract.get("varied", "")))]
    rows += [("Differs too", text) for text in contract.get("also_differs") or []]
    rows += [(arm["name"], _schedule(arm["schedule"])) for arm in summary["arms"]]
    sizes = [
        f"{contract[f'{k}_size']:,} {k}"
        for k in ("train", "val", "test")
        if contract.get(f"{k}_size")
    ]
    rows += [("Split", " / ".join(sizes))] if sizes else []
    for key, label in _CONTRACT.items():
        if contract.get(key) is not None:
            raw = contract[key]
            rows.append((label, f"{raw:,}" if isinstance(raw, int) else str(raw)))
    rows.append(("Seeds", _seeds(summary)))
    rows.append(("Target", str(summary["target"]["source"])))
    rows.append(("Margin", f"±{number(100 * summary['margin'])} points count as equal"))
    versions = contract.get("versions") or {}
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return [(label, text) for label, text in rows if text]


def _seeds(summary: Mapping[str, Any]) -> str:
    """How the seeds were chosen, and which rule therefore spoke."""
    seeds = list(summary["arms"][0]["test_accuracy"]["values"])
    counts = ", ".join(str(n) for n in summary["looks"])
    if summary["rule"] == "sequential":
        return f"added after looking (at {counts} seeds); 5 % false claims are spent over the looks"
    if not summary["looks"]:
        return ""
    if seeds != [str(seed) for seed in range(len(seeds))]:
        return f"chosen by hand: {', '.join(seeds)}"
    return f"{counts}, not added to after looking"


def _schedule(schedule: Mapping[str, Any]) -> str:
    values = [
        f"{k} {number(v) if isinstance(v, float) else v}"
        for k, v in schedule.items()
        if k != "kind"
    ]
    return ", ".join([str(schedule["kind"]), *values]) if schedule else ""


def median_time(arm: Mapping[str, Any]) -> str:
    """The median iterations to the target, with the number of runs that reached it if not all."""
    times = arm["time_to_target"]["iterations"]
    n = len(times["values"])
    reached = sum(time is not None for time in times["values"].values())
    median = words.count(times["median"]) if words.value(times["median"]) is not None else "missed"
    median = "missed" if median == "∞" else median
    return median if reached == n else f"{median} ({reached} of {n})"


def verdict(comparison: Mapping[str, Any]) -> str:
    """The verdict's key in words."""
    return VERDICTS.get(comparison["verdict"], str(comparison["verdict"]))
