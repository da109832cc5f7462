"""Small files of every kind, shaped as the tools write them; all values are invented.

A maker writes two arms of five runs below a folder and returns the options of the command that
compares them, as configs/README.md shows it. `new` is better than `base` by .02 at a noise of
.002.
"""

from __future__ import annotations

import gzip
import json
import random
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

ARMS = {"base": 0.90, "new": 0.92}
SEEDS = range(5)
STEPS = (10, 20, 30)
RUNS = [(arm, seed) for arm in ARMS for seed in SEEDS]


def curve(arm: str, seed: int) -> list[float]:
    noise = random.Random(f"{arm}{seed}").gauss(0, 0.002)
    return [round(ARMS[arm] + noise - gap, 5) for gap in (0.2, 0.05, 0.0)]


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(rows: list[list[object]], mark: str = ",") -> str:
    return "\n".join(mark.join(map(str, row)) for row in rows) + "\n"


def tidy() -> list[list[object]]:
    rows = [[a, s, t, v] for a, s in RUNS for t, v in zip(STEPS, curve(a, s), strict=True)]
    return [["arm", "seed", "step", "val_acc"], *rows]


def csv(folder: Path) -> list[str]:
    write(folder / "results.csv", lines(tidy()))
    return ["--from", "results.csv"]


def excel(folder: Path) -> list[str]:
    """Semicolons, decimal commas, a byte order mark, carriage returns, comments."""
    text = lines([[str(cell).replace(".", ",") for cell in row] for row in tidy()], ";")
    text = "\ufeff# mean of 3 crops\n" + text.replace("\n", "\r\n") + "# end\r\n"
    write(folder / "results.csv", text.encode())
    return ["--from", "results.csv"]


def utf16_tsv(folder: Path) -> list[str]:
    write(folder / "results.tsv", lines(tidy(), "\t").encode("utf-16"))
    return ["--from", "results.tsv"]


def gz(folder: Path) -> list[str]:
    write(folder / "results.csv.gz", gzip.compress(lines(tidy()).encode()))
    return ["--from", "results.csv.gz"]


def zipped(folder: Path) -> list[str]:
    with zipfile.ZipFile(folder / "results.zip", "w") as archive:
        archive.writestr("results.csv", lines(tidy()))
    return ["--from", "results.zip"]


def objects() -> list[dict[str, object]]:
    head, *rows = tidy()
    return [dict(zip(map(str, head), row, strict=True)) for row in rows]


def json_array(folder: Path) -> list[str]:
    nested = [{"config": {"method": r.pop("arm")}, **r} for r in objects()]
    write(folder / "results.json", json.dumps(nested))
    return ["--from", "results.json", "--arm-column", "config.method"]


def jsonl(folder: Path) -> list[str]:
    rows = [{**row, "note": "a\u2028b"} for row in objects()]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write(folder / "results.jsonl", text)
    return ["--from", "results.jsonl"]


def parquet(folder: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(objects()), str(folder / "results.parquet")
    )
    return ["--from", "results.parquet"]


def lightning(folder: Path) -> list[str]:
    """Sparse rows: training and validation are logged in rows of their own; hparams beside."""
    for arm, seed in RUNS:
        rows: list[list[object]] = [["epoch", "step", "train_loss", "val_acc"]]
        for epoch, (step, value) in enumerate(zip(STEPS, curve(arm, seed), strict=True)):
            rows += [[epoch, step - 5, 1.0 - value, ""], [epoch, step - 1, "", value]]
        run = folder / "logs" / arm / f"version_{seed}"
        write(run / "metrics.csv", lines(rows))
        write(run / "hparams.yaml", f"lr: 0.1\nmodel: !!python/object:x.Y {{}}\nwidth: {seed}\n")
    return ["--from", "logs/{arm}/version_{seed}/metrics.csv", "--metric", "val_acc"]


