"""From the curves of a range test to learning-rate bounds: pure functions over plain numbers.

``suggest`` reads them off the sweeps' curves, with their spread over the sweeps, or says why it
cannot.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from clr_cli.analysis.finders import Estimate, estimate, median, minimum, steepest, valley
from clr_cli.analysis.sweeps import LOCAL_WIDTH, Array, smooth, smooth_loss
from clr_cli.records import Sweep

MIN_POINTS = 10  # validation points that a sweep needs; 100 are usual
LEARNED = 0.1  # of the way from chance to 100 %: below it, nothing was learned
ONSET = 0.1  # of the rise from chance to the best: there accuracy "has started rising"
TOLERANCE = 0.5  # of the noise of one validation point: what counts as equally good, but
LEAST, MOST = 0.01, 0.07  # of the rise from chance, at least and at most
EDGE = 0.05  # of the ramp: an answer this close to its start is not an answer
TAIL = 0.4  # of the ramp, at its end: where accuracy must have stopped rising
DISAGREE = 3.0  # largest over smallest max_lr of single sweeps
BASE_SHARE = 100.0  # base_lr is at most max_lr over this


@dataclass(frozen=True)
class Suggestion:
    """The answer of a range test.

    ``inconclusive`` is None or the reasons, one per line; then ``next_range`` is the
    (min_lr, max_lr) to try next and the estimates, where there are any, are only hints.
    """

    base_lr: Estimate | None
    max_lr: Estimate | None
    steepest: Estimate | None
    valley: Estimate | None
    minimum: Estimate | None
    inconclusive: str | None = None
    next_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Consensus:
    """The sweeps' accuracy, pooled. ``raw`` is (sweeps, points), the other arrays (points,)."""

    lr: Array
    raw: Array
    level: Array  # mean over sweeps of the smoothed accuracy
    dependable: Array  # level less its raggedness
    noise: float  # standard deviation of one validation point around its smoothed curve
    chance: float

    @property
    def rise(self) -> float:
        return float(self.level.max()) - self.chance

    @property
    def learned(self) -> bool:
        """Whether accuracy rose clearly above chance: in size, and against luck.

        Luck is five standard errors of the smoothed curve, which has many chances to exceed one.
        """
        luck = 5 * self.noise / math.sqrt(self.raw.size * LOCAL_WIDTH)
        return self.rise > max(LEARNED * (1 - self.chance), luck)


def _pool(lr: Array, raw: Array, chance: float) -> _Consensus:
    curves = np.array([smooth(row) for row in raw])
    residual = np.abs(raw - curves)
    level = curves.mean(axis=0)
    # Where little is learned yet, or a sweep has ended, accuracy is steady: that is not its noise.
    upper = level >= level.max() - max(level.max() - chance, 0) / 2
    # 1.4826 makes the median absolute deviation a standard deviation for normal noise.
    noise = 1.4826 * float(np.median(residual[:, upper]))
    return _Consensus(lr, raw, level, level - smooth(residual.mean(axis=0)), noise, chance)


def _max_lr(pooled: _Consensus) -> tuple[float, str]:
    """max_lr and the reason for it; see ``suggest``."""
    score = pooled.dependable
    tolerance = min(max(TOLERANCE * pooled.noise, LEAST * pooled.rise), MOST * pooled.rise)
    good = score >= score.max() - 4 * tolerance  # beyond, a weight is below 2 %
    first = last = int(score.argmax())
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < len(score) and good[last + 1]:
        last += 1
    region = slice(first, last + 1)
    lr, shortfall = pooled.lr[region], (score.max() - score[region]) / tolerance
    centre = math.exp(np.average(np.log(lr), weights=np.exp(-shortfall)))
    reason = (
        f"centre of the LRs {lr[0]:.3g} to {lr[-1]:.3g}, each weighted by how near its accuracy "
        f"less its raggedness comes to the best (accuracy {pooled.level.max():.1%})"
    )
    if last == len(score) - 1 and shortfall[-1] <= 1:
        reason += "; it does not fall before the range ends: higher rates may be as good"
    return centre, reason


def _onset(pooled: _Consensus, min_lr: float) -> float:
    """Where the smoothed accuracy has made ONSET of its rise: the last time before its best.

    The last time, because noise crosses a low threshold early and by chance. Before the first
    update accuracy is at chance: that is the point at min_lr.
    """
    curve = np.r_[pooled.chance, pooled.level[: int(pooled.level.argmax()) + 1]]
    log_lr = np.log(np.r_[min_lr, pooled.lr])
    threshold = pooled.chance + ONSET * pooled.rise
    at = int(np.flatnonzero(curve < threshold)[-1])
    part = (threshold - curve[at]) / (curve[at + 1] - curve[at])
    return math.exp(log_lr[at] * (1 - part) + log_lr[at + 1] * part)


