"""Finished runs -> the paired comparison of every arm with the baseline, in numbers and in words.

Pure: plain numbers in, plain JSON types out (the contents of summary.json). Accuracies are
fractions here; the sentences show percent and points.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from clr_cli.analysis import sequential, stats
from clr_cli.analysis.further import further, ratios
from clr_cli.analysis.outcomes import Outcome, choose_target, describe_arm
from clr_cli.analysis.sentences import failing_sentence, scope, sentence
from clr_cli.analysis.sequential import Decision
from clr_cli.records import RunRecord, Summary

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
    detect: float | None = None,
    looks: Sequence[int] = (),
    cap: int | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
    tuning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compare every arm with the baseline, paired by seed.

    Failing to train is a result of its own: a run that diverged or could not be finished is counted
    and named, and its seed is in no difference of accuracies. A diverged run never reaches the
    target.

    Args:
        records: the runs; arms appear in the summary in the order of their first record, the
            baseline first.
        context: what the arms share, passed through as "contract".
        target: a validation accuracy, or "auto": see `outcomes.choose_target`.
        margin: the difference of test accuracy (a fraction) that does not matter.
        detect: the difference (a fraction) for which the seeds needed are said; default: margin.
        looks: numbers of seeds at which the comparison was looked at. With several of them, or
            with a cap, `sequential` decides instead of the rule for seeds fixed in advance.
        cap: the most seeds, where they are added until it is decided.
        costs: seconds per arm besides training, such as {"clr": {"range_test_seconds": 60.0}}.
        tuning: how the arms' learning rates were chosen, passed through.

    Returns:
        summary.json: plain JSON types; an infinite or undefined number is None.

    Raises:
        ValueError: the baseline has no run, or a seed occurs twice in one arm.
    """
    records = list(records)
    arms: dict[str, dict[int, RunRecord]] = {baseline: {}}
    for record in records:
        if arms.setdefault(record.arm, {}).setdefault(record.seed, record) is not record:
            raise ValueError(f"{record.arm}: seed {record.seed} occurs twice")
    if not arms[baseline]:
        raise ValueError(f"the baseline {baseline!r} has no run")
    arms = {arm: dict(sorted(runs.items())) for arm, runs in arms.items()}
    goal, source = choose_target(arms[baseline], target, num_classes)
    outcomes = {
        arm: {seed: Outcome.of(run, goal) for seed, run in runs.items() if run.status != "failed"}
        for arm, runs in arms.items()
    }
    decisions = None
    if len(looks) > 1 or cap is not None:
        decisions = decide(records, baseline=baseline, looks=looks, margin=margin, cap=cap)
    comparisons = _comparisons(outcomes, baseline, goal, margin, detect or margin, decisions)
    described = [
        describe_arm(arm, arms[arm], outcomes[arm], (costs or {}).get(arm, {})) for arm in arms
    ]
    failures = {arm["name"]: arm["failing"] for arm in described}
    for comparison in comparisons:
        sides = [(name, failures[name]) for name in (comparison["arm"], baseline)]
        comparison["sentence"] += failing_sentence(sides)
        arm = arms[comparison["arm"]]
        comparison |= further(arm, arms[baseline], comparison["difference"])
    summary = {
        "schema": 1,
        "experiment": experiment,
        "baseline": baseline,
        "level": stats.LEVEL,
        "claim_level": stats.CLAIM_LEVEL,
        "margin": margin,
        "detect": detect,
        "num_seeds": max(len(runs) for runs in outcomes.values()),
        "looks": list(looks),
        "rule": "fixed" if decisions is None else "sequential",
        "contract": dict(context),
        "target": {"metric": "val_accuracy", "value": goal, "source": source},
        "arms": described,
        "comparisons": comparisons,
        "tuning": None if tuning is None else dict(tuning),
        "verdict": " ".join(comparison["sentence"] for comparison in comparisons)
        or f"Only {baseline} has run: there is nothing to compare it with.",
        "scope": ("" if any(f["count"] for f in failures.values()) else "No run failed. ")
        + scope(context, tuning),
    }
    return Summary.model_validate(_plain(summary)).plain()


def decide(
    records: Iterable[RunRecord],
    *,
    baseline: str,
    looks: Sequence[int],
    margin: float,
    cap: int | None,
) -> dict[str, Decision]:
    """The sequential decision on every arm, from runs of the first seeds; see `sequential.decide`.

    Args:
        records: the runs; seeds count in rising order.
        looks: numbers of seeds at which it was looked at; those with more seeds than there are
            do not count yet.
    """
    accuracy: dict[str, dict[int, float]] = {}
    seeds: set[int] = set()
    for run in records:
        seeds.add(run.seed)
        found = accuracy.setdefault(run.arm, {})
        if run.status == "finished":
            found[run.seed] = float(run.result["final"]["test_accuracy"])
    base = accuracy.pop(baseline, {})
    order = sorted(seeds)
    differences, at = {}, {}
    for arm, values in accuracy.items():
        pairs = [seed for seed in order if seed in values and seed in base]
        differences[arm] = [values[seed] - base[seed] for seed in pairs]
        at[arm] = [sum(seed in set(order[:n]) for seed in pairs) for n in looks if n <= len(order)]
    return sequential.decide(differences, at, margin=margin, cap=cap)


