"""The decision on every arm: from final values to intervals, p and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from clr_cli.analysis import designs, looks, verdicts
from clr_cli.analysis.best import could_be_best, optimism, probabilities
from clr_cli.analysis.rule import ALPHA, Array, Estimate, Moments
from clr_cli.analysis.stuck import are_set_apart, stuck_runs
from clr_cli.analysis.study import Study
from clr_cli.records import Best, Look, Metric, RunRecord, Stuck, Verdict, finals

Values = Mapping[str, Mapping[int, float]]  # arm -> seed -> final value


@dataclass(frozen=True)
class Judgement:
    """The comparison of one arm with the baseline, in the metric's own units.

    Attributes:
        verdict: see `records.Verdict`.
        n: pairs, or runs of the arm.
        n_baseline: runs of the baseline, if they are counted apart.
        mean: of the arm minus that of the baseline; NaN if there is none.
        low, high: the interval that decides, at ``level`` (of confidence).
        own: the 95 % interval of the arm as if it were the only one, and looked at once.
        p, p_holm: before and after Holm's correction; None if looks decide.
        spreads: standard deviations of the differences, or of the two sides' runs.
        differences: by seed, if the difference is a mean of such.
        decided_at: the look that decided; None while open.
        futile: whether it ended because more seeds would hardly have shown a difference.
    """

    verdict: Verdict
    n: int
    n_baseline: int | None
    mean: float
    low: float
    high: float
    level: float
    own: tuple[float, float]
    p: float | None = None
    p_holm: float | None = None
    spreads: tuple[float, ...] = ()
    differences: Mapping[int, float] = field(default_factory=dict)
    decided_at: int | None = None
    futile: bool = False

    @property
    def is_open(self) -> bool:
        """Whether more seeds may decide it."""
        return self.decided_at is None


def final_values(
    study: Study, records: Sequence[RunRecord]
) -> tuple[dict[str, dict[int, float]], dict[str, list[Stuck]]]:
    """Return the final values that are judged, by arm and seed, and the stuck runs."""
    known = finals(records, study.metric.name)
    values = {arm: known.get(arm, {}) for arm in study.arms}
    stuck: dict[str, list[Stuck]] = {}
    for arm, each in values.items():
        seeds = [*each]
        found = stuck_runs([*each.values()], chance=study.chance)
        stuck[arm] = [Stuck(seed=seeds[run], far=far) for run, far in found.items()]
        if are_set_apart(len(found), len(seeds)):
            values[arm] = {seed: each[seed] for run, seed in enumerate(seeds) if run not in found}
    return values, stuck


class _Samples:
    """A study's values as arrays, larger being better: arms (K, n) and baseline (n,), by seed."""

    def __init__(self, study: Study, values: Values) -> None:
        self.study, self.sign = study, study.metric.sign
        known = {seed for finals in values.values() for seed in finals}
        self.seeds = [*study.seeds, *sorted(known - set(study.seeds))]
        self.arms = np.stack([self._row(values[arm]) for arm in study.others])
        base = values.get(str(study.baseline), {})
        self.base = self._row(base if study.reference is None else {})

    def _row(self, finals: Mapping[int, float]) -> Array:
        return self.sign * np.array([finals.get(seed, np.nan) for seed in self.seeds])

    def estimate(self, arms: Array, base: Array) -> Estimate:
        if self.study.reference is not None:
            return designs.against(arms, self.sign * self.study.reference)
        return (designs.paired if self.study.paired else designs.unpaired)(arms, base)


def estimates(study: Study, values: Values, at: Sequence[Look | None]) -> Estimate:
    """Return the arms' differences from the baseline (K,), larger being better.

    at: the look of each arm that decided it; None takes all of its runs.
    """
    samples = _Samples(study, values)
    arms = []
    for k, look in enumerate(at):
        there = samples.arms, samples.base
        if look is not None:
            there = _counts(study, look).of(*there)
        arms.append({key: v[..., k] for key, v in vars(samples.estimate(*there)).items()})
    return Estimate(**{key: np.stack([arm[key] for arm in arms], axis=-1) for key in arms[0]})


def _counts(study: Study, look: Look) -> looks.Look:
    runs = look.runs
    return looks.Look(
        look.n, [runs.get(arm, 0) for arm in study.others], runs.get(str(study.baseline), 0)
    )


def judge(study: Study, values: Values, seen: Sequence[Look] = ()) -> dict[str, Judgement]:
    """Decide every arm.

    Args:
        study: what is asked.
        values: final values of the runs that trained, of all arms.
        seen: the looks so far, if seeds are added after a look; else empty.
    """
    if not study.others:
        return {}
    samples = _Samples(study, values)
    if seen:
        return _by_looks(study, samples, seen)
    estimate = samples.estimate(samples.arms, samples.base)
    said = verdicts.claims(estimate, comparisons=study.comparisons)
    p, adjusted = verdicts.p_holm(estimate, comparisons=study.comparisons)
    judged = {}
    for k, arm in enumerate(study.others):
        tested = not math.isnan(p[k])
        judged[arm] = _judgement(
            samples,
            k,
            estimate,
            (samples.arms, samples.base),
            ends=(float(said.low[k]), float(said.high[k])),
            level=float(said.level[k]),
            p=float(p[k]) if tested else None,
            p_holm=float(adjusted[k]) if tested else None,
        )
    return judged


