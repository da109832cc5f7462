"""Every arm against the baseline: the verdicts, with Holm's correction over the arms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clr_cli.analysis import sequential, stats
from clr_cli.analysis.contrasts import Contrast, OneSample, TwoSample
from clr_cli.analysis.further import ratios
from clr_cli.analysis.outcomes import Measures, Outcome
from clr_cli.analysis.sentences import Wording, sentence
from clr_cli.analysis.sequential import Decision
from clr_cli.analysis.sequential_unpaired import Unpaired
from clr_cli.analysis.study import Study
from clr_cli.records import Metric, RunRecord

Outcomes = Mapping[int, Outcome]  # an arm's runs that have an answer, by seed
_TURNED = {"better": "worse", "worse": "better"}


def decide(
    study: Study, records: Iterable[RunRecord], looks: Sequence[int]
) -> dict[str, Decision]:
    """Return the sequential decision on every arm: see `sequential.decide`.

    Args:
        study: what is asked.
        records: the runs of its first seeds; seeds count in rising order.
        looks: numbers of seeds at which it was looked at; those with more seeds than there are
            do not count yet.
    """
    found: dict[str, dict[int, float]] = {}
    seeds: set[int] = set()
    for run in records:
        seeds.add(run.seed)
        values = found.setdefault(run.arm, {})
        if run.status == "finished":
            values[run.seed] = study.metric.sign * float(run.result["final"][study.metric.name])
    base = found.pop(str(study.baseline), {})
    order = sorted(seeds)
    firsts = [set(order[:n]) for n in looks if n <= len(order)]
    samples: dict[str, Any] = {}
    at: dict[str, list[Any]] = {}
    for arm, values in found.items():
        if study.paired:
            pairs = [seed for seed in order if seed in values and seed in base]
            samples[arm] = [values[seed] - base[seed] for seed in pairs]
            at[arm] = [sum(seed in first for seed in pairs) for first in firsts]
        else:
            sides = [
                {seed: side[seed] for seed in order if seed in side} for side in (values, base)
            ]
            samples[arm] = tuple(list(side.values()) for side in sides)
            at[arm] = [tuple(sum(s in first for s in side) for side in sides) for first in firsts]
    rule = None if study.paired else Unpaired()
    return sequential.decide(samples, at, margin=study.margin or 0.0, cap=study.cap, rule=rule)


def comparisons(
    outcomes: Mapping[str, Outcomes],
    baseline: str | float,
    measures: Measures,
    wording: Wording,
    decisions: Mapping[str, Decision] | None,
) -> list[dict[str, Any]]:
    """One for every arm but the baseline, in their order: numbers and sentence.

    Args:
        outcomes: of all arms.
        baseline: an arm, or a number that every arm is compared with.
    """
    others = [arm for arm in outcomes if arm != baseline]
    paired = wording.design == "paired"
    base: Outcomes = {} if isinstance(baseline, float) else outcomes[baseline]
    made = {
        arm: _contrast(outcomes[arm], base, baseline, measures.metric, paired) for arm in others
    }
    p = {arm: contrast.p() for arm, contrast in made.items()}
    adjusted = dict(zip(others, stats.holm([p[arm] for arm in others]), strict=True))
    claimed, compared = 0, {}
    for arm in sorted(others, key=lambda arm: p[arm]):  # as Holm steps down
        mine, theirs = outcomes[arm], base
        if paired:
            seeds = sorted(mine.keys() & theirs.keys())
            mine, theirs = ({seed: side[seed] for seed in seeds} for side in (mine, theirs))
        runs, their_runs = list(mine.values()), list(theirs.values())
        compared[arm] = _compare(
            (arm, wording.base(baseline)),
            made[arm],
            ratios(runs, their_runs, measures.clocks, paired=paired) if base else None,
            identical=paired and _identical(list(zip(runs, their_runs, strict=True))),
            p=adjusted[arm],
            metric=measures.metric,
            wording=wording,
            open_arms=len(others) - claimed,
            decision=None if decisions is None else decisions[arm],
        )
        claimed += compared[arm]["verdict"] in ("better", "worse")
    return [
        {
            "arm": arm,
            "baseline": wording.base(baseline),
            "unpaired_seeds": sorted((outcomes[arm].keys() | base.keys()) - set(made[arm].values))
            if paired
            else [],
            "p": p[arm] if made[arm].enough and decisions is None else None,
            **compared[arm],
        }
        for arm in others
    ]


def _contrast(
    arm: Outcomes, base: Outcomes, baseline: str | float, metric: Metric, paired: bool
) -> Contrast:
    values, others = (
        {seed: run.final[metric.name] for seed, run in side.items() if run.trained}
        for side in (arm, base)
    )
    if isinstance(baseline, float):
        return OneSample({seed: value - baseline for seed, value in values.items()})
    if not paired:
        return TwoSample(list(values.values()), list(others.values()))
    return OneSample({s: values[s] - others[s] for s in sorted(values.keys() & others.keys())})


def _identical(pairs: Sequence[tuple[Outcome, Outcome]]) -> bool:
    """Whether these are the same runs, not the same number by chance or by failing."""
    return len(pairs) > 1 and all(
        arm.final == base.final and all(map(math.isfinite, arm.final.values()))
        for arm, base in pairs
    )


def _compare(
    names: tuple[str, str],
    contrast: Contrast,
    times: Mapping[str, Any] | None,
    *,
    identical: bool,
    p: float,
    metric: Metric,
    wording: Wording,
    open_arms: int,
    decision: Decision | None,
) -> dict[str, Any]:
    """The numbers and the sentence of one arm against the baseline."""
    difference: dict[str, Any] = {"mean": None, "low": None, "high": None, "level": stats.LEVEL}
    difference |= {"method": contrast.method, "values": contrast.values}
    numbers: dict[str, Any] = {"n": contrast.n, "n_baseline": contrast.n_baseline, "p_holm": p}
    numbers |= {"difference": difference, "time_to_target": times}
    if not contrast.enough:
        numbers |= {"p_holm": None, "verdict": "too_few_seeds"}
        numbers |= dict.fromkeys(("superiority", "smallest_detectable", "seeds_needed"))
        numbers |= dict.fromkeys(("wins", "ties", "losses"), 0)
        return {**numbers, "sentence": sentence(names, numbers, wording)}
    # The claim's interval: with seeds that were added after looking it is a wider one.
    claim_level = 1 - (1 - contrast.claim_level) / open_arms
    if decision is not None:
        claim_level = sequential.guard_level(open_arms)
        numbers |= {"p_holm": None, "decided_at": decision.seeds, "futile": decision.futile}
    low, high = contrast.intervals((stats.LEVEL, claim_level))
    if metric.unit == "%" and math.isfinite(low[0]):  # no two fractions differ by more than 1
        low, high = low.clip(-1, 1), high.clip(-1, 1)
    difference |= {"mean": contrast.mean, "low": float(low[0]), "high": float(high[0])}
    difference["claim"] = {"level": claim_level, "low": float(low[1]), "high": float(high[1])}
    arms, detect = wording.comparisons, wording.detect or wording.margin
    strict = arms if decision is None else arms * sequential.STRICTER
    verdict: str = contrast.claim(p, float(low[1]), float(high[1]), wording.margin or 0.0, arms)
    if metric.mode == "min":
        verdict = _TURNED.get(verdict, verdict)
    if decision is not None and contrast.n >= stats.MIN_SEEDS:
        verdict = decision.verdict
    numbers |= {
        **_wins(list(contrast.values.values()), metric),
        "smallest_detectable": contrast.smallest_detectable(strict),
        "seeds_needed": None if detect is None else contrast.seeds_needed(detect, strict),
        "verdict": "identical" if identical else verdict,
    }
    return {**numbers, "sentence": sentence(names, numbers, wording)}


def _wins(differences: Sequence[float], metric: Metric) -> dict[str, Any]:
    """How often the arm is better, and how probable that is; None where runs are not paired."""
    if not differences:
        return dict.fromkeys(("superiority", "wins", "ties", "losses"))
    wins = sum(metric.sign * d > 0 for d in differences)
    losses = sum(metric.sign * d < 0 for d in differences)
    ties = len(differences) - wins - losses
    probability = stats.superiority(wins, ties, losses)
    return {
        "superiority": dict(zip(("estimate", "low", "high"), probability, strict=True)),
        "wins": wins,
        "ties": ties,
        "losses": losses,
    }
