"""Three lines of Python: compare training functions, and find the learning rate of one.

``import clr_cli as clr`` offers what is here as ``clr.compare`` and ``clr.find_lr``. The functions
are called in this process, one after the other, or in several with ``jobs``. What they give is kept
in ``directory``, so that a call that was interrupted resumes; without it nothing is left behind.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clr_cli.analysis.lattice import Probe
from clr_cli.analysis.rates import Scoring
from clr_cli.config.program import DEFAULT_START
from clr_cli.errors import EnvironmentFailure, InputError
from clr_cli.execution.engines import Local
from clr_cli.execution.task import Event
from clr_cli.paths import SUMMARY, Experiment
from clr_cli.records import Summary, read_if_any
from clr_cli.report.answers import ArmResult, Comparison, LearningRate
from clr_cli.study.arguments import Mode, counted, metric_of, study_of, text_of
from clr_cli.study.collect import Execute, analysed, collect
from clr_cli.study.functions import (
    Function,
    FunctionProbes,
    FunctionRuns,
    FunctionSource,
    Result,
    versions,
)
from clr_cli.study.rates import RateSearch, search_rates

if TYPE_CHECKING:
    from clr_cli.execution.task import Task
    from clr_cli.training.trained import Trained

__all__ = ["ArmResult", "Comparison", "LearningRate", "compare", "find_lr", "load"]

Jobs = int | Literal["auto"]
REDRAW = 0.5  # seconds between two values that a bar shows
MOST_AT_ONCE = 10  # probes that a search can ask for at a time


def compare(
    arms: Mapping[str, Callable[[int], Result]],
    *,
    metric: str,
    mode: Mode | None = None,
    unit: str | None = None,
    seeds: int | Sequence[int] | str = 6,
    paired: bool = False,
    baseline: str | None = None,
    target: float | Literal["auto"] = "auto",
    margin: float | None = None,
    name: str = "comparison",
    directory: str | Path | None = None,
    jobs: Jobs = 1,
    progress: bool = False,
) -> Comparison:
    """Is one training function better than another? By how much, how surely, how much sooner?

    Args:
        arms: by name, functions of a seed. Each gives the metric's final value, or rows of numbers
            by name (an iterable of mappings, or one), whose last holds the final value. Rows with
            ``iteration`` or ``seconds`` (since the start) give curves and times to a target. A
            number may be in a tensor or an array; None is a missing value, and text is left out.
            A run fails to train if its final value is missing, not finite or beyond 1e15, or if
            it raises an ArithmeticError, such as FloatingPointError or ZeroDivisionError.
        metric: its name; of rows also the key.
        mode: whether "min" or "max" is better; known for such names as val_loss and test_accuracy.
        unit: "%" for fractions, which are shown in percent; None: the name and the values decide.
        seeds: how many, which ones, or "auto" or "auto:CAP": add seeds until it is decided.
        paired: whether runs of one seed share their randomness.
        baseline: the arm to compare with; default: the first.
        target: a value of the metric whose time is compared; "auto": the baseline's median.
        margin: the difference that does not matter; None: no arms are called equivalent.
        name: of the comparison, on the page.
        directory: keeps finished calls in ``train/<arm>/seed-<k>`` and the result in ``compare``.
            The same call resumes after an exception, Ctrl-C or a kill. A function that has changed
            since (its code, own functions that it uses, values that it refers to) is refused.
            Data are not looked at: of arrays and objects of libraries only the type counts.
        jobs: calls at a time; more than one need cloudpickle and run in processes of their own;
            "auto": as many as there are cores, 8 at most.
        progress: whether to show a bar of the runs, in a notebook or on a terminal.

    Returns:
        It prints as a table and sentences, shows in a notebook, ``save`` writes the page, and
        ``result["new"]``, ``result.table()`` and ``result.runs()`` have the numbers.

    Raises:
        ValueError: an argument does not fit, or rows do not hold the metric, or the directory keeps
            calls of other functions.
        OSError: the directory cannot be written.

    An exception from a function propagates. It (also KeyboardInterrupt) carries the finished runs
    in ``finished``, a list of ``records.RunRecord``.

    >>> import random
    >>> def train(mean):
    ...     return lambda seed: mean + random.Random(seed).gauss(0, 0.1)
    >>> result = compare({"old": train(2.0), "new": train(1.0)}, metric="val_loss", paired=True)
    >>> result.verdicts
    {'new': 'better'}
    >>> new = result["new"]
    >>> new.verdict, round(new.difference, 6), new.low <= new.difference <= new.high, new.p < 0.05
    ('better', -1.0, True, True)
    >>> len(result.table()), len(result.runs())
    (2, 12)
    """
    with _value_errors():
        study = study_of(
            arms,
            metric=metric_of(metric, mode, unit),
            baseline=baseline,
            name=text_of(name, "name"),
            **counted(seeds, paired=paired, target=target, margin=margin),
        )
        functions = {arm: Function.of(function) for arm, function in arms.items()}
        with _experiment(directory) as experiment:
            engine = _engine(jobs, functions.values())
            _, threads = engine.workers(len(study.runs()), None)
            source = FunctionSource(
                experiment=experiment, metric=metric, threads=threads, arms=functions
            )
            folder = experiment.comparison()
            remedy = f"delete {folder}"
            before = read_if_any(Summary, folder / SUMMARY, remedy=remedy)
            if len(study.seeds) < study.fewest:
                warnings.warn(
                    f"{len(study.seeds)} seeds are too few to show any difference; you need at "
                    f"least {study.fewest}",
                    stacklevel=2,
                )
            with (
                _finished_in_exceptions(source, directory),
                _value_errors(),
                engine.connected(),
                _executor(engine, metric, len(study.runs()), shown=progress) as execute,
            ):
                runs = collect(study, source, execute, before=before)
            with analysed(study, runs, folder, remedy=remedy) as summary:
                result = Comparison(summary, runs.records)
                if directory is not None:
                    result.save(folder)
            return result


def find_lr(
    train: Callable[[float, int], Result],
    *,
    metric: str,
    mode: Mode | None = None,
    unit: str | None = None,
    start: float = DEFAULT_START,
    delta: float | None = None,
    name: str = "learning rate",
    directory: str | Path | None = None,
    jobs: Jobs = 1,
    progress: bool = False,
) -> LearningRate:
    """Which learning rates are good for a training function?

    Short trainings at single rates, on a lattice of factors of 2, bracket the good rates; the
    answer does not depend on where the search starts. See ``analysis.probing.search``.

    Args:
        train: a function of a learning rate and a seed, which gives the metric's final value or
            rows, as in ``compare``. Short trainings do: rates are judged against one another.
        metric, mode, unit: as in ``compare``.
        start: the rate to begin at.
        delta: how far from the best value is still good, in the metric's unit; None: 3 points of
            a metric in percent, 3 % of the value of any other.
        name: of the search, on the page.
        directory, jobs, progress: as in ``compare``; ``probes/lr-<rate>/seed-<k>`` keeps the calls
            and ``rates`` the answer.

    Returns:
        It prints as sentences, shows in a notebook, and ``save`` writes the page.

    Raises:
        ValueError, OSError: as in ``compare``. An exception from ``train`` propagates, and
            carries the finished calls in ``finished``.

    >>> found = find_lr(lambda lr, seed: 1 + abs(math.log10(lr / 0.01)) ** 2, metric="val_loss")
    >>> [f"{each:.2g}" for each in (found.lr, *found.interval)]
    ['0.0096', '0.0059', '0.016']
    """
    for key, value in (("start", start), ("delta", delta)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{key}: {value:g}: give a number above zero")
    if not callable(train):
        raise ValueError(f"train: {train!r:.60}: give a function of a learning rate and a seed")
    with _value_errors(), _experiment(directory) as experiment:
        scoring = Scoring(metric_of(metric, mode, unit), delta)
        text_of(name, "name")
        function = Function.of(train)
        engine = _engine(jobs, [function])
        _, threads = engine.workers(MOST_AT_ONCE, None)
        probes = FunctionProbes(
            experiment=experiment, metric=metric, threads=threads, function=function
        )

        def final(probe: Probe) -> float | None:
            record = probes.task(probe).record()
            return record.result["final"][metric] if record.status == "finished" else None

        search = RateSearch(start=start, scoring=scoring, task=probes.task, value=final)
        with (
            _finished_in_exceptions(probes, directory),
            _value_errors(),
            engine.connected(),
            _executor(engine, metric, None, shown=progress) as execute,
        ):
            found, scoring, tried = search_rates({name: search}, execute)[name]
        records = [probes.task(probe).record() for probe in tried]
        seconds = sum(record.result.get("train_seconds", 0.0) for record in records)
        answer = scoring.answer(found, start, experiment=name, seconds=seconds, versions=versions())
        result = LearningRate(answer)
        if directory is not None:
            result.save(experiment.rates)
        return result


def load(path: str | Path, *, allow_code: bool = False) -> Trained:
    """Load the trained model of a finished run.

    Args:
        path: the folder of the run, or its model.pt.
        allow_code: whether a ``module:function`` may be imported and called.

    Returns:
        A torch module on the CPU, in eval mode; ``to`` moves it.

    Raises:
        ValueError: there is no finished run, its file is damaged, or its code is not allowed or
            has changed.

    >>> model = load("outputs/svhn/train/clr/seed-0")  # doctest: +SKIP
    >>> model(images).argmax(1)  # doctest: +SKIP
    """
    from clr_cli.training import trained

    with _value_errors():
        return trained.load(path, allow_code=allow_code)


@contextlib.contextmanager
def _value_errors() -> Iterator[None]:
    """Turn clr's own errors into those that a caller of a function expects."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from None
    except EnvironmentFailure as error:
        raise OSError(str(error)) from None


