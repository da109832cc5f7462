"""The controlled variables as text: what differs, what is equal, and how the seeds were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli.analysis.pairing import pairing_sentence
from clr_cli.analysis.study import DESIGNS
from clr_cli.format import number
from clr_cli.records import Summary

_LABELS = {
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


def controlled_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return what differs and what is equal, as (label, text)."""
    controlled, metric = summary.controlled, summary.metric
    rows = [("Results", controlled.source or ""), ("Differs", controlled.varied)]
    if controlled.source:
        rows += [("Metric", f"{metric.label}, {metric.direction}")]
    if controlled.source or summary.design != "paired":
        rows += [("Design", DESIGNS[summary.design])]
    rows += [("Note", text) for text in controlled.notes]
    rows += [("Also differs", text) for text in controlled.also_differs]
    rows += [(arm.name, _schedule(arm.schedule)) for arm in summary.arms]
    sizes = {
        "train": controlled.train_size,
        "val": controlled.val_size,
        "test": controlled.test_size,
    }
    rows += [("Split", " / ".join(f"{size:,} {name}" for name, size in sizes.items() if size))]
    for key, label in _LABELS.items():
        raw = getattr(controlled, key)
        if raw is not None:
            rows.append((label, f"{raw:,}" if isinstance(raw, int) else str(raw)))
    rows.append(("Seeds" if summary.design == "paired" else "Runs", _seeds(summary)))
    rows.append(("Pairing", pairing_sentence(summary.pairing, summary.scale)))
    if summary.target:
        rows.append(("Target", summary.target.source))
    if summary.margin:
        size = number(summary.margin * summary.scale.factor)
        rows.append(("Margin", f"±{size}{summary.scale.points} count as equal"))
    versions = controlled.versions.items()
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions)))
    return [(label, text) for label, text in rows if text]


def _seeds(summary: Summary) -> str:
    """Return how many seeds there are, and how they were chosen, which decides the rule."""
    seeds = list(summary.arms[0].metrics[summary.metric.name].values)
    counts = ", ".join(str(look.n) for look in summary.looks)
    if summary.rule == "sequential":
        said = f"added after interim looks (at {counts})"
        return f"{said}; the 5 % error rate is spread over the looks"
    if not summary.looks:
        return ""
    own = not summary.controlled.source  # of other runs nobody knows how their seeds were chosen
    if own and seeds != [*range(len(seeds))]:
        return f"chosen by hand: {', '.join(map(str, seeds))}"
    if summary.design != "paired":
        sizes = sorted(arm.failing.runs for arm in summary.arms)
        counts = " to ".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))
    return f"{counts}, fixed in advance" if own else counts


def _schedule(schedule: Mapping[str, Any]) -> str:
    values = [
        f"{k} {number(v) if isinstance(v, float) else v}"
        for k, v in schedule.items()
        if k != "kind"
    ]
    return ", ".join([str(schedule["kind"]), *values]) if schedule else ""
