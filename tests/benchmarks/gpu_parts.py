"""The parts of gpu.py. Each tells rows as soon as it knows them."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import PEERS, Problem

from clr_cli.data.sources import Data, Split
from clr_cli.execution.trial import measure
from clr_cli.training.device import resolve_device, resolve_precision
from clr_cli.training.state import TrainState
from clr_cli.training.steps import DeviceSteps, EagerSteps

ROOT = Path(__file__).parents[2]
SVHN = {"train": 73_257, "test": 26_032}


@dataclasses.dataclass(frozen=True)
class Size:
    """How large all parts are.

    images: of SVHN's splits, as a share; runs: how many at once; steps: of a measurement; peer:
    of a peer's, with images in memory and with pictures; strikes: rows after which a run is killed;
    sets: of a config, for the whole commands.
    """

    images: float
    width: int
    batch: int
    runs: tuple[int, ...]
    steps: int
    peer: tuple[int, int]
    seeds: int
    strikes: tuple[int, ...]
    sets: tuple[str, ...] = ()


WHOLE = Size(1.0, 32, 128, (1, 2, 4, 6, 12), 800, (200, 60), 6, (1, 3))
SMALL = Size(
    0.01,
    4,
    64,
    (1, 2, 3),
    12,
    (2, 2),
    2,
    (2,),
    (
        "dataset.val_size=100",
        "model.width=4",
        "training.epochs=1",
        "training.batch_size=64",
        "training.threads=1",
        "range_test.epochs=2",
        "range_test.probes=off",
        "range_test.sweeps=1",
        "schedules.clr.step_size_epochs=0.5",
        "compare.seeds=1",
    ),
)


class Telling:
    """The rows of a part: in a file that is whole after each, whatever happens then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []

    def __call__(self, what: str, value: object, aim: str = "", met: bool | None = None) -> None:
        self._rows.append({"what": what, "value": str(value), "aim": aim, "met": met})
        print(f"{what}: {value} {aim}", flush=True)
        self._path.write_text(json.dumps(self._rows, indent=2))


def machine() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "gpu": gpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cudnn": torch.backends.cudnn.version(),
    }


# ---- right ---------------------------------------------------------------------------------------


def tests(size: Size, folder: Path, tell: Telling) -> None:
    """pytest -k cuda"""
    command = [sys.executable, "-m", "pytest", "tests/training", "-q", "-k", "cuda"]
    command += ["-o", "addopts=", "-p", "no:cacheprovider"]  # without what need not be installed
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-4000:], done.stderr[-2000:])
    lines = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()
    ran = torch.cuda.is_available()
    met = done.returncode == 0 and ran
    tell("pytest tests/training -k cuda", lines[-1].strip("= "), "all pass", met if ran else None)


def exact(size: Size, folder: Path, tell: Telling) -> None:
    """Killed and resumed, and several at once: the bits of one run after the other."""
    sys.path.append(str(ROOT / "tests"))
    from support.left_behind import left_behind

    path = config(folder, size)
    command = ["train", "--config", str(path), "--set", "training.epochs=6"]
    clr(command, folder / "whole")
    for name, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGTERM)):
        struck = 0
        for row in size.strikes:
            struck += strike(command, folder / name, number, row)
        clr(command, folder / name)
        same = left_behind(folder / name) == left_behind(folder / "whole")
        tell(f"{name} and resumed, {struck} times", said(same), "bit-identical", same)
    few = [f"compare.seeds={size.seeds}", "training.epochs=2"]
    together = ["compare", "--config", str(path), *(x for each in few for x in ("--set", each))]
    clr([*together, "--jobs", "1"], folder / "one")
    clr([*together, "--jobs", "4"], folder / "four")
    same = left_behind(folder / "one") == left_behind(folder / "four")
    tell("four runs at once", said(same), "bit-identical", same)


def said(same: bool) -> str:
    return "identical" if same else "different"


def config(folder: Path, size: Size) -> Path:
    """A comparison on made-up images of SVHN's form."""
    images = sized(folder, min(size.images, 0.1))
    (path := folder / "exact.yaml").write_text(
        f"dataset: {{name: npz, path: {images}, val_size: 100}}\n"
        f"model: {{name: cnn, width: {size.width}}}\n"
        f"training: {{batch_size: {size.batch}, precision: bf16, threads: 1}}\n"
        "schedules:\n"
        "  constant: {kind: constant, lr: 0.02}\n"
        "  clr: {kind: triangular, base_lr: 0.001, max_lr: 0.05, step_size_epochs: 1}\n"
        "compare: {schedules: [constant, clr]}\n"
    )
    return path