def suggest(
    sweeps: Sequence[Sweep], *, num_classes: int, chance: float | None = None
) -> Suggestion:
    """The bounds that these sweeps of one ramp support, or why they support none.

    ``chance`` is the accuracy without learning: by default 1/num_classes; better the share of
    the largest class of the validation labels, which a model that learned nothing can reach.
    The order of the sweeps does not matter. Raises ValueError for no sweeps or unlike ramps.

    **max_lr** (Smith 2015, section 3.3: where "the accuracy slows, becomes ragged, or starts to
    fall"). The highest point is luck on a ragged plateau, and "the last good rate" or "the first
    good rate" jump with the noise at a plateau's flat ends. Hence:

    1. Smooth each sweep's accuracy and average the sweeps. Past the rate at which a sweep stopped
       early, it counts as chance.
    2. Subtract the raggedness: the smoothed distance of the points from their curve. What is left
       is the accuracy one can depend on; a lucky point raises the raggedness, not the level.
    3. Take the region around its top that is about as good, and return the centre of that
       region in log LR, each rate weighted by exp(-shortfall / tolerance). The tolerance is half
       the noise of one validation point (from the residuals' median) and 1 to 7 % of the rise,
       so a sharp peak gives the peak and a plateau gives its middle, and both move little when
       the noise is redrawn.

    **base_lr**: where the pooled accuracy has made a tenth of its rise above chance and holds it,
    but at most max_lr / 100. A short linear ramp shows the rise late, when the model has had
    time to learn and not when the rate suffices; and a cycle ends at base_lr, so too high a
    base_lr leaves the model unannealed, while too low a one costs a hundredth of the cycle.

    ``value`` is max_lr and base_lr of the pooled curve; low, high and per_sweep come from the
    sweeps one by one. ``steepest``, ``valley`` and ``minimum`` read the training loss as Lightning
    and fastai do; their value is the median over sweeps.
    """
    sweeps = sorted(sweeps, key=lambda sweep: (sweep.seed, sweep.val_accuracy))
    lr, raw = _aligned(sweeps, 1 / num_classes)
    chance = 1 / num_classes if chance is None else chance
    losses = [(sweep.lr, smooth_loss(sweep.train_loss)) for sweep in sweeps]
    others = {
        "steepest": median(steepest, losses, "steepest fall of the training loss per log LR"),
        "valley": median(valley, losses, "middle of the training loss's longest fall"),
        "minimum": median(minimum, losses, "a tenth of the LR at the lowest training loss"),
    }
    low, high = sweeps[0].lr[0], max(sweep.lr[-1] for sweep in sweeps)
    failure = _nothing_learned(sweeps, lr, raw, chance, (low, high))
    if failure:
        return Suggestion(None, None, **others, inconclusive=failure[0], next_range=failure[1])
    pooled = _pool(lr, raw, chance)
    max_lr, base_lr = _bounds(pooled, low)
    reasons = list(_doubts(pooled, max_lr, (low, high)))
    return Suggestion(
        base_lr,
        max_lr,
        **others,
        inconclusive="\n".join(reason for reason, _ in reasons) or None,
        next_range=(min(r[0] for _, r in reasons), max(r[1] for _, r in reasons))
        if reasons
        else None,
    )


def first_guess(suggestion: Suggestion, sweeps: Sequence[Sweep]) -> float:
    """Where probing may start: max_lr, be it inconclusive, or the middle of the range in log LR.

    A bad guess costs probes; it does not change their answer.
    """
    if suggestion.max_lr is not None:
        return suggestion.max_lr.value
    return math.sqrt(sweeps[0].lr[0] * max(sweep.lr[-1] for sweep in sweeps))


def _aligned(sweeps: Sequence[Sweep], chance: float) -> tuple[Array, Array]:
    """The longest sweep's rates and all accuracies on them, filled with chance after a stop."""
    if not sweeps or not all(sweep.lr for sweep in sweeps):
        raise ValueError("sweeps: at least one with at least one iteration is needed")
    longest = max(sweeps, key=lambda sweep: len(sweep.val_lr))
    lr = np.asarray(longest.val_lr, dtype=np.float64)
    raw = np.full((len(sweeps), len(lr)), chance)
    for row, sweep in zip(raw, sweeps, strict=True):
        n = len(sweep.val_lr)
        if not np.allclose(sweep.val_lr, lr[:n], rtol=1e-6, atol=0):
            raise ValueError(f"sweeps: seed {sweep.seed} has another ramp than the others")
        row[:n] = sweep.val_accuracy
    return lr, raw