def _comparisons(
    outcomes: Mapping[str, Mapping[int, Outcome]],
    baseline: str,
    target: float,
    margin: float,
    detect: float,
    decisions: Mapping[str, Decision] | None,
) -> list[dict[str, Any]]:
    others = [arm for arm in outcomes if arm != baseline]
    pairs = {arm: sorted(outcomes[arm].keys() & outcomes[baseline].keys()) for arm in others}
    both = {
        arm: [s for s in pairs[arm] if outcomes[arm][s].trained and outcomes[baseline][s].trained]
        for arm in others
    }
    differences = {
        arm: [
            outcomes[arm][seed].final["test_accuracy"]
            - outcomes[baseline][seed].final["test_accuracy"]
            for seed in both[arm]
        ]
        for arm in others
    }
    p = {
        arm: float(stats.sign_flip_p(values)) if values else 1.0
        for arm, values in differences.items()
    }
    adjusted = dict(zip(others, stats.holm([p[arm] for arm in others]), strict=True))
    claimed, compared = 0, {}
    for arm in sorted(others, key=lambda arm: p[arm]):  # as Holm steps down
        compared[arm] = _compare(
            (arm, baseline),
            [(outcomes[arm][seed], outcomes[baseline][seed]) for seed in pairs[arm]],
            dict(zip(both[arm], differences[arm], strict=True)),
            p=adjusted[arm],
            target=target,
            margin=margin,
            detect=detect,
            comparisons=len(others),
            open_arms=len(others) - claimed,
            decision=None if decisions is None else decisions[arm],
        )
        claimed += compared[arm]["verdict"] in ("better", "worse")
    return [
        {
            "arm": arm,
            "baseline": baseline,
            "unpaired_seeds": sorted(
                (outcomes[arm].keys() | outcomes[baseline].keys()) - set(both[arm])
            ),
            "p": p[arm] if both[arm] and decisions is None else None,
            **compared[arm],
        }
        for arm in others
    ]


def _compare(
    names: tuple[str, str],
    pairs: Sequence[tuple[Outcome, Outcome]],
    by_seed: Mapping[int, float],
    *,
    p: float,
    target: float,
    margin: float,
    detect: float,
    comparisons: int,
    open_arms: int,
    decision: Decision | None,
) -> dict[str, Any]:
    """The numbers and the sentence of one arm against the baseline."""
    differences, n = list(by_seed.values()), len(by_seed)
    difference: dict[str, Any] = {"mean": None, "low": None, "high": None, "level": stats.LEVEL}
    difference |= {"method": METHOD_FEW if n < stats.MIN_SEEDS else METHOD, "values": dict(by_seed)}
    numbers: dict[str, Any] = {"n": n, "pairs": len(pairs), "p_holm": p, "difference": difference}
    numbers["time_to_target"] = ratios(pairs)
    if n == 0:
        return {
            **numbers,
            "p_holm": None,
            **dict.fromkeys(("superiority", "smallest_detectable", "seeds_needed")),
            **dict.fromkeys(("wins", "ties", "losses"), 0),
            "verdict": "too_few_seeds",
            "sentence": f"No seed has a run that trained in both {names[0]} and {names[1]}.",
        }
    # The claim's interval: with seeds that were added after looking it is a wider one.
    claim_level = 1 - (1 - stats.CLAIM_LEVEL) / open_arms
    if decision is not None:
        claim_level = sequential.guard_level(open_arms)
        numbers |= {"p_holm": None, "decided_at": decision.seeds, "futile": decision.futile}
    low, high = stats.mean_intervals(differences, (stats.LEVEL, claim_level))
    if n > 1:  # one seed has no interval; no two accuracies differ by more than 1
        low, high = low.clip(-1, 1), high.clip(-1, 1)
    mean = statistics.fmean(differences)
    sd = statistics.stdev(differences) if n > 1 else None
    difference |= {"mean": mean, "low": float(low[0]), "high": float(high[0])}
    difference["claim"] = {
        "level": claim_level,
        "low": float(low[1]),
        "high": float(high[1]),
    }
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    ties = n - wins - losses
    probability = stats.superiority(wins, ties, losses)
    verdict: str = stats.claim(n, p, float(low[1]), float(high[1]), margin, comparisons)
    if decision is not None and n >= stats.MIN_SEEDS:
        verdict = decision.verdict
    if (
        n > 1
        and n == len(pairs)
        and all(
            arm.final == base.final and math.isfinite(arm.final["test_loss"]) for arm, base in pairs
        )
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
        "seeds_needed": None if sd is None else stats.seeds_needed(detect, sd, comparisons),
        "verdict": verdict,
    }
    return {**numbers, "sentence": sentence(names, numbers, target, margin, detect, comparisons)}


def _plain(value: Any) -> Any:
    """Plain JSON types: string keys, and None for a number that is infinite or undefined."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
