"""Columns by any name, seeds that are numbered, rows of one run that something else tells apart."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path

import pytest

from clr_cli.errors import InputError
from clr_cli.records import mode_of
from clr_cli.results import Query, read_results
from clr_cli.results.read import _digest
from clr_cli.results.sources import sidecars


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write files and return a function that reads what a query asks for."""
    monkeypatch.chdir(tmp_path)

    def results(files, *sources, **options):
        files = {"r.csv": files} if isinstance(files, str) else files
        for name, text in files.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        return read_results(Query(sources or tuple(files), **options))

    return results


def table(*rows, header):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def finals(results):
    return {
        (run.arm, run.seed): run.result["final"][results.metric]
        for run in results.records
        if run.status == "finished"
    }


def refusal(read, *arguments, **options):
    with pytest.raises(InputError) as caught:
        read(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


GRID = table(
    *((lr, opt, seed, 1 - float(lr) + seed / 100)
      for lr in ("0.1", "0.2") for opt in ("sgd", "adam") for seed in range(2)),
    header="LR,Optimizer,Random_Seed,Val_Loss",
)  # fmt: skip


def test_several_columns_are_joined_and_names_have_no_case(read):
    found = read(GRID, arm_columns=("lr", "optimizer"), metric="val_loss")
    assert found.metric == "Val_Loss"
    arms = [f"LR={lr} Optimizer={opt}" for lr in ("0.1", "0.2") for opt in ("sgd", "adam")]
    assert list(finals(found)) == [(arm, seed) for arm in arms for seed in range(2)]


def test_a_column_that_could_be_the_arm_is_suggested_with_a_command(read):
    said = refusal(read, GRID)
    assert "no column 'arm'; the columns are 'LR', 'Optimizer', 'Random_Seed', 'Val_Loss'" in said
    assert "clr compare --from r.csv --arm-column Optimizer" in said


def test_without_seeds_the_runs_are_numbered(read):
    found = read(table(("a", 1), ("b", 3), ("a", 2), header="arm,loss"))
    assert finals(found) == {("a", 0): 1, ("b", 0): 3, ("a", 1): 2}
    assert found.numbered
    assert any("numbered" in note for note in found.notes)


def test_curves_without_seeds_are_one_run_or_refused(read):
    rows = [("a", 0, 3), ("a", 1, 2), ("b", 0, 3), ("b", 1, 1)]
    found = read(table(*rows, header="arm,step,loss"))
    assert finals(found) == {("a", 0): 2, ("b", 0): 1}
    said = refusal(read, table(*rows, ("a", 1, 5), header="arm,step,loss"))
    assert "line 6: arm a" in said
    assert "--seed-column" in said


@pytest.mark.parametrize(
    "name", ["Step", "global_step", "_step", "timesteps", "time/total_timesteps", "Iteration"]
)
def test_steps_by_their_usual_names(read, name):
    found = read(table(("a", 0, 5, 3.0), ("a", 0, 2, 4.0), header=f"arm,seed,{name},loss"))
    assert [row["iteration"] for row in found.records[0].epochs] == [2, 5]
    assert finals(found) == {("a", 0): 3.0}


def test_a_step_column_of_another_name(read):
    text = table(("a", 0, 5, 3.0), ("a", 0, 2, 4.0), header="arm,seed,tokens,loss")
    assert "--step-column tokens" in refusal(read, text, metric="loss")
    assert finals(read(text, step_column="tokens", metric="loss")) == {("a", 0): 3.0}


DATASETS = table(
    *((arm, seed, data, 30 if data == "small" else 60, 0.9 - (data == "large") / 5)
      for arm in ("base", "new") for seed in range(3) for data in ("small", "large")),
    header="arm,seed,dataset,time,val_acc",
)  # fmt: skip


def test_a_column_that_tells_rows_of_a_run_apart_is_refused(read):
    said = refusal(read, DATASETS)
    assert "differ in the column 'dataset'" in said
    assert "--where dataset=small" in said
    assert "--across" in said


def test_fewer_rows_or_blocks_by_such_a_column(read):
    small = read(DATASETS, where=("dataset=small",))
    assert set(finals(small).values()) == {0.9}
    blocks = read(DATASETS, across="DataSet").blocks
    assert {name: len(block.records) for name, block in blocks.items()} == {"small": 6, "large": 6}
    assert blocks["large"].records[0].result["final"]["val_acc"] == pytest.approx(0.7)


def test_the_run_that_a_column_divides_is_named(read):
    rows = [("a", s, k, "val", 0.5) for s in (0, 1) for k in range(4)]
    rows += [("b", s, k, ("val", "test")[k % 2], 0.5) for s in (0, 1) for k in range(4)]
    said = refusal(read, table(*rows, header="arm,seed,step,split,acc"))
    assert "arm b, seed 0 has several rows, which differ in the column 'split'" in said


def test_folds_without_a_clock_and_beside_seconds_are_refused(read):
    rows = [(a, s, fold, 10 * fold + s, 0.5) for a in "ab" for s in (0, 1) for fold in (1, 2, 3)]
    for header in ("arm,seed,fold,time,acc", "arm,seed,fold,cost,acc"):
        assert "'fold'" in refusal(read, table(*rows, header=header), metric="acc")


def test_phases_notes_and_measurements_beside_steps_are_no_reason(read):
    rows = [
        (arm, 0, step, "warmup" if step < 2 else "main", f"{arm}-{step}.pt", step % 2, 3.0 - step)
        for arm in "ab"
        for step in range(4)
    ]
    found = read(table(*rows, header="arm,seed,step,phase,file,odd,loss"), metric="loss")
    assert [len(run.epochs) for run in found.records] == [4, 4]


@pytest.mark.parametrize("column", ["status", "State"])
def test_status_makes_runs_fail_and_leaves_out_running_ones(read, column):
    words = ["finished", "crashed", "diverged", "RUNNING", "preempted", ""]
    rows = [("a", seed, word, 0.9) for seed, word in enumerate(words)]
    found = read(table(*rows, header=f"arm,seed,{column},acc"))
    status = {run.seed: run.status for run in found.records}
    assert status == {0: "finished", 1: "failed", 2: "diverged", 4: "failed", 5: "finished"}
    notes = " ".join(found.notes)
    assert "a seed 1 (crashed), a seed 2 (diverged), a seed 4 (preempted)" in notes
    assert "1 run is still running and left out: a seed 3" in notes


def test_runs_that_end_early_are_named(read):
    rows = [("a", s, k, 1.0) for s in range(3) for k in range(0, 401, 40) if s != 1 or k <= 120]
    found = read(table(*rows, header="arm,seed,step,loss"))
    assert "Runs end at step 120 to 400: a seed 1 at 120." in found.notes


def test_the_best_over_a_run_is_said_to_be_one(read):
    found = read(table(("a", 0, 0.9), header="arm,seed,best_val_acc"))
    assert any("best value of a run" in note for note in found.notes)


def test_percents_are_fractions_shown_in_percent(read):
    found = read(table(("a", 0, "93.1%"), ("a", 1, "93.2 %"), header="arm,seed,acc"))
    assert finals(found) == {("a", 0): 0.931, ("a", 1): 0.932}
    assert found.unit == "%"


def test_decimal_commas_only_where_they_cannot_be_separators(read):
    assert finals(read("arm;seed;acc\na;0;0,905\n")) == {("a", 0): 0.905}
    said = refusal(read, 'arm,seed,acc\na,0,"0,905"\n')
    assert "acc has '0,905', but decimal commas are accepted only in files separated by" in said
    said = refusal(read, 'arm,seed,acc\na,0,1\na,1,"0,905"\n')
    assert "line 3: acc '0,905' is not a number; decimal commas are accepted only in" in said


def test_lines_may_end_with_any_number_of_delimiters(read):
    assert finals(read("arm,seed,loss,,,\na,0,1,,,\na,1,2,,\n")) == {("a", 0): 1, ("a", 1): 2}


def test_decimals_are_numbers(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"arm": ["a", "b"], "seed": [0, 0], "acc": [Decimal("0.905"), Decimal("0.910")]}
    parquet.write_table(arrow.table(rows), tmp_path / "r.parquet")
    found = read_results(Query((str(tmp_path / "r.parquet"),)))
    assert (found.metric, finals(found)) == ("acc", {("a", 0): 0.905, ("b", 0): 0.91})


def test_settings_that_repeat_one_another_are_read_up_to_a_limit(tmp_path):
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}"
              for n in range(1, 12)]  # fmt: skip
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    assert len(sidecars(tmp_path / "r.csv")) == 1000


