"""The search for learning rates: make and score probes until there is an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clr_cli.analysis.lattice import Probe, ProbeRequest, RatesFound, rate
from clr_cli.analysis.probing import SEEDS, search
from clr_cli.analysis.rates import Scoring
from clr_cli.study.collect import Execute, Notify, needs_no_engine

if TYPE_CHECKING:
    from clr_cli.execution.task import Task


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """One search.

    Attributes:
        start: the rate to begin at.
        scoring: of the metric; its unit is fitted to the values.
        task: makes a probe's task; returns None if no engine is needed to have its value.
        value: the metric's value of a probe after its task has ended; None if it failed.
        seeds: probes of one rate at most.
    """

    start: float
    scoring: Scoring
    task: Callable[[Probe], Task | None]
    value: Callable[[Probe], float | None]
    seeds: int = SEEDS


def search_rates(
    searches: Mapping[str, RateSearch],
    execute: Execute = needs_no_engine,
    notify: Notify = lambda line: None,
) -> dict[str, tuple[RatesFound, Scoring, list[Probe]]]:
    """Search for the good rates of every search at once, so that all places are used.

    Args:
        searches: by name, which is printed if there are several.
        execute: executes the probes' tasks.
        notify: is told how far each search is.

    Returns:
        By name, what each search came to, in scores; how these were made; and all its probes.
    """
    values: dict[str, dict[Probe, float | None]] = {name: {} for name in searches}
    scorings = {name: each.scoring for name, each in searches.items()}
    while True:
        requests: dict[str, ProbeRequest] = {}
        found: dict[str, RatesFound] = {}
        for name, each in searches.items():
            scores = {probe: scorings[name].score(value) for probe, value in values[name].items()}
            answer = search(scores, each.start, scorings[name].scale, each.seeds)
            if isinstance(answer, ProbeRequest):
                requests[name] = answer
            else:
                found[name] = answer
        if not requests:
            return {name: (each, scorings[name], [*values[name]]) for name, each in found.items()}
        wanted = [(name, probe) for name, request in requests.items() for probe in request.probes]
        tasks = [task for name, probe in wanted if (task := searches[name].task(probe)) is not None]
        if tasks:
            execute(tasks)
        for name, probe in wanted:
            values[name][probe] = searches[name].value(probe)
        for name, request in requests.items():
            scorings[name] = scorings[name].fitted(values[name].values())
            prefix = f"{name}, " if len(searches) > 1 else ""
            notify(f"{prefix}{request.stage}: {_progress(values[name], scorings[name])}")


def _progress(values: Mapping[Probe, float | None], scoring: Scoring) -> str:
    """Write how many probes there are, over which rates, and the best of them."""
    rates = sorted({k for k, _ in values})
    text = f"{len(values)} probes from {rate(rates[0]):.2g} to {rate(rates[-1]):.2g}"
    scores = {probe: scoring.score(value) for probe, value in values.items()}
    scored = {probe: score for probe, score in scores.items() if score is not None}
    if not scored:
        return f"{text}, all failed"
    best = max(scored, key=lambda probe: scored[probe])
    failed = sorted({k for k, seed in scores if scores[k, seed] is None})
    where = ", ".join(f"{rate(k):.2g}" for k in failed)
    return f"{text}, best so far {scoring.show(scored[best])} at {rate(best[0]):.2g}" + (
        f"; failed at {where}" if failed else ""
    )
