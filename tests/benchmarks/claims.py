"""How often is a verdict wrong, and what does it cost to be right? All by one command.

    python tests/benchmarks/claims.py --output claims.json

Five minutes on one core. Simulated comparisons with known truth, in standard deviations of a
run (of a paired difference where runs are paired), judged by the functions that ``clr compare``
uses. A cell that is in the JSON file already is not measured again, so that a run that was stopped
goes on. "before" is the rule that this one replaced, on the first of the same draws; its numbers
are kept, its code is not.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import claims_figure
import practice
from simulated import (
    CAP,
    NOISES,
    WIDE_BASE,
    Cell,
    best_of,
    blocks,
    blocks_by_looks,
    chosen_after_looking,
    measure,
    named_falsely,
    powers,
    rarely_stuck,
)

PAIRED = ("normal", "lognormal", "exponential", "t, 3 degrees", "two humps", "seed-blind")
SEVERAL = ((3, 5, 10), (8, 5, 10), (8, 6, 30), (20, 10, 10))
SHAPES = tuple(noise for noise in NOISES if noise != WIDE_BASE)
AUTO = ((0.0,), (1.0,), (1.5,), (2.0,), (3.0,), (0.0, 0.5, 1.0, 2.0), (0.0, 0.0, 0.0, 1.0))


def compared() -> list[Cell]:
    """The cells that have today's rule and the one before beside one another."""
    made = [Cell(True, noise, n, 0) for noise in PAIRED for n in (4, 5, 6, 10, 20, 30)]
    made += [Cell(True, "normal", n, 0, (d,)) for n in (5, 6, 8, 10) for d in (1.0, 2.0)]
    made += [
        Cell(True, noise, n, 0, (0.0,) * k, before=100)
        for noise in ("normal", "lognormal", "exponential", "two humps")
        for k, n in ((4, 6), (4, 10), (8, 7), (8, 10), (20, 10))
    ]
    made += [Cell(True, "normal", n, 0, (0.0,) * 3 + (2.0,), before=100) for n in (6, 8, 10)]
    sizes = ((5, 5), (5, 30), (30, 5), (10, 10), (30, 30))
    made += [Cell(False, noise, n, m) for noise in SHAPES for n, m in sizes]
    made += [Cell(False, "normal", n, m, (d,)) for n, m in sizes[::3] for d in (1.0, 2.0, 3.0)]
    made += [
        Cell(False, noise, n, m, (0.0,) * k, before=100)
        for noise in SHAPES[:-1]
        for k, n, m in SEVERAL
    ]
    made += [Cell(False, "normal", 5, 10, (0.0,) * 7 + (d,), before=100) for d in (1.0, 2.0, 3.0)]
    autos = [*AUTO, (3.0,) * 4, (0.0,) * 4]
    made += [
        Cell(paired, "normal", CAP, CAP, d, "even", before=150)
        for paired in (True, False)
        for d in autos
    ]
    made += [
        Cell(paired, noise, CAP, CAP, (0.0,) * k, "even", before=150)
        for paired in (True, False)
        for noise in ("lognormal", "exponential", "two humps", "exponential, 3:1")
        for k in (1, 4)
        if not (paired and "3:1" in noise)
    ]
    made += [Cell(False, WIDE_BASE, CAP, CAP, (4.0,) * 4, "even", before=0)]
    made += [
        Cell(False, noise, CAP, CAP, d, "spent", before=0)
        for noise, d in (
            ("normal", (0.0,) * 4),
            ("normal", (0.0, 0.5, 1.0, 2.0)),
            ("normal", (3.0,) * 4),
            ("normal, sd 3:1", (0.0,) * 4),
            (WIDE_BASE, (0.0,) * 4),
            (WIDE_BASE, (4.0,) * 4),
            ("exponential", (0.0,) * 4),
            ("exponential, 3:1", (0.0,) * 4),
        )
    ]
    return made


def cells() -> dict[str, Callable[[], dict[str, Any]]]:
    """name -> what measures it."""
    made: dict[str, Callable[[], dict[str, Any]]] = {
        cell.name: partial(measure, cell) for cell in compared()
    }
    for n in (6, 10, 20):
        for share in (0.05, 0.1, 0.2):
            made[f"stuck | {share:g} | {n}"] = partial(rarely_stuck, share, n)
    for noise in ("normal", "exponential", "t, 3 degrees"):
        for n in (4, 5, 6, 8, 10, 20, 30):
            made[f"named | {noise} | {n}"] = partial(named_falsely, noise, n)
    for arms in (6, 10, 20):
        made[f"chosen | {arms}"] = partial(chosen_after_looking, arms)
    for paired in (True, False):
        for arms, n, d in ((6, 5, 2.0), (6, 10, 2.0), (6, 20, 2.0), (10, 10, 0.0), (3, 6, 0.0)):
            for noise in ("normal", "exponential"):
                kind = "paired" if paired else "unpaired"
                key = f"best | {kind} | {noise} | {arms} x {n} | {d:g}"
                made[key] = partial(best_of, arms, n, d, paired, noise)
    for effects in ((0.0, 0.0, 0.0), (2.0, 2.0, 0.0), (1.5, 1.5, 1.5)):
        for noise in ("normal", "exponential"):
            key = f"blocks | {noise} | {','.join(f'{d:g}' for d in effects)} | 8"
            made[key] = partial(blocks, effects, 8, noise)
            made[key.removesuffix("8") + "looks"] = partial(blocks_by_looks, effects, noise)
    for paired, n, m in ((True, 6, 0), (True, 10, 0), (False, 5, 5), (False, 10, 10)):
        for arms in (1, 4):
            for d in (1.0, 2.0, 3.0):
                size = str(n) if paired else f"{n} + {m}"
                made[f"power | {size} | {arms} | {d:g}"] = partial(powers, paired, n, m, arms, d)
    return made | practice.cells()


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _both(cell: Mapping[str, Any], key: str) -> str:
    """The new rule's number, and that of the rule before in parentheses."""
    write: Callable[[float], str] = "{:.1f}".format if key in ("seeds", "runs") else _percent
    old = cell.get("before", {}).get(key)
    return write(cell[key]) + ("" if old is None else f" ({write(old)})")


