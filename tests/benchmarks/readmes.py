"""Write the numbers of the READMEs from the results under outputs/reference.

    python tests/benchmarks/readmes.py          # writes what has changed
    python tests/benchmarks/readmes.py --check  # only names it; exit code 1 if there is any

A README marks a place with the name of what belongs there, and its arguments:

    <!-- = headline quickstart -->...<!-- / -->

QUOTES lists the names.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clr_cli.analysis.across import combine
from clr_cli.analysis.headline import headline
from clr_cli.cli import app
from clr_cli.cli.show import print_summary
from clr_cli.records import Combination, DataSet, RunRecord, Summary
from clr_cli.report import across as data_sets
from clr_cli.report import comparison as report
from clr_cli.report.tables import certainty_table

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "outputs" / "reference"
READMES = ["", "outputs/reference", "outputs/reference/nanogpt_track3", "tests/benchmarks"]
PLACE = re.compile(r"(<!-- = (.+?) -->)(.*?)(<!-- / -->)", re.DOTALL)


def printed(function: Callable[[], object]) -> list[str]:
    """Call a function and return the paragraphs that it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        function()
    return text.getvalue().strip("\n").split("\n\n")


@functools.cache
def results(folder: str) -> tuple[Summary, list[RunRecord]]:
    return report.load(REFERENCE / folder)


def load(folder: str) -> Summary:
    return results(folder)[0]


def table(folder: str) -> str:
    """The table of a comparison, as ``clr compare`` prints it."""
    return f"```\n{printed(lambda: print_summary(load(folder)))[0]}\n```"


def verdict(folder: str) -> str:
    """The headline of a comparison."""
    return headline(load(folder))


def sentences(folder: str) -> str:
    """The sentence on every arm of a comparison, as a list, without its last remarks."""
    said = [c.sentence.partition(" Whether")[0] for c in load(folder).comparisons]
    return "\n".join(f"- {sentence}" for sentence in said)


def evidence(folder: str, arm: str) -> str:
    """What the sentence on an arm adds to the headline."""
    (comparison,) = (c for c in load(folder).comparisons if c.arm == arm)
    return comparison.sentence.partition("). ")[2]


def lead(folder: str, arm: str) -> str:
    """The mean difference of an arm."""
    summary = load(folder)
    (comparison,) = (c for c in summary.comparisons if c.arm == arm)
    assert comparison.difference.mean is not None
    return summary.scale.bare(comparison.difference.mean)


def at(folder: str, arm: str, *epochs: str) -> str:
    """The mean test accuracy of an arm after each of these epochs, in percent."""
    _, runs = results(folder)
    curves = [run.epochs for run in runs if run.arm == arm]
    rows = [[curve[int(epoch) - 1]["test_accuracy"] for curve in curves] for epoch in epochs]
    *most, last = [f"{100 * statistics.fmean(row):.1f}" for row in rows]
    return f"{', '.join(most)} and {last} %" if most else f"{last} %"


def best_epoch(folder: str, arm: str) -> str:
    """The lead of an arm if every run is taken at its best validation epoch, in points."""
    (best,) = (c.best_epoch for c in load(folder).comparisons if c.arm == arm)
    assert best is not None
    mean, low, high = (f"{100 * value:.2f}" for value in (best.mean, best.low, best.high))
    return f"{mean} points ({low} to {high})"


def rate(folder: str, arm: str) -> str:
    """The rate of an arm, as its config has it."""
    (schedule,) = (a.schedule for a in load(folder).arms if a.name == arm)
    return f"{schedule.get('lr', schedule.get('max_lr')):.3g}"


def leads(*folders: str) -> str:
    """The lowest and the highest lead among comparisons of two arms."""
    all_leads = sorted(float(lead(folder, load(folder).comparisons[0].arm)) for folder in folders)
    return f"{all_leads[0]:.1f} to {all_leads[-1]:.1f}"


def against(baseline: str, arm: str, folder: str) -> str:
    """The verdict and the difference of an arm, by the same runs, from another baseline."""
    command = ["compare", "--from", str(REFERENCE / folder / "runs.csv"), "--json"]
    command += ["--metric", "test_accuracy", "--mode", "max", "--baseline", baseline]
    command += ["--paired"] if load(folder).design == "paired" else []
    with tempfile.TemporaryDirectory() as scratch:
        silent = contextlib.redirect_stderr(io.StringIO())
        with silent, contextlib.redirect_stdout(io.StringIO()) as said:
            app.run([*command, "-o", scratch])
    summary = Summary.model_validate_json(said.getvalue())
    (found,) = (c for c in summary.comparisons if c.arm == arm)
    difference = found.difference
    ends = (difference.mean, difference.low, difference.high)
    mean, low, high = (summary.scale.bare(end, sign=True) for end in ends if end is not None)
    return f"{found.verdict}, {mean} ({low} to {high})"


