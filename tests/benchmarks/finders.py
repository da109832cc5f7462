"""Which learning rate do finders name, does it depend on the range, and what is it worth?

Cells: a CNN of width 8 with and without batch norm, under SGD and AdamW, on real and synthetic
images, about 7,000 to train on. Settings: where the range ends (.05, .5, 2, 10; for AdamW two
decades lower) and how long a sweep is (10 or 40 epochs).

Truth: whole runs of 20 epochs (two cycles of CLR, base = max/100) at rates a factor of 2 apart, on
seeds that no finder uses. The best rate is chosen on validation; regret is the test accuracy lost
against it, in points, read between two rates by interpolation in log LR. A diverged run counts as
chance.

- clr: `clr range-test`: one sweep, then probes. Replicates repeat it with other seeds.
- sweeps alone: `--probes off`, three sweeps.
- argmax: the best single probe of the same search.
- log grid: as many probes as clr used, spread evenly over the range asked for; the best mean.
- torch-lr-finder, Lightning, fastai: exponential over the same range, 10 epochs (not 40).

Finished work is kept in the output folder and not repeated.

    pip install -e '.[bench]'
    python tests/benchmarks/finders.py [--cells fashion/cnn ...] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from finder_work import CYCLE, EPOCHS, FIRST_SEED, PEERS, Cell, Kept

from clr_cli.analysis.lattice import DELTA, ProbeRequest, RatesFound, Scale, place, rate
from clr_cli.analysis.probing import search
from clr_cli.analysis.sweeps import peak
from clr_cli.records import Peak, Stopped, Sweep
from clr_cli.training import sweep as ramps

CELLS = {
    cell.name: cell
    for cell in (
        Cell("fashion/cnn", "fashion"),
        Cell("svhn/cnn", "svhn"),
        Cell("synthetic/cnn", "synthetic"),
        Cell("fashion/adamw", "fashion", optimizer="adamw"),
        Cell("fashion/plain", "fashion", model="finder_work:plain_cnn"),
        Cell("svhn/plain", "svhn", model="finder_work:plain_cnn"),
        Cell("fashion/random", "fashion", random_labels=True),
    )
}
ENDS = (0.05, 0.5, 2.0, 10.0)
SEEDS_EACH = 3  # probe seeds that a search may use
SWEEPS = 3  # of an answer without probes


class Measured:
    """One cell, asked and trained."""

    def __init__(self, cell: Cell, kept: Kept, replicates: int, truth_seeds: int) -> None:
        self.cell, self.kept = cell, kept
        self.replicates, self.truth_seeds = replicates, truth_seeds

    @property
    def scale(self) -> Scale:
        val = self.cell.images.val
        return Scale(DELTA, chance=ramps.chance(val), images=len(val))

    def probe(self, k: int, seed: int) -> float | None:
        """Validation accuracy at the end of a probe at a place of the lattice."""
        work = partial(self.cell.trained, rate(k), FIRST_SEED + seed, CYCLE)
        score: float | None = self.kept.get(f"probe {self.cell.name} {k} {seed}", work)["val"]
        return score

    def searched(self, start: float, replicate: int = 0) -> RatesFound:
        """The search with this replicate's seeds."""
        scores: dict[tuple[int, int], float | None] = {}
        while isinstance(asked := search(scores, start, self.scale, SEEDS_EACH), ProbeRequest):
            for k, seed in asked.probes:
                scores[k, seed] = self.probe(k, SEEDS_EACH * replicate + seed)
        return asked

    def swept(self, end: float, length: int, seeds: Sequence[int]) -> tuple[Peak | None, float]:
        """Return the sweeps' peak, and where probing starts after them."""
        cell = self.cell
        curves = []
        for seed in seeds:
            work = partial(cell.sweep, end, length * CYCLE, seed)
            found = self.kept.get(f"sweep {cell.name} {end:g} {length} {seed}", work)
            stopped = found["stopped"] and Stopped(**found["stopped"])
            curves.append(Sweep(**{**found, "stopped": stopped}))
        highest = peak(curves, self.scale.chance)
        return highest, highest.lr if highest else math.sqrt(curves[0].lr[0] * end)

    def truth(self, k: int) -> list[dict[str, float | None]]:
        """Whole runs at a place of the lattice."""
        work = (
            partial(self.cell.trained, rate(k), seed, EPOCHS) for seed in range(self.truth_seeds)
        )
        return [
            self.kept.get(f"whole {self.cell.name} {k} {seed}", each)
            for seed, each in enumerate(work)
        ]

    def mean(self, k: int, split: str) -> float:
        """Accuracy in points at a place of the lattice, diverged runs being chance."""
        chance = self.scale.chance
        values = [run[split] for run in self.truth(k)]
        return 100 * statistics.fmean(chance if v is None else v for v in values)

    def worth(self, lr: float, split: str = "test") -> float:
        """The same at any rate, by interpolation in log LR."""
        at = place(lr)
        low = math.floor(at + 1e-9)
        part = at - low
        here = self.mean(low, split)
        return here if part < 1e-6 else here + part * (self.mean(low + 1, split) - here)

    def diverged(self, lr: float) -> int:
        """Whole runs that diverged at the two places around a rate."""
        around = {math.floor(place(lr)), math.ceil(place(lr))}
        return sum(run["val"] is None for k in around for run in self.truth(k))


