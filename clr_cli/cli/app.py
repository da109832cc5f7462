"""The command line. Commands validate their input here, before torch or matplotlib is loaded."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clr_cli import __version__, interrupt
from clr_cli.cli import terminal as console
from clr_cli.errors import EnvironmentFailure, InputError

if TYPE_CHECKING:
    from clr_cli.cli.commands import Options
    from clr_cli.config.model import Config

app = typer.Typer(
    name="clr",
    help="Find learning-rate bounds, train with a schedule, compare schedules honestly.",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing rich would take longer than everything else
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(
    help="Look at configs and their schema.", no_args_is_help=True, rich_markup_mode=None
)
schedule_app = typer.Typer(
    help="Look at schedules without training.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(config_app, name="config")
app.add_typer(schedule_app, name="schedule")

ConfigName = Annotated[
    str,
    typer.Option("--config", "-c", help="A path, or the name of a config in ./configs or shipped."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override a key: section.key=value. Repeatable."),
]
ExperimentName = Annotated[
    str | None, typer.Option("--name", help="The experiment's name (default: the config's).")
]
OutputDir = Annotated[Path, typer.Option("--output-dir", "-o", help="Where results are written.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
Jobs = Annotated[str, typer.Option("--jobs", "-j", help="Runs at a time: a number or auto.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Start over what is there.")]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Let a config's model be a module.path:function.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write TensorBoard event files.")
]
Bounds = Annotated[
    Path | None,
    typer.Option("--bounds", help="A bounds.yaml of clr range-test: sets base_lr and max_lr."),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"clr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Find learning-rate bounds, train with a schedule, compare schedules honestly."""


def _load(config: str, sets: list[str] | None, name: str | None, *more: str | None) -> Config:
    from clr_cli.config.load import load

    given = [*(sets or []), *(override for override in more if override)]
    if name is not None:
        given.append(f"name={name}")
    return load(config, given)


def _listed(text: str | None) -> str | None:
    """``a,b`` as the YAML list of a --set override."""
    return None if text is None else f"[{text}]"


def _jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise InputError(f"--jobs {text!r}: give a number of runs, or auto")
    return int(text)


def _ray_address(engine: str, address: str | None) -> str | None:
    """The cluster that carries the runs out, or None."""
    from clr_cli.config.hints import did_you_mean

    engines = ("local", "ray")
    if engine not in engines:
        raise InputError(f"--engine {engine!r} is unknown{did_you_mean(engine, engines)}")
    if engine == "ray":
        return address or "auto"
    if address is not None:
        raise InputError("--ray-address: say with --engine ray that it is to be used")
    return None


def _options(config: Config, output_dir: Path, device: str, **others: Any) -> Options:
    """The shared options, refused here if no run could start with them."""
    from clr_cli.files import check_writable

    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", device):
        raise InputError(f"--device {device!r}: known: auto, cpu, cuda, cuda:N, mps")
    for folder in ("train", "compare", "range-test"):
        check_writable(output_dir / config.name / folder)
    from clr_cli.cli.commands import Options

    return Options(output_dir=output_dir, device=device, **others)


@contextlib.contextmanager
def _naming(config: str) -> Iterator[None]:
    """Name the config's file in a refusal that names only a key of it."""
    from clr_cli.config.load import find_config
    from clr_cli.config.model import Config

    try:
        yield
    except InputError as error:
        if re.split(r"[.:]", str(error))[0] not in Config.model_fields:
            raise
        raise InputError(f"{find_config(config)}: {error}") from error


