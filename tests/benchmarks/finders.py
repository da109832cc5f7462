"""Which range test can one trust? Ours against torch-lr-finder, Lightning and fastai.

Spread: each finder's max_lr over the seeds, in decades. Regret: test accuracy lost by training
with triangular CLR under its bounds (base = max/10 for those that give one number), against the
best of a log grid of 8 max_lr, which is chosen on validation; paired by seed. Cost: wall time.
Same model, weights, data, batch size, optimizer, ramp (exponential, 1e-4 to 10) and sweep length
for all; the finders take turns, seed by seed. "x3" spends three sweeps on an answer: ours pools
them, of the others' numbers it is the median. "clr default x3" is `clr range-test` as it
comes (linear, 0.001 to 0.5); "clr to 2" the same over four times the range: how much of the
answer is owed to the range. Finished work is kept in the output folder and not repeated.

    pip install -e '.[bench]'
    python tests/benchmarks/finders.py [--data svhn synthetic] [--seeds 8] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clr_cli.analysis.stats import mean_intervals
from clr_cli.analysis.suggest import suggest
from clr_cli.config.load import validate
from clr_cli.config.model import Config
from clr_cli.config.sections import RangeTestConfig
from clr_cli.data import sources as data
from clr_cli.data.batches import Resident, derive_seed, normalize, to_device
from clr_cli.records import Sweep
from clr_cli.schedules import make
from clr_cli.training import sweep as range_test
from clr_cli.training.build import build
from clr_cli.training.device import resolve_precision
from clr_cli.training.loop import Diverged, train
from clr_cli.training.models import build_model

RAMP = ("exponential", 1e-4, 10.0)
DEFAULT_RAMP = ("linear", 0.001, 0.5)
WIDE_RAMP = ("linear", 0.001, 2.0)
GRID = [0.0125 * 2**i for i in range(8)]
POOLED = 3  # sweeps of one answer, as `clr range-test` has them
CPU = torch.device("cpu")
REAL = Path(os.environ.get("CLR_SVHN_DIGITS", "../shared/data/svhn_digits.npz"))
DATASETS: dict[str, dict[str, Any]] = {
    "svhn": {"name": "npz", "path": str(REAL)},
    "synthetic": {"name": "synthetic_digits", "train_size": 9000, "test_size": 1500},
}


@dataclass(frozen=True)
class Bench:
    """One data set and the settings that all finders share."""

    name: str
    iterations: int
    epochs: int

    @cached_property
    def config(self) -> Config:
        tree = {
            "dataset": {**DATASETS[self.name], "val_size": 1000, "augment": {"crop_padding": 0}},
            "model": {"name": "cnn", "width": 8},
            "training": {"epochs": self.epochs, "batch_size": 128},
        }
        return validate(tree, "the benchmark")

    @cached_property
    def images(self) -> Resident:
        return to_device(data.load(self.config.dataset), CPU, 0)

    @property
    def precision(self) -> str:
        return resolve_precision(self.config.training.precision, CPU)

    @cached_property
    def tensors(self) -> TensorDataset:
        """The training images as the other tools take them: normalised float32, NCHW."""
        return TensorDataset(normalize(self.images, self.images.padded).contiguous(), self.labels)

    @property
    def subset(self) -> data.Split:
        """The validation images of a sweep."""
        test = RangeTestConfig(iterations=self.iterations)
        _, _, interval = range_test.plan(test, self.images.steps_per_epoch(128))
        return range_test.validation_subset(self.images.val, interval * 128)

    @property
    def labels(self) -> torch.Tensor:
        return self.images.labels

    def model(self, seed: int) -> nn.Module:
        """With the weights that ours has at this seed."""
        torch.manual_seed(derive_seed(seed, 0, "init"))
        classes = self.images.num_classes
        return build_model(self.config.model, in_channels=3, image_size=32, num_classes=classes)

    def loader(self, seed: int) -> DataLoader[Any]:
        order = torch.Generator().manual_seed(seed)
        return DataLoader(
            self.tensors, batch_size=128, shuffle=True, drop_last=True, generator=order
        )


def clr_sweep(bench: Bench, seed: int, kind: tuple[str, float, float] = RAMP) -> dict[str, Any]:
    shape, low, high = kind
    test = {"shape": shape, "min_lr": low, "max_lr": high, "iterations": bench.iterations}
    config = validate({**bench.config.model_dump(mode="json"), "range_test": test}, "the benchmark")
    steps = bench.images.steps_per_epoch(128)
    ramp, total, interval = range_test.plan(config.range_test, steps)
    state = build(config, ramp, bench.images, seed=seed, precision=bench.precision)
    rows = list(range_test.sweep(state, total, interval, []))
    return {"sweep": dataclasses.asdict(range_test.measured(seed, rows))}


def torch_lr_finder_sweep(bench: Bench, seed: int) -> dict[str, Any]:
    from matplotlib.figure import Figure
    from torch_lr_finder import LRFinder

    model = bench.model(seed)
    finder = LRFinder(model, _sgd(model), nn.CrossEntropyLoss())
    finder.range_test(
        bench.loader(seed), start_lr=RAMP[1], end_lr=RAMP[2], num_iter=bench.iterations
    )
    _, steepest = finder.plot(ax=Figure().subplots(), suggest_lr=True)
    return {"torch-lr-finder": steepest}


def lightning_sweep(bench: Bench, seed: int) -> dict[str, Any]:
    import lightning
    from lightning.pytorch.tuner import Tuner

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = bench.model(seed), RAMP[1]

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _sgd(self.model)

    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        finder = Tuner(trainer).lr_find(
            Module(),
            train_dataloaders=bench.loader(seed),
            min_lr=RAMP[1],
            max_lr=RAMP[2],
            num_training=bench.iterations,
        )
    return {"lightning": finder.suggestion()}


def fastai_sweep(bench: Bench, seed: int) -> dict[str, Any]:
    from fastai.callback.schedule import minimum, steep, valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import SGD

    names = ("fastai valley", "fastai steep", "fastai minimum")
    loader = bench.loader(seed)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(loader, loader, device=CPU),
            bench.model(seed),
            loss_func=nn.CrossEntropyLoss(),
            opt_func=partial(SGD, mom=0.9, wd=5e-4, decouple_wd=False),
            wd_bn_bias=True,
            path=folder,
        )
        found = learner.lr_find(
            start_lr=RAMP[1],
            end_lr=RAMP[2],
            num_it=bench.iterations,
            show_plot=False,
            suggest_funcs=(valley, steep, minimum),
        )
    return dict(zip(names, map(float, found), strict=True))


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=RAMP[1], momentum=0.9, weight_decay=5e-4)


OURS: dict[str, Callable[[Bench, int], dict[str, Any]]] = {
    "clr": clr_sweep,
    "clr default": partial(clr_sweep, kind=DEFAULT_RAMP),
    "clr to 2": partial(clr_sweep, kind=WIDE_RAMP),
}
PEERS: dict[str, Callable[[Bench, int], dict[str, Any]]] = {
    "torch-lr-finder": torch_lr_finder_sweep,
    "lightning": lightning_sweep,
    "fastai": fastai_sweep,
}


@dataclass(frozen=True)
class Answer:
    """A finder's bounds at one seed; `doubt` is our own "inconclusive"."""

    base_lr: float
    max_lr: float
    seconds: float
    doubt: str | None = None