def combination(folders: Sequence[str]) -> Combination:
    """Combine the comparisons of several data sets."""
    found = {folder: load(folder) for folder in folders}
    sets = [DataSet(name=s.experiment, folder=name, summary=s) for name, s in found.items()]
    return combine("three", sets)


def across(*folders: str) -> str:
    """The table of arms by data sets."""
    return report.markdown_table(data_sets.table(combination(folders)))


def costs(*folders: str) -> str:
    """The table of data sets: their runs, and the arms that could be the best."""
    return report.markdown_table(data_sets.data_sets_table(combination(folders)))


def holds(*folders: str) -> str:
    """What holds on all data sets."""
    return combination(folders).verdict


def certainty(folder: str) -> str:
    """The page's table on how surely the arms differ."""
    return report.markdown_table(certainty_table(load(folder))).replace("\N{NO-BREAK SPACE}", " ")


def ranges(*folders: str) -> str:
    """The answers of range tests."""
    header = ["data", "good rates", "max_lr", "from here on runs fail", "bound, points", "probes"]
    rows = []
    for folder in folders:
        answer = json.loads((REFERENCE / folder / "result.json").read_text("utf-8"))
        low, high, cliff = answer["low"], answer["high"], answer["cliff"]
        tried = max(trial["rate"] for trial in answer["tried"])
        rows.append(
            [
                Path(folder).parent.name,
                f"{low:.2g} to {high:.2g}",
                f"{answer['max_lr']:.2g}",
                f"none up to {tried:.2g}" if cliff is None else f"{cliff:.2g}",
                f"{100 * answer['bound']:.1f}",
                str(answer["probes"]),
            ]
        )
    return report.markdown_table((header, rows))


def benchmark(name: str, folder: str, part: str) -> str:
    """A paragraph of what a benchmark prints of a folder, by its number or as ``last``."""
    module = importlib.import_module(name)
    sys.argv = [name, str(REFERENCE / folder)]
    paragraphs = printed(module.main)
    return paragraphs[-1 if part == "last" else int(part)]


def claims(title: str) -> str:
    """A table of the calibration."""
    import claims as calibration

    made = json.loads((REFERENCE / "calibration" / "claims.json").read_text("utf-8"))
    return calibration.tables(made)[title]


def finders(kind: str) -> str:
    """The table of the range test's answers, or of all finders."""
    import finders as measured

    files = [REFERENCE / "finders" / f"{name.replace('/', '-')}.json" for name in measured.CELLS]
    results = [json.loads(file.read_text("utf-8")) for file in files if file.exists()]
    made = {"answers": measured.answers_table, "finders": measured.finders_table}
    return "\n".join(made[kind](results))


# Words after the name are arguments; the title of a table of claims is the whole rest.
QUOTES: dict[str, Callable[..., str]] = {
    "table": table,
    "headline": verdict,
    "sentences": sentences,
    "evidence": evidence,
    "lead": lead,
    "leads": leads,
    "across": across,
    "costs": costs,
    "holds": holds,
    "against": against,
    "at": at,
    "best-epoch": best_epoch,
    "rate": rate,
    "certainty": certainty,
    "ranges": ranges,
    "benchmark": benchmark,
    "claims": lambda *words: claims(" ".join(words)),
    "finders": finders,
}


def quoted(place: str) -> str:
    """Return what belongs at a place. Raises KeyError for an unknown name."""
    name, *arguments = place.split()
    return QUOTES[name](*arguments)


def rewritten(text: str) -> str:
    """Return a README with every place filled in; a place of whole lines stays one."""

    def filled(match: re.Match[str]) -> str:
        opened, place, old, closed = match.groups()
        around = "\n" if old.startswith("\n") else ""
        return f"{opened}{around}{quoted(place)}{around}{closed}"

    return PLACE.sub(filled, text)


def stale() -> dict[Path, str]:
    """Return the READMEs that are not as the results are, with the text that they should have."""
    made: dict[Path, str] = {}
    for folder in READMES:
        path = ROOT / folder / "README.md"
        text = path.read_text("utf-8")
        new = rewritten(text)
        if new != text:
            made[path] = new
    return made


def main() -> Any:
    only_check = "--check" in sys.argv  # now: the benchmarks whose tables are made set their own
    changed = stale()
    for path, text in changed.items():
        print(path.relative_to(ROOT))
        if not only_check:
            path.write_text(text, "utf-8")
    return 1 if changed and only_check else 0


if __name__ == "__main__":
    sys.exit(main())