def test_the_digest_is_of_what_is_read(tmp_path):
    for folder, results, other in (
        ("version_0", "events.out.tfevents.1", "checkpoints/last.ckpt"),
        ("mlruns/0", "one/meta.yaml", "one/artifacts/model.pt"),
    ):
        files = [tmp_path / folder / name for name in (results, other)]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("1")
        before = _digest([tmp_path / folder])
        files[1].write_text("2")
        assert _digest([tmp_path / folder]) == before
        files[0].write_text("2")
        assert _digest([tmp_path / folder]) != before


def test_seeds_of_many_digits_stay_apart(read):
    first = 9007199254740993
    found = read(table(*(("a", first + k, k) for k in range(4)), header="arm,seed,loss"))
    assert [run.seed for run in found.records] == [first + k for k in range(4)]
    said = refusal(read, table(("a", 10**18, 1), header="arm,seed,loss"))
    assert f"seed '{10**18}' is not a whole number of at most 18 digits" in said


def test_several_files_and_arms_in_their_names(read):
    files = {f"out/{arm}.csv": table((0, v), (1, v), header="seed,loss")
             for arm, v in (("adam", 1), ("muon", 2))}  # fmt: skip
    found = read(files, "out/{arm}.csv")
    assert finals(found) == {(a, s): v for a, v in (("adam", 1), ("muon", 2)) for s in (0, 1)}
    assert "--from 'out/{arm}.csv'" in refusal(read, files, "out/adam.csv", "out/muon.csv")
    both = {n: table((n[0], 0, 1), header="arm,seed,loss") for n in ("a.csv", "b.csv")}
    assert list(finals(read(both))) == [("a", 0), ("b", 0)]


