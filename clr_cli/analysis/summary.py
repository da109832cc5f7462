"""Finished runs -> the paired comparison of every arm with the baseline, in numbers and in words.

Pure: plain numbers in, plain JSON types out (the contents of summary.json). Accuracies are
fractions here; the sentences show percent and points.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clr_cli.analysis import stats
from clr_cli.analysis.sentences import percent, scope, sentence
from clr_cli.records import RunRecord, Summary

AUTO_TARGET_SEEDS = 6
METRICS = ("test_accuracy", "test_loss", "train_loss", "val_accuracy")
METHOD = "hull of Student's t and the studentised bootstrap"
METHOD_FEW = "Student's t (too few seeds to resample)"


def summarize(
    records: Iterable[RunRecord],
    *,
    experiment: str,
    context: Mapping[str, Any],
    num_classes: int,
    baseline: str,
    target: float | Literal["auto"] = "auto",
    margin: float = 0.001,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare every arm with the baseline, paired by seed.

    A diverged run counts: its accuracy is chance (1 / num_classes), its loss infinite, and it
    never reaches the target. A failed run (no answer) is listed, and its seed is in no pair.

    Args:
        records: the runs; arms appear in the summary in the order of their first record, the
            baseline first.
        context: what the arms share, passed through as "contract".
        target: a validation accuracy, or "auto": see `_target`.
        margin: the difference of test accuracy (a fraction) that does not matter.
        costs: seconds per arm besides training, such as {"clr": {"range_test_seconds": 60.0}}.
        tuning: how the arms' learning rates were chosen, passed through.

    Returns:
        summary.json: plain JSON types; an infinite or undefined number is None.

    Raises:
        ValueError: the baseline has no run, or a seed occurs twice in one arm.
    """
    arms: dict[str, dict[int, RunRecord]] = {baseline: {}}
    for record in records:
        if arms.setdefault(record.arm, {}).setdefault(record.seed, record) is not record:
            raise ValueError(f"{record.arm}: seed {record.seed} occurs twice")
    if not arms[baseline]:
        raise ValueError(f"the baseline {baseline!r} has no run")
    arms = {arm: dict(sorted(runs.items())) for arm, runs in arms.items()}
    goal, source = _target(arms[baseline], target, num_classes)
    outcomes = {
        arm: {
            seed: _Outcome.of(run, goal, num_classes)
            for seed, run in runs.items()
            if run.status != "failed"
        }
        for arm, runs in arms.items()
    }
    comparisons = _comparisons(outcomes, baseline, goal, margin)
    summary = {
        "schema": 1,
        "experiment": experiment,
        "baseline": baseline,
        "level": stats.LEVEL,
        "claim_level": stats.CLAIM_LEVEL,
        "margin": margin,
        "num_seeds": max(len(runs) for runs in outcomes.values()),
        "contract": dict(context),
        "target": {"metric": "val_accuracy", "value": goal, "source": source},
        "arms": [
            _describe_arm(arm, arms[arm], outcomes[arm], (costs or {}).get(arm, {})) for arm in arms
        ],
        "comparisons": comparisons,
        "tuning": None if tuning is None else dict(tuning),
        "verdict": " ".join(comparison["sentence"] for comparison in comparisons)
        or f"Only {baseline} has run: there is nothing to compare it with.",
        "scope": scope(context),
    }
    return Summary.model_validate(_plain(summary)).plain()


@dataclass(frozen=True)
class _Outcome:
    """One run's numbers, a diverged run's included."""

    final: dict[str, float]
    iterations: float  # to the target; infinite when it was never held
    seconds: float

    @staticmethod
    def of(run: RunRecord, target: float, num_classes: int) -> _Outcome:
        if run.status == "diverged":
            final = {m: 1 / num_classes if "accuracy" in m else math.inf for m in METRICS}
            return _Outcome(final, math.inf, math.inf)
        final = {metric: float(run.result["final"][metric]) for metric in METRICS}
        reached = stats.time_to_target(run.epochs, target)
        if reached is None:
            return _Outcome(final, math.inf, math.inf)
        seconds = sum(row["train_seconds"] for row in run.epochs[: reached + 1])
        return _Outcome(final, run.epochs[reached]["iteration"], seconds)