def _learned_singles(pooled: _Consensus) -> list[_Consensus]:
    singles = [_pool(pooled.lr, row[None], pooled.chance) for row in pooled.raw]
    return [single for single in singles if single.learned]


def _bounds(pooled: _Consensus, min_lr: float) -> tuple[Estimate, Estimate]:
    centre, why_max = _max_lr(pooled)
    onset, cap = _onset(pooled, min_lr), centre / BASE_SHARE
    singles = [(_max_lr(one)[0], _onset(one, min_lr)) for one in _learned_singles(pooled)]
    why_base = (
        f"accuracy has made {ONSET:.0%} of its rise"
        if onset <= cap
        else f"max_lr / {BASE_SHARE:g}, below where accuracy starts rising ({onset:.3g})"
    )
    starts = tuple(min(start, top / BASE_SHARE) for top, start in singles)
    max_lr = estimate(centre, tuple(top for top, _ in singles), why_max)
    return max_lr, estimate(min(onset, cap), starts, why_base)


def _nothing_learned(
    sweeps: Sequence[Sweep], lr: Array, raw: Array, chance: float, tried: tuple[float, float]
) -> tuple[str, tuple[float, float]] | None:
    """The reason and the range to try next when there is no curve to read a bound off."""
    low, high = tried
    stops = [sweep.stopped.lr for sweep in sweeps if sweep.stopped]
    early = min(stops, default=high)
    if len(lr) >= MIN_POINTS and _pool(lr, raw, chance).learned:
        return None
    if stops:
        range_ = (min(low, early / 100) / 10, early)
        said = f"the sweep ended at LR {early:.3g} (diverged) before anything was learned"
    elif len(lr) < MIN_POINTS:
        range_ = (low, high)
        said = f"{len(lr)} validation points are too few, {MIN_POINTS} needed: a longer sweep"
    else:
        # Where the loss fell, the rates were right and the time too short for accuracy to follow.
        losses = [smooth_loss(sweep.train_loss) for sweep in sweeps]
        fell = [min(y) < 0.9 * y[0] for y in losses if y]
        range_ = (low, high if sum(fell) > len(fell) / 2 else high * 10)
        best = float(_pool(lr, raw, chance).level.max())
        said = (
            f"nothing was learned: accuracy reached {best:.1%}, chance is {chance:.1%}; "
            "try a longer sweep as well"
        )
    return f"{said}: {_try(range_)}", range_


def _doubts(
    pooled: _Consensus, max_lr: Estimate, tried: tuple[float, float]
) -> Iterable[tuple[str, tuple[float, float]]]:
    """(reason, range to try next) for every ground on which the bounds cannot be trusted."""
    low, high = tried
    n = len(pooled.lr)
    if _still_rising(pooled):
        next_range = (low, high * 4)
        yield f"accuracy still rises at the end of the range: {_try(next_range)}", next_range
    if max_lr.value <= pooled.lr[min(n - 1, int(EDGE * n))]:
        next_range = (low / 10, max_lr.value * 10)
        yield (
            f"accuracy falls from the start of the range on: {_try(next_range)}",
            next_range,
        )
    idle = len(pooled.raw) - len(max_lr.per_sweep)
    if idle:
        next_range = (low / 10, high)
        yield f"{idle} of {len(pooled.raw)} sweeps learned nothing: {_try(next_range)}", next_range
    ratio = max_lr.high / max_lr.low
    if ratio > DISAGREE:
        next_range = (max(low, max_lr.low / 10), min(high, max_lr.high * 3))
        yield (
            f"the sweeps disagree: max_lr {max_lr.low:.3g} to {max_lr.high:.3g}, a factor of "
            f"{ratio:.1f} (at most {DISAGREE:g} is trusted): more or longer sweeps, "
            f"{_try(next_range)}",
            next_range,
        )


def _still_rising(pooled: _Consensus) -> bool:
    """Whether a line through the last TAIL of the ramp rises: clearly, and by a tenth of it all."""
    tail = pooled.raw[:, -max(4, round(TAIL * len(pooled.lr))) :]
    at = np.tile(np.linspace(-0.5, 0.5, tail.shape[1]), len(tail))
    slope = float((at * tail.ravel()).sum() / (at**2).sum())
    error = pooled.noise / math.sqrt(float((at**2).sum()))
    return slope > max(2 * error, 0.1 * pooled.rise)


def _try(next_range: tuple[float, float]) -> str:
    return f"--min-lr {next_range[0]:.3g} --max-lr {next_range[1]:.3g}"
