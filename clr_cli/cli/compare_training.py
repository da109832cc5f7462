"""Run ``clr compare`` with configs of clr's own training: each is a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clr_cli.cli import across, comparison, options, progress
from clr_cli.errors import InputError

if TYPE_CHECKING:
    from clr_cli.analysis.study import Key, Study
    from clr_cli.config.model import Config
    from clr_cli.execution.engines import Engine
    from clr_cli.records import RunRecord, Summary
    from clr_cli.study.training import TrainingSource


@dataclass(frozen=True)
class Asked:
    """The options of a comparison of trainings.

    Attributes:
        chosen: options that commands share.
        bounds: a file with the bounds of cyclical rates.
        only: runs that alone are trained, ``arm:seed``.
        tuned: arms whose rates are searched for: all for an empty list, none for None.
        tune_seeds: the most runs at one rate.
        dry_run: whether to end with the plan.
    """

    chosen: options.Options
    bounds: Path | None
    only: Sequence[str]
    tuned: Sequence[str] | None
    tune_seeds: int
    dry_run: bool


@dataclass(frozen=True)
class _Plan:
    """A comparison that is checked and not begun.

    keys: runs that alone are trained. to_tune: arms whose rates are searched for. jobs: runs at a
    time.
    """

    study: Study
    source: TrainingSource
    keys: Sequence[Key]
    to_tune: Sequence[str]
    jobs: int = 1

    @property
    def folder(self) -> Path:
        return self.source.options.experiment.comparison(tuned=bool(self.to_tune))


def compare(configs: Sequence[tuple[str, Config]], asked: Asked, name: str | None) -> None:
    """Train the arms of every config and compare them, on each data set and on all of them.

    Nothing is trained before all configs are checked. Raises InputError, EnvironmentFailure.

    Args:
        configs: one or more, each with its file.
        asked: the options, the same for all.
        name: of the combination of several; None joins theirs.
    """
    chosen, engine, plans = asked.chosen, asked.chosen.engine, list[_Plan]()
    for file, config in configs:
        with options.errors_in(file):
            plans.append(_checked(config, asked))
    studies = {plan.study.name: plan.study for plan in plans}
    several = len(plans) > 1
    if len(studies) < len(plans):
        raise InputError("--config: two have one name; give each its own (name: ...)")
    if several:
        experiment = across.experiment_of(chosen.output_dir, name or "+".join(studies))
        combined = experiment.across(tuned=bool(plans[0].to_tune))
        across.check(studies, combined)
    found = {}
    with engine.connected():
        for k, (file, _) in enumerate(configs):
            with options.errors_in(file):
                plans[k] = _measured(plans[k], chosen, engine)
        if asked.dry_run:
            return
        for plan, (file, _) in zip(plans, configs, strict=True):
            with options.errors_in(file):
                summary, written = _run(plan, asked, engine) or (None, [])
            if summary is not None and several:
                across.tell(plan.study.name, summary)
                found[plan.study.name] = plan.folder, summary
            elif summary is not None:
                comparison.print_result(summary, written, chosen.expect, as_json=chosen.json)
    if found:
        across.conclude(combined, found, chosen.expect, as_json=chosen.json)


def _checked(config: Config, asked: Asked) -> _Plan:
    """Return the plan of a config. Raises InputError."""
    chosen = asked.chosen
    arms = config.arms(chosen.output_dir, asked.bounds)
    chosen.check(config)
    options.refuse_torchrun("compare")
    from clr_cli.analysis import expectation
    from clr_cli.cli.tuning import check_arms
    from clr_cli.study.training import TrainingSource, study_of

    study = study_of(config, [*arms])
    expectation.check(study, chosen.expect)
    keys = comparison.only_these(asked.only, study)
    source = TrainingSource(config=config, options=chosen.for_tasks(config), arms=arms)
    return _Plan(study, source, keys, check_arms(asked.tuned, [*arms]))


def _measured(plan: _Plan, chosen: options.Options, engine: Engine) -> _Plan:
    """Return the plan with the sizes of data and models, and print it.

    Raises InputError, EnvironmentFailure: data or an arm cannot be built.
    """
    from clr_cli.cli.setup import rows, schedule_rows
    from clr_cli.execution.setup import measure

    study, source = plan.study, plan.source
    config, arms, baseline = source.config, source.arms, source.config.baseline
    first = replace(source, threads=config.training.threads).task(baseline, study.seeds[0])
    runs = len(plan.keys or study.runs())
    jobs, threads = engine.workers(runs, config.training.threads, first)
    # Built by this process, even if others execute the runs.
    device = chosen.device if chosen.ray_address is None else "cpu"
    source = replace(source, threads=threads)
    setup = measure(replace(first, threads=threads, device=device))
    setups = {  # refuses an arm that cannot be built before any training
        arm: setup
        if config.for_arm(arm) == config.for_arm(baseline)
        else measure(replace(source.task(arm, study.seeds[0]), device=device))
        for arm in arms
    }
    study = replace(study, chance=1 / setup.num_classes)
    comparison.print_plan(
        study,
        [
            *rows(config.for_arm(baseline), setup, place=engine.place(threads)),
            *schedule_rows(arms, config, setups),
            comparison.runs_row(study, plan.keys, jobs, engine.where),
        ],
    )
    comparison.print_outlook(study, comparison.Place(plan.folder, chosen.overwrite).before)
    return replace(plan, study=study, source=replace(source, setups=setups), jobs=jobs)


def _run(plan: _Plan, asked: Asked, engine: Engine) -> tuple[Summary, list[Path]] | None:
    """Train every arm and seed, after a search for rates, and write the comparison.

    Return it, and the paths that were written; None if only some runs were to be trained.
    """
    from clr_cli.cli.live import LivePage
    from clr_cli.cli.tuning import tune_arms

    study, source, chosen, folder = plan.study, plan.source, asked.chosen, plan.folder
    epochs = source.config.training.epochs
    if plan.to_tune:
        source = source.at(tune_arms(source, plan.to_tune, asked.tune_seeds, engine))
    source = replace(source, costs=_costs(source, asked.bounds))
    page = None if plan.keys else LivePage(study, folder, epochs)
    execute = progress.with_progress(engine, plan.jobs, epochs, page)
    if plan.keys:
        comparison.execute_only(plan.keys, source, execute)
        return None
    place = comparison.Place(folder, chosen.overwrite)
    if chosen.tensorboard:
        place = replace(place, also=_events_of(source))
    return comparison.compare(study, source, place, execute)


def _costs(source: TrainingSource, bounds: Path | None) -> dict[str, dict[str, float]]:
    """Return the seconds of tuning, and of the range test whose bounds an arm uses."""
    from clr_cli.paths import RESULT
    from clr_cli.records import RateAnswer, read_if_any

    config, tuned = source.config, source.tuned
    costs: dict[str, dict[str, float]] = {arm: {} for arm in source.arms}
    for arm, answer in (tuned.arms if tuned else {}).items():
        costs[arm]["tuning_seconds"] = answer.seconds
    for arm in config.compare.schedules:
        schedule = config.schedule(arm)
        bounded = {"base_lr", "max_lr"} & set(type(schedule).model_fields)
        if (bounds and bounded) or schedule.needs_bounds:
            folder = (bounds or source.options.experiment.bounds(arm)).parent
            found = read_if_any(RateAnswer, folder / RESULT, remedy="run clr range-test again")
            costs[arm]["range_test_seconds"] = found.seconds if found else 0.0
    return costs


def _events_of(source: TrainingSource) -> Callable[[Sequence[RunRecord]], list[Path]]:
    """Return a function that writes TensorBoard's files of the runs."""
    from clr_cli.execution.tensorboard import write_tensorboard

    return lambda records: [
        write_tensorboard(source.task(record.arm, record.seed).path, record) for record in records
    ]