def _by_looks(study: Study, samples: _Samples, seen: Sequence[Look]) -> dict[str, Judgement]:
    past = [_counts(study, each) for each in seen]
    steps = looks.replay(
        samples.arms,
        samples.base,
        past,
        samples.estimate,
        last=study.last_look,
        cap=study.cap,
        margin=study.margin,
        comparisons=study.comparisons,
    )
    progress, judged = steps[-1], {}
    for k, arm in enumerate(study.others):
        decided = int(progress.at[k]) or None
        # Two looks may have one number: a greater cap shares out the runs in another way.
        done = (look for look, step in zip(past, steps, strict=True) if not step.open[k])
        look = next(done, past[-1])
        there = look.of(samples.arms, samples.base)
        judged[arm] = _judgement(
            samples,
            k,
            samples.estimate(*there),
            there,
            ends=(float(progress.low[k]), float(progress.high[k])),
            level=float(progress.level[k]),
            decided_at=decided,
            futile=int(progress.state[k]) == looks.HOPELESS,
        )
    return judged


def _judgement(
    samples: _Samples,
    k: int,
    estimate: Estimate,
    there: tuple[Array, Array],
    *,
    ends: tuple[float, float],
    level: float,
    p: float | None = None,
    p_holm: float | None = None,
    decided_at: int | None = None,
    futile: bool = False,
) -> Judgement:
    study, sign = samples.study, samples.sign
    mine, base = there[0][k], there[1]
    counted, sides = None, [mine]
    if study.reference is not None:
        base = np.full(len(mine), sign * study.reference)
    elif not study.paired:
        counted, sides = int((~np.isnan(base)).sum()), [mine, base]
    if len(sides) == 1:
        sides = [mine - base]
    differences = {} if len(sides) > 1 else _by_seed(samples.seeds, sign * sides[0])
    own = tuple(float(end[k]) for end in estimate.interval(ALPHA))
    low, high = turned(ends, study.metric)
    return Judgement(
        verdict=verdicts.word(
            estimate, k, ends, level, margin=study.margin, comparisons=study.comparisons
        ),
        n=int((~np.isnan(sides[0])).sum()),
        n_baseline=counted,
        mean=sign * float(estimate.mean[k]),
        low=low,
        high=high,
        level=1 - level,
        own=turned((own[0], own[1]), study.metric),
        p=p,
        p_holm=p_holm,
        spreads=tuple(math.sqrt(float(Moments.of(side).variance)) for side in sides),
        differences=differences,
        decided_at=decided_at,
        futile=futile,
    )


def _by_seed(seeds: Sequence[int], row: Array) -> dict[int, float]:
    pairs = zip(seeds, row.tolist(), strict=True)
    return {seed: value for seed, value in pairs if not math.isnan(value)}


def turned(ends: tuple[float, float], metric: Metric) -> tuple[float, float]:
    """Turn an interval where larger is better into one of the metric's own differences."""
    low, high = ends if metric.sign > 0 else (-ends[1], -ends[0])
    return metric.possible(low, high)


def next_counts(study: Study, values: Values, judged: Mapping[str, Judgement], now: Look) -> Look:
    """Return the next look: how many runs each arm is to have by then.

    An arm that is decided gets no more. Where runs share nothing, a round's runs go where they
    lower the errors of the open arms most; the look at which no side can get more is the last.
    """
    open_arms = [arm for arm in study.others if judged[arm].is_open]
    base, runs = str(study.baseline), dict(now.runs)
    if study.paired:
        runs |= dict.fromkeys([*open_arms, base], now.most + 1)
        return Look(n=now.n + 1, runs=runs)
    samples = _Samples(study, values)
    cap, sides = study.cap or looks.LAST, (*study.others, base)
    arms, baseline = looks.next_runs(
        Moments.of(samples.arms),
        Moments.of(samples.base),
        np.array([arm in open_arms for arm in study.others]),
        len(open_arms) + 1,
        [cap - runs[arm] for arm in sides],
    )
    for arm, more in zip(sides, [*arms.tolist(), int(baseline)], strict=True):
        runs[arm] += more
    full = all(runs[arm] == cap for arm in (*open_arms, base))
    return Look(n=cap if full else now.n + 1, runs=runs)


def first_look(study: Study) -> Look:
    """Return the first look of a study that adds seeds."""
    first = looks.FIRST_LOOK if study.paired else looks.FIRST_RUNS
    runs = dict.fromkeys(study.arms, first)
    if not study.paired and len(study.others) > 1:
        runs[str(study.baseline)] = looks.FIRST_BASELINE
    return Look(n=looks.FIRST_LOOK, runs=runs)


def choose_best(study: Study, values: Values, seen: Sequence[Look] = ()) -> Best | None:
    """Return the arms that could be the best; None for fewer than three."""
    if len(study.arms) < 3 or not all(values[arm] for arm in study.arms):
        return None
    known = sorted({seed for finals in values.values() for seed in finals})
    sign = study.metric.sign
    table = sign * np.array(
        [[values[arm].get(seed, np.nan) for seed in known] for arm in study.arms]
    )
    paired = study.design == "paired"
    weight = looks.weight(seen[-1].n, study.last_look) if seen else 1.0
    design = designs.paired if paired else designs.unpaired
    could = could_be_best(table, design, weight=weight or 1.0)
    means = np.nanmean(table, axis=1)
    excess = float(optimism(table, paired=paired))
    chances = probabilities(table, paired=paired).tolist()
    return Best(
        arms=[arm for arm, kept in zip(study.arms, could.tolist(), strict=True) if kept],
        winner=study.arms[int(means.argmax())],
        optimism=excess if math.isfinite(excess) else None,
        probabilities={
            arm: float(f"{chance:.4g}")
            for arm, chance in zip(study.arms, chances, strict=True)
            if math.isfinite(chance)
        },
    )
