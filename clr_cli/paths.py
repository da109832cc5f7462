"""Define the layout of the output folder; no other module knows it.

::

    outputs/<experiment>/train/<arm>/seed-<k>/    one run
    outputs/<experiment>/tuning/<trial>/seed-<k>/ a trial of an arm at one rate
    outputs/<experiment>/tuned/<trial>/seed-<k>/  a run of a tuned arm, named by its rate
    outputs/<experiment>/range-test/sweeps/<ramp>/seed-<k>/    one sweep
    outputs/<experiment>/probes/<trial>/<n>-iterations/seed-<k>/  a short training at one rate
    outputs/<experiment>/range-test/<arm>/        the answer for an arm named by --schedule
    outputs/<experiment>/rates/                   a search for the rates of a program; its runs
                                                  are in probes/
    outputs/<experiment>/compare/                 a comparison (compare-tuned/ after tuning,
                                                  compare-<data set>/ on one of several)
    outputs/<experiment>/across/                  comparisons on several data sets, combined
                                                  (across-tuned/ after tuning)

The output folder and an experiment's folder may be symbolic links, for instance to a scratch disk.
Inside an experiment's folder no link is followed: `links_to` finds them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

# Folders of an experiment that contain runs.
RUNS_BELOW = ("train", "tuning", "tuned", "range-test", "probes")

# Files of a run or sweep. A kill between two writes leaves a run that can resume.
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.previous.pt"
MODEL = "model.pt"
RESULT = "result.json"
ORIGIN = "origin.json"

# Files of a run of a user's program.
PROGRAM_LOG = "output.log"
PROGRAM_OUT = "out.jsonl"
PROGRAM_SECONDS = "seconds.json"

# Files of a comparison.
SUMMARY = "summary.json"
RUNS = "runs.csv"
PAGE = "report.html"
MARKDOWN = "report.md"
PROGRESS = "progress.json"  # while runs are missing

# A combination of comparisons on several data sets, besides PAGE and MARKDOWN.
ACROSS = "across.json"

# Files of a range test besides RESULT.
BOUNDS = "bounds.yaml"
CURVES = "range_test.csv"


@dataclass(frozen=True)
class Experiment:
    """The folders of one experiment."""

    output_dir: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.output_dir / self.name

    def run(self, arm: str, seed: int) -> Path:
        return self.folder / "train" / arm / _seed(seed)

    def trial(self, trial: str, seed: int) -> Path:
        return self.folder / "tuning" / trial / _seed(seed)

    def tuned_run(self, trial: str, seed: int) -> Path:
        return self.folder / "tuned" / trial / _seed(seed)

    @property
    def range_test(self) -> Path:
        return self.folder / "range-test"

    def sweep(self, ramp: str, seed: int) -> Path:
        return self.range_test / "sweeps" / ramp / _seed(seed)

    def probe(self, trial: str, iterations: int, seed: int) -> Path:
        return self.folder / "probes" / trial / f"{iterations}-iterations" / _seed(seed)

    def program_probe(self, trial: str, seed: int) -> Path:
        return self.folder / "probes" / trial / _seed(seed)

    @property
    def rates(self) -> Path:
        """The folder with the answer of a search for the rates of a program."""
        return self.folder / "rates"

    def answer(self, arm: str | None) -> Path:
        """Return a range test's folder; ``arm`` is None if --schedule named none."""
        return self.range_test if arm is None else self.range_test / arm

    def bounds(self, arm: str) -> Path:
        """Return the file with an arm's rates: of its own range test, or else the general one."""
        own, general = (self.answer(name) / BOUNDS for name in (arm, None))
        return own if own.exists() else general

    def comparison(self, *, tuned: bool = False) -> Path:
        return self.folder / ("compare-tuned" if tuned else "compare")

    def comparison_on(self, data_set: str) -> Path:
        """Return the folder of the comparison on one data set; its name may be any text."""
        name = re.sub(r"[^A-Za-z0-9_.+]+", "-", data_set)[:60].strip("-.")
        if name != data_set:  # another text may give the same name
            name += "-" + hashlib.sha256(data_set.encode(errors="backslashreplace")).hexdigest()[:6]
        return self.folder / f"compare-{name}"

    def across(self, *, tuned: bool = False) -> Path:
        """Return the folder of a combination of comparisons on several data sets."""
        return self.folder / ("across-tuned" if tuned else "across")

    @property
    def written(self) -> tuple[Path, ...]:
        """The folders into which commands write."""
        return (
            *(self.folder / name for name in RUNS_BELOW),
            self.comparison(),
            self.comparison(tuned=True),
            self.rates,
        )


def _seed(seed: int) -> str:
    return f"seed-{seed}"


def links_to(run: Path) -> list[Path]:
    """Return the symbolic links among a run's folder and its parents inside the experiment."""
    chain = (run, *run.parents)[:4]  # the seed, the arm, and at most two folders above
    top = next((k for k, folder in enumerate(chain) if k > 1 and folder.name in RUNS_BELOW), 0)
    return [folder for folder in chain[: top + 1] if folder.is_symlink()]


def holds_rates(folder: Path) -> bool:
    """Whether a folder has the answer of a range test, and not of a run."""
    return (folder / RESULT).exists() and not (folder / METRICS).exists()


def results_in(folder: Path) -> Path:
    """Return the folder of a comparison, combination or range test from itself or its experiment's.

    An experiment's comparison comes first. Returns the folder itself if it has none of them.
    """
    files = (SUMMARY, PROGRESS, ACROSS)
    if any((folder / name).exists() for name in files) or holds_rates(folder):
        return folder
    inner = [folder / name for name in ("compare", "across")]
    inner += [each for name in ("range-test", "rates") if holds_rates(each := folder / name)]
    return next((each for each in inner if each.is_dir()), folder)


def range_test_of(comparison: Path) -> Path:
    """Return the range test's folder of the experiment to which a comparison belongs."""
    return comparison.parent / "range-test"
