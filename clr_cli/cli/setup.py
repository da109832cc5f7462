"""Describe what a command will do, as rows of its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from clr_cli.config.arms import ScheduleConfig
from clr_cli.config.model import Config
from clr_cli.execution.setup import Setup
from clr_cli.execution.training_task import resolve_schedule
from clr_cli.format import epochs
from clr_cli.report.write import describe_schedule


def rows(
    config: Config, setup: Setup, iterations: int | None = None, place: str | None = None
) -> Iterator[tuple[str, str]]:
    """Yield rows on data, model, device and length. ``place``: a run's resources on a cluster."""
    training, optimizer = config.training, config.optimizer
    size = "x".join(map(str, setup.image))
    yield (
        "data",
        f"{config.dataset.label}: {setup.train_size:,} train, {setup.val_size:,} validation, "
        f"{setup.test_size:,} test images of {size}, {setup.num_classes} classes",
    )
    for note in setup.notes:
        kind, _, text = note.partition(": ")
        yield kind, text
    yield "augment", config.dataset.augment.described
    yield "model", f"{config.model.described}: {setup.parameters:,} parameters"
    if setup.fresh:
        yield (
            "new head",
            f"{', '.join(setup.fresh)}: starts from random weights, because model.weights has a "
            "different number of classes",
        )
    threads = f", {setup.threads} threads" if setup.threads is not None else ""
    yield "device", place or f"{setup.device}, {setup.precision}{threads}"
    steps = setup.steps_per_epoch
    length = (
        f"{epochs(training.epochs)} x {steps} iterations = {training.epochs * steps:,}"
        if iterations is None
        else f"{iterations:,} iterations"
    )
    yield (
        "training",
        f"{length} of {training.batch_size} images; {optimizer.described}{training.extras}",
    )
    if len(setup.ratios) > 1:
        shown = ", ".join(f"{ratio:g}" for ratio in setup.ratios)
        yield "groups", f"the schedule's rate times {shown}"


def schedule_rows(
    arms: Mapping[str, ScheduleConfig], config: Config, setups: Mapping[str, Setup]
) -> Iterator[tuple[str, str]]:
    """Yield a row for every arm: its schedule, and the keys that it sets.

    Raises InputError for a schedule that does not fit the run.
    """
    epochs = config.training.epochs
    for arm, schedule in arms.items():
        steps = setups[arm].steps_per_epoch
        resolved = resolve_schedule(schedule, steps, epochs)
        own = "".join(f"; {key} {value}" for key, value in (schedule.set or {}).items())
        yield arm, describe_schedule(schedule.kind, resolved, steps, epochs) + own
