"""The experiment's config: load YAML, apply overrides, validate, dump.

One frozen :class:`Config` describes an experiment. Nothing here imports torch, so a wrong config
is refused at once. Every refusal is an :class:`InputError` that names the file and the key.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    create_model,
    model_validator,
)

from clr_cli import schedules
from clr_cli.errors import InputError

DEFAULT_CONFIG = "svhn.yaml"
MAX_CONFIG_BYTES = 1_000_000
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
# Experiment and arm names become folders, so they must not be able to leave the output folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}$")]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _no_truth_values(cls, given: Any) -> Any:
        """YAML reads ``yes`` as true, which pydantic would take for the number 1."""
        for key, value in given.items() if isinstance(given, Mapping) else ():
            field = cls.model_fields.get(key)
            if isinstance(value, bool) and field is not None and field.annotation is not bool:
                raise ValueError(f"{key}: {value}: a truth value (yes or no) does not fit here")
        return given


class AugmentConfig(Section):
    crop_padding: int = Field(
        4, ge=0, le=64, description="random crop after padding by this many pixels"
    )


class DatasetConfig(Section):
    name: str = Field("synthetic_digits", description="a key of data.DATASETS")
    root: Path = Field(Path("data"), description="folder of downloads and caches")
    path: Path | None = Field(None, description="file (npz) or folder (imagefolder)")
    val_size: Count | None = Field(None, description="validation images, carved from train")
    augment: AugmentConfig = AugmentConfig()
    train_size: Count = Field(20_000, description="synthetic_digits only")
    test_size: Count = Field(5_000, description="synthetic_digits only")
    extra: bool = Field(False, description="svhn only: add the 531,131 extra images to train")
    download: bool = Field(True, description="fetch a torchvision data set that is not there")


class ModelConfig(Section):
    name: str = Field("cnn", description="cnn, resnet18, wrn, torchvision:<name>, module:function")
    width: Annotated[int, Field(ge=1, le=4096)] | None = None
    depth: Annotated[int, Field(ge=1, le=4096)] | None = None


class OptimizerConfig(Section):
    name: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD's momentum, AdamW's beta1")
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: true needs sgd with a momentum above 0")
        return self


class TrainingConfig(Section):
    epochs: Count = 80
    batch_size: Count = 128
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    cuda_graph: bool = Field(False, description="replay steps from a CUDA graph (experimental)")
    sync_batch_norm: bool = Field(False, description="under torchrun: statistics of whole batches")
    threads: Count | None = Field(None, description="CPU threads of a run; default: torch's own")


class RangeTestConfig(Section):
    min_lr: Rate = 0.001
    max_lr: Rate = 0.5
    shape: Literal["linear", "exponential"] = "linear"
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    iterations: Count | None = None
    sweeps: Annotated[int, Field(ge=1, le=100)] = 3

    @model_validator(mode="after")
    def _check(self) -> RangeTestConfig:
        if self.max_lr <= self.min_lr:
            raise ValueError(f"max_lr: {self.max_lr:g} is not above min_lr {self.min_lr:g}")
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("epochs: give the length in epochs or in iterations, not both")
        return self


class CompareConfig(Section):
    schedules: Annotated[list[Name], Field(min_length=1)] = ["constant", "clr"]
    baseline: str | None = Field(None, description="default: the first of schedules")
    seeds: Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[Seed], Field(min_length=1)] = 6
    margin: float = Field(0.001, gt=0, lt=1, description="equivalence margin, as a fraction")
    target: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"

    @property
    def seed_list(self) -> list[int]:
        if isinstance(self.seeds, int):
            return list(range(self.seeds))
        return list(dict.fromkeys(self.seeds))


class ScheduleConfig(Section):
    """One arm. The subclass of each kind is generated from ``schedules.parameters(kind)``."""

    kind: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.kind, self.params)  # pickle cannot find a generated class

    @property
    def params(self) -> dict[str, Any]:
        """What ``schedules.make`` takes: the given keys, without ``kind``."""
        return self.model_dump(exclude={"kind"}, exclude_none=True)

    @property
    def needs_bounds(self) -> bool:
        return "auto" in self.params.values()

    def with_bounds(
        self, bounds: Mapping[str, float], *, only_auto: bool = False
    ) -> ScheduleConfig:
        """This arm with base_lr and max_lr, as far as its kind has them, from a range test."""
        names = {"base_lr", "max_lr"} & set(type(self).model_fields)
        if only_auto:
            names = {name for name in names if getattr(self, name) == "auto"}
        given = {name: bounds[name] for name in names}
        return type(self).model_validate({"kind": self.kind, **self.params, **given})

    @model_validator(mode="after")
    def _check(self) -> ScheduleConfig:
        unknown = {"base_lr", "max_lr"} if self.needs_bounds else set()
        numbers = {k: v for k, v in self.params.items() if k not in unknown}
        # Data and model are not known yet; a long run at least finds values no run could have.
        schedules.make(self.kind, numbers, iterations_per_epoch=10**6, total_iterations=10**15)
        return self


def _rebuild(kind: str, params: dict[str, Any]) -> ScheduleConfig:
    return SCHEDULE_MODELS[kind].model_validate({"kind": kind, **params})


def _schedule_model(kind: str) -> type[ScheduleConfig]:
    fields: dict[str, Any] = {"kind": (Literal[kind], kind)}
    for p in schedules.parameters(kind):
        given: Any = p.type
        if p.name in ("base_lr", "max_lr"):
            given = given | Literal["auto"]
        fields[p.name] = (given | None, Field(None, description=p.help))
        if p.duration:
            epochs = Field(None, description=f"{p.name}, in epochs")
            fields[f"{p.name}_epochs"] = (p.epochs_type | None, epochs)
    return create_model(f"{kind}_schedule", __base__=ScheduleConfig, **fields)


SCHEDULE_MODELS = {kind: _schedule_model(kind) for kind in schedules.KINDS}


def _kind_of(value: Any) -> Any:
    return value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)


_union: Any = None
for _kind, _model in SCHEDULE_MODELS.items():
    _tagged = Annotated[_model, Tag(_kind)]  # type: ignore[valid-type]
    _union = _tagged if _union is None else _union | _tagged
AnySchedule = Annotated[_union, Discriminator(_kind_of)]


class Config(Section):
    name: Name = Field("experiment", description="the experiment; default: the file's name")
    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    range_test: RangeTestConfig = RangeTestConfig()
    schedules: dict[Name, AnySchedule] = Field(default_factory=dict, validate_default=True)
    compare: CompareConfig = CompareConfig()

    def schedule(self, name: str) -> ScheduleConfig:
        """The arm of that name, or a bare kind with its defaults. Raises InputError."""
        if name in self.schedules:
            return self.schedules[name]  # type: ignore[no-any-return]
        if name in SCHEDULE_MODELS:
            return SCHEDULE_MODELS[name](kind=name)
        known = list(dict.fromkeys([*self.schedules, *SCHEDULE_MODELS]))
        raise InputError(f"schedule {name!r} is unknown{did_you_mean(name, known)}")

    def arm(self, name: str, output_dir: Path, bounds: Path | None = None) -> ScheduleConfig:
        """An arm with its bounds filled in: from ``bounds``, or ``auto`` from the range test's.

        Raises InputError, naming the command to run if there are no bounds yet.
        """
        schedule = self.schedule(name)
        try:
            if bounds is not None:
                return schedule.with_bounds(read_bounds(bounds))
            if not schedule.needs_bounds:
                return schedule
            found = output_dir / self.name / "range-test" / "bounds.yaml"
            if not found.exists():
                raise InputError(
                    f"schedules.{name}: auto, but {found} is not there: run clr range-test "
                    "with the same --config and --name first, or give --bounds"
                )
            return schedule.with_bounds(read_bounds(found), only_auto=True)
        except ValidationError as error:
            raise InputError(f"schedules.{name}: {_explain(error.errors()[0])}") from None

    def arms(self, output_dir: Path, bounds: Path | None = None) -> dict[str, ScheduleConfig]:
        """The comparison's arms by name, the baseline first. Raises InputError."""
        names = self.compare.schedules
        if len(names) < 2 or len(set(names)) < len(names):
            raise InputError(f"compare.schedules: {names}: give two or more different arms")
        if self.baseline not in names:
            raise InputError(
                f"compare.baseline: {self.baseline!r} is no arm{did_you_mean(self.baseline, names)}"
            )
        ordered = [self.baseline, *(name for name in names if name != self.baseline)]
        return {name: self.arm(name, output_dir, bounds) for name in ordered}

    @property
    def baseline(self) -> str:
        return self.compare.baseline or self.compare.schedules[0]

    def for_sweep(self) -> dict[str, Any]:
        """What determines a sweep of the range test, whatever their number."""
        kept = {"name", "dataset", "model", "optimizer", "training", "range_test"}
        excluded: dict[str, Any] = {"training": {"epochs"}, "range_test": {"sweeps"}}
        return self.model_dump(mode="json", include=kept, exclude=excluded)

    def for_run(self, arm: str, schedule: ScheduleConfig) -> dict[str, Any]:
        """What determines one arm's runs: a config of its own, with this arm only."""
        dumped = self.model_dump(mode="json", exclude={"compare", "range_test", "schedules"})
        kept = schedule.model_dump(mode="json", exclude_none=True)
        return {**dumped, "schedules": {arm: kept}}


