"""The options that commands share: their types and help, and the checks of their values."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clr_cli.errors import InputError
from clr_cli.files import check_writable
from clr_cli.paths import Experiment

if TYPE_CHECKING:
    from clr_cli.config.model import Config
    from clr_cli.config.program import ProgramSection
    from clr_cli.execution.engines import Engine
    from clr_cli.execution.task import TaskOptions

DEFAULT_CONFIG = "svhn.yaml"
_CONFIG_HELP = "A path, or the name of a config in ./configs or shipped."


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
        config = load(context.params.get("config") or DEFAULT_CONFIG, None, None)
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
Command = Annotated[
    str | None,
    typer.Option(
        "--cmd", help="A program of your own, with {seed}, {out} and other keys in braces."
    ),
]
Arms = Annotated[
    list[str] | None,
    typer.Option("--arm", help="A setting of --cmd: name:key=value,key=value. Repeatable."),
]
Reads = Annotated[
    list[str] | None,
    typer.Option(
        "--read", help="Where --cmd writes no {out}: a pattern with named groups for its output."
    ),
]
TimeLimit = Annotated[
    str | None,
    typer.Option(help="Of --cmd: a run is ended after this time, e.g. 30m; its rows count."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Of --cmd: show the plan and try one run; keep nothing.")
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
RunEngine = Annotated[str, typer.Option("--engine", help="Where runs are executed: local or ray.")]
RayAddress = Annotated[
    str | None, typer.Option(help="The Ray cluster: HOST:PORT; default: this machine's.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Delete the results that are there and start over.")
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Let a config's model be a module.path:function.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Also write TensorBoard event files.")
]
Results = Annotated[
    list[str] | None,
    typer.Option(
        "--from", help="Compare runs of these files, folders, patterns; train nothing. Repeatable."
    ),
]
ArmColumn = Annotated[
    str | None, typer.Option("--arm-column", help="Columns that tell arms apart: lr,optimizer.")
]
SeedColumn = Annotated[str | None, typer.Option("--seed-column", help="The column of seeds.")]
StepColumn = Annotated[str | None, typer.Option("--step-column", help="The column of steps.")]
Where = Annotated[
    list[str] | None, typer.Option("--where", help="Only these rows: column=value. Repeatable.")
]
Across = Annotated[
    str | None, typer.Option("--across", help="The column that tells data sets or tasks apart.")
]
RunName = Annotated[
    str | None, typer.Option("--run-name", help="Takes names of runs apart: '{arm}-{seed}'.")
]
MetricName = Annotated[
    str | None, typer.Option("--metric", help="With --from or --cmd: the metric.")
]
MetricMode = Annotated[
    str | None, typer.Option("--mode", help="Of the metric: max or min, which is better.")
]
MetricUnit = Annotated[str | None, typer.Option("--unit", help="Of the metric; % for fractions.")]
Paired = Annotated[
    bool, typer.Option("--paired", help="With --from or --cmd: equal seeds share their randomness.")
]
Bounds = Annotated[
    Path | None,
    typer.Option("--bounds", help="A bounds.yaml of clr range-test: sets base_lr and max_lr."),
]


# The help's groups after the first: heading -> parameters of any command, in this order.
HELP_GROUPS = {
    "What decides": ("baseline", "target", "margin", "detect", "vary"),
    "Rates": ("tune", "tune_seeds", "tune_arms", "bounds"),
    "A program of your own": ("cmd", "arm", "read", "time_limit", "dry_run"),
    "Results that are there already": (
        *("source", "arm_column", "seed_column", "step_column", "where", "across", "run_name"),
    ),
    "The metric of a program or of results": ("metric", "mode", "unit", "paired"),
    "Where and how it runs": (
        *("name", "output_dir", "device", "jobs", "engine", "ray_address", "only", "overwrite"),
        *("allow_code", "tensorboard", "as_json", "help"),
    ),
}


@dataclass(frozen=True)
class Options:
    """What commands share beyond the config."""

    output_dir: Path
    device: str = "auto"
    jobs: int | None = 1  # None: auto
    ray_address: str | None = None  # of the Ray cluster that executes the runs, if one does
    overwrite: bool = False
    allow_code: bool = False
    json: bool = False
    tensorboard: bool = False

    def check(self, config: Config | ProgramSection) -> Options:
        """Refuse now what would stop the command later.

        Raises InputError for an unknown device, a missing extra or a folder without write access.
        """
        if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", self.device):
            raise InputError(f"--device {self.device!r}: known: auto, cpu, cuda, cuda:N, mps")
        if self.tensorboard and importlib.util.find_spec("tensorboard") is None:
            raise InputError("--tensorboard needs the extra: pip install 'clr-cli[tensorboard]'")
        if self.ray_address is not None and importlib.util.find_spec("ray") is None:
            raise InputError("--engine ray needs the extra: pip install 'clr-cli[ray]'")
        for folder in Experiment(self.output_dir, config.name).written:
            check_writable(folder)
        return self

    @property
    def engine(self) -> Engine:
        """Where tasks are executed."""
        from clr_cli.execution.engines import Local

        if self.ray_address is None:
            return Local(self.device, self.jobs)
        from clr_cli.execution.cluster import RayCluster

        return RayCluster(self.ray_address, self.device, self.jobs)

    def for_tasks(self, config: Config | ProgramSection) -> TaskOptions:
        """Return what every task of the config's experiment gets."""
        from clr_cli.execution.task import TaskOptions

        return TaskOptions(
            experiment=Experiment(self.output_dir, config.name),
            device=self.device,
            allow_code=self.allow_code,
            overwrite=self.overwrite,
        )


def load(config: str, sets: list[str] | None, name: str | None, *more: str | None) -> Config:
    """The config with the overrides of --set, of --name and of other options."""
    from clr_cli.config.load import load as load_config

    given = [*(sets or []), *(override for override in more if override)]
    if name is not None:
        given.append(f"name={name}")
    return load_config(config, given)


@contextlib.contextmanager
def errors_in(config: str) -> Iterator[None]:
    """Within, an error that names a key of the config names its file as well."""
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
        found = context.get_parameter_source(name)
        if found is not None and found.name == "COMMANDLINE" and name in names:
            raise InputError(f"{option.opts[0]} {why}")


def listed(text: str | None) -> str | None:
    """``a,b`` as the YAML list of a --set override."""
    return None if text is None else f"[{text}]"


def parse_jobs(text: str) -> int | None:
    """The value of --jobs; None for auto. Raises InputError."""
    if text == "auto":
        return None
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise InputError(f"--jobs {text!r}: give a number of runs, or auto")
    return int(text)


def parse_engine(engine: str, address: str | None) -> str | None:
    """The address of the Ray cluster to use, or None for this machine. Raises InputError."""
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
    """Raises InputError under torchrun, which splits one run over several processes."""
    from clr_cli.training.ranks import launched

    if launched() > 1:
        raise InputError(f"torchrun works only with clr train, not with clr {command}")


def command_line() -> str:
    r"""Return the command as it was typed, for the report; bytes that are not UTF-8 as \udce9."""
    return shlex.join(["clr", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