@contextlib.contextmanager
def _experiment(directory: str | Path | None) -> Iterator[Experiment]:
    """Give the folder of the calls; without a directory one that is deleted in the end."""
    if directory is not None:
        folder = Path(directory).expanduser().absolute()
        yield Experiment(folder.parent, folder.name)
        return
    with tempfile.TemporaryDirectory(prefix="clr-", ignore_cleanup_errors=True) as temporary:
        yield Experiment(Path(temporary), "calls")


def _engine(jobs: Any, functions: Any) -> Local:
    """Return what executes the calls. Raises InputError if functions cannot be sent to workers."""
    if jobs != "auto" and not (isinstance(jobs, int) and jobs >= 1):
        raise InputError(f"{jobs!r:.60}: give a number from 1 up, or 'auto'", key="jobs")
    engine = Local("cpu", None if jobs == "auto" else jobs)
    if engine.workers(MOST_AT_ONCE, None)[0] > 1:
        for function in functions:
            function.call.pack()
    return engine


@contextlib.contextmanager
def _finished_in_exceptions(source: FunctionRuns, directory: str | Path | None) -> Iterator[None]:
    """Give whatever is raised within the finished runs, and a note on them."""
    try:
        yield
    except BaseException as error:
        finished = []
        for task in {task.path: task for task in source.made}.values():
            with contextlib.suppress(InputError):
                if task.directory.finished:
                    finished.append(task.record())
        error.finished = finished  # type: ignore[attr-defined]
        if finished:
            kept = f"are kept in {directory}: a call with the same functions resumes"
            lost = "are in this exception's attribute finished; directory= would have kept them"
            error.add_note(
                f"clr: {len(finished)} finished runs {lost if directory is None else kept}"
            )
        raise