@app.command(epilog="Example: clr range-test --config quickstart.yaml")
def range_test(
    config: ConfigName = "svhn.yaml",
    sweeps: Annotated[int | None, typer.Option(help="Sweeps, each with its own seed.")] = None,
    min_lr: Annotated[float | None, typer.Option(help="The ramp's first rate.")] = None,
    max_lr: Annotated[float | None, typer.Option(help="The ramp's last rate.")] = None,
    shape: Annotated[str | None, typer.Option(help="linear or exponential.")] = None,
    epochs: Annotated[float | None, typer.Option(help="A sweep's length in epochs.")] = None,
    iterations: Annotated[int | None, typer.Option(help="... or in iterations.")] = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Which bounds? Ramp the rate in several sweeps and suggest base_lr and max_lr.

    Exit code 3 if the sweeps give no answer; the reason and the range to try next are printed.
    """
    keys = {"sweeps": sweeps, "min_lr": min_lr, "max_lr": max_lr, "shape": shape}
    if epochs is not None or iterations is not None:
        # One length takes the place of the config's, whichever that is.
        lengths = {"epochs": epochs, "iterations": iterations}
        keys |= {key: "null" if value is None else value for key, value in lengths.items()}
    given = (f"range_test.{key}={value}" for key, value in keys.items() if value is not None)
    resolved = _load(config, sets, name, *given)
    workers = _jobs(jobs)
    options = _options(
        resolved,
        output_dir,
        device,
        jobs=workers,
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
    )
    from clr_cli.cli import commands

    with _naming(config):
        code = commands.range_test(resolved, options)
    raise typer.Exit(code)


@app.command(epilog="Example: clr train --config quickstart.yaml --schedule clr --seed 0")
def train(
    config: ConfigName = "svhn.yaml",
    schedule: Annotated[
        str, typer.Option("--schedule", help="An arm of the config, or a kind such as one_cycle.")
    ] = "clr",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Weights, order, crops.")] = 0,
    bounds: Bounds = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    tensorboard: Tensorboard = False,
    as_json: AsJson = False,
) -> None:
    """Train one run with one schedule. The same command again resumes it."""
    resolved = _load(config, sets, name)
    with _naming(config):
        arm = resolved.arm(schedule, output_dir, bounds)
    options = _options(
        resolved,
        output_dir,
        device,
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
        tensorboard=tensorboard,
    )
    from clr_cli.cli import commands

    with _naming(config):
        commands.train(resolved, schedule, arm, seed, options)


@app.command(epilog="Example: clr compare --config quickstart.yaml --schedules constant,clr")
def compare(
    config: ConfigName = "svhn.yaml",
    schedules: Annotated[
        str | None, typer.Option(help="The arms, e.g. constant,clr,one_cycle,cosine.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="How many paired seeds, or a list such as 0,1,7.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="The arm to compare with.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Validation accuracy of time-to-target: 0.9, or auto.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="Equivalence margin in accuracy (0.001 = 0.1 points).")
    ] = None,
    tune: Annotated[
        int, typer.Option(min=0, help="Learning-rate trials for every arm before comparing.")
    ] = 0,
    tune_arms: Annotated[
        str | None, typer.Option(help="Tune only these arms, e.g. constant.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Train this run of the plan, arm:seed, and no other."),
    ] = None,
    bounds: Bounds = None,
    sets: Sets = None,
    name: ExperimentName = None,
    output_dir: OutputDir = Path("outputs"),
    device: Device = "auto",
    jobs: Jobs = "auto",
    engine: Annotated[
        str, typer.Option(help="Where runs are carried out: local or ray.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster: HOST:PORT; default: this machine's.")
    ] = None,
    overwrite: Overwrite = False,
    allow_code: AllowCode = False,
    tensorboard: Tensorboard = False,
    as_json: AsJson = False,
) -> None:
    """Does one schedule beat another here? By how much, how surely, how much sooner?"""
    seeds_key = seeds if seeds is None or seeds.isdigit() else _listed(seeds)
    keys = {
        "schedules": _listed(schedules),
        "seeds": seeds_key,
        "baseline": baseline,
        "target": target,
        "margin": margin,
    }
    given = (f"compare.{key}={value}" for key, value in keys.items() if value is not None)
    resolved = _load(config, sets, name, *given)
    workers = _jobs(jobs)
    cluster = _ray_address(engine, ray_address)
    with _naming(config):
        arms = resolved.arms(output_dir, bounds)
    options = _options(
        resolved,
        output_dir,
        device,
        jobs=workers,
        ray_address=cluster,
        overwrite=overwrite,
        allow_code=allow_code,
        json=as_json,
        tensorboard=tensorboard,
    )
    from clr_cli.cli import commands

    with _naming(config):
        commands.compare(
            resolved,
            arms,
            options,
            tune=tune,
            tune_arms=None if tune_arms is None else tune_arms.split(","),
            bounds=bounds,
            only=only or (),
        )


@app.command(epilog="Example: clr report outputs/quickstart/compare")
def report(
    directory: Annotated[Path, typer.Argument(help="A compare folder, or its experiment's.")],
    formats: Annotated[str, typer.Option(help="Figure formats, e.g. png,svg,pdf.")] = "png,svg",
    size: Annotated[
        str | None, typer.Option(help="Figure size in inches, WIDTHxHEIGHT, e.g. 6x4.")
    ] = None,
) -> None:
    """Make a comparison's figures and page again from its files, without training."""
    from clr_cli.report import write as reporting

    reporting.remake(directory, formats, size)


@config_app.command("schema", epilog="Example: clr config schema > clr.schema.json")
def config_schema() -> None:
    """Print the JSON Schema of a config file, for editors."""
    from clr_cli.config.load import json_schema

    print(json_schema())


@config_app.command("show", epilog="Example: clr config show --config quickstart.yaml")
def config_show(config: ConfigName = "svhn.yaml", sets: Sets = None) -> None:
    """Print a config as it is resolved: every key, defaults filled in."""
    from clr_cli.config.yaml_text import dump

    print(dump(_load(config, sets, None).model_dump(mode="json", exclude_none=True)), end="")


@schedule_app.command("plot", epilog="Example: clr schedule plot --schedule triangular2")
def schedule_plot(
    config: ConfigName = "svhn.yaml",
    schedule: Annotated[
        list[str] | None, typer.Option("--schedule", help="Arms or kinds; default: the config's.")
    ] = None,
    iterations_per_epoch: Annotated[
        int, typer.Option(min=1, help="Only durations given in iterations depend on it.")
    ] = 500,
    output: Annotated[Path, typer.Option(help="The figure: .png, .svg or .pdf.")] = Path(
        "schedule.png"
    ),
    sets: Sets = None,
) -> None:
    """Draw learning rate (and momentum) against epoch, without training."""
    resolved = _load(config, sets, None)
    names = schedule or resolved.compare.schedules
    arms = {name: resolved.schedule(name) for name in names}
    from clr_cli.report import write as reporting

    reporting.plot_schedules(arms, resolved.training.epochs, iterations_per_epoch, output)


RESUME = "every finished epoch is saved; the same command goes on from there"


def main() -> None:
    """The ``clr`` script: run a command, turn every failure into a line and an exit code."""
    alone = "TORCHELASTIC_RUN_ID" not in os.environ
    interrupt.install(signal.SIGINT, signal.SIGTERM, insist=alone)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a result is worth more than its typography
        sys.stdout.reconfigure(errors="replace")
    sys.exit(_run())


def _run() -> int:
    # --debug is an option of every command, wherever it stands.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        try:
            code = int(app(arguments, prog_name="clr", standalone_mode=False) or 0)
            sys.stdout.flush()
            return code
        except Exception:
            interrupt.check()  # an extension in C may have made another error of Stopped
            raise
    except interrupt.Stopped as stop:
        console.error("interrupted: what was done is saved; the same command goes on from there")
        return stop.exit_code
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _explain(error)


def _explain(error: Exception) -> int:
    """Print one line about a failure and return its exit code."""
    failures = InputError | EnvironmentFailure | OSError
    known = isinstance(error, failures) or hasattr(error, "format_message")
    if not known or "--debug" in sys.argv:
        traceback.print_exception(error)
    if isinstance(error, InputError):
        console.error(str(error))
        return 2
    if isinstance(error, EnvironmentFailure):
        console.error(f"{error}; {RESUME}")
        return 1
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}; {RESUME}")
        return 1
    if hasattr(error, "format_message"):  # a usage error of click or of Typer's own copy of it
        console.error(f"{error.format_message()} (see clr --help)")
        return 2
    console.error("this is a bug in clr; the traceback above is worth reporting")
    return 1
