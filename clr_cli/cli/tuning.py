"""``clr compare --tune``: every arm's rate is searched for before the arms are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import typer

from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.rates import Scoring
from clr_cli.cli import progress, terminal
from clr_cli.config.hints import did_you_mean
from clr_cli.errors import InputError
from clr_cli.execution.engines import Engine
from clr_cli.execution.task import check_finished
from clr_cli.records import VAL_ACCURACY, Tuning
from clr_cli.study.rates import RateSearch, search_rates
from clr_cli.study.training import TrainingSource

PLACES = 4  # runs of one arm that a search has at a time, for as many workers


def check_arms(names: Sequence[str] | None, arms: Sequence[str]) -> list[str]:
    """Return the arms to tune: those named, or all for an empty list; none for None.

    Raises InputError for a name that is not an arm.
    """
    if names is None:
        return []
    for name in names:
        if name not in arms:
            raise InputError(f"--tune-arms: {name!r} is not an arm{did_you_mean(name, arms)}")
    return [*(names or arms)]


def tune_arms(source: TrainingSource, arms: Sequence[str], seeds: int, engine: Engine) -> Tuning:
    """Search for every arm's rate with whole runs; return how the rates were chosen.

    The command ends with exit code 3 where a search has no answer. A rate that is clear, but whose
    good neighbors lie closer than the lattice can tell, is used, and this is said.
    """
    config, setup = source.config, source.setups[source.config.baseline]
    like = replace(source, threads=config.training.threads).task(config.baseline, 0)
    jobs, threads = engine.workers(PLACES * len(arms), config.training.threads, like)
    source = replace(source, threads=threads)
    terminal.note(
        f"tuning: full runs of {', '.join(arms)} at rates 2 or 4 times apart, at most {seeds} "
        "runs per rate; usually 12 to 24 runs per arm"
    )

    def value(arm: str, probe: Probe) -> float | None:
        task = source.trial(arm, probe)
        check_finished([task])
        final = task.directory.read_result()["final"]
        return None if final is None else float(final["val_accuracy"])

    scoring = Scoring(VAL_ACCURACY, chance=setup.chance, images=setup.val_size)
    searches = {
        arm: RateSearch(
            start=source.arms[arm].rate or config.range_test.max_lr,
            scoring=scoring,
            task=partial(source.trial, arm),
            value=partial(value, arm),
            seeds=seeds,
        )
        for arm in arms
    }
    execute = progress.with_progress(engine, jobs, config.training.epochs)
    answers = {}
    for arm, (found, _, probes) in search_rates(searches, execute, terminal.note).items():
        trials = (source.trial(arm, probe).directory.read_result() for probe in probes)
        answers[arm] = scoring.answer(
            found,
            searches[arm].start,
            experiment=config.name,
            key=source.arms[arm].rate_key,
            schedule=arm,
            kind=source.arms[arm].kind,
            chance=setup.chance,
            seconds=sum(trial["train_seconds"] for trial in trials),
        )
    tuned = Tuning(seeds=seeds, arms=answers)
    without = [f"{arm} ({answers[arm].inconclusive})" for arm in arms if arm not in tuned.rates]
    if without:
        terminal.error(
            f"--tune found no clearly best rate for {', '.join(without)}. Train longer "
            "(training.epochs), or set the rate in the config and tune only the other arms "
            "(--tune-arms)"
        )
        raise typer.Exit(3)
    for arm, rate in tuned.rates.items():
        best = answers[arm]
        interval = "" if best.low is None else f", good from {best.low:.2g} to {best.high:.2g}"
        warning = f" ({best.inconclusive})" if best.inconclusive else ""
        terminal.note(f"  {arm}: {best.key} {rate:g}{interval}{warning}")
    return tuned
