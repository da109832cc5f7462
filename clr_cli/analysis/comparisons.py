"""Every arm against the baseline: the decision, and what a reader asks of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy import special

from clr_cli.analysis.judgement import Judgement
from clr_cli.analysis.outcomes import Measures, Outcome
from clr_cli.analysis.robustness import check_robustness, ratios
from clr_cli.analysis.rule import ALPHA
from clr_cli.analysis.sentences import Telling, losses_sentence, sentence
from clr_cli.analysis.study import Study
from clr_cli.records import (
    ArmSummary,
    Comparison,
    Difference,
    Interval,
    Metric,
    RunRecord,
    Superiority,
    Verdict,
    finite,
)

LEVEL = 1 - ALPHA


class Side(NamedTuple):
    """An arm, or the number that arms are compared with, which has no runs.

    outcomes: of the runs that did not fail, by seed.
    """

    name: str
    runs: Mapping[int, RunRecord]
    outcomes: Mapping[int, Outcome]


def compare_arms(
    study: Study,
    arms: Sequence[tuple[Side, ArmSummary]],
    base: tuple[Side, ArmSummary | None],
    judged: Mapping[str, Judgement],
    measures: Measures,
    wording: Telling,
) -> list[Comparison]:
    """Return every arm's comparison with the baseline.

    Args:
        study: what is asked.
        arms: all but the baseline, each with what is said of it alone.
        base: the baseline; a number has no summary.
        judged: the decision on every arm.
        measures: the metrics and clocks.
        wording: of the sentences.
    """
    found = []
    for side, described in arms:
        compared = _compare(study, side, base[0], judged[side.name], measures)
        about = [each for each in (described, base[1]) if each is not None]
        text = sentence(compared, wording, about) + losses_sentence(compared, wording, about)
        found.append(compared.model_copy(update={"sentence": text}))
    return found


def _is_identical(pairs: Iterable[tuple[Outcome, Outcome]]) -> bool:
    """Return whether these are the same runs, not the same number by chance or by failing."""
    pairs = list(pairs)
    return len(pairs) > 1 and all(
        arm.final == base.final and all(map(math.isfinite, arm.final.values()))
        for arm, base in pairs
    )


def _compare(
    study: Study, arm: Side, base: Side, judged: Judgement, measures: Measures
) -> Comparison:
    paired, metric = study.design == "paired", measures.metric
    mine, theirs = arm.outcomes, base.outcomes
    if paired:
        seeds = sorted(mine.keys() & theirs.keys())
        mine, theirs = ({seed: side[seed] for seed in seeds} for side in (mine, theirs))
    runs, others = [*mine.values()], [*theirs.values()]
    verdict: Verdict = judged.verdict
    if paired and _is_identical(zip(runs, others, strict=True)):
        verdict = "identical"
    enough = not math.isnan(judged.mean)
    partners = [seed for seed in base.outcomes if seed in arm.runs]  # decided arms have fewer
    return Comparison(
        arm=arm.name,
        baseline=base.name,
        n=judged.n,
        n_baseline=judged.n_baseline,
        p=judged.p,
        p_holm=judged.p_holm,
        unpaired_seeds=sorted({*arm.outcomes, *partners} - {*judged.differences}) if paired else [],
        difference=Difference(
            mean=finite(judged.mean),
            low=finite(judged.low),
            high=finite(judged.high),
            level=judged.level,
            own=Interval(level=LEVEL, low=finite(judged.own[0]), high=finite(judged.own[1])),
            values={seed: finite(value) for seed, value in judged.differences.items()},
        ),
        time_to_target=ratios(runs, others, measures.clocks, paired=paired)
        if base.outcomes
        else None,
        **_wins(judged, metric, enough=enough),
        **_planned(study, judged),
        decided_at=judged.decided_at if study.grows and enough else None,
        futile=judged.futile and enough,
        **check_robustness(arm.runs, base.runs, judged.own, measures, paired=paired)._asdict(),
        verdict=verdict,
        sentence="",
    )


def _planned(study: Study, judged: Judgement) -> dict[str, Any]:
    """Return what so many runs find, and how many it takes."""
    sizes = (judged.n,) if judged.n_baseline is None else (judged.n, judged.n_baseline)
    if min(sizes) < 2 or not any(judged.spreads):
        return {"smallest_detectable": None, "seeds_needed": None}
    detect = study.detect or study.margin
    return {
        "smallest_detectable": study.smallest_detectable(judged.spreads, sizes),
        "seeds_needed": None if detect is None else study.seeds_needed(detect, judged.spreads),
    }


def _wins(judged: Judgement, metric: Metric, *, enough: bool) -> dict[str, Any]:
    """Return how often the arm is better, and how probable that is; None for unpaired runs."""
    if not enough:
        return {"superiority": None, "wins": 0, "ties": 0, "losses": 0}
    signed = [metric.sign * difference for difference in judged.differences.values()]
    if not signed:
        return dict.fromkeys(("superiority", "wins", "ties", "losses"))
    wins, losses = sum(d > 0 for d in signed), sum(d < 0 for d in signed)
    ties = len(signed) - wins - losses
    estimate, low, high = superiority(wins, ties, losses)
    found = Superiority(estimate=estimate, low=low, high=high)
    return {"superiority": found, "wins": wins, "ties": ties, "losses": losses}


def superiority(wins: int, ties: int, losses: int) -> tuple[float, float, float]:
    """Return P(A > B) over seeds, and its exact 95 % interval (Clopper & Pearson 1934).

    The paired probability of Bouthillier et al. (2021), "Accounting for Variance in Machine
    Learning Benchmarks", a tie counting half. Their percentile bootstrap has width zero at n of n;
    the exact interval does not. The low end takes ties as losses, the high end as wins.

    >>> [round(value, 3) for value in superiority(6, 0, 0)]
    [1.0, 0.541, 1.0]
    """
    n, tail, most = wins + ties + losses, ALPHA / 2, wins + ties
    low = 0.0 if not wins else float(special.betaincinv(wins, n - wins + 1, tail))
    high = 1.0 if most == n else float(special.betaincinv(most + 1, n - most, 1 - tail))
    return (wins + ties / 2) / n, low, high