def answers(sweeps: dict[str, list[dict[str, Any]]], bench: Bench) -> dict[str, list[Answer]]:
    """Every finder's answers, one per seed."""
    found: dict[str, list[Answer]] = {}
    triples = range(0, len(sweeps["clr"]), POOLED)
    plans = [("clr", 1), ("clr", POOLED), ("clr default", 1), ("clr default", POOLED)]
    for finder, k in [*plans, ("clr to 2", POOLED)]:
        found[f"{finder} x{k}"] = [_ours(sweeps[finder][i : i + k], bench) for i in triples]
    # What max_lr alone is worth: the base that the others are given.
    found[f"clr x{POOLED}, base = max/10"] = [
        replace(answer, base_lr=answer.max_lr / 10) for answer in found[f"clr x{POOLED}"]
    ]
    for peer in PEERS:
        every = sweeps[peer]
        for name in every[0]["found"]:
            found[name] = [_theirs([one], name) for one in every]
            # Medians of neighbours share sweeps, which makes their spread look smaller, not larger.
            around = [(every * 2)[i : i + POOLED] for i in range(len(every))]
            found[f"{name} x{POOLED}"] = [_theirs(used, name) for used in around]
    return found


def _theirs(used: Sequence[dict[str, Any]], name: str) -> Answer:
    value = statistics.median(one["found"][name] for one in used)
    return Answer(value / 10, value, sum(one["seconds"] for one in used))


