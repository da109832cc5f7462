"""The READMEs' numbers are those of the files under outputs/reference, and their links lead on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clr_cli import schedules
from clr_cli.config.load import load
from clr_cli.report import comparison as report

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "outputs" / "reference"
PAGES = ["", "clr_cli", "configs", "outputs/reference", "tests", "tests/benchmarks"]
BOARD = "outputs/reference/nanogpt_track3"


def readme(folder: str) -> str:
    return (ROOT / folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of the benchmarks are imported by name."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")


@pytest.mark.slow
def test_every_quoted_number_is_that_of_the_results(monkeypatch):
    monkeypatch.setattr("sys.argv", ["readmes.py"])
    import readmes

    assert all("<!-- = " in readme(folder) for folder in readmes.READMES)
    assert [str(path) for path in readmes.stale()] == [], "run python tests/benchmarks/readmes.py"


def test_a_place_that_nothing_fills_is_an_error():
    import readmes

    with pytest.raises(KeyError, match="tabel"):
        readmes.rewritten("<!-- = tabel quickstart --><!-- / -->")


def test_the_rate_of_the_quickstart_is_as_good_as_the_search_finds():
    tuned, _ = report.load(REFERENCE / "quickstart-tuned")
    config = load("quickstart.yaml")
    found = tuned.tuning.arms["constant"]
    assert found.low <= config.schedules["constant"].lr <= found.high


def test_the_constant_rate_of_the_posts_experiment_is_the_one_that_was_found():
    found = json.loads((REFERENCE / "post-20k" / "range-test" / "result.json").read_text())
    summary, _ = report.load(REFERENCE / "post-20k" / "compare")
    (rate,) = (arm.schedule["lr"] for arm in summary.arms if arm.name == "constant")
    assert rate == found["max_lr"]


def test_results_are_small_enough_for_a_repository():
    sizes = [file.stat().st_size for file in REFERENCE.rglob("*") if file.is_file()]
    assert sum(sizes) <= 2_000_000
    assert len(readme("outputs/reference").splitlines()) <= 120


@pytest.mark.parametrize("folder", [*PAGES, BOARD])
def test_every_link_and_figure_is_there(folder):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", readme(folder))
    local = [link for link in links if "://" not in link]
    assert all((ROOT / folder / link).exists() for link in local), local


def test_every_promise_names_a_test_that_is_there():
    named = set(re.findall(r"`([a-z_/]+\.py)`", readme("tests")))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []


def test_the_front_page_is_one_page_and_names_every_schedule():
    assert len(readme("").splitlines()) <= 130
    assert [kind for kind in schedules.KINDS if f"`{kind}`" not in readme("")] == []


def test_the_calibration_is_told_as_it_was_measured():
    import claims
    import claims_figure

    file = REFERENCE / "calibration" / "claims.json"
    made = json.loads(file.read_text(encoding="utf-8"))
    assert list(made) == list(claims.cells())
    page = readme("tests/benchmarks")
    assert len(page.splitlines()) <= 250
    for title in claims.tables(made):
        assert f"### {title} <!-- = claims {title} -->\n" in page
    assert min(cell.get("p agrees", 1) for cell in made.values()) == 1
    blind = [cell["false"] for name, cell in made.items() if "seed-blind" in name]
    assert len(blind) > 5
    assert not any(blind)
    humps = [100 * made[name]["false"] for name in made if "two humps" in name]
    assert f"up to {sorted(humps)[-2]:.0f} % ({max(humps):.0f} % of arms of 6" in page
    gap = max(abs(c["said"] - c["simulated"]) for n, c in made.items() if n.startswith("power"))
    assert f"within {100 * gap:.1f} points" in page
    named = max(cell["named"] for name, cell in made.items() if name.startswith("named"))
    assert f"at most {100 * named:.1f} % have one named" in page
    bare = [f"{100 * made[f'chosen | {arms}']['bare']:.1f}" for arms in (6, 10, 20)]
    assert f"in {bare[0]}, {bare[1]} and {bare[2]} %" in page
    calm = [c for n, c in made.items() if "| normal |" in n and "false" in c]
    assert max(cell["false"] for cell in calm) <= 0.05 + 2 * (0.05 * 0.95 / 2_000) ** 0.5
    tuned = {n: 100 * c["false"] for n, c in made.items() if n.startswith("tuned")}
    centre = max(rate for name, rate in tuned.items() if not name.endswith("best rate"))
    assert f"in at most {centre:.0f} % ({max(tuned.values()):.0f} %" in page
    assert not any(c["false"] for n, c in made.items() if n.startswith("failures"))
    same = max(100 * c["false"] for n, c in made.items() if n.startswith("A/A"))
    assert f"real runs of a small CNN: in {same:.0f} %" in page
    equal = [c for cells in claims_figure.equal_arms(made).values() for c in cells]
    calm = max(rate for noise, _, rate, _ in equal if "humps" not in noise and "3:1" not in noise)
    assert f"at most {100 * calm:.1f} % are called different" in page
    wide = [c["false"] for n, c in made.items() if "3:1 |" in n and "auto" not in n]
    grown = [c["false"] for n, c in made.items() if "3:1 | auto" in n]
    assert f"up to {100 * max(wide):.1f} %, and {100 * max(grown):.1f} % after looks" in page
    together = [c for n, c in made.items() if n.startswith("blocks") and n.endswith("looks")]
    assert f"at least {100 * min(c['covered'] for c in together):.1f} %, wide because" in page
    front = readme("")
    for noise in ("normal", "exponential", "exponential, 3:1", "two humps"):
        worst = max(c["false"] for n, c in made.items() if f"| {noise} |" in n and "false" in c)
        assert f"{100 * worst:.1f} %" in front