def _name(paired: bool, noise: str, runs: int, base: int, *effects: float) -> str:
    return Cell(paired, noise, runs, base, effects).name


def _matrix(
    made: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Mapping[str, str]], key: str
) -> str:
    """Row -> column -> the cell's name, as a table of one rate."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [
        [label, *(_both(made[row[c]], key) if row.get(c) in made else "–" for c in columns)]
        for label, row in rows.items()
    ]
    return _table(["", *columns], lines)


def tables(made: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Title -> table, as Markdown; the rule before in parentheses."""
    found = {
        **{
            f"{n} pairs": {f"d = {d:g}": _name(True, "normal", n, 0, d) for d in (1.0, 2.0)}
            for n in (5, 6, 10)
        },
        **{
            f"{n} pairs, one of 4 arms": {
                "d = 2": _name(True, "normal", n, 0, *[0.0] * 3, 2.0),
            }
            for n in (6, 10)
        },
        **{
            f"{n} + {n} runs": {
                f"d = {d:g}": _name(False, "normal", n, n, d) for d in (1.0, 2.0, 3.0)
            }
            for n in (5, 10)
        },
        "5 + 10 runs, one of 8 arms": {
            f"d = {d:g}": _name(False, "normal", 5, 10, *[0.0] * 7, d) for d in (1.0, 2.0, 3.0)
        },
    }
    auto = [
        cell
        for cell in compared()
        if cell.auto and any(cell.effects) and cell.effects not in ((1.5,), (0.0, 0.0, 0.0, 1.0))
    ]
    shown = {"A true difference is claimed, normal noise, %": _matrix(made, found, "right")}
    shown["A look at every run"] = _table(
        [
            "design",
            "d of the arms",
            "false %",
            "the last arm claimed %",
            "seeds",
            "runs",
            "holds %",
        ],
        [
            [kind, effects]
            + [_both(made[cell.name], k) for k in ("false", "right", "seeds", "runs", "covered")]
            for cell in auto
            for design, noise, size, effects in [cell.name.split(" | ")]
            for kind in [
                design + ", spent" * ("spent" in size) + f", {noise}" * (noise != "normal")
            ]
        ],
    )
    for title, (key, columns) in OTHERS.items():
        chosen = [name for name in made if name.startswith(key) and "0.05" not in name]
        lines = [
            [name.removeprefix(key).replace(" | ", ", ")]
            + [f"{made[name][c]:.2f}" if c in PLAIN else _percent(made[name][c]) for c in columns]
            for name in chosen
        ]
        shown[title] = _table(["", *columns], lines)
    return shown


PLAIN = ("size", "excess", "told")
OTHERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Runs of one arm end at chance; share, runs of an arm: called different, %": (
        "stuck | ",
        ("kept", "far", "chance", "missed"),
    ),
    "Which could be the best": ("best | unpaired | normal | ", ("held", "size", "excess", "told")),
}


def _rounded(rates: Any) -> Any:
    """Four digits: what so many replications can tell."""
    if isinstance(rates, Mapping):
        return {key: _rounded(value) for key, value in rates.items()}
    return round(rates, 4) if isinstance(rates, float) else rates


def main() -> None:
    """Measure what is missing, print the tables and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, default=Path("claims.json"))
    output = parser.parse_args().output
    made = json.loads(output.read_text("utf-8")) if output.exists() else {}
    wanted, began = cells(), time.process_time()
    for k, (name, measured) in enumerate(wanted.items(), 1):
        if name not in made:
            made[name] = _rounded(measured())
            made = {each: made[each] for each in wanted if each in made}
            output.write_text(json.dumps(made, indent=0) + "\n", "utf-8")
            print(f"{k}/{len(wanted)}, {time.process_time() - began:.0f} s: {name}", flush=True)
    for title, text in tables(made).items():
        print(f"\n{title}\n\n{text}")
    claims_figure.draw(made, output.with_suffix(".png"))


if __name__ == "__main__":
    main()
