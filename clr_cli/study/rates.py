"""The search for learning rates: make and score probes until there is an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clr_cli.analysis.lattice import Probe, ProbeRequest, RatesFound, Scale, Scores, rate
from clr_cli.analysis.probing import SEEDS, search
from clr_cli.study.collect import Execute, Notify, needs_no_engine

if TYPE_CHECKING:
    from clr_cli.execution.task import Task


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """One search.

    Attributes:
        start: the rate to begin at.
        scale: of the scores.
        task: makes a probe's task; returns None if no engine is needed to score it.
        score: of a probe after its task has ended; higher is better, None if it failed.
        show: writes a score for people.
        seeds: probes of one rate at most.
    """

    start: float
    scale: Scale
    task: Callable[[Probe], Task | None]
    score: Callable[[Probe], float | None]
    show: Callable[[float], str] = "{:.4g}".format
    seeds: int = SEEDS


def search_rates(
    searches: Mapping[str, RateSearch],
    execute: Execute = needs_no_engine,
    notify: Notify = lambda line: None,
) -> dict[str, tuple[RatesFound, Scores]]:
    """Search for the good rates of every search at once, so that all places are used.

    Args:
        searches: by name, which is printed if there are several.
        execute: executes the probes' tasks.
        notify: is told how far each search is.

    Returns:
        By name, what each search came to, and the scores of all its probes.
    """
    scores: dict[str, dict[Probe, float | None]] = {name: {} for name in searches}
    while True:
        answers = {
            name: search(scores[name], each.start, each.scale, each.seeds)
            for name, each in searches.items()
        }
        requests = {name: a for name, a in answers.items() if isinstance(a, ProbeRequest)}
        if not requests:
            return {
                name: (answer, scores[name])
                for name, answer in answers.items()
                if isinstance(answer, RatesFound)
            }
        wanted = [(name, probe) for name, request in requests.items() for probe in request.probes]
        tasks = [task for name, probe in wanted if (task := searches[name].task(probe)) is not None]
        if tasks:
            execute(tasks)
        for name, probe in wanted:
            scores[name][probe] = searches[name].score(probe)
        for name, request in requests.items():
            prefix = f"{name}, " if len(searches) > 1 else ""
            notify(f"{prefix}{request.stage}: {_progress(scores[name], searches[name].show)}")


def _progress(scores: Scores, show: Callable[[float], str]) -> str:
    """Write how many probes there are, over which rates, and the best of them."""
    rates = sorted({k for k, _ in scores})
    text = f"{len(scores)} probes from {rate(rates[0]):.2g} to {rate(rates[-1]):.2g}"
    scored = {probe: score for probe, score in scores.items() if score is not None}
    if not scored:
        return f"{text}, all failed"
    best = max(scored, key=lambda probe: scored[probe])
    failed = sorted({k for k, seed in scores if scores[k, seed] is None})
    where = ", ".join(f"{rate(k):.2g}" for k in failed)
    return f"{text}, best so far {show(scored[best])} at {rate(best[0]):.2g}" + (
        f"; failed at {where}" if failed else ""
    )
