"""How often is a verdict wrong, and what does it cost to be right? All tables by one command.

    python tests/benchmarks/claims.py --output claims.json

At most ten minutes on one core. A cell that is in the JSON file already is not measured again, so
that a run that was stopped goes on. What a plan and a draw are stands in experiments.py and
draws.py, what else people do in practice.py; intervals.py compares intervals.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import practice
from draws import DISTRIBUTIONS
from experiments import REPS, Cell, measure
from intervals import coverage

Cells = Mapping[str, Mapping[str, Any]]
DRAWS = tuple(DISTRIBUTIONS)
EXPONENTIAL = "exponential (skewness 2)"
ONE = ("6", "10", "20", "auto", "growing")
FOUR = ("10", "auto", "growing")
SIZES = (0.0, 0.5, 1.0, 1.5, 3.0)
DECISIVE = 4  # times as many replications where an aim is near
METHODS = ("chosen", "student_t", "bootstrap_t", "bca")
COMPARED = [(draw, n) for draw in ("normal", DRAWS[5], EXPONENTIAL) for n in (6, 10, 20)]


def simulated() -> list[Cell]:
    """The cells of experiments.py."""
    made = [Cell(plan, draw) for draw in DRAWS for plan in ONE]
    made += [Cell(plan, draw, 4) for draw in DRAWS for plan in FOUR]
    made += [Cell(plan, draw, 1, 1.0) for draw in DRAWS for plan in ONE]
    made += [Cell(plan, draw, 4, 1.0) for draw in ("normal", EXPONENTIAL) for plan in FOUR]
    made += [Cell("auto", "normal", 1, size) for size in SIZES if size not in (0, 1)]
    made += [Cell("naive", draw) for draw in ("normal", EXPONENTIAL)]
    made += [
        Cell(plan, draw, 1, truth, margin=2.0)
        for plan in ("10", "auto")
        for draw in ("normal", EXPONENTIAL)
        for truth in (2.0, 0.0)
    ]

    def decides(cell: Cell) -> bool:
        null = cell.draw == EXPONENTIAL and cell.truth == 0
        auto = cell.plan == "auto" and cell.draw == "normal" and cell.arms == 1
        return cell.margin < 1 and cell.plan in ("auto", "growing") and (null or auto)

    return [replace(cell, reps=DECISIVE * REPS) if decides(cell) else cell for cell in made]


def cells() -> dict[str, Callable[[], Mapping[str, Any]]]:
    """name -> what measures it."""
    made: dict[str, Callable[[], Mapping[str, Any]]] = {
        cell.name: lambda cell=cell: measure(cell)  # type: ignore[misc]
        for cell in simulated()
    }
    for draw, n in COMPARED:
        made[f"intervals, {draw}, {n}"] = lambda draw=draw, n=n: coverage(draw, n, REPS)  # type: ignore[misc]
    return {**made, **practice.cells()}


# --- tables ----------------------------------------------------------------------------------


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _false(cell: Mapping[str, Any]) -> str:
    return f"{_percent(cell['false'])} ± {_percent(cell['error'])}"


def _held(cell: Mapping[str, Any]) -> str:
    return _percent(cell["covered"])


def _right(cell: Mapping[str, Any]) -> str:
    return f"{_percent(cell['right'])} ({cell['seeds']:.1f})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(made: Cells) -> dict[str, str]:
    """Title -> table, as Markdown."""

    def cell(plan: str, draw: str, arms: int = 1, truth: float = 0.0) -> Mapping[str, Any]:
        return made[Cell(plan, draw, arms, truth).name]

    plans = [*ONE, *(f"4 arms: {plan}" for plan in FOUR)]
    columns = [*((plan, 1) for plan in ONE), *((plan, 4) for plan in FOUR)]
    named = {cell.name: cell for cell in simulated() if cell.margin > 1 or cell.plan == "naive"}
    others = {name: _called(each) for name, each in named.items()}
    whole = [name for name in practice.cells() if not name.startswith("tuned")]
    others |= {name: name.replace("auto seeds", "auto") for name in whole}
    return {
        "False claims, %": _table(
            ["differences", *plans],
            [[draw, *(_false(cell(plan, draw, arms)) for plan, arms in columns)] for draw in DRAWS],
        ),
        "The 95 % interval holds the truth, %": _table(
            ["differences", *(f"d = {d}: {plan}" for d in (0, 1) for plan in ONE)],
            [
                [draw, *(_held(cell(plan, draw, 1, d)) for d in (0.0, 1.0) for plan in ONE)]
                for draw in DRAWS
            ],
        ),
        "A true difference of 1 is claimed, % (mean seeds)": _table(
            ["differences", *ONE],
            [[draw, *(_right(cell(plan, draw, 1, 1.0)) for plan in ONE)] for draw in DRAWS]
            + [
                [f"{draw}, one of four arms", "–", _right(cell("10", draw, 4, 1.0)), "–"]
                + [_right(cell(plan, draw, 4, 1.0)) for plan in ("auto", "growing")]
                for draw in ("normal", EXPONENTIAL)
            ],
        ),
        "auto, normal, by the true difference": _table(
            ["d", "claimed %", "mean seeds", "interval holds d %"],
            [
                [f"{d:g}", _percent(c["right"]) if d else "–", f"{c['seeds']:.1f}", _held(c)]
                for d in SIZES
                for c in [cell("auto", "normal", 1, d)]
            ],
        ),
        "What else people do": _table(
            ["what", "false %", "right %", "interval holds the truth %", "mean seeds"],
            [_other(shown, made[name]) for name, shown in others.items()],
        ),
        "Two equal methods, each tuned: called different, %": _table(
            ["accuracy against rate, noise of a trial and of a run", "6 seeds", "10 seeds"],
            [
                [f"{curve}, {trials:g} and {runs:g}{'' if centre else ', by the best rate'}"]
                + [_false(made[practice.name_of(curve, trials, runs, centre, n)]) for n in (6, 10)]
                for curve in practice.CURVES
                for trials, runs, centre in practice.TUNED
            ],
        ),
        "The interval that was chosen, and others: they hold the truth, %": _table(
            ["differences", "seeds", *METHODS],
            [
                [draw, str(n), *(_percent(c[method]) for method in METHODS)]
                for draw, n in COMPARED
                for c in [made[f"intervals, {draw}, {n}"]]
            ],
        ),
    }


def _called(cell: Cell) -> str:
    if cell.plan == "naive":
        return f"naive looks, {cell.draw}"
    d = "of the margin" if cell.truth else "of zero"
    return f"equivalence, a true difference {d}, {cell.plan}, {cell.draw}"


def _other(name: str, cell: Mapping[str, Any]) -> list[str]:
    def shown(key: str, write: Callable[[float], str]) -> str:
        return write(cell[key]) if cell.get(key) else "–"

    seeds = shown("seeds", lambda count: f"{count:.1f}")
    return [name, _false(cell), shown("right", _percent), shown("covered", _percent), seeds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("claims.json"))
    output = parser.parse_args().output
    made = json.loads(output.read_text("utf-8")) if output.exists() else {}
    wanted, began = cells(), time.process_time()
    for k, (name, measured) in enumerate(wanted.items(), 1):
        if name not in made:
            made[name] = measured()
            output.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
            print(f"{k}/{len(wanted)}, {time.process_time() - began:.0f} s: {name}", flush=True)
    for title, text in tables({name: made[name] for name in wanted}).items():
        print(f"\n{title}\n\n{text}")


if __name__ == "__main__":
    main()