def did_you_mean(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and aliases (a few of which can fill the memory)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            problem = "anchors and aliases (&, *) are not supported"
            raise yaml.constructor.ConstructorError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML safely. Raises InputError with line and column."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise InputError(f"{source}:{where} {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{source}: not readable as YAML: {_first_line(error)}") from None


def shipped_configs() -> Path:
    """The folder of the shipped configs: inside the wheel, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def find_config(name: str) -> Path:
    """Look a config up: the path itself, ./configs/, the shipped ones. Raises InputError."""
    shipped = shipped_configs()
    for stem in (name, f"{name}.yaml"):
        for path in (Path(stem), Path("configs") / stem, shipped / stem):
            if os.path.isfile(path):  # which answers no to a name that is no name
                return path
    known = sorted(p.name for p in shipped.glob("*.yaml"))
    suffixed = name if name.endswith(".yaml") else f"{name}.yaml"
    raise InputError(f"config {name!r} is not there{did_you_mean(suffixed, known)}")


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """Read a config by path or shipped name and apply ``section.key=value`` overrides.

    Raises InputError naming file, key and value for anything that is wrong.
    """
    path = find_config(name)
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InputError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; not a config")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    tree = parse_yaml(text, str(path))
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise InputError(f"{path}: a config is a mapping of keys, not a {type(tree).__name__}")
    if tree.get("name") is None:
        tree["name"] = re.sub(r"[^A-Za-z0-9._+-]", "-", path.stem)
    for override in overrides:
        _override(tree, override)
    return validate(tree, str(path))


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(f"--set {override!r}: write it as section.key=value")
    node = tree
    *parents, last = key.split(".")
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise InputError(f"--set {override!r}: {parent!r} has no keys of its own")
    node[last] = parse_yaml(text, f"--set {override}")


def validate(tree: Any, source: str) -> Config:
    """Build the Config. Raises InputError naming ``source``, the key and the value."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        errors = error.errors()
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise InputError(f"{source}: {_printable(_explain(errors[0]))}{more}") from None
    except RecursionError:
        raise InputError(f"{source}: nested too deeply") from None


def with_defaults(tree: Mapping[str, Any], like: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tree of an earlier version with the keys that ``like`` has too, at their defaults."""
    try:
        full = Config.model_validate(tree).model_dump(mode="json")
    except ValidationError:
        return tree
    return _filled(tree, full, like)


def _filled(
    tree: Mapping[str, Any], full: Mapping[str, Any], like: Mapping[str, Any]
) -> dict[str, Any]:
    filled = dict(tree)
    for key, value in like.items():
        if key not in tree:
            filled |= {key: full[key]} if key in full else {}
        elif isinstance(value, Mapping) and isinstance(tree[key], Mapping):
            filled[key] = _filled(tree[key], full.get(key, {}), value)
    return filled


def read_bounds(path: Path) -> dict[str, float]:
    """base_lr and max_lr from a bounds.yaml of ``clr range-test``. Raises InputError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path}: no bounds there; clr range-test makes them") from None
    tree = parse_yaml(text, str(path))
    try:
        return {name: float(tree[name]) for name in ("base_lr", "max_lr")}
    except (TypeError, KeyError, ValueError):
        raise InputError(f"{path}: base_lr and max_lr must be numbers") from None


def _explain(error: Any) -> str:
    """One pydantic error as ``key: what is wrong``."""
    loc = [str(part) for part in error["loc"]]
    if loc[:1] == ["schedules"] and len(loc) > 2 and loc[2] in SCHEDULE_MODELS:
        del loc[2]  # the union's tag
    if loc[:1] == ["compare"]:
        del loc[2:]  # the kinds of value that seeds and target could have had
    key = ".".join(loc) or "config"
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden":
        return f"{key}: unknown key{did_you_mean(loc[-1], _keys_at(error['loc']))}"
    if kind.startswith("union_tag"):
        given = _kind_of(error["input"])
        if given is None:
            return f"{key}.kind: missing; known: {', '.join(SCHEDULE_MODELS)}"
        return (
            f"{key}.kind: {_shown(given)} is unknown{did_you_mean(str(given), [*SCHEDULE_MODELS])}"
        )
    if kind == "value_error":  # ours: "key: what is wrong"
        return ".".join([*loc, message.removeprefix("Value error, ")])
    if kind == "string_pattern_mismatch":
        rule = "may hold only letters, digits and . _ + -, at most 100, a letter or digit first"
        return f"{key}: {_shown(error['input'])} {rule}"
    return f"{key}: {_shown(error['input'])}: {message[:1].lower()}{message[1:]}"


def _keys_at(loc: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in loc[:-1]:
        if part in SCHEDULE_MODELS and model is Config:
            model = SCHEDULE_MODELS[str(part)]
        elif part in model.model_fields:
            kind = model.model_fields[str(part)].annotation
            model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model
    return list(model.model_fields)


def _printable(text: str) -> str:
    """A stranger's key may hold line ends or a terminal's control codes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def json_schema() -> str:
    """The JSON Schema of a config file, for editors (yaml-language-server)."""
    return json.dumps(Config.model_json_schema(), indent=2)


def dump(tree: Mapping[str, Any]) -> str:
    """YAML text of a resolved config; floats keep their shortest exact form."""
    return yaml.safe_dump(_plain(tree), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, Path) else value