def keras(folder: Path) -> list[str]:
    for arm, seed in RUNS:
        rows: list[list[object]] = [["epoch", "accuracy", "loss", "val_accuracy", "val_loss"]]
        rows += [[k, v + 0.01, 1 - v, v, 1.1 - v] for k, v in enumerate(curve(arm, seed))]
        write(folder / f"{arm}_{seed}" / "training.log", lines(rows))
    return ["--from", "{arm}_{seed}/training.log", "--metric", "val_accuracy"]


def ultralytics(folder: Path) -> list[str]:
    """Padded names; args.yaml has the settings, the seed among them."""
    for arm, seed in RUNS:
        rows: list[list[object]] = [
            ["                  epoch", "      time", "   train/box_loss", "metrics/mAP50-95(B)"]
        ]
        values = enumerate(curve(arm, seed), 1)
        rows += [[f"{k:>23}", f"{k * 9.1:>10}", f"{1 - v:>17}", f"{v:>19}"] for k, v in values]
        run = folder / "runs" / "detect" / f"train{seed if arm == 'base' else seed + 5}"
        write(run / "results.csv", lines(rows))
        write(run / "args.yaml", f"task: detect\noptimizer: {arm}\nlr0: 0.01\nseed: {seed}\n")
    return [
        *("--from", "runs/detect/*/results.csv", "--arm-column", "optimizer"),
        *("--metric", "metrics/mAP50-95(B)"),
    ]


def sb3_monitor(folder: Path) -> list[str]:
    for arm, seed in RUNS:
        text = '#{"t_start": 1700000000.5, "env_id": "CartPole-v1"}\nr,l,t\n'
        text += lines([[v * 100, 20 + k, k * 0.7] for k, v in enumerate(curve(arm, seed))])
        write(folder / "logs" / f"{arm}-{seed}" / "0.monitor.csv", text)
    return ["--from", "logs/{arm}-{seed}/*.monitor.csv", "--metric", "ep_rew_mean"]


def sb3_progress(folder: Path) -> list[str]:
    for arm, seed in RUNS:
        rows: list[list[object]] = [
            ["rollout/ep_rew_mean", "time/iterations", "time/time_elapsed", "time/total_timesteps"]
        ]
        rows += [[v, k, k * 3, k * 2048] for k, v in enumerate(curve(arm, seed), 1)]
        write(folder / "logs" / arm / str(seed) / "progress.csv", lines(rows))
    return ["--from", "logs/{arm}/{seed}/progress.csv", "--metric", "rollout/ep_rew_mean"]


def hugging_face(folder: Path) -> list[str]:
    """Two checkpoints a run: the later one's history has all."""
    for arm, seed in RUNS:
        history: list[dict[str, object]] = []
        for step, value in zip(STEPS, curve(arm, seed), strict=True):
            history += [
                {"epoch": step / 10, "loss": 1 - value, "learning_rate": 1e-3, "step": step},
                {"epoch": step / 10, "eval_accuracy": value, "eval_runtime": 0.1, "step": step},
            ]
            state = {"best_metric": None, "epoch": 3.0, "global_step": step}
            state |= {"log_history": list(history), "max_steps": 30}
            place = folder / "out" / f"{arm}-seed{seed}" / f"checkpoint-{step}"
            write(place / "trainer_state.json", json.dumps(state, indent=2))
            write(place / "config.json", '{"model_type": "bert", "hidden_size": 8}')
    return ["--from", "out/{arm}-seed{seed}/*/trainer_state.json", "--metric", "eval_accuracy"]


def mlflow_folder(folder: Path) -> list[str]:
    store = folder / "mlruns"
    write(store / "0" / "meta.yaml", "experiment_id: '0'\nlifecycle_stage: active\nname: Default\n")
    for arm, seed in RUNS:
        run = store / "0" / f"{arm}{seed:031x}"
        write(
            run / "meta.yaml",
            f"lifecycle_stage: active\nrun_id: x\nrun_name: fast-owl-{seed}\nstart_time: 1000\n"
            "status: 3\n",
        )
        points = zip(STEPS, curve(arm, seed), strict=True)
        text = "".join(f"{1000 + step} {value} {step}\n" for step, value in points)
        write(run / "metrics" / "val" / "acc", text)
        write(run / "params" / "optimizer", arm)
        write(run / "params" / "seed", str(seed))
    return ["--from", "mlruns", "--arm-column", "optimizer", "--metric", "val/acc"]