def measure(
    cell: Cell, kept: Kept, replicates: int, truth_seeds: int, lengths: Sequence[int], peers: bool
) -> dict[str, Any]:
    """All answers of one cell, and what they are worth."""
    here = Measured(cell, kept, replicates, truth_seeds)
    ends = [end * cell.lower for end in ENDS]
    default = ends[1]
    starts = {(end, length): here.swept(end, length, [0])[1] for end in ends for length in lengths}
    ours = {setting: here.searched(start) for setting, start in starts.items()}
    again = [
        here.searched(here.swept(default, 1, [replicate])[1], replicate)
        for replicate in range(1, replicates)
    ]
    first = ours[default, 1]
    result: dict[str, Any] = {
        "cell": cell.name,
        "answers": [_short(found) for found in ours.values()],
        "replicates": [_short(first), *map(_short, again)],
        "probe_seconds": kept.seconds(f"probe {cell.name} ") / replicates,
        "sweep_seconds": kept.seconds(f"sweep {cell.name} {default:g} 1 0"),
    }
    if first.inconclusive is not None:
        return result
    low, high = place(first.low or 0), place(first.high or 0)
    grid = range(math.floor(low) - 1, math.ceil(high) + 2)
    best = max(grid, key=lambda k: here.mean(k, "val"))
    best_test = here.mean(best, "test")

    def regret(lr: float | None) -> float | None:
        return None if lr is None else best_test - here.worth(lr)

    inside = [k for k in grid if low <= k <= high]
    found = [
        each for each in (first, *again) if each.max_lr is not None and each.inconclusive is None
    ]
    result |= {
        "best": rate(best),
        "truth": {f"{rate(k):.4g}": here.mean(k, "test") for k in grid},
        "regrets": [regret(each.max_lr) for each in found],
        "bounds": [100 * (each.bound or 0) for each in found],
        "worst_inside": max(best_test - here.mean(k, "test") for k in inside),
        "diverged": sum(here.diverged(each.max_lr or 0) for each in found),
        "finders": {},
    }
    others = _controls(here, ends, first)
    if peers:
        for name, ask in PEERS.items():
            for end in ends:
                work = partial(ask, cell, 1e-5 * cell.lower, end, 0)
                for finder, lr in kept.get(f"peer {cell.name} {name} {end:g}", work).items():
                    others.setdefault(finder, []).append(lr)
    others = {"clr": [each.max_lr for each in ours.values()], **others}
    for finder, rates in others.items():
        usable = [lr for lr in rates if lr is not None and lr > 0]
        result["finders"][finder] = {
            "rates": rates,
            "spread": math.log10(max(usable) / min(usable)) if usable else None,
            "regret": max(regret(lr) or 0.0 for lr in usable) if usable else None,
        }
    return result


def _controls(
    here: Measured, ends: Sequence[float], found: RatesFound
) -> dict[str, list[float | None]]:
    """Today's rule without probes, the best single probe, and a log grid over the range asked."""
    sweeps: list[float | None] = []
    for end in ends:
        highest, _ = here.swept(end, 1, range(SWEEPS))
        sweeps.append(None if highest is None else highest.lr)
    best = max(found.tried, key=lambda each: max(s for s in (*each.scores, 0.0) if s is not None))
    number = sum(len(each.scores) for each in found.tried)
    grid = [_log_grid(here, 0.001 * here.cell.lower, end, number) for end in ends]
    return {"sweeps alone": sweeps, "argmax": [best.rate], "log grid": grid}