def clr(arguments: Sequence[str], output: Path) -> None:
    """Run it to its end. Raises CalledProcessError."""
    command = [sys.executable, "-m", "clr_cli", *arguments, "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 3):  # 3: a range test without an answer
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()


def strike(arguments: Sequence[str], output: Path, number: signal.Signals, row: int) -> bool:
    """Run it, and send it a signal after so many of its rows; whether it was still running."""
    command = [sys.executable, "-m", "clr_cli", *arguments, "-o", str(output)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith(f"epoch {row}/"):
            child.send_signal(number)
            break
    child.stderr.read()
    return child.wait() != 0


def sized(folder: Path, share: float) -> Path:
    """Images of SVHN's sizes with something to learn: a pattern for each class, and noise."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 100, (10, 32, 32, 3), dtype=np.uint8)
    arrays = {}
    for split, count in SVHN.items():
        labels = rng.integers(0, 10, max(300, int(share * count)))
        noise = rng.integers(0, 156, (len(labels), 32, 32, 3), dtype=np.uint8)
        arrays |= {f"{split}_images": noise + patterns[labels], f"{split}_labels": labels}
    path = folder / f"sized-{share:g}.npz"
    np.savez(path, **arrays)
    return path


# ---- fast ----------------------------------------------------------------------------------------


def problem(size: Size, iterations: int) -> Problem:
    """SVHN's sizes, random pictures."""
    rng = np.random.default_rng(0)
    count = max(1000, int(SVHN["train"] * size.images))
    images = torch.from_numpy(rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
    split = Split(images, torch.from_numpy(rng.integers(0, 10, count)))
    device = resolve_device("auto")
    return Problem(
        data=Data(
            name="random",
            train=split,
            val=split,
            test=split,
            num_classes=10,
            mean=(0.5,) * 3,
            std=(0.3,) * 3,
            fingerprint="",
        ),
        width=size.width,
        batch_size=size.batch,
        iterations=iterations,
        device=device,
        precision=resolve_precision("auto", device),
    )


def settled(given: Problem, data: Any, way: str, size: Size) -> TrainState:
    """A state whose steps are taken in this way; the first of them are behind it."""
    state = given.state_on(data)
    for group in state.optimizer.param_groups:  # as on CUDA
        group["lr"] = torch.tensor(1.0, device=state.device)
    state.steps = EagerSteps() if way == "eager" else DeviceSteps(state)
    measure([state], max(4, size.steps // 20))
    return state


def gigabytes() -> float | None:
    """The memory that this process has taken from the GPU."""
    return torch.cuda.memory_reserved() / 1e9 if torch.cuda.is_available() else None


def speed(size: Size, folder: Path, tell: Telling) -> None:
    """Images a second in training: eager, from a graph, several at once."""
    given = problem(size, size.steps)
    data = given.resident(len(given.data.train))
    rate = measure([settled(given, data, "eager", size)], size.steps // 2)
    tell("eager, images/s", f"{rate:,.0f}")
    gc.collect()
    states: list[TrainState] = []
    best = 0.0
    for count in size.runs:
        states += [settled(given, data, "graph", size) for _ in range(count - len(states))]
        rate = measure(states, size.steps)
        best = max(best, rate)
        memory = gigabytes()
        shown = f"{rate:,.0f}" + ("" if memory is None else f" ({memory:.1f} GB)")
        if count == 1:
            tell("graph, images/s", shown, ">= 300,000", rate >= 300e3)
        else:
            tell(f"{count} at once, images/s", shown)
    tell("most together, images/s", f"{best:,.0f}", ">= 500,000", best >= 500e3)


def peers(size: Size, folder: Path, tell: Telling) -> None:
    """The others on the same device: ready images in memory, and pictures from workers."""
    given = problem(size, size.steps)
    data = given.resident(len(given.data.train))
    count = size.runs[-2]
    states = [settled(given, data, "graph", size) for _ in range(count)]
    ours = measure(states, size.steps)
    tell(f"clr, {count} at once, images/s", f"{ours:,.0f}")
    del states
    gc.collect()
    forms = {"in memory": None, "as in their READMEs": os.cpu_count() or 1}
    for (form, workers), iterations in zip(forms.items(), size.peer, strict=True):
        fastest = 0.0
        for name, make in PEERS.items():
            if importlib.util.find_spec(name) is None:
                tell(f"{name}, {form}", "not installed")
                continue
            here = dataclasses.replace(given, iterations=iterations, workers=workers)
            try:
                rate = here.images / min(make(here)()[0] for _ in range(2))
            except Exception as error:
                tell(f"{name}, {form}", f"failed: {type(error).__name__}: {error}"[:100])
                continue
            fastest = max(fastest, rate)
            tell(f"{name}, {form}, images/s", f"{rate:,.0f}")
        if fastest:
            ratio = ours / fastest
            tell(f"clr over the fastest, {form}", f"{ratio:.1f}", ">= 20", ratio >= 20)


def profile(size: Size, folder: Path, tell: Telling) -> None:
    """Kernels of a step, the share of convolutions, and the host's time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    given = problem(size, size.steps)
    data = given.resident(len(given.data.train))
    state = settled(given, data, "eager", size)
    on_cuda = state.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] * on_cuda)]
    steps = min(size.steps, 20)
    with profiler(activities=activities) as caught:
        measure([state], steps)
    events = caught.key_averages()
    # Operators carry the time of their kernels; where there are none, their own.
    key = "self_device_time_total" if on_cuda else "self_cpu_time_total"
    operators = [e for e in events if e.key.startswith("aten::")]
    spent = sum(getattr(e, key) for e in operators)
    convolutions = sum(getattr(e, key) for e in operators if "conv" in e.key)
    kernels = [e for e in events if str(e.device_type).endswith("CUDA")]
    counted, name = (kernels, "kernels") if on_cuda else (operators, "operators (no GPU)")
    tell(f"{name} a step", f"{sum(e.count for e in counted) / steps:.0f}")
    tell("convolutions' share of a step", f"{convolutions / spent:.0%}")
    tell("device time of a step, µs", f"{spent / steps:.0f}")
    for way in ("eager", "graph"):
        state = settled(given, data, way, size)
        assert state.steps is not None
        left = state.steps_per_epoch - state.iteration % state.steps_per_epoch
        count = min(size.steps, left, 50)  # more would wait for the device
        with state.stream.enter():
            started = time.perf_counter()
            state.steps.take(state, count)
            host = time.perf_counter() - started
        state.stream.fence().wait()
        tell(f"host time of a step, {way}, µs", f"{host / count * 1e6:.0f}")


# ---- whole ---------------------------------------------------------------------------------------


def precision(size: Size, folder: Path, tell: Telling) -> None:
    """bf16 against fp32 in paired runs, judged by our own compare."""
    path = config(folder, size)
    arm = "{kind: one_cycle, max_lr: 0.05, set: {training.precision: %s}}"
    path.write_text(
        path.read_text().partition("schedules:")[0].replace("precision: bf16", "epochs: 4")
        + f"schedules: {{fp32: {arm % 'fp32'}, bf16: {arm % 'bf16'}}}\n"
        f"compare: {{schedules: [fp32, bf16], seeds: {size.seeds}, margin: 0.005}}\n"
    )
    clr(["compare", "--config", str(path)], folder / "precision")
    (found,) = (folder / "precision").rglob("summary.json")
    (judged,) = json.loads(found.read_text())["comparisons"]
    shown = f"{judged['difference']['mean']:+.2%}, {judged['verdict']}"
    within = judged["verdict"] not in ("better", "worse")
    tell("bf16 - fp32, test accuracy", shown, "within noise, 6 pairs", within)


def svhn(size: Size, folder: Path, tell: Telling) -> None:
    """svhn.yaml from its range test to its page, on images of SVHN's number and size."""
    path = sized(folder, size.images)
    given = ["--config", "svhn.yaml"]
    for override in ("dataset.name=npz", f"dataset.path={path}", *size.sets):
        given += ["--set", override]
    limit = time.perf_counter() + 170
    spent, whole = {}, True
    for command in ("range-test", "compare"):
        started = time.perf_counter()
        line = [sys.executable, "-m", "clr_cli", command, *given, "-o", str(folder / "out")]
        child = subprocess.Popen(line, stdout=subprocess.DEVNULL)
        try:
            ended = child.wait(max(1.0, limit - started))
            if ended not in (0, 3):  # 3: a range test without an answer
                raise RuntimeError(f"clr {command}: exit code {ended}")
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGTERM)
            child.wait()
            whole = False
        spent[command] = time.perf_counter() - started
        trained = images(folder / "out" / "svhn" / ("train" if command == "compare" else command))
        rate = trained / spent[command]
        tell(f"clr {command}: {spent[command]:.0f} s, images/s", f"{rate:,.0f}")
    total = sum(spent.values())
    text = f"{total:.0f} s"
    if not whole:
        epochs = 2 * 6 * 80 * (SVHN["train"] - 5000)
        total = spent["range-test"] + spent["compare"] * epochs / max(1, trained)
        text = f"{total:.0f} s (projected from {trained / epochs:.0%} of the comparison)"
    tell("svhn.yaml, whole", text, "< 300 s", total < 300)


def images(folder: Path) -> float:
    """Images that the runs below have been trained on, as far as they are written down."""
    count = 0.0
    for path in folder.rglob("metrics.jsonl"):
        for line in path.read_text().splitlines()[-1:]:
            count += json.loads(line)["iteration"]
    config_of = next(folder.rglob("config.yaml"), None)
    batch = 128 if config_of is None else int(_batch_size(config_of))
    return count * batch


def _batch_size(path: Path) -> str:
    lines = (line.strip() for line in path.read_text().splitlines())
    return next(line.partition(": ")[2] for line in lines if line.startswith("batch_size: "))