def mlflow_database(folder: Path) -> list[str]:
    database = sqlite3.connect(folder / "mlflow.db")
    database.executescript(
        "create table runs (run_uuid text, name text, status text, start_time integer,"
        " lifecycle_stage text);"
        "create table metrics (key text, value real, timestamp integer, run_uuid text,"
        " step integer, is_nan boolean);"
        "create table params (key text, value text, run_uuid text);"
    )
    for arm, seed in RUNS:
        run = f"{arm}{seed}"
        values = (run, f"{arm}-{seed}", "FINISHED", 1000, "active")
        database.execute("insert into runs values (?, ?, ?, ?, ?)", values)
        for step, value in zip(STEPS, curve(arm, seed), strict=True):
            row = ("val_acc", value, 1000 + step, run, step, 0)
            database.execute("insert into metrics values (?, ?, ?, ?, ?, ?)", row)
        database.execute("insert into params values ('lr', '0.1', ?)", [run])
    database.commit()
    database.close()
    return ["--from", "mlflow.db", "--run-name", "{arm}-{seed}", "--metric", "val_acc"]


def wandb_chart(folder: Path) -> list[str]:
    head: list[object] = ['"Step"']
    for arm, seed in RUNS:
        name = f"{arm}-{seed} - val_acc"
        head += [f'"{name}"', f'"{name}__MIN"', f'"{name}__MAX"']
    rows = [head]
    for k, step in enumerate(STEPS):
        cells = [f'"{curve(arm, seed)[k]}"' for arm, seed in RUNS for _ in range(3)]
        rows.append([f'"{step}"', *cells])
    write(folder / "wandb_export.csv", lines(rows))
    return ["--from", "wandb_export.csv", "--run-name", "{arm}-{seed}"]


def wandb_table(folder: Path) -> list[str]:
    head = ["Name", "State", "Notes", "User", "Created", "Runtime", "Sweep", "lr", "seed"]
    rows = [[*head, "optimizer", "val_acc"]]
    for arm, seed in RUNS:
        created = f"2024-01-0{seed + 1}T10:00:00.000Z"
        row = [f"fine-sea-{seed}", "finished", "-", "me", created, 60 + seed, "", 0.1, seed]
        rows.append([*map(str, row), arm, str(curve(arm, seed)[-1])])
    write(folder / "runs.csv", "\n".join(",".join(f'"{c}"' for c in row) for row in rows) + "\n")
    return ["--from", "runs.csv", "--arm-column", "optimizer", "--metric", "val_acc"]


def tensorboard(folder: Path) -> list[str]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for arm, seed in RUNS:
        writer = EventFileWriter(str(folder / "runs" / f"{arm}-{seed}"))
        for step, value in zip(STEPS, curve(arm, seed), strict=True):
            for tag, number in (("acc/val", value), ("lr", 0.1)):
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=number)])
                writer.add_event(Event(wall_time=1e9 + step, step=step, summary=summary))
        writer.close()
    return ["--from", "runs/{arm}-{seed}", "--metric", "acc/val"]


# Name of the kind -> its maker; kinds of plain text have several.
MAKERS: list[tuple[str, Callable[[Path], list[str]]]] = [
    *(("table", maker) for maker in (csv, excel, utf16_tsv, gz, zipped)),
    *(("JSON", maker) for maker in (json_array, jsonl)),
    ("Parquet", parquet),
    ("Lightning CSVLogger", lightning),
    ("Keras CSVLogger", keras),
    ("Ultralytics results.csv", ultralytics),
    ("Stable-Baselines3 monitor", sb3_monitor),
    ("Stable-Baselines3 progress", sb3_progress),
    ("Hugging Face trainer_state.json", hugging_face),
    ("MLflow folder", mlflow_folder),
    ("MLflow database", mlflow_database),
    ("W&B chart export", wandb_chart),
    ("W&B runs table", wandb_table),
    ("TensorBoard", tensorboard),
]
