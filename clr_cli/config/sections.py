"""Define the sections of a config, apart from its arms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clr_cli.config.hints import did_you_mean

Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Side = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AUTO_CAP = 30  # the most seeds of ``seeds: auto`` without a cap
LEAST_CAP = 8  # at the first look, an unpaired baseline of several arms has 8 runs
# Names of experiments and arms become folders, which must stay inside the output folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}$")]
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class Section(BaseModel):
    """A frozen part of a config, which refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, keys: Any) -> Any:
        """Read an empty section as one without keys, and refuse true and false for a number.

        pydantic would read YAML's ``yes`` as 1.
        """
        if not isinstance(keys, Mapping):
            return keys
        hints = {key: field.annotation for key, field in cls.model_fields.items()}
        for key, value in keys.items():
            types = _types(hints.get(key))
            if isinstance(value, bool) and types & {int, float} and bool not in types:
                raise ValueError(f"{key}: {value}: expected a number, not true or false")
        return {k: {} if v is None and _has_keys(hints.get(k)) else v for k, v in keys.items()}


def _types(hint: Any) -> set[type]:
    """Return the types in a field's annotation."""
    return {hint} if isinstance(hint, type) else set().union(*map(_types, get_args(hint)))


def _has_keys(hint: Any) -> bool:
    return get_origin(hint) is dict or (isinstance(hint, type) and issubclass(hint, Section))


def with_numbers(value: Any) -> Any:
    """Return settings with numbers for such texts as 1e-6, which YAML takes for a word.

    >>> with_numbers({"eps": "1e-6", "betas": [0.9, "1E-3"], "mode": "e3"})
    {'eps': 1e-06, 'betas': [0.9, 0.001], 'mode': 'e3'}
    """
    if isinstance(value, dict):
        return {key: with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [*map(with_numbers, value)]
    return float(value) if isinstance(value, str) and NUMBER.fullmatch(value) else value


class AugmentConfig(Section):
    """How training images are augmented."""

    crop_padding: int = Field(
        4, ge=0, le=64, description="random crop after padding by this many pixels"
    )
    flip: bool = Field(False, description="mirror each training image left to right at random")
    cutout: int = Field(
        0, ge=0, le=1024, description="paint over a random square with this side; 0: none"
    )

    @property
    def described(self) -> str:
        """The augmentation in words, for the plan.

        >>> AugmentConfig(flip=True, cutout=8).described
        'crops of 4 pixels of padding, flips, cutout of 8 pixels'
        """
        words = [
            f"crops of {self.crop_padding} pixels of padding" if self.crop_padding else "",
            "flips" if self.flip else "",
            f"cutout of {self.cutout} pixels" if self.cutout else "",
        ]
        return ", ".join(filter(None, words)) or "none"


class DatasetConfig(Section):
    """Which data set, and how it is split and augmented."""

    name: str = Field("synthetic_digits", description="a key of data.DATASETS")
    root: Path = Field(Path("data"), description="folder of downloads and caches")
    path: Path | None = Field(None, description="file (npz) or folder (imagefolder)")
    val_size: Count | None = Field(
        None, description="number of training images to hold out for validation"
    )
    split: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="which validation split: from 1 on its blocks are rotated"
    )
    image_size: Side | tuple[Side, Side] | None = Field(
        None, description="resize and crop the images to one side, or [height, width]"
    )
    augment: AugmentConfig = AugmentConfig()
    train_size: Count = Field(20_000, description="synthetic_digits only")
    test_size: Count = Field(5_000, description="synthetic_digits only")
    extra: bool = Field(False, description="svhn only: add the 531,131 extra images to train")
    download: bool = Field(True, description="download a torchvision data set that is missing")

    @property
    def bare(self) -> DatasetConfig:
        """The same data set without augmentation, which is all that its images depend on."""
        return self.model_copy(update={"augment": AugmentConfig()})

    @property
    def sides(self) -> tuple[int, int] | None:
        """The height and width that images are resized to; None: as they are."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    @property
    def label(self) -> str:
        """The data set's name for a reader: that of the file or folder, if there is one."""
        return self.name if self.path is None else self.path.name


