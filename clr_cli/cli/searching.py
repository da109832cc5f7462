"""Searching for learning rates with probes: asked for, executed, and followed at the prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clr_cli.cli import terminal

if TYPE_CHECKING:
    from clr_cli.analysis.lattice import Found, Probe, Scale, Scores
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.task import Task


@dataclass(frozen=True)
class Quest:
    """One search.

    score: of a finished task; higher is better, None where it failed. seeds: runs of a rate at
    most. show: a score in words.
    """

    start: float
    scale: Scale
    task: Callable[[Probe], Task]
    score: Callable[[Task], float | None]
    seeds: int
    show: Callable[[float], str]


def followed(engine: Engine, jobs: int, epochs: int) -> Callable[[Sequence[Task]], None]:
    """What executes tasks of so many rows each, ``jobs`` at a time, with their progress.

    It raises EnvironmentFailure where one could not be finished.
    """
    from clr_cli.execution.records import check_finished

    def execute(tasks: Sequence[Task]) -> None:
        terminal.follow(tasks, jobs, epochs, engine.execute(tasks))
        check_finished(tasks)

    return execute


def search_all(
    quests: Mapping[str, Quest], execute: Callable[[Sequence[Task]], None]
) -> tuple[dict[str, Found], dict[str, list[Task]]]:
    """Search for every quest's rates at once, so that all places are used.

    Args:
        quests: by name, which is printed where there are several.
        execute: executes tasks, to their end.

    Returns:
        By name, what each search came to, and its tasks.
    """
    from clr_cli.analysis.lattice import Ask
    from clr_cli.analysis.probing import search

    scores: dict[str, dict[Probe, float | None]] = {name: {} for name in quests}
    executed: dict[str, list[Task]] = {name: [] for name in quests}
    while True:
        answers = {
            name: search(scores[name], quest.start, quest.scale, quest.seeds)
            for name, quest in quests.items()
        }
        asked = {name: answer for name, answer in answers.items() if isinstance(answer, Ask)}
        if not asked:
            found = {name: a for name, a in answers.items() if not isinstance(a, Ask)}
            return found, executed
        wanted = [(name, probe) for name, ask in asked.items() for probe in ask.probes]
        tasks = [quests[name].task(probe) for name, probe in wanted]
        execute(tasks)
        for (name, probe), task in zip(wanted, tasks, strict=True):
            scores[name][probe] = quests[name].score(task)
            executed[name].append(task)
        for name, ask in asked.items():
            prefix = f"{name}, " if len(quests) > 1 else ""
            terminal.note(f"{prefix}{ask.stage}: {so_far(scores[name], quests[name].show)}")


def so_far(scores: Scores, show: Callable[[float], str]) -> str:
    """How many probes there are, over which rates, and the best of them."""
    from clr_cli.analysis.lattice import rate

    rates = sorted({k for k, _ in scores})
    said = f"{len(scores)} probes from {rate(rates[0]):.2g} to {rate(rates[-1]):.2g}"
    there = {probe: score for probe, score in scores.items() if score is not None}
    if not there:
        return f"{said}, all failed"
    best = max(there, key=lambda probe: there[probe])
    failed = sorted({k for k, seed in scores if scores[k, seed] is None})
    some = f"; failed at {_listed([rate(k) for k in failed])}" if failed else ""
    return f"{said}, best so far {show(there[best])} at {rate(best[0]):.2g}{some}"


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{each:.2g}" for each in rates)