def test_files_without_a_seed_are_runs_of_their_own_with_one_they_are_refused(read):
    files = {
        f"{arm}/{kind}-1/metrics.csv": table((1, 2.0), header="step,loss")
        for arm in "xy"
        for kind in "pq"
    }
    found = read(files, "{arm}/*/metrics.csv")
    assert [(run.arm, run.seed) for run in found.records] == [
        ("x", 0),
        ("x", 1),
        ("y", 0),
        ("y", 1),
    ]
    said = refusal(read, files, "{arm}/*-{seed}/metrics.csv")
    assert "arm x, seed 1 is both x/p-1/metrics.csv and x/q-1/metrics.csv" in said


@pytest.mark.parametrize(
    ("sources", "options", "said"),
    [
        (("x/{arm}.csv",), {}, "x/{arm}.csv: no file matches; "),
        (("none",), {}, "none: not found"),
        ((".",), {"where": ("arm",)}, "--where arm: write it as column=value"),
        ((".",), {"where": ("arm=z",)}, "--where arm=z: its values are 'a'"),
        ((".",), {"across": "data"}, "--across data: not a column"),
        ((".",), {"run_name": "{arm}-{seed}"}, "no column with names"),
        ((".",), {"run_name": "x"}, "--run-name x: name a part in braces"),
        ((".",), {"arm_columns": ("z",)}, "--arm-column z: not a column; the columns are"),
        ((".",), {"seed_column": "z"}, "--seed-column z: not a column"),
        ((".",), {"step_column": "z"}, "--step-column z: not a column"),
    ],
)
def test_what_does_not_exist_is_named(read, sources, options, said):
    assert said in refusal(read, {"r.csv": "arm,seed,loss\na,0,1\n"}, *sources, **options)


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("max", "f1 macro_f1 val_auc BLEU top1 top-5 acc@1 mean_reward episode_return mAP50-95(B)"),
        ("min", "rmse MAE ppl wer top1_error error_rate val/loss testLoss perplexity nll"),
        (None, "lr learning_rate loss_scale reward_std step time r l ep_len_mean"),
    ],
)
def test_direction_of_common_names(mode, names):
    assert {name: mode_of(name) for name in names.split()} == dict.fromkeys(names.split(), mode)


def json_lines(rows):
    return "\n".join(json.dumps(row) for row in rows)


def test_long_files_of_json_lines_may_change_their_keys_and_errors_name_the_line(read):
    rows = [{"arm": "ab"[k % 2], "seed": 0, "step": k // 2, "val_loss": 1 / (k + 1)}
            for k in range(4000)]  # fmt: skip
    whole = read({"r.jsonl": json_lines(rows)})
    assert [len(run.epochs) for run in whole.records] == [2000, 2000]
    assert [row["iteration"] for row in whole.records[1].epochs] == [*range(2000)]
    changed = [
        {**row, "extra": {"lr": 0.1}} if k > 1500 else dict(reversed(row.items()))
        for k, row in enumerate(rows)
    ]
    assert read({"r.jsonl": json_lines(changed)}).records == whole.records
    for wrong, message in (
        ('{"arm": "a"', "line 2501: not JSON"),
        ("[1]", "line 2501: not a JSON object"),
        ('{"arm": "a"}, {"arm": "b"}', "line 2501: not JSON"),
        (json.dumps({**rows[2500], "val_loss": "x"}), "line 2501: val_loss 'x' is not a number"),
        (json.dumps({**rows[2500], "step": True}), "line 2501: step True is not a number"),
        (
            json.dumps({**rows[2500], "step": math.nan}),
            "line 2501: step nan: expected a number from 0",
        ),
        (json.dumps({**rows[2500], "seed": True}), "line 2501: seed True is not a whole number"),
    ):
        lines = json_lines(rows).split("\n")
        lines[2500] = wrong
        with pytest.raises(InputError, match=message):
            read({"r.jsonl": "\n".join(lines)})