def _ours(used: Sequence[dict[str, Any]], bench: Bench) -> Answer:
    seconds = sum(one["seconds"] for one in used)
    labels = bench.subset.labels
    found = suggest(
        [Sweep(**one["found"]["sweep"]) for one in used],
        num_classes=bench.images.num_classes,
        chance=labels.bincount().max().item() / len(labels),
    )
    if found.base_lr is None or found.max_lr is None:
        return Answer(math.nan, math.nan, seconds, found.inconclusive)
    return Answer(found.base_lr.value, found.max_lr.value, seconds, found.inconclusive)


def accuracies(bench: Bench, base_lr: float, max_lr: float, seed: int) -> dict[str, float]:
    """Validation and test accuracy after two cycles of triangular CLR; chance if it diverged."""
    steps = bench.images.steps_per_epoch(128)
    total = bench.epochs * steps
    params = {"base_lr": base_lr, "max_lr": max_lr, "step_size": total // 4}
    schedule = make("triangular", params, iterations_per_epoch=steps, total_iterations=total)
    state = build(bench.config, schedule, bench.images, seed=seed, precision=bench.precision)
    try:
        last = list(train(state, bench.epochs))[-1]
    except Diverged:
        chance = 1 / bench.images.num_classes
        return {"val": chance, "test": chance}
    return {"val": last["val_accuracy"], "test": last["test_accuracy"]}


class Kept:
    """Results by key in a file of JSON lines, so that an interrupted benchmark goes on."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.values = path, {}
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            self.values = dict(json.loads(line) for line in lines)

    def get(self, key: str, work: Callable[[], Any]) -> Any:
        if key not in self.values:
            self.values[key] = work()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.values[key]]) + "\n")
            print(key, flush=True)
        return self.values[key]


def _timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        started = time.perf_counter()
        found = work()
        return {"found": found, "seconds": time.perf_counter() - started}


def measure(bench: Bench, seeds: int, folder: Path) -> dict[str, Any]:
    """All sweeps, then the grid and the finders' bounds; the numbers of the table."""
    kept = Kept(folder / f"{bench.name}-sweeps-{bench.iterations}.jsonl")
    trainings = Kept(folder / f"{bench.name}-trainings-{bench.epochs}.jsonl")
    sweeps: dict[str, list[dict[str, Any]]] = {name: [] for name in (*OURS, *PEERS)}
    assert len(bench.tensors)  # made now, not within a sweep's time
    for seed in range(seeds * POOLED):
        turn = OURS if seed % POOLED else {**OURS, **PEERS}
        for name, sweep in turn.items():
            work = partial(_timed, partial(sweep, bench, seed))
            sweeps[name].append(kept.get(f"sweep {name} {seed}", work))

    def trained(base_lr: float, max_lr: float, seed: int) -> dict[str, float]:
        base_lr, max_lr = float(f"{base_lr:.2g}"), float(f"{max_lr:.2g}")
        work = partial(accuracies, bench, base_lr, max_lr, seed)
        result: dict[str, float] = trainings.get(f"train {base_lr:g} {max_lr:g} {seed}", work)
        return result

    grid = {lr: [trained(lr / 10, lr, seed) for seed in range(seeds)] for lr in GRID}
    best = max(GRID, key=lambda lr: statistics.fmean(run["val"] for run in grid[lr]))

    def under(seed: int, answer: Answer) -> dict[str, float]:
        return trained(answer.base_lr, answer.max_lr, seed)

    rows = []
    for name, found in answers(sweeps, bench).items():
        pooled_peer = name.endswith(f" x{POOLED}") and not name.startswith("clr")
        rows.append(_row(name, found, None if pooled_peer else under, grid[best]))
    curve = {f"{lr:g}": statistics.fmean(run["test"] for run in grid[lr]) for lr in GRID}
    settings = {"iterations": bench.iterations, "epochs": bench.epochs, "seeds": seeds}
    return {"data": bench.name, **settings, "best": best, "grid": curve, "finders": rows}


def _row(
    name: str,
    found: Sequence[Answer],
    trained: Callable[[int, Answer], dict[str, float]] | None,
    best: Sequence[dict[str, float]],
) -> dict[str, Any]:
    given = [(seed, answer) for seed, answer in enumerate(found) if answer.max_lr > 0]
    row = {
        "finder": name,
        "seconds": statistics.median(answer.seconds for answer in found),
        "answers": [answer.max_lr for _, answer in given],
        "base_lrs": [answer.base_lr for _, answer in given],
        "doubts": [answer.doubt for answer in found if answer.doubt],
    }
    if len(given) < 2:
        return row
    row["spread_decades"] = math.log10(max(row["answers"]) / min(row["answers"]))
    if trained is None:
        return row
    lost = [100 * (best[seed]["test"] - trained(seed, answer)["test"]) for seed, answer in given]
    low, high = mean_intervals(lost, [0.95])
    return {
        **row,
        "regret_points": statistics.fmean(lost),
        "regret_interval": [float(low[0]), float(high[0])],
        "lost": lost,
    }


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """A row per finder, beside each other the data sets; times are those of the first."""
    head = [f"{r['data']}: {name}" for r in results for name in ("max_lr", "spread", "regret")]
    lines = [["finder", *head, "s"], ["---", *["--:"] * (len(head) + 1)]]
    for rows in zip(*(result["finders"] for result in results), strict=True):
        cells = [cell for row in rows for cell in _cells(row)]
        lines.append([rows[0]["finder"], *cells, f"{rows[0]['seconds']:.0f}"])
    return [f"| {' | '.join(line)} |" for line in lines]


def _cells(row: dict[str, Any]) -> list[str]:
    if "spread_decades" not in row:
        return ["no answer", "", ""]
    regret = ""
    if "lost" in row:
        low, high = row["regret_interval"]
        regret = f"{row['regret_points']:+.2f} ({low:+.2f} to {high:+.2f})"
    return [f"{statistics.median(row['answers']):.2g}", f"{row['spread_decades']:.2f}", regret]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=550, help="of every sweep")
    parser.add_argument("--epochs", type=int, default=12, help="of every training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/finders"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    results = []
    for name in options.data:
        if name == "svhn" and not REAL.is_file():
            print(f"svhn: skipped, {REAL} is not there (set CLR_SVHN_DIGITS)")
            continue
        bench = Bench(name, options.iterations, options.epochs)
        results.append(measure(bench, options.seeds, options.output))
        path = options.output / f"{name}-{options.iterations}.json"
        path.write_text(json.dumps(results[-1], indent=2), encoding="utf-8")
        print(f"written: {path}", flush=True)
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
