"""Every arm against the baseline: the verdicts, with Holm's correction over the arms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from clr_cli.analysis import sequential, stats
from clr_cli.analysis.contrasts import Contrast, OneSample, TwoSample
from clr_cli.analysis.outcomes import Measures, Outcome, failing
from clr_cli.analysis.robustness import check_robustness, ratios
from clr_cli.analysis.sentences import Wording, failing_sentence, sentence
from clr_cli.analysis.sequential import Decision
from clr_cli.analysis.sequential_unpaired import Unpaired
from clr_cli.records import (
    TEST_ACCURACY,
    Comparison,
    Difference,
    Interval,
    Metric,
    RunRecord,
    Superiority,
    Verdict,
    finite,
)

_TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}


class Side(NamedTuple):
    """An arm, or the number that arms are compared with, which has no runs.

    outcomes: of the runs that did not fail, by seed.
    """

    name: str
    runs: Mapping[int, RunRecord]
    outcomes: Mapping[int, Outcome]

    def finals(self, metric: Metric) -> dict[int, float]:
        """Return the metric of every run that trained."""
        return {s: run.final[metric.name] for s, run in self.outcomes.items() if run.trained}


def decide(
    records: Iterable[RunRecord],
    *,
    baseline: str,
    looks: Sequence[int],
    margin: float | None,
    cap: int | None,
    metric: Metric = TEST_ACCURACY,
    paired: bool = True,
) -> dict[str, Decision]:
    """Return the sequential decision on every arm, from runs of the first seeds.

    See `sequential.decide`.

    Args:
        baseline: an arm.
        metric: what is compared.
        cap: the most seeds, if there is a limit.
        records: the runs; seeds count in rising order.
        looks: the numbers of seeds at which the comparison was looked at; those with more seeds
            than there are do not count yet.
        margin: the difference that does not matter; None: no arms are called equivalent.
        paired: whether runs of one seed share their randomness.

    """
    finals: dict[str, dict[int, float]] = {}
    seeds: set[int] = set()
    for run in records:
        seeds.add(run.seed)
        values = finals.setdefault(run.arm, {})
        if run.status == "finished":
            values[run.seed] = metric.sign * float(run.result["final"][metric.name])
    base = finals.pop(baseline, {})
    order = sorted(seeds)
    firsts = [set(order[:n]) for n in looks if n <= len(order)]
    samples: dict[str, Any] = {}
    at: dict[str, list[Any]] = {}
    for arm, values in finals.items():
        if paired:
            pairs = [seed for seed in order if seed in values and seed in base]
            samples[arm] = [values[seed] - base[seed] for seed in pairs]
            at[arm] = [sum(seed in first for seed in pairs) for first in firsts]
        else:
            sides = [
                {seed: side[seed] for seed in order if seed in side} for side in (values, base)
            ]
            samples[arm] = tuple(list(side.values()) for side in sides)
            at[arm] = [tuple(sum(s in first for s in side) for side in sides) for first in firsts]
    rule = None if paired else Unpaired()
    return sequential.decide(samples, at, margin=margin or 0.0, cap=cap, rule=rule)


def comparisons(
    arms: Sequence[Side],
    base: Side,
    measures: Measures,
    wording: Wording,
    decisions: Mapping[str, Decision] | None,
) -> list[Comparison]:
    """Compare every arm with the baseline.

    Args:
        arms: all but the baseline.
        base: the baseline.
        measures: what the runs were measured by.
        wording: what the sentences have in common.
        decisions: by arm, where seeds were added after looking; else None.

    """
    contrasts = {arm.name: _contrast(arm, base, measures.metric, wording) for arm in arms}
    p = {name: contrast.p() for name, contrast in contrasts.items()}
    adjusted = dict(zip(p, stats.holm([*p.values()]), strict=True))
    claims, compared = 0, {}
    for arm in sorted(arms, key=lambda arm: p[arm.name]):  # as Holm steps down
        comparison = _compare(
            arm,
            base,
            contrasts[arm.name],
            p=(p[arm.name], adjusted[arm.name]),
            measures=measures,
            wording=wording,
            open_arms=len(arms) - claims,
            decision=None if decisions is None else decisions[arm.name],
        )
        compared[arm.name] = comparison
        claims += comparison.verdict in ("better", "worse")
    return [compared[arm.name] for arm in arms]


def _contrast(arm: Side, base: Side, metric: Metric, wording: Wording) -> Contrast:
    values, others = arm.finals(metric), base.finals(metric)
    if wording.reference is not None:
        return OneSample({seed: value - wording.reference for seed, value in values.items()})
    if not wording.paired:
        return TwoSample(list(values.values()), list(others.values()))
    return OneSample({s: values[s] - others[s] for s in sorted(values.keys() & others.keys())})


def _identical(pairs: Iterable[tuple[Outcome, Outcome]]) -> bool:
    """Return whether these are the same runs, not the same number by chance or by failing."""
    pairs = list(pairs)
    return len(pairs) > 1 and all(
        arm.final == base.final and all(map(math.isfinite, arm.final.values()))
        for arm, base in pairs
    )


def _compare(
    arm: Side,
    base: Side,
    contrast: Contrast,
    *,
    p: tuple[float, float],
    measures: Measures,
    wording: Wording,
    open_arms: int,
    decision: Decision | None,
) -> Comparison:
    """Return one arm against the baseline. p: before and after Holm's correction."""
    paired, metric, enough = wording.paired, measures.metric, contrast.enough
    mine, theirs = arm.outcomes, base.outcomes
    if paired:
        seeds = sorted(mine.keys() & theirs.keys())
        mine, theirs = ({seed: side[seed] for seed in seeds} for side in (mine, theirs))
    runs, others = [*mine.values()], [*theirs.values()]
    low = high = math.nan
    claim, verdict = None, "too_few_seeds"
    # Sequentially the interval of the claim is wider.
    level = sequential.guard_level(open_arms)
    if decision is None:
        level = 1 - (1 - contrast.claim_level) / open_arms
    if enough:
        lows, highs = contrast.intervals((stats.LEVEL, level))
        if metric.unit == "%" and math.isfinite(lows[0]):  # no two fractions differ by more than 1
            lows, highs = lows.clip(-1, 1), highs.clip(-1, 1)
        (low, claim_low), (high, claim_high) = map(float, lows), map(float, highs)
        claim = Interval(level=level, low=finite(claim_low), high=finite(claim_high))
        verdict = contrast.claim(
            p[1], claim_low, claim_high, wording.margin or 0.0, wording.comparisons
        )
        verdict = _TURNED.get(verdict, verdict) if metric.mode == "min" else verdict
        if decision is not None and contrast.n >= stats.MIN_SEEDS:
            verdict = decision.verdict
        if paired and _identical(zip(runs, others, strict=True)):
            verdict = "identical"
    detect = wording.detect or wording.margin
    strict = wording.comparisons * (1 if decision is None else sequential.STRICTER)
    robustness = check_robustness(arm.runs, base.runs, (low, high), measures, paired=paired)
    tested = enough and decision is None
    comparison = Comparison(
        arm=arm.name,
        baseline=base.name,
        n=contrast.n,
        n_baseline=contrast.n_baseline,
        p=p[0] if tested else None,
        p_holm=p[1] if tested else None,
        unpaired_seeds=sorted((arm.outcomes.keys() | base.outcomes.keys()) - set(contrast.values))
        if paired
        else [],
        difference=Difference(
            mean=finite(contrast.mean) if enough else None,
            low=finite(low),
            high=finite(high),
            level=stats.LEVEL,
            method=contrast.method,
            values={seed: finite(value) for seed, value in contrast.values.items()},
            claim=claim,
        ),
        time_to_target=ratios(runs, others, measures.clocks, paired=paired)
        if base.outcomes
        else None,
        **_wins(contrast, metric),
        smallest_detectable=contrast.smallest_detectable(strict) if enough else None,
        seeds_needed=contrast.seeds_needed(detect, strict) if enough and detect else None,
        decided_at=decision.seeds if enough and decision else None,
        futile=enough and decision is not None and decision.futile,
        best_epoch=robustness.best_epoch,
        images=robustness.images,
        ratios=robustness.ratios,
        verdict=verdict,
        sentence="",
    )
    among = ("pairs that both trained" if paired else "runs that trained") if enough else ""
    failures = [
        (side.name, failing(sum(run.status != "finished" for run in side.runs.values()), count))
        for side in (arm, base)
        if (count := len(side.runs))
    ]
    said = sentence(comparison, wording) + failing_sentence(failures, among)
    return comparison.model_copy(update={"sentence": said})


def _wins(contrast: Contrast, metric: Metric) -> dict[str, Any]:
    """Return how often the arm is better, and how probable that is; None for unpaired runs."""
    if not contrast.enough:
        return {"superiority": None, "wins": 0, "ties": 0, "losses": 0}
    signed = [metric.sign * difference for difference in contrast.values.values()]
    if not signed:
        return dict.fromkeys(("superiority", "wins", "ties", "losses"))
    wins, losses = sum(d > 0 for d in signed), sum(d < 0 for d in signed)
    ties = len(signed) - wins - losses
    estimate, low, high = stats.superiority(wins, ties, losses)
    superiority = Superiority(estimate=estimate, low=low, high=high)
    return {"superiority": superiority, "wins": wins, "ties": ties, "losses": losses}
