"""Define the options that commands share, with their help, and check their values."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import re
import shlex
import sys
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment

if TYPE_CHECKING:
    from clr_cli.analysis.expectation import Expect
    from clr_cli.config.model import Config
    from clr_cli.config.program import ProgramSection
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.task import TaskOptions

DEFAULT_CONFIG = "svhn.yaml"
_CONFIG_HELP = "A path, or the name of a config in ./configs or shipped with clr."


def complete_configs(incomplete: str) -> list[str]:
    """Return the names of configs that begin so, for the shell."""
    from clr_cli.config.load import shipped_configs

    folders = (Path("configs"), shipped_configs())
    names = sorted({path.name for folder in folders for path in folder.glob("*.yaml")})
    return [name for name in names if name.startswith(incomplete)]


def complete_arms(context: typer.Context, incomplete: str) -> list[str]:
    """Return the lists of arms, ``a,b``, that begin so: the config's arms and all schedules."""
    from clr_cli.config.arms import SCHEDULE_MODELS

    before, comma, last = incomplete.rpartition(",")
    names = dict.fromkeys(SCHEDULE_MODELS)
    with contextlib.suppress(InputError):
        given = context.params.get("config") or DEFAULT_CONFIG
        config = load(given if isinstance(given, str) else given[0])
        names = dict.fromkeys([*config.schedules, *names])
    new = [name for name in names if name not in before.split(",") and name.startswith(last)]
    return [f"{before}{comma}{name}" for name in new]


ConfigName = Annotated[
    str, typer.Option("--config", "-c", help=_CONFIG_HELP, autocompletion=complete_configs)
]
OptionalConfig = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        help=f"{_CONFIG_HELP} Default: {DEFAULT_CONFIG}.",
        show_default=False,
        autocompletion=complete_configs,
    ),
]
Configs = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        "-c",
        help=f"{_CONFIG_HELP} Repeatable: each is a data set. Default: {DEFAULT_CONFIG}.",
        show_default=False,
        autocompletion=complete_configs,
    ),
]
Command = Annotated[
    str | None,
    typer.Option(
        "--cmd", help="Your own program; {seed}, {out} and other keys in braces are filled in."
    ),
]
Arms = Annotated[
    list[str] | None,
    typer.Option("--arm", help="An arm of --cmd, as name:key=value,key=value. Repeatable."),
]
Reads = Annotated[
    list[str] | None,
    typer.Option(
        "--read",
        help="For --cmd without {out}: a pattern with named groups for its output. Repeatable.",
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(help="For --cmd: stop a run after this time, such as 30m; its rows count."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show the plan and stop; with --cmd, also try one run. Nothing is kept."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Override a key: section.key=value. Repeatable."),
]
ExperimentName = Annotated[
    str | None, typer.Option("--name", help="The experiment's name (default: the config's).")
]
OutputDir = Annotated[Path, typer.Option("--output-dir", "-o", help="The folder for results.")]
Device = Annotated[
    str, typer.Option("--device", help="The device: auto, cpu, cuda, cuda:N or mps.")
]
Jobs = Annotated[
    str, typer.Option("--jobs", "-j", help="How many runs at a time: a number or auto.")
]
RunEngine = Annotated[str, typer.Option("--engine", help="Where to execute runs: local or ray.")]
RayAddress = Annotated[
    str | None,
    typer.Option(help="The Ray cluster, as HOST:PORT. Default: the one on this machine."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Delete earlier results and start over.")
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code", help="Allow a config to run your code: module:function, or command."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write TensorBoard event files.")
]
Results = Annotated[
    list[str] | None,
    typer.Option(
        "--from", help="Compare runs from files, folders or patterns; train nothing. Repeatable."
    ),
]
ArmColumn = Annotated[
    str | None,
    typer.Option("--arm-column", help="The columns that name the arm, such as lr,optimizer."),
]
SeedColumn = Annotated[str | None, typer.Option("--seed-column", help="The column with the seed.")]
StepColumn = Annotated[str | None, typer.Option("--step-column", help="The column with the step.")]
Where = Annotated[
    list[str] | None, typer.Option("--where", help="Use only these rows: column=value. Repeatable.")
]
Across = Annotated[
    str | None, typer.Option("--across", help="The column that names the data set or task.")
]
RunName = Annotated[
    str | None,
    typer.Option("--run-name", help="A pattern for names of runs, such as '{arm}-{seed}'."),
]
MetricName = Annotated[
    str | None, typer.Option("--metric", help="The metric of --cmd or of the files.")
]
MetricMode = Annotated[
    str | None, typer.Option("--mode", help="Which values of the metric are better: max or min.")
]
MetricUnit = Annotated[
    str | None, typer.Option("--unit", help="The unit of the metric; % for fractions.")
]
Paired = Annotated[
    bool,
    typer.Option(
        "--paired", help="With --from or --cmd: runs of equal seeds share their randomness."
    ),
]
Bounds = Annotated[
    Path | None,
    typer.Option("--bounds", help="Use base_lr and max_lr from a bounds.yaml of clr range-test."),
]


# The help's groups after the first: heading -> parameters of any command, in this order.
HELP_GROUPS = {
    "What decides": ("baseline", "target", "margin", "detect", "design", "vary"),
    "Rates": ("tune", "tune_seeds", "tune_arms", "bounds"),
    "A program of your own": ("cmd", "arm", "read", "time_limit"),
    "Existing results": (
        *("source", "arm_column", "seed_column", "step_column", "where", "across", "run_name"),
    ),
    "The metric": ("metric", "mode", "unit", "paired"),
    "Where and how it runs": (
        *("name", "output_dir", "device", "jobs", "engine", "ray_address", "only", "dry_run"),
        *("overwrite", "allow_code", "tensorboard", "as_json", "help"),
    ),
}


@dataclass(frozen=True)
class Options:
    """The values of shared options."""

    output_dir: Path
    device: str = "auto"
    jobs: int | None = 1  # None: auto
    ray_address: str | None = None  # of the Ray cluster that executes the runs; None: this machine
    overwrite: bool = False
    allow_code: bool = False
    json: bool = False
    tensorboard: bool = False
    expect: Expect | None = None

    def check(self, config: Config | ProgramSection) -> Options:
        """Check the options before anything is done, and return them.

        Raises InputError for an unknown device, a missing extra or an unwritable folder.
        """
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.device):
            raise InputError(
                f"--device {self.device!r} is unknown; known: auto, cpu, cuda, cuda:N, mps"
            )
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise InputError("--tensorboard needs the extra: pip install 'clr-cli[tensorboard]'")
        if self.ray_address is not None and importlib.util.find_spec("ray") is None:
            raise InputError("--engine ray needs the extra: pip install 'clr-cli[ray]'")
        for folder in Experiment(self.output_dir, config.name).written:
            check_writable(folder)
        return self

    @property
    def engine(self) -> Engine:
        """The engine that executes tasks."""
        from clr_cli.execution.engines import Local

        if self.ray_address is None:
            return Local(self.device, self.jobs)
        from clr_cli.execution.cluster import RayCluster

        return RayCluster(self.ray_address, self.device, self.jobs)

    def for_tasks(self, config: Config | ProgramSection) -> TaskOptions:
        """Return the options of every task of the config's experiment."""
        from clr_cli.execution.task import TaskOptions

        return TaskOptions(
            experiment=Experiment(self.output_dir, config.name),
            device=self.device,
            allow_code=self.allow_code,
            overwrite=self.overwrite,
        )