def _target(
    runs: Mapping[int, RunRecord], target: float | Literal["auto"], num_classes: int
) -> tuple[float, str]:
    """The target, and how it was fixed.

    "auto" takes the baseline's first AUTO_TARGET_SEEDS runs in the order of their seeds, so that
    seeds added later do not move it.
    """
    if target != "auto":
        return target, f"{percent(target)} validation accuracy, given before the comparison"
    first = [run for run in runs.values() if run.status != "failed"][:AUTO_TARGET_SEEDS]
    if not first:
        raise ValueError("no run of the baseline finished, so there is no automatic target")
    value = statistics.median(
        1 / num_classes if run.status == "diverged" else float(run.result["final"]["val_accuracy"])
        for run in first
    )
    who = f"first {len(first)} runs" if len(first) > 1 else "first run"
    return value, (
        f"the median final validation accuracy of {first[0].arm}'s {who}"
        f" (seeds {', '.join(str(run.seed) for run in first)}): {percent(value)}"
    )


def _describe_arm(
    arm: str,
    runs: Mapping[int, RunRecord],
    outcomes: Mapping[int, _Outcome],
    cost: Mapping[str, float],
) -> dict[str, Any]:
    any_run = next(iter(runs.values()), None)
    times = {
        "iterations": {seed: outcome.iterations for seed, outcome in outcomes.items()},
        "seconds": {seed: outcome.seconds for seed, outcome in outcomes.items()},
    }
    return {
        "name": arm,
        "schedule": any_run.result.get("schedule", {}) if any_run else {},
        "n": len(outcomes),
        "diverged": sum(run.status == "diverged" for run in runs.values()),
        "failed": sum(run.status == "failed" for run in runs.values()),
        "diverged_seeds": [seed for seed, run in runs.items() if run.status == "diverged"],
        "failed_seeds": [seed for seed, run in runs.items() if run.status == "failed"],
        **{
            metric: _spread({seed: outcome.final[metric] for seed, outcome in outcomes.items()})
            for metric in METRICS
        },
        "time_to_target": {
            **{
                unit: {
                    "values": values,
                    "median": statistics.median(values.values()) if values else None,
                }
                for unit, values in times.items()
            },
            "reached": sum(map(math.isfinite, times["iterations"].values())),
        },
        "cost": {
            "train_seconds": sum(run.result.get("train_seconds", 0.0) for run in runs.values()),
            "tuning_seconds": cost.get("tuning_seconds", 0.0),
            "range_test_seconds": cost.get("range_test_seconds", 0.0),
            "runs": len(runs),
        },
    }


def _spread(values: Mapping[int, float]) -> dict[str, Any]:
    numbers = list(values.values())
    finite = bool(numbers) and all(map(math.isfinite, numbers))
    return {
        "mean": statistics.fmean(numbers) if finite else None,
        "sd": statistics.stdev(numbers) if finite and len(numbers) > 1 else None,
        "values": dict(values),
    }


def _comparisons(
    outcomes: Mapping[str, Mapping[int, _Outcome]], baseline: str, target: float, margin: float
) -> list[dict[str, Any]]:
    others = [arm for arm in outcomes if arm != baseline]
    pairs = {arm: sorted(outcomes[arm].keys() & outcomes[baseline].keys()) for arm in others}
    differences = {
        arm: [
            outcomes[arm][seed].final["test_accuracy"]
            - outcomes[baseline][seed].final["test_accuracy"]
            for seed in pairs[arm]
        ]
        for arm in others
    }
    p = {
        arm: float(stats.sign_flip_p(values)) if values else 1.0
        for arm, values in differences.items()
    }
    adjusted = dict(zip(others, stats.holm([p[arm] for arm in others]), strict=True))
    return [
        {
            "arm": arm,
            "baseline": baseline,
            "unpaired_seeds": sorted(
                (outcomes[arm].keys() | outcomes[baseline].keys()) - set(pairs[arm])
            ),
            "p": p[arm] if pairs[arm] else None,
            **_compare(
                (arm, baseline),
                [(outcomes[arm][seed], outcomes[baseline][seed]) for seed in pairs[arm]],
                dict(zip(pairs[arm], differences[arm], strict=True)),
                p=adjusted[arm],
                target=target,
                margin=margin,
                comparisons=len(others),
            ),
        }
        for arm in others
    ]