def _log_grid(here: Measured, low: float, end: float, number: int) -> float:
    """The best of as many probes at the lattice's rates within a range, seeds one after another."""
    places = list(range(math.ceil(place(low)), math.floor(place(end)) + 1))
    scores: dict[int, list[float]] = {k: [] for k in places}
    for turn in range(min(number, len(places) * SEEDS_EACH)):
        k = places[turn % len(places)]
        score = here.probe(k, turn // len(places))
        scores[k].append(here.scale.chance or 0.0 if score is None else score)
    return rate(max(places, key=lambda k: statistics.fmean(scores[k])))


def _short(found: RatesFound) -> dict[str, Any]:
    kept = ("low", "high", "max_lr", "cliff", "bound", "inconclusive")
    probes = sum(len(each.scores) for each in found.tried)
    return {**{key: getattr(found, key) for key in kept}, "probes": probes}


# --- tables --------------------------------------------------------------------------------------


def answers_table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """What clr says in each cell, and whether it holds."""
    head = ["cell", "good rates", "max_lr", "cliff", "probes", "spread over settings"]
    head += ["over replicates", "regret", "bound", "worst inside", "diverged"]
    lines = [head, ["---", *["--:"] * (len(head) - 1)]]
    for cell in results:
        first, again = cell["replicates"][0], cell["replicates"]
        if first["inconclusive"] is not None:
            lines.append([cell["cell"], first["inconclusive"], *[""] * (len(head) - 2)])
            continue
        lines.append(
            [
                cell["cell"],
                f"{first['low']:.2g} to {first['high']:.2g}",
                f"{first['max_lr']:.2g}",
                "none" if first["cliff"] is None else f"{first['cliff']:.2g}",
                str(first["probes"]),
                _spread([each["max_lr"] for each in cell["answers"]]),
                _spread([each["max_lr"] for each in again]),
                f"{max(cell['regrets']):.2f}",
                f"{min(cell['bounds']):.1f} to {max(cell['bounds']):.1f}",
                f"{cell['worst_inside']:.1f}",
                str(cell["diverged"]),
            ]
        )
    return [f"| {' | '.join(line)} |" for line in lines]


def _spread(rates: Sequence[float | None]) -> str:
    there = [lr for lr in rates if lr is not None]
    missing = f", {len(rates) - len(there)} of {len(rates)} without" if None in rates else ""
    return f"{math.log10(max(there) / min(there)):.2f}{missing}"


def finders_table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every finder over the settings: its rates, their spread in decades, its largest regret."""
    cells = [cell for cell in results if cell.get("finders")]
    head = ["finder", *(cell["cell"] for cell in cells)]
    lines = [head, ["---", *["---"] * len(cells)]]
    names = dict.fromkeys(name for cell in cells for name in cell["finders"])
    for name in names:
        row = [name]
        for cell in cells:
            found = cell["finders"].get(name)
            if found is None or found["spread"] is None:
                row.append("no answer" if found else "")
                continue
            usable = [lr for lr in found["rates"] if lr]
            ends = f"{min(usable):.2g} to {max(usable):.2g}"
            row.append(f"{ends}; {found['spread']:.1f}; {found['regret']:.1f}")
        lines.append(row)
    return [f"| {' | '.join(line)} |" for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--replicates", type=int, default=3)
    parser.add_argument("--truth-seeds", type=int, default=3)
    parser.add_argument(
        "--lengths", nargs="+", type=int, default=[1, 4], help=f"of sweeps, times {CYCLE} epochs"
    )
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/finders"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    results = []
    for name in options.cells:
        kept = Kept(options.output / f"{name.replace('/', '-')}.jsonl")
        peers = not options.no_peers
        result = measure(
            CELLS[name], kept, options.replicates, options.truth_seeds, options.lengths, peers
        )
        path = options.output / f"{name.replace('/', '-')}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"written: {path}", flush=True)
        results.append(result)
    print(*answers_table(results), "", *finders_table(results), sep="\n")


if __name__ == "__main__":
    main()