def load(
    config: str,
    sets: list[str] | None = None,
    name: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Config:
    """Return the config with --set, --name, and the values of other options by their keys.

    Raises InputError, which names the option if its value is wrong.
    """
    from clr_cli.config.load import find_config
    from clr_cli.config.load import load as load_config

    values = {**(values or {}), **({} if name is None else {"name": name})}
    try:
        return load_config(config, sets or (), values)
    except InputError as error:
        text = str(error).removeprefix(f"{find_config(config)}: ")
        for key in values:
            if re.match(rf"{re.escape(key)}[:.]", text):
                option = f"--{key.rpartition('.')[2].replace('_', '-')}"
                raise InputError(option + text.removeprefix(key)) from None
        raise


@contextlib.contextmanager
def errors_in(config: str) -> Iterator[None]:
    """Add the config's file to errors in the block that name a key of it."""
    from clr_cli.config.load import find_config

    try:
        yield
    except InputError as error:
        raise error.within(find_config(config)) from error.__cause__


def refuse(context: typer.Context, why: str, names: Container[str]) -> None:
    """Raise InputError for the first option on the command line that is among these.

    ``why`` follows the option: "--tune is for ...".
    """
    for option in context.command.params:
        name = str(option.name)
        origin = context.get_parameter_source(name)
        if origin is not None and origin.name == "COMMANDLINE" and name in names:
            raise InputError(f"{option.opts[0]} {why}")


def parse_list(text: str) -> list[str]:
    """Split ``a,b`` or ``a, b``; a name that contains a comma is written in double quotes.

    >>> parse_list('"SGD, lr 0.1", Adam')
    ['SGD, lr 0.1', 'Adam']
    """
    (parts,) = csv.reader([" ".join(text.splitlines())], skipinitialspace=True)
    return [part.strip() for part in parts] or [""]


def parse_jobs(text: str) -> int | None:
    """Parse --jobs; None: auto. Raises InputError."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise InputError(f"--jobs {text!r}: expected a number of runs from 1 to 1000, or auto")
    return int(text)


def parse_engine(engine: str, address: str | None) -> str | None:
    """Return the Ray cluster's address; None: this machine. Raises InputError."""
    from clr_cli.config.hints import did_you_mean

    engines = ("local", "ray")
    if engine not in engines:
        raise InputError(f"--engine {engine!r} is unknown{did_you_mean(engine, engines)}")
    if engine == "ray":
        return address or "auto"
    if address is not None:
        raise InputError("--ray-address works only with --engine ray")
    return None


def refuse_torchrun(command: str) -> None:
    """Raise InputError under torchrun, which splits one run over several processes."""
    from clr_cli.training.ranks import world_size

    if world_size() > 1:
        raise InputError(f"torchrun works only with clr train, not with clr {command}")


def command_line() -> str:
    r"""Return the typed command, for the report; bytes that are not UTF-8 become \udce9."""
    return shlex.join(["clr", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
