"""Training loops to be timed side by side: ours, bare loops and other projects' normal use.

Every one trains the same network on the same images with SGD (momentum 0.9, weight decay 5e-4).
Ours draws crops from the whole training split. The others are fed in two forms: ready-made fp32
images in memory, and as their READMEs show it: a torchvision-style data set of pictures with
transforms (crop, tensor, normalize) behind a DataLoader with workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from clr_cli import schedules
from clr_cli.config.model import Config
from clr_cli.data import batches
from clr_cli.data.sources import Data, Split
from clr_cli.training import loop as training
from clr_cli.training.build import build
from clr_cli.training.state import TrainState
from clr_cli.training.stream import alone

LR = 0.02
Seconds = tuple[float, float]  # wall, CPU of this process
Loop = Callable[[], Seconds]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What all loops share. ``precision`` is that of ours and of the fast bare loop.

    workers: of a DataLoader over pictures; None: ready-made images in memory, no workers.
    """

    data: Data
    width: int
    batch_size: int
    iterations: int
    device: torch.device
    precision: str
    workers: int | None = None

    @property
    def images(self) -> int:
        return self.iterations * self.batch_size

    def resident(self, images: int) -> batches.Resident:
        """The first images of the training split; next to nothing to evaluate on."""
        one = Split(self.data.test.images[:1], self.data.test.labels[:1])
        train = Split(self.data.train.images[:images], self.data.train.labels[:images])
        cut = dataclasses.replace(self.data, train=train, val=one, test=one)
        return batches.to_device(cut, self.device, crop_padding=4)

    def state(self, images: int) -> TrainState:
        return self.state_on(self.resident(images))

    def state_on(self, resident: batches.Resident) -> TrainState:
        config = Config.model_validate(
            {
                "model": {"width": self.width},
                "training": {"epochs": 1, "batch_size": self.batch_size},
            }
        )
        schedule = schedules.make(
            "constant", {"lr": LR}, iterations_per_epoch=1, total_iterations=1
        )
        return build(config, schedule, resident, seed=0, precision=self.precision)

    def plain(self) -> tuple[nn.Module, Dataset[Any]]:
        """The network as torch makes it, and the images that are to be learned."""
        model = self.state(self.batch_size).model.to(memory_format=torch.contiguous_format)
        # One batch more than is timed: timing runs from one forward pass to another.
        count = self.images + self.batch_size
        images, labels = self.data.train.images[:count], self.data.train.labels[:count]
        if self.workers is not None:
            return model, Pictures(images.numpy(), labels.tolist(), self.data.mean, self.data.std)
        mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (self.data.mean, self.data.std))
        scaled = images.permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)
        return model, TensorDataset(scaled.contiguous(), labels)

    def loader(self, data: Dataset[Any]) -> DataLoader[Any]:
        pinned = self.workers is not None and self.device.type == "cuda"
        return DataLoader(
            data, self.batch_size, shuffle=True, num_workers=self.workers or 0, pin_memory=pinned
        )


class Pictures(Dataset[Any]):
    """As torchvision's SVHN and CIFAR10: arrays, made a picture and transformed when asked for."""

    def __init__(
        self, images: np.ndarray, labels: list[int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        from torchvision import transforms

        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def optimizer(model: nn.Module, **options: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), LR, 0.9, weight_decay=5e-4, **options)


def clock() -> Seconds:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def timed(work: Callable[[], object]) -> Seconds:
    wall, cpu = clock()
    work()
    wall_end, cpu_end = clock()
    return wall_end - wall, cpu_end - cpu


def ours(problem: Problem) -> Loop:
    """A whole epoch: shuffling, cropping, metrics and schedule, and an evaluation of 2 images."""
    state = problem.state(problem.images)
    return lambda: timed(lambda: next(alone(training.epochs_in_turns(state, state.epoch + 1))))


def bare(problem: Problem, *, fast: bool, adaptive: bool = False) -> Loop:
    """Nothing but forward, backward and update, on one batch that is there already.

    ``adaptive``: the global average as most people write it.
    """
    model, data = problem.plain()
    if adaptive:
        model[-2] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = model.to(problem.device)
    images, labels = (t[: problem.batch_size].to(problem.device) for t in data.tensors)
    autocast = fast and problem.precision == "bf16"
    if fast:
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    sgd = optimizer(model, fused=fast)

    def work() -> None:
        for _ in range(problem.iterations):
            sgd.zero_grad()
            with torch.autocast(problem.device.type, torch.bfloat16, enabled=autocast):
                logits = model(images)
            F.cross_entropy(logits.float(), labels).backward()
            sgd.step()

    return lambda: timed(work)


def between_forwards(model: nn.Module, iterations: int, fit: Callable[[], object]) -> Seconds:
    """Time of ``iterations`` whole iterations inside ``fit``, its start and end left out."""
    marks: list[Seconds] = []
    hook = model.register_forward_pre_hook(lambda *_: marks.append(clock()))
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        fit()
    hook.remove()
    return marks[iterations][0] - marks[0][0], marks[iterations][1] - marks[0][1]


def torch_lr_finder(problem: Problem) -> Loop:
    from torch_lr_finder import LRFinder

    model, data = problem.plain()
    loader = problem.loader(data)

    def fit() -> None:
        finder = LRFinder(model, optimizer(model), nn.CrossEntropyLoss(), device=problem.device)
        finder.range_test(
            loader,
            start_lr=LR,
            end_lr=2 * LR,
            num_iter=problem.iterations + 1,
            step_mode="linear",
            diverge_th=1e9,
        )

    return lambda: between_forwards(model, problem.iterations, fit)


def lightning(problem: Problem) -> Loop:
    import logging

    import lightning as L

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model, data = problem.plain()
    loader = problem.loader(data)

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            images, labels = batch
            return F.cross_entropy(self.model(images), labels)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer(self.model)

    module = Module()

    def fit() -> None:
        trainer = L.Trainer(
            max_epochs=1,
            accelerator=problem.device.type,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)

    return lambda: between_forwards(model, problem.iterations, fit)


def fastai(problem: Problem) -> Loop:
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD

    model, data = problem.plain()
    loaders = DataLoaders.from_dsets(
        data,
        Subset(data, [0]),
        bs=problem.batch_size,
        num_workers=problem.workers or 0,
        device=problem.device,
    )
    learner = Learner(loaders, model, F.cross_entropy, SGD, lr=LR, wd=5e-4, moms=(0.9, 0.9, 0.9))

    def fit() -> None:
        with learner.no_logging():
            learner.fit(1)

    return lambda: between_forwards(model, problem.iterations, fit)


PEERS: dict[str, Callable[[Problem], Loop]] = {
    "torch_lr_finder": torch_lr_finder,
    "lightning": lightning,
    "fastai": fastai,
}


def contenders(problem: Problem) -> dict[str, Loop]:
    """Ours first, then the bare loops (with images in memory), then whichever peer is installed."""
    loops = {"clr, whole epoch": ours(problem)}
    if problem.workers is None:
        fast = f"bare loop: channels_last, {problem.precision}, fused, one batch"
        loops[fast] = bare(problem, fast=True)
        loops["the same with AdaptiveAvgPool2d"] = bare(problem, fast=True, adaptive=True)
        loops["bare loop: fp32, NCHW, one batch"] = bare(problem, fast=False)
    for name, make in PEERS.items():
        if importlib.util.find_spec(name) is not None:
            loops[name] = make(problem)
    return loops
