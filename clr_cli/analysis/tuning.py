"""Equal tuning: every arm gets the same number of learning-rate trials, chosen on validation.

Without it "cyclic beats constant" may only mean that the constant rate was badly chosen
(Choi et al. 2019, "On Empirical Comparisons of Optimizers", argue the same for optimizers).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from clr_cli import schedules
from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.errors import InputError
from clr_cli.records import RunRecord

# Trials use seeds of their own, so that no winner is chosen on the seeds that compare the arms.
FIRST_SEED = 1_000_000


def rate_key(schedule: ScheduleConfig) -> str:
    """The key that a trial varies: max_lr where the kind has one, else lr."""
    return "max_lr" if "max_lr" in type(schedule).model_fields else "lr"


def grid(config: Config, trials: int) -> list[float]:
    """``trials`` rates, log-spaced over the range test's range: the same for every arm."""
    if trials < 2:
        raise InputError(f"--tune {trials}: give at least 2 trials for every arm")
    low, high = math.log(config.range_test.min_lr), math.log(config.range_test.max_lr)
    rates = (math.exp(low + (high - low) * k / (trials - 1)) for k in range(trials))
    return [float(f"{rate:.3g}") for rate in rates]


def trial(schedule: ScheduleConfig, rate: float) -> ScheduleConfig:
    """The arm at another peak rate; a base_lr above it follows it down. Raises InputError."""
    params = {**schedule.params, rate_key(schedule): rate}
    for parameter in schedules.parameters(schedule.kind):
        if parameter.name == "base_lr":
            params["base_lr"] = min(params.get("base_lr", parameter.default), rate)
    try:
        return schedule.with_params(params)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--tune: {schedule.kind} at {rate:g}: {reason}") from None


def choose(
    arms: Mapping[str, ScheduleConfig], rates: Sequence[float], records: Sequence[RunRecord]
) -> dict[str, Any]:
    """The best rate of every arm by mean final validation accuracy; a diverged trial is chance.

    ``records``: of every arm's trials, named ``arm@rate``. Returns the ``tuning`` of summary.json;
    ``edge`` says that the winner is the grid's first or last rate, so a better may lie outside.
    """
    chosen: dict[str, Any] = {}
    seconds, tried = dict.fromkeys(arms, 0.0), 0
    for arm, schedule in arms.items():
        scores = {}
        for rate in rates:
            runs = [record for record in records if record.arm == trial_name(arm, rate)]
            scores[rate] = statistics.fmean(_score(run) for run in runs)
            tried = max(tried, len(runs))
            seconds[arm] += sum(run.result.get("train_seconds", 0.0) for run in runs)
        best = max(scores, key=lambda rate: scores[rate])
        chosen[arm] = {
            "key": rate_key(schedule),
            "value": best,
            "val_accuracy": scores[best],
            "edge": best in (rates[0], rates[-1]),
            "trials": [{"value": rate, "val_accuracy": score} for rate, score in scores.items()],
        }
    return {"grid": list(rates), "seeds": tried, "arms": chosen, "seconds": seconds}


def trial_name(arm: str, rate: float) -> str:
    """The name of a trial, and of its folder.

    >>> trial_name('clr', 0.14)
    'clr@0.14'
    """
    return f"{arm}@{rate:g}"


def _score(record: RunRecord) -> float:
    if record.status == "finished":
        return float(record.result["final"]["val_accuracy"])
    return 1 / record.result["num_classes"] if record.result else 0.0