class ModelConfig(Section):
    """Which model, and the weights that it starts from."""

    name: str = Field("cnn", description="cnn, resnet18, wrn, torchvision:<name>, module:function")
    width: Annotated[int, Field(ge=1, le=4096)] | None = None
    depth: Annotated[int, Field(ge=1, le=4096)] | None = None
    pools: Annotated[int, Field(ge=0, le=3)] | None = Field(
        None, description="how many of cnn's three stages end in max-pooling (default: 2)"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict, description="further arguments for the function that builds the model"
    )
    output: str | Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="which part of the model's output is the logits: a key, an attribute "
        "or a position",
    )
    weights: str | None = Field(
        None,
        description="initial weights: a file, the folder of a finished run, or the name of "
        "torchvision's weights, such as DEFAULT",
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the model's function besides classes and channels.

        >>> ModelConfig(width=8, settings={"dropout": 0.1}).arguments
        {'width': 8, 'dropout': 0.1}
        """
        sizes = {"width": self.width, "depth": self.depth, "pools": self.pools}
        settings: dict[str, Any] = with_numbers(self.settings)
        return {k: v for k, v in sizes.items() if v is not None} | settings

    @property
    def described(self) -> str:
        """The model in words, for plan and report.

        >>> ModelConfig(name="wrn", depth=16, weights="runs/seed-0").described
        'wrn, depth 16, weights runs/seed-0'
        """
        settings = {**self.arguments, "output": self.output, "weights": self.weights}
        words = [f"{key} {value}" for key, value in settings.items() if value is not None]
        return ", ".join([self.name, *words])


# The keys besides ``settings`` that each of torch's optimizers takes.
OPTIMIZERS = {
    "sgd": ("momentum", "nesterov", "weight_decay"),
    **dict.fromkeys(("adamw", "adam", "nadam", "radam", "rmsprop"), ("momentum", "weight_decay")),
    "adagrad": ("weight_decay",),
}


class OptimizerConfig(Section):
    """Which optimizer, and its hyperparameters besides the schedule's rate."""

    name: str = Field("sgd", description=f"{', '.join(OPTIMIZERS)}, module:function")
    momentum: float = Field(
        0.9, ge=0, lt=1, description="momentum of sgd and rmsprop, beta1 of adam and its kin"
    )
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0, allow_inf_nan=False)
    settings: dict[str, Any] = Field(
        default_factory=dict, description="further arguments; for module:function, all arguments"
    )

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if ":" not in self.name and self.name not in OPTIMIZERS:
            known = [*OPTIMIZERS, "module:function"]
            raise ValueError(f"name: {self.name!r} is unknown{did_you_mean(self.name, known)}")
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov: true needs sgd with a momentum above 0")
        return self

    @property
    def used(self) -> dict[str, Any]:
        """The keys that this optimizer takes, apart from its settings."""
        return {key: getattr(self, key) for key in OPTIMIZERS.get(self.name, ())}

    @property
    def described(self) -> str:
        """The optimizer in words, for plan and report.

        >>> OptimizerConfig(name="adagrad", settings={"eps": 1e-8}).described
        'adagrad, weight decay 0.0005, eps 1e-08'
        """
        used = {key: value for key, value in self.used.items() if value is not False}
        words = [f"{key.replace('_', ' ')} {value}" for key, value in used.items()]
        return ", ".join([self.name, *words, *(f"{k} {v}" for k, v in self.settings.items())])


class TrainingConfig(Section):
    """The length of training, and what is done in a step."""

    epochs: Count = 80
    batch_size: Count = 128
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    accumulate: Count = Field(
        1, description="number of parts each batch is split into; their gradients are averaged"
    )
    clip_norm: Rate | None = Field(
        None, description="scale the gradient down to this norm where it is larger"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="evaluate a moving average of the weights; this share of it is kept "
        "at each step",
    )
    cuda_graph: bool = Field(
        True,
        description="on CUDA: replay steps from a graph if possible; false: run them one by one",
    )
    sync_batch_norm: bool = Field(
        False, description="under torchrun: use the statistics of whole batches"
    )
    threads: Count | None = Field(None, description="CPU threads of a run; default: torch's choice")

    @property
    def extras(self) -> str:
        """The other things that are done in a step, in words, each after a comma.

        >>> TrainingConfig(accumulate=2, ema=0.999).extras
        ', in 2 parts, averaged weights (ema 0.999)'
        """
        parts = f", in {self.accumulate} parts" if self.accumulate > 1 else ""
        norm = f", gradients clipped to {self.clip_norm:g}" if self.clip_norm is not None else ""
        return parts + norm + (f", averaged weights (ema {self.ema:g})" if self.ema else "")


