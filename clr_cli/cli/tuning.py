"""``clr compare --tune``: every arm's rate is searched for before the arms are compared."""

from __future__ import annotations

from functools import partial

from clr_cli.analysis import tuning
from clr_cli.analysis.lattice import DELTA, Scale
from clr_cli.cli import terminal
from clr_cli.cli.searching import Quest, followed, search_all
from clr_cli.errors import EnvironmentFailure
from clr_cli.execution.engines import Engine
from clr_cli.execution.plan import Plan
from clr_cli.execution.setup import Setup
from clr_cli.execution.task import Task
from clr_cli.records import Tuning

PLACES = 4  # runs of one arm that a search has at a time, for as many workers


def tune_arms(plan: Plan, engine: Engine, setup: Setup) -> Tuning:
    """Search for every tuned arm's rate with whole runs."""
    config, arms = plan.config, {arm: plan.arms[arm] for arm in plan.tuned_arms}
    like = plan.run(config.baseline, 0, config.training.threads)
    jobs, threads = engine.workers(PLACES * len(arms), config.training.threads, like)
    terminal.note(
        f"tuning: whole runs of {', '.join(arms)} at rates a factor of 2 or 4 apart, at most "
        f"{plan.tune_seeds} of each rate; usually 12 to 24 for an arm"
    )
    quests = {arm: _quest(plan, arm, setup, threads) for arm in arms}
    found, runs = search_all(quests, followed(engine, jobs, config.training.epochs))
    seconds = {
        arm: sum(run.directory.read_result()["train_seconds"] for run in runs[arm]) for arm in arms
    }
    keys = {arm: schedule.rate_key for arm, schedule in arms.items()}
    try:
        chosen = tuning.record(found, keys, seconds, plan.tune_seeds)
    except ValueError as error:
        raise EnvironmentFailure(f"--tune: {error}; train longer") from None
    for arm, best in chosen.arms.items():
        interval = "" if best.low is None else f", good from {best.low:.2g} to {best.high:.2g}"
        why = f" ({best.inconclusive})" if best.inconclusive else ""
        terminal.note(f"  {arm}: {best.key} {best.value:g}{interval}{why}")
    return chosen


def _quest(plan: Plan, arm: str, setup: Setup, threads: int | None) -> Quest:
    """The search for one arm's rate."""

    def score(task: Task) -> float | None:
        final = task.directory.read_result()["final"]
        return None if final is None else final["val_accuracy"]

    return Quest(
        start=plan.arms[arm].rate or plan.config.range_test.max_lr,
        scale=Scale(DELTA, chance=setup.chance, images=setup.val_size),
        task=partial(plan.trial, arm, threads=threads),
        score=score,
        seeds=plan.tune_seeds,
        show="{:.1%}".format,
    )
