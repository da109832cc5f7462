"""The READMEs' numbers are those of the files under outputs/reference, and their links lead on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clr_cli import schedules
from clr_cli.analysis.headline import headline
from clr_cli.cli.show import print_summary
from clr_cli.report import comparison as report
from clr_cli.report.tables import certainty_table

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "outputs" / "reference"
PAGES = ["", "clr_cli", "configs", "outputs/reference", "tests", "tests/benchmarks"]
THREE = ("svhn", "fashion", "synthetic")
PADS = (0, 1, 2, 4)
ADAMW = "adamw"  # fashion again, under another optimizer
BOARD = "outputs/reference/nanogpt_track3"


def readme(folder: str) -> str:
    return (ROOT / folder / "README.md").read_text(encoding="utf-8")


def test_the_quickstart_table_is_as_the_tool_prints_it(capsys):
    summary, records = report.load(REFERENCE / "quickstart")
    assert len(records) == sum(arm.n for arm in summary.arms)
    print_summary(summary)
    table = capsys.readouterr().out.strip().split("\n\n")[0]
    assert len(table.splitlines()) == 2 + len(summary.arms)
    assert table in readme("")
    assert headline(summary) in readme("")
    assert any(comparison.sentence in readme("") for comparison in summary.comparisons)


def test_the_quickstart_with_a_tuned_baseline_is_quoted_as_the_tool_says_it():
    summary, _ = report.load(REFERENCE / "quickstart-tuned")
    assert f"> {headline(summary)}\n" in readme("")
    rate = summary.tuning.arms["constant"].value
    assert f"finds {rate:g} ".replace("0.", ".") in readme("")


def judged(clr, folder, baseline):
    """What ``clr compare --from`` prints of the runs of a folder: the table, and the headline."""
    runs = REFERENCE / folder / "compare-tuned" / "runs.csv"
    given = ["--from", runs, "--paired", "--metric", "test_accuracy", "--mode", "max"]
    table, said, *_ = clr("compare", *given, "--baseline", baseline).stdout.strip().split("\n\n")
    return table, said


def test_the_80_epochs_are_told_as_the_tool_prints_them(capsys):
    summary, _ = report.load(REFERENCE / "post" / "compare")
    print_summary(summary)
    table = capsys.readouterr().out.strip().split("\n\n")[0]
    assert f"{table}\n```\n\n{headline(summary)}\n" in readme("outputs/reference")
    (comparison,) = summary.comparisons
    assert comparison.sentence.partition("). ")[2] in readme("outputs/reference")
    found = json.loads((REFERENCE / "post" / "range-test" / "result.json").read_text())["answer"]
    assert f"max_lr {found['max_lr']}\n".replace("0.", ".") in readme("outputs/reference")
    (rate,) = (arm.schedule["lr"] for arm in summary.arms if arm.name == "constant")
    assert rate == found["max_lr"]
    best = comparison.best_epoch
    mean, low, high = 100 * best.mean, 100 * best.low, 100 * best.high
    assert f"the lead is {mean:.2f} points ({low:.2f} to {high:.2f})" in readme("outputs/reference")


def test_the_first_editions_80_epochs_are_judged_as_the_tool_does_today(clr):
    _, said = judged(clr, "svhn-9.6k", "constant")
    assert f'"{said}"' in readme("outputs/reference")


@pytest.mark.parametrize("data", THREE)
def test_the_cycle_beside_one_rise_and_fall_is_quoted_as_printed(clr, data):
    table, _ = judged(clr, f"three/{data}", "one_cycle")
    row = next(line for line in table.splitlines() if line.startswith("clr "))
    (difference,) = re.findall(r"[+-][\d.]+ \(.*\)", row)
    assert difference in readme("outputs/reference")


def test_the_annealing_controls_are_quoted_as_printed():
    summary, _ = report.load(REFERENCE / "svhn-9.6k" / "compare")
    sentence = next(c.sentence for c in summary.comparisons if c.arm == "clr")
    quoted = sentence.partition(", 8 paired seeds")[0]
    assert f'"{quoted})"' in readme("outputs/reference")


def test_the_post_is_compared_as_the_program_prints_it(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    monkeypatch.setattr("sys.argv", ["", str(REFERENCE / "post" / "compare")])
    import post_figures

    post_figures.main()
    rows = capsys.readouterr().out.strip().splitlines()[2:]
    assert len(rows) > 10
    assert "\n".join(rows) in readme("outputs/reference")


def validation(folder):
    """Mean and standard deviation of each arm's validation accuracy, in percent."""
    summary, _ = report.load(REFERENCE / folder / "compare")
    found = {arm.name: arm.metrics["val_accuracy"] for arm in summary.arms}
    return {name: (100 * each.mean, 100 * each.sd) for name, each in found.items()}