def _compare(
    names: tuple[str, str],
    pairs: Sequence[tuple[_Outcome, _Outcome]],
    by_seed: Mapping[int, float],
    *,
    p: float,
    target: float,
    margin: float,
    comparisons: int,
) -> dict[str, Any]:
    """The numbers and the sentence of one arm against the baseline."""
    differences, n = list(by_seed.values()), len(pairs)
    difference: dict[str, Any] = {"mean": None, "low": None, "high": None, "level": stats.LEVEL}
    difference |= {"method": METHOD_FEW if n < stats.MIN_SEEDS else METHOD, "values": dict(by_seed)}
    numbers: dict[str, Any] = {"n": n, "p_holm": p, "difference": difference}
    numbers["time_to_target"] = _ratios(pairs)
    if n == 0:
        return {
            **numbers,
            "p_holm": None,
            **dict.fromkeys(("superiority", "smallest_detectable", "seeds_needed")),
            **dict.fromkeys(("wins", "ties", "losses"), 0),
            "verdict": "too_few_seeds",
            "sentence": f"No seed has an answer in both {names[0]} and {names[1]}.",
        }
    low, high = stats.mean_intervals(differences, (stats.LEVEL, stats.CLAIM_LEVEL))
    if n > 1:  # one seed has no interval; no two accuracies differ by more than 1
        low, high = low.clip(-1, 1), high.clip(-1, 1)
    mean = statistics.fmean(differences)
    sd = statistics.stdev(differences) if n > 1 else None
    difference |= {"mean": mean, "low": float(low[0]), "high": float(high[0])}
    difference["claim"] = {
        "level": stats.CLAIM_LEVEL,
        "low": float(low[1]),
        "high": float(high[1]),
    }
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    ties = n - wins - losses
    probability = stats.superiority(wins, ties, losses)
    verdict: str = stats.claim(n, p, float(low[1]), float(high[1]), margin, comparisons)
    if n > 1 and all(
        arm.final == base.final and math.isfinite(arm.final["test_loss"]) for arm, base in pairs
    ):
        verdict = "identical"  # the same runs, not the same accuracy by chance or by failing
    numbers |= {
        "superiority": dict(zip(("estimate", "low", "high"), probability, strict=True)),
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "smallest_detectable": (
            None if sd is None else stats.smallest_detectable(sd, n, comparisons)
        ),
        "seeds_needed": None if sd is None else stats.seeds_needed(mean, sd, comparisons),
        "verdict": verdict,
    }
    return {**numbers, "sentence": sentence(names, numbers, target, margin, comparisons)}


def _ratios(pairs: Sequence[tuple[_Outcome, _Outcome]]) -> dict[str, Any]:
    """Median of time to target over the baseline's, in iterations and (under "seconds") seconds.

    An infinite end of an interval is None in the file, so "reached" tells who missed.
    """
    units = []
    for unit in ("iterations", "seconds"):
        ratio = stats.median_ratio(
            [getattr(arm, unit) for arm, _ in pairs], [getattr(base, unit) for _, base in pairs]
        )
        units.append({"ratio": ratio.median, "low": ratio.low, "high": ratio.high})
    reached = [
        sum(math.isfinite(run.iterations) for run in side) for side in zip(*pairs, strict=True)
    ]
    return {
        **units[0],
        "seconds": units[1],
        "reached": dict(zip(("arm", "baseline"), reached or [0, 0], strict=True)),
    }


def _plain(value: Any) -> Any:
    """Plain JSON types: string keys, and None for a number that is infinite or undefined."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
