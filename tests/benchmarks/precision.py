"""Does the fast path cost accuracy? bf16 against fp32, as paired runs, judged by our own compare.

    python tests/benchmarks/precision.py [--config quickstart.yaml] [--schedule clr] [--seeds 6]

Both train the same runs (weights, order, crops, schedule) through the engine; a claim of a
difference, or of none within the margin, is subject to the rule that `clr compare` uses. Runs are
kept in the output folder and not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from clr_cli.analysis.study import Facts, Runs, Study
from clr_cli.analysis.summary import analyse
from clr_cli.cli.show import print_summary
from clr_cli.config import load as config
from clr_cli.execution import engines
from clr_cli.execution.task import TaskOptions
from clr_cli.paths import Experiment
from clr_cli.records import VAL_ACCURACY, ControlledVariables, RunRecord
from clr_cli.study.training import TrainingSource

PRECISIONS = ("fp32", "bf16")


def records(precision: str, options: argparse.Namespace) -> list[RunRecord]:
    settings = config.load(options.config, [*options.set, f"training.precision={precision}"])
    where = TaskOptions(Experiment(options.output / precision, settings.name))
    arms = {precision: settings.schedule(options.schedule)}
    source = TrainingSource(config=settings, options=where, arms=arms, threads=1)
    runs = [source.task(precision, seed) for seed in range(options.seeds)]
    for event in engines.local(runs, options.jobs):
        if event.kind == "end":
            print(f"{precision}, seed {runs[event.index].seed}: {event.value}", flush=True)
    return [run.record() for run in runs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="quickstart.yaml")
    parser.add_argument("--set", action="append", default=[], help="section.key=value")
    parser.add_argument("--schedule", default="clr")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--margin", type=float, default=0.005)
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks/precision"))
    options = parser.parse_args()
    settings = config.load(options.config, options.set)
    found = [record for name in PRECISIONS for record in records(name, options)]
    study = Study(
        name=f"precision-{settings.name}",
        arms=PRECISIONS,
        baseline="fp32",
        seeds=tuple(range(options.seeds)),
        target_metric=VAL_ACCURACY,
        margin=options.margin,
        chance=1 / found[0].result["num_classes"],
    )
    shared = ControlledVariables(
        varied="the precision",
        dataset=settings.dataset.name,
        model=settings.model.name,
        epochs=settings.training.epochs,
    )
    summary = analyse(study, Runs(found, Facts(shared)))
    print_summary(summary)
    speed = {
        name: [r.result["images_per_second"] for r in found if r.arm == name] for name in PRECISIONS
    }
    pairs = zip(speed["bf16"], speed["fp32"], strict=True)
    ratios = sorted(fast / slow for fast, slow in pairs)
    print(f"bf16 trains {ratios[len(ratios) // 2]:.2f} times the images per second of fp32")
    (options.output / "precision.json").write_text(json.dumps(summary.plain(), indent=2) + "\n")


if __name__ == "__main__":
    main()