def test_crops_width_and_pools_are_chosen_on_validation_as_measured():
    page = readme("outputs/reference")
    *most, last = (f"{mean:.1f}" for mean, _ in (validation("padding")[f"pad_{n}"] for n in PADS))
    assert f"gave {', '.join(most)} and {last} %" in page
    pools = {"two": 2, "three": 3}
    for name, (mean, sd) in validation("pooling").items():
        number, width, *padding = name.split("_")
        row = (width, pools[number], padding[-1] if padding else 1, f"{mean:.1f} ± {sd:.1f}")
        assert f"| {' | '.join(map(str, row))} |" in page
    config = (ROOT / "configs" / "svhn.yaml").read_text()
    assert "crop_padding: 1" in config
    assert "pools: 3" in config


def test_the_finders_tables_are_as_the_benchmark_prints_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import finders

    files = [REFERENCE / "finders" / f"{name.replace('/', '-')}.json" for name in finders.CELLS]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    assert len(results) >= 6
    page = readme("tests/benchmarks")
    assert "\n".join(finders.answers_table(results)) in page
    assert "\n".join(finders.finders_table(results)) in page


def test_all_verdicts_are_as_the_benchmark_prints_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import across

    folders = [REFERENCE / "three" / data / "compare-tuned" for data in (*THREE, ADAMW)]
    summaries = [report.load(folder)[0].plain() for folder in folders]
    page = readme("outputs/reference")
    assert "\n".join(across.verdicts(summaries)) in page
    assert "\n".join(across.verdicts(summaries)) in readme("")
    for summary in summaries:
        assert "\n".join(across.details(summary)) in page


def test_the_board_is_judged_as_the_tool_and_the_benchmark_print_it(monkeypatch, capsys):
    page = readme(BOARD)
    for folder in ("against-3.28", "equal-steps"):
        summary, _ = report.load(ROOT / BOARD / folder)
        print_summary(summary)
        assert capsys.readouterr().out.strip().split("\n\n")[0] in page
        if folder == "against-3.28":
            assert headline(summary) in page
        else:
            said = (c.sentence.partition(" Whether")[0] for c in summary.comparisons)
            assert all(f"- {sentence}" in page for sentence in said)
    summary, _ = report.load(ROOT / BOARD / "steps")
    for row in certainty_table(summary)[1]:
        assert f"| {' | '.join(row)} |".replace("\N{NO-BREAK SPACE}", " ") in page
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    monkeypatch.setattr("sys.argv", ["", str(ROOT / BOARD / "against-3.28")])
    import board_rule

    board_rule.main()
    fit, first, second = capsys.readouterr().out.strip().split("\n\n")
    assert fit in " ".join(page.split())
    assert first in page
    assert second in page


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
    assert len(readme("").splitlines()) <= 150
    assert [kind for kind in schedules.KINDS if f"`{kind}`" not in readme("")] == []


def test_the_calibration_is_as_it_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    import claims

    file = REFERENCE / "calibration" / "claims.json"
    made = json.loads(file.read_text(encoding="utf-8"))
    assert list(made) == list(claims.cells())
    page = readme("tests/benchmarks")
    assert len(page.splitlines()) <= 250
    for title, table in claims.tables(made).items():
        assert f"### {title}\n{table}\n" in page
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
    practice = json.loads((REFERENCE / "calibration" / "practice.json").read_text("utf-8"))
    tuned = {n: 100 * c["false"] for n, c in practice.items() if n.startswith("tuned")}
    centre = max(rate for name, rate in tuned.items() if not name.endswith("best rate"))
    assert f"in at most {centre:.0f} % ({max(tuned.values()):.0f} %" in page