@contextlib.contextmanager
def _executor(engine: Local, metric: str, total: int | None, *, shown: bool) -> Iterator[Execute]:
    """Give what executes calls, raises what they raise, and shows how many have ended."""
    bar: Any = None
    if shown:
        from tqdm.auto import tqdm

        bar = tqdm(total=total, unit="run")

    drawn = 0.0

    def follow(name: str, event: Event) -> None:
        nonlocal drawn
        if event.kind == "row" and metric in event.value:
            bar.set_postfix_str(f"{name}: {metric} {event.value[metric]:.5g}", refresh=False)
            if time.monotonic() - drawn > REDRAW:
                bar.refresh()
                drawn = time.monotonic()
        elif event.kind == "end":
            bar.update()

    def execute(tasks: Sequence[Task]) -> None:
        with contextlib.closing(engine.execute(tasks)) as events:  # type: ignore[type-var]
            for event in events:
                if event.kind == "raised":
                    raise event.value.error
                if event.kind == "note":
                    warnings.warn(str(event.value), stacklevel=2)
                if event.kind == "locked":
                    text = "another process is working on it; clr waits"
                    warnings.warn(f"{event.value}: {text}", stacklevel=2)
                if bar is not None:
                    follow(tasks[event.index].name, event)

    try:
        yield execute
    finally:
        if bar is not None:
            bar.close()
