"""The pieces of work of finders.py: cells, trainings, sweeps, other people's finders.

A cell is a data set, a model and an optimizer. Every piece of work is kept by its key and never
done twice, so that the benchmark can be stopped at any moment.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clr_cli.config.load import validate
from clr_cli.config.model import Config
from clr_cli.data import sources
from clr_cli.data.batches import Resident, derive_seed, normalize, to_device
from clr_cli.schedules import make
from clr_cli.training import sweep as ramps
from clr_cli.training.build import build
from clr_cli.training.device import resolve_precision
from clr_cli.training.loop import train_and_score
from clr_cli.training.models import GlobalAverage, build_model
from clr_cli.training.stream import alone

sys.path.append(str(Path(__file__).resolve().parents[1]))
from support.loops import finish

CPU = torch.device("cpu")
SHARED = Path(os.environ.get("CLR_DATA", "../shared/data"))
BATCH, CYCLE, EPOCHS = 128, 10, 20  # images; epochs of a cycle and of a whole run
FIRST_SEED = 1_000_000  # of probes; whole runs have the seeds from 0 on

DATASETS: dict[str, dict[str, Any]] = {
    "svhn": {"name": "npz", "path": str(SHARED / "svhn_digits.npz")},
    "fashion": {"name": "npz", "path": str(SHARED / "fashion_10k.npz")},
    "synthetic": {"name": "synthetic_digits", "train_size": 8000, "test_size": 2000},
}


def plain_cnn(*, num_classes: int, in_channels: int, width: int = 8) -> nn.Module:
    """The `cnn` without batch norm, initialized after He et al. (2015)."""
    layers: list[nn.Module] = []
    channels = in_channels
    for stage in range(3):
        for convolution in range(2):
            layers.append(nn.Conv2d(channels, width * 2**stage, 3, padding=1))
            nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="relu")
            nn.init.zeros_(layers[-1].bias)
            if convolution == 1 and stage < 2:
                layers.append(nn.MaxPool2d(2))
            layers.append(nn.ReLU(inplace=True))
            channels = width * 2**stage
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(channels, num_classes))


@dataclass(frozen=True)
class Cell:
    """One model on one data set under one optimizer."""

    name: str
    data: str
    model: str = "cnn"
    optimizer: str = "sgd"
    random_labels: bool = False

    @property
    def lower(self) -> float:
        """By what the ranges are lower than those of SGD."""
        return 0.01 if self.optimizer == "adamw" else 1.0

    def config(self, length: int, **range_test: Any) -> Config:
        """The config of a run of so many epochs."""
        given = {"name": self.optimizer, "momentum": 0.9}
        given["weight_decay"] = 0.01 if self.optimizer == "adamw" else 5e-4
        data = {**DATASETS[self.data], "val_size": 1000, "augment": {"crop_padding": 1}}
        tree = {
            "dataset": data,
            "model": {"name": self.model, "width": 8},
            "optimizer": given,
            "training": {"epochs": length, "batch_size": BATCH},
            "range_test": range_test,
        }
        return validate(tree, "the benchmark")

    @cached_property
    def images(self) -> Resident:
        found = _resident(self.data)
        if self.random_labels:
            found.labels.copy_(found.labels[torch.randperm(len(found))])
            for split in (found.val, found.test):
                split.labels.copy_(split.labels[torch.randperm(len(split))])
        return found

    @property
    def steps(self) -> int:
        return self.images.steps_per_epoch(BATCH)

    def trained(self, rate: float, seed: int, epochs: int) -> dict[str, float | None]:
        """Accuracies after so many epochs of CLR up to ``rate``; None where it diverged."""
        params = {"base_lr": rate / 100, "max_lr": rate, "step_size": self.steps * CYCLE // 2}
        config = self.config(epochs)
        state = build(
            config,
            make("clr", params),
            self.images,
            seed=seed,
            precision=resolve_precision("auto", CPU),
            allow_code=True,
        )
        for epoch in range(1, epochs + 1):
            splits = (self.images.val, self.images.test) if epoch == epochs else ()
            scored = finish(train_and_score(state, epoch * self.steps, splits))
            if not all(map(math.isfinite, scored.losses)):
                return {"val": None, "test": None}
        accuracies = [accuracy for _, accuracy in scored.scores]
        return dict(zip(("val", "test"), accuracies, strict=True))

    def sweep(self, end: float, epochs: int, seed: int) -> dict[str, Any]:
        """Our linear sweep from a five-hundredth of .5, or two decades below, to ``end``."""
        low = 0.001 * self.lower
        config = self.config(EPOCHS, min_lr=low, max_lr=end, epochs=epochs)
        ramp, total, interval = ramps.plan(config.range_test, self.steps)
        state = build(
            config,
            ramp,
            self.images,
            seed=seed,
            precision=resolve_precision("auto", CPU),
            allow_code=True,
        )
        curve = ramps.measured(seed, list(alone(ramps.sweep(state, total, interval, []))))
        return {**asdict(curve), "stopped": curve.stopped and curve.stopped.model_dump()}

    # --- what other people's finders are given: the same weights, images and batches -------------

    def net(self, seed: int) -> nn.Module:
        torch.manual_seed(derive_seed(seed, 0, "init"))
        return build_model(
            self.config(EPOCHS).model,
            in_channels=self.images.channels,
            image_size=(32, 32),
            num_classes=self.images.num_classes,
            allow_code=True,
        )

    def loader(self, seed: int) -> DataLoader[Any]:
        inner = self.images.padded[:, 1:-1, 1:-1]  # without the border that crops need
        tensors = normalize(self.images, inner.contiguous()).contiguous()
        order = torch.Generator().manual_seed(seed)
        data = TensorDataset(tensors, self.images.labels)
        return DataLoader(data, batch_size=BATCH, shuffle=True, drop_last=True, generator=order)

    def torch_optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        if self.optimizer == "adamw":
            return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
        return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)


@cache
def _resident(name: str) -> Resident:
    return to_device(sources.load(Cell("", name).config(1).dataset), CPU, 1)


def torch_lr_finder(cell: Cell, low: float, end: float, seed: int) -> dict[str, float | None]:
    from matplotlib.figure import Figure
    from torch_lr_finder import LRFinder

    model = cell.net(seed)
    finder = LRFinder(model, cell.torch_optimizer(model, low), nn.CrossEntropyLoss())
    steps = CYCLE * cell.steps
    finder.range_test(cell.loader(seed), start_lr=low, end_lr=end, num_iter=steps)
    return {"torch-lr-finder": finder.plot(ax=Figure().subplots(), suggest_lr=True)[1]}


def lightning(cell: Cell, low: float, end: float, seed: int) -> dict[str, float | None]:
    import lightning
    from lightning.pytorch.tuner import Tuner

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = cell.net(seed), low

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return cell.torch_optimizer(self.model, low)

    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        found = Tuner(trainer).lr_find(
            Module(),
            train_dataloaders=cell.loader(seed),
            min_lr=low,
            max_lr=end,
            num_training=CYCLE * cell.steps,
        )
    return {"Lightning": None if found is None else found.suggestion()}


def fastai(cell: Cell, low: float, end: float, seed: int) -> dict[str, float | None]:
    from fastai.callback.schedule import minimum, valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD, Adam

    loader = cell.loader(seed)
    chosen = partial(SGD, mom=0.9, wd=5e-4, decouple_wd=False)
    if cell.optimizer == "adamw":
        chosen = partial(Adam, mom=0.9, sqr_mom=0.999, wd=0.01)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(loader, loader, device=CPU),
            cell.net(seed),
            loss_func=nn.CrossEntropyLoss(),
            opt_func=chosen,
            wd_bn_bias=True,
            path=folder,
        )
        found = learner.lr_find(
            start_lr=low,
            end_lr=end,
            num_it=CYCLE * cell.steps,
            show_plot=False,
            suggest_funcs=(valley, minimum),
        )
    return dict(zip(("fastai valley", "fastai minimum"), map(float, found), strict=True))


PEERS = {"torch-lr-finder": torch_lr_finder, "Lightning": lightning, "fastai": fastai}


class Kept:
    """Results by key, with their seconds, in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.values = path, {}
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.values = dict(json.loads(line) for line in lines)

    def get(self, key: str, work: Callable[[], Any]) -> Any:
        """The value at this key, made where it is not there yet."""
        if key not in self.values:
            started = time.perf_counter()
            with (
                Path(os.devnull).open("w") as nowhere,
                redirect_stdout(nowhere),
                redirect_stderr(nowhere),
            ):
                found = work()
            self.values[key] = {"found": found, "seconds": time.perf_counter() - started}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.values[key]]) + "\n")
            print(key, flush=True)
        return self.values[key]["found"]

    def seconds(self, prefix: str) -> float:
        return sum(v["seconds"] for key, v in self.values.items() if key.startswith(prefix))
