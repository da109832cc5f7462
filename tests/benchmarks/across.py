"""Comparisons of the same arms on several data sets, side by side.

    python tests/benchmarks/across.py outputs/reference/three/*/compare-tuned

Reads each folder's summary.json. First one table of all verdicts, with the intervals that decide;
then, for each data set, what each arm is worth at its last and its best epoch (95 % intervals), how
soon it reaches the target, and its cost.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clr_cli.report.comparison import load

Summary = Mapping[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def points(found: Mapping[str, float]) -> str:
    """A difference with its interval, in points."""
    mean, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def verdicts(summaries: Sequence[Summary]) -> list[str]:
    """One row an arm, one column a data set."""
    first = summaries[0]
    head = ["arm", *(summary["experiment"] for summary in summaries)]
    rows = []
    for arm in first["arms"]:
        row = [arm["name"]]
        for summary in summaries:
            found = {each["arm"]: each for each in summary["comparisons"]}.get(arm["name"])
            if found is None:
                row.append(f"{accuracy(summary, arm['name'])} %")
            else:
                verdict = found["verdict"].replace("_", " ")
                row.append(f"{points(found['difference'])} {verdict}")
        rows.append(row)
    return table(head, rows)


def accuracy(summary: Summary, name: str) -> str:
    arm = next(each for each in summary["arms"] if each["name"] == name)
    return f"{100 * arm['metrics']['test_accuracy']['mean']:.1f}"


def details(summary: Summary) -> list[str]:
    """One row an arm of one data set."""
    head = ["arm", "rate (good rates)", "test accuracy %", "difference: seeds", "seeds x images"]
    head += ["at the best epoch", "iterations to target", "epochs: runs", "search", "failed"]
    rows = []
    found = {each["arm"]: each for each in summary["comparisons"]}
    for arm in summary["arms"]:
        each = found.get(arm["name"])
        row = [arm["name"], _rates(summary, arm), accuracy(summary, arm["name"])]
        if each is None:
            row += ["", "", "", ""]
        else:
            images = each["images"]
            row += [points({**each["difference"], **each["difference"]["own"]})]
            row += [f"{100 * images['low']:+.1f} to {100 * images['high']:+.1f}" if images else ""]
            row += [points(each["best_epoch"]), _ratio(each["time_to_target"])]
        epochs = summary["contract"]["epochs"]
        failing = arm["failing"]
        row += [str(epochs * failing["runs"]), str(epochs * _trials(summary, arm["name"]))]
        rows.append([*row, f"{failing['count']} of {failing['runs']}"])
    return table(head, rows)


def _tuned(summary: Summary, name: str) -> Mapping[str, Any] | None:
    tuning = summary["tuning"]
    return None if tuning is None else tuning["arms"].get(name)


def _trials(summary: Summary, name: str) -> int:
    """Whole runs that the search for an arm's rate took."""
    tuned = _tuned(summary, name)
    return 0 if tuned is None else int(tuned["probes"])


def _rates(summary: Summary, arm: Mapping[str, Any]) -> str:
    rate = arm["schedule"].get("max_lr", arm["schedule"].get("lr"))
    tuned = _tuned(summary, arm["name"])
    if tuned is None or tuned["low"] is None:
        return f"{rate:.2g}"
    return f"{rate:.2g} ({tuned['low']:.2g} to {tuned['high']:.2g})"


def _ratio(time: Mapping[str, Any]) -> str:
    """Iterations to the target against the baseline's."""
    clock = time["clocks"].get("iterations")
    if clock is None or not clock["ratio"]:
        return "the baseline misses it"
    return f"{clock['ratio']:.2f} ({clock['low']:.2f} to {clock['high']:.2f})"


def main() -> None:
    summaries = [load(Path(folder))[0].plain() for folder in sys.argv[1:]]
    print(*verdicts(summaries), sep="\n")
    for summary in summaries:
        print("", summary["experiment"], "", *details(summary), sep="\n")


if __name__ == "__main__":
    main()
