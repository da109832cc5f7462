"""What was compared: what differs, what was equal, and how the verdict came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clr_cli.format import Scale, number
from clr_cli.records import Metric

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
DESIGNS = {
    "paired": "paired: runs of equal seeds share their randomness",
    "unpaired": "unpaired: runs share nothing",
    "number": "every arm against a number",
}


def contract_rows(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What differs and what was equal, as (label, text)."""
    contract = summary["contract"]
    rows = [("Results", contract.get("source") or ""), ("Differs", contract.get("varied", ""))]
    if contract.get("source"):
        better = "higher" if summary["metric"]["mode"] == "max" else "lower"
        rows += [("Metric", f"{Metric(**summary['metric']).label}, {better} is better")]
        rows += [("Design", DESIGNS[summary["design"]])]
    rows += [("Note", text) for text in contract.get("notes") or []]
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
    if summary["target"]:
        rows.append(("Target", str(summary["target"]["source"])))
    if summary["margin"]:
        scale = Scale.of(summary)
        size = number(summary["margin"] * scale.factor)
        rows.append(("Margin", f"±{size}{scale.points} count as equal"))
    versions = contract.get("versions") or {}
    rows.append(("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return [(label, text) for label, text in rows if text]


def _seeds(summary: Mapping[str, Any]) -> str:
    """How the seeds were chosen, and which rule therefore spoke."""
    seeds = list(summary["arms"][0]["metrics"][summary["metric"]["name"]]["values"])
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