class RangeTestConfig(Section):
    """How clr searches for good rates."""

    min_lr: Rate = Field(0.001, description="default: depends on the optimizer")
    max_lr: Rate = Field(0.5, description="default: depends on the optimizer")
    shape: Literal["linear", "exponential"] = "linear"
    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    iterations: Annotated[int, Field(ge=2, le=10**9)] | None = None
    sweeps: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="sweeps, each with its own seed"
    )
    probes: bool = Field(True, description="search with probes; without, read the sweep alone")
    probe_epochs: Annotated[float, Field(gt=0, le=1e9)] | None = Field(
        None, description="length of a probe; default: one cycle of the arm, or 10 epochs"
    )

    @property
    def ramp(self) -> str:
        """The name of the folder that contains the sweeps of this range."""
        length = "" if self.epochs is None else f"-{self.epochs:g}-epochs"
        length = length if self.iterations is None else f"-{self.iterations}-iterations"
        return f"{self.min_lr:g}-to-{self.max_lr:g}{length}"

    @model_validator(mode="after")
    def _check(self) -> RangeTestConfig:
        if self.max_lr <= self.min_lr:
            raise ValueError(f"max_lr: {self.max_lr:g} must be above min_lr {self.min_lr:g}")
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("epochs: give the length in epochs or in iterations, not both")
        return self


class SeedsConfig(Section):
    """Which seeds to run."""

    seeds: (
        Annotated[int, Field(ge=1, le=10_000)]
        | Annotated[list[Seed], Field(min_length=1)]
        | Annotated[str, Field(pattern=r"^auto(:[0-9]{1,3})?$")]
    ) = Field(6, description="a number, a list, or auto: add seeds until every arm is decided")

    @model_validator(mode="after")
    def _check_cap(self) -> SeedsConfig:
        if self.cap is not None and self.cap < LEAST_CAP:
            raise ValueError(f"seeds: {self.seeds}: the cap must be at least {LEAST_CAP}")
        return self

    @property
    def cap(self) -> int | None:
        """The most seeds of ``seeds: auto``; None if the seeds are fixed."""
        if not isinstance(self.seeds, str):
            return None
        return int(self.seeds.partition(":")[2] or AUTO_CAP)

    @property
    def seed_list(self) -> list[int]:
        """The seeds; with ``auto``, all up to the cap."""
        if self.cap is not None:
            return list(range(self.cap))
        assert not isinstance(self.seeds, str)
        if isinstance(self.seeds, int):
            return list(range(self.seeds))
        return list(dict.fromkeys(self.seeds))


class CompareConfig(SeedsConfig):
    """Which arms are compared, and how."""

    schedules: Annotated[list[Name], Field(min_length=1)] = ["constant", "clr"]
    baseline: str | None = Field(None, description="default: the first of schedules")
    design: Literal["paired", "unpaired"] = Field(
        "paired",
        description="paired: compare runs of equal seeds; unpaired: compare means, and with "
        "seeds: auto give more runs to the noisier arm",
    )
    margin: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="equivalence margin, as a fraction; default: 0.001, or a tenth of the "
        "baseline's error where that is less",
    )
    target: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = "auto"
    detect: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="a difference, as a fraction: the plan says how many seeds show it; "
        "default: the margin",
    )
    vary: Annotated[list[Literal["seed", "split"]], Field(min_length=1)] = Field(
        ["seed"], description="what differs from seed to seed; split: the validation images too"
    )

    @model_validator(mode="after")
    def _check_vary(self) -> CompareConfig:
        if "seed" not in self.vary:
            raise ValueError(
                "vary: initial weights and data order always vary; write [seed] or [seed, split]"
            )
        return self
