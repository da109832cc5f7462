"""Whatever is wrong with the input: one line on stderr, the right exit code, nothing written.

The command line runs as a whole: in this process where it is the answer that counts, in another one
where it is the process.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support import forked

from clr_cli.cli import app as cli
from clr_cli.cli import inspect
from clr_cli.config import load as configs
from clr_cli.config.yaml_text import dump, parse_yaml
from clr_cli.errors import InputError

SHIPPED = sorted(configs.shipped_configs().glob("*.yaml"))
ANYTHING_HEAVY = ("torch", "torchvision", "matplotlib", "numpy", "scipy")
# Nor what reads configs, where the commands are listed (newer versions of Typer need pydantic to
# read the options of one).
CONFIGS = ("pydantic", "pydantic_core", "yaml", "jinja2", "tqdm")


def clean(before: list[Path], folder: Path, code: int, stdout: str, stderr: str) -> str:
    """Check that a refusal was one line on stderr and wrote nothing; return the line."""
    assert code == 2, stderr
    assert stdout == ""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("clr: ")
    assert sorted(folder.rglob("*")) == before
    return lines[0]


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """The one line with which ``clr`` refuses its arguments (in this process, to be quick)."""

    def run(*arguments: object) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["clr", *map(str, arguments)])
        before = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return clean(before, tmp_path, caught.value.code, *capfd.readouterr())

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def refused_process(folder: Path, *arguments: object) -> str:
    """The same of a ``clr`` in a process of its own."""
    before = sorted(folder.rglob("*"))
    child = forked.start(folder, *arguments)
    return clean(before, folder, child.wait(), child.stdout, child.stderr)


@pytest.fixture
def changed(tiny, tmp_path):
    """The tiny config with keys replaced (``None`` removes one), as a file of its own."""

    def write(**changes: object) -> Path:
        tree = yaml.safe_load(tiny.read_text())
        for key, value in changes.items():
            node = tree
            *parents, last = key.split("__")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


# ---- the config ----------------------------------------------------------------------------------

WRONG_VALUES: list[tuple[str, dict[str, object], tuple[str, ...]]] = [
    ("misspelt section", {"trainig": {}}, ("trainig", "did you mean 'training'")),
    ("misspelt key", {"training__epoch": 3}, ("training.epoch", "did you mean 'epochs'")),
    ("text for a number", {"training__epochs": "many"}, ("training.epochs", "'many'")),
    ("yes for a number", {"training__epochs": True}, ("training.epochs", "True")),
    ("fraction for a count", {"training__epochs": 2.5}, ("training.epochs", "2.5")),
    ("no epochs", {"training__epochs": 0}, ("training.epochs", "0")),
    ("list for a section", {"training": [1]}, ("training", "[1]")),
    ("negative rate", {"schedules__clr__max_lr": -1}, ("schedules.clr.max_lr", "-1")),
    ("nan rate", {"schedules__constant__lr": float("nan")}, ("schedules.constant.lr", "nan")),
    ("infinite rate", {"range_test__max_lr": float("inf")}, ("range_test.max_lr", "inf")),
    ("bounds reversed", {"schedules__clr__base_lr": 0.5}, ("schedules.clr", "0.1", "0.5")),
    ("range reversed", {"range_test__min_lr": 0.9}, ("range_test.max_lr", "0.5", "0.9")),
    ("step size 0", {"schedules__clr__step_size_epochs": 0}, ("schedules.clr.step_size", "0")),
    ("unknown kind", {"schedules__clr__kind": "trianglar"}, ("clr.kind", "mean 'triangular'")),
    ("no kind", {"schedules__new": {"lr": 1}}, ("schedules.new.kind", "missing")),
    ("unknown baseline", {"compare__baseline": "cl"}, ("compare.baseline", "mean 'clr'")),
    ("one arm", {"compare__schedules": ["clr"]}, ("compare.schedules", "two or more")),
    ("huge integer", {"training__batch_size": 10**4000}, ("training.batch_size", "10000")),
    ("huge width", {"model__width": 10**9}, ("model.width", "1000000000")),
    ("nesterov alone", {"optimizer": {"nesterov": True, "momentum": 0}}, ("nesterov", "momentum")),
    ("name up", {"name": ".."}, ("name", "'..'")),
    ("name absolute", {"name": "/etc"}, ("name", "'/etc'")),
    ("name with a line end", {"name": "a\n"}, ("name", r"'a\n'")),
    ("arm up", {"schedules__../../x": {"kind": "constant"}}, ("schedules.../../x",)),
    ("control codes", {"\x1b[2J": 1}, (r"\x1b[2J", "unknown key")),
]


@pytest.mark.parametrize(
    ("changes", "said"), [case[1:] for case in WRONG_VALUES], ids=[c[0] for c in WRONG_VALUES]
)
def test_a_wrong_value_is_refused_with_file_key_and_value(refused, changed, changes, said):
    path = changed(**changes)
    line = refused("compare", "--config", path)
    assert str(path) in line
    for part in said:
        assert part in line


DAMAGED_FILES: list[tuple[str, bytes, str]] = [
    ("syntax", b"training: {epochs: 1\nmodel: x\n", "line 2"),
    ("duplicate key", b"name: a\nname: b\n", "line 2, column 1: the key 'name'"),
    ("not UTF-8", b"name: \xff\n", "not UTF-8 text (byte 6)"),
    ("binary", bytes(range(256)), "not UTF-8"),
    ("python object", b"a: !!python/object/apply:os.mkdir ['ran']\n", "constructor"),
    ("bomb", b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors and aliases"),
    ("deep", b"[" * 20_000, "mine.yaml"),
    ("large", b"# " + b"x" * 2_000_000, "larger than"),
    ("a list", b"[1, 2]", "mapping"),
    (
        "a null character",
        b'name: a\ndataset: {root: "a\\0b"}',
        r"line 2, column 17: a value cannot",
    ),
    ("endless number", b"training: {epochs: " + b"9" * 5000 + b"}", "mine.yaml"),
]


@pytest.mark.parametrize(
    ("content", "said"), [case[1:] for case in DAMAGED_FILES], ids=[c[0] for c in DAMAGED_FILES]
)
def test_a_damaged_config_is_refused_with_its_place(refused, tmp_path, content, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    line = refused("train", "--config", path)
    assert str(path) in line
    assert said in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("train --config nowhere.yaml", "'nowhere.yaml' not found"),
        ("train --config quickstrt", "did you mean 'quickstart.yaml'"),
        ("train --config .", "'.' not found"),
        (f"train --config {'a' * 300}", "not found"),
        ("train --config tiny.yaml --schedule triangulr", "did you mean 'triangular'"),
        ("train --config tiny.yaml --seed -1", "--seed"),
        ("train --config tiny.yaml --device gpu", "--device 'gpu' is unknown; known: auto"),
        ("train --config tiny.yaml --device cpu:x", "--device 'cpu:x'"),
        ("train --config tiny.yaml --set training.epochs", "section.key=value"),
        ("train --config tiny.yaml --set training.epochs=[1", "--set training.epochs=[1"),
        ("train --config tiny.yaml --name ../up", "--name: '../up'"),
        (
            "train --config tiny.yaml --bounds none.yaml",
            "none.yaml: cannot be read; clr range-test",
        ),
        ("compare --config tiny.yaml --jobs many", "--jobs 'many'"),
        ("compare --config tiny.yaml --seeds 0", "--seeds: 0: expected a number of seeds from 1"),
        ("compare --config tiny.yaml --only clr:0 --json", "--json is for a whole comparison"),
        ("compare --config tiny.yaml --only clr:0 --expect better", "--expect is for a whole"),
        ("compare --config tiny.yaml --schedules clr,cosin", "did you mean 'cosine'"),
        ("range-test --config tiny.yaml --sweeps 0", "--sweeps: 0 must be"),
        ("range-test --config tiny.yaml --shape round", "--shape: 'round'"),
        ("range-test --config tiny.yaml --iterations 1", "--iterations: 1 must be"),
        ("report nowhere", "nowhere: summary.json not found"),
        ("trian", "No such command"),
        ("train --confg x", "(see clr train --help)"),
        (
            "schedule plot --config tiny.yaml --set schedules.clr.warmup_epochs=3",
            "tiny.yaml: schedules.clr: warmup: 1500 must be less",
        ),
        (
            "schedule plot --config tiny.yaml --set schedules.clr.max_lr=auto --name rates",
            "tiny.yaml: schedules.clr: is auto, but outputs/rates/range-test/bounds.yaml does not",
        ),
        ("schedule plot --config tiny.yaml --output x.bmp", "--output x.bmp"),
    ],
)
def test_a_wrong_option_is_refused(refused, tiny, tmp_path, arguments, said):
    assert said in refused(*arguments.split())


def test_a_process_refuses_as_this_one_does(tiny, tmp_path):
    for arguments, said in (
        (("compare", "--config", tiny, "--set", "training.epochs=0"), "training.epochs: 0"),
        (("train", "--config", tiny, "--set", "training.batch_size=501"), "batch_size: 501"),
        (("range-test", "--config", tiny, "--output-dir", tiny), "cannot be written"),
    ):
        assert said in refused_process(tmp_path, *arguments)


@pytest.mark.parametrize("arguments", [("--debug", "train"), ("train", "--debug")])
def test_debug_adds_the_traceback(tmp_path, arguments):
    child = forked.start(tmp_path, *arguments, "--config", "nowhere.yaml")
    assert child.wait() == 2
    assert child.stderr.startswith("Traceback (most recent call last)")
    assert child.stderr.splitlines()[-1].startswith("clr: config 'nowhere.yaml' not found")


# ---- the data and the model ----------------------------------------------------------------------


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "train_images": rng.integers(0, 256, (200, 8, 8, 3), np.uint8),
        "train_labels": np.arange(200) % 3,
        "test_images": rng.integers(0, 256, (30, 8, 8, 3), np.uint8),
        "test_labels": np.arange(30) % 3,
    }


def write_npz(path: Path, **replaced: np.ndarray) -> None:
    np.savez(path, **{**arrays(), **replaced})


def _truncated(path: Path) -> None:
    write_npz(path)
    path.write_bytes(path.read_bytes()[:5000])


def _flipped(path: Path) -> None:
    write_npz(path)
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)


def _pickled(path: Path) -> None:
    write_npz(path, test_labels=np.array([print] * 30, object))


BAD_ARRAYS = {
    "missing": (lambda path: None, "own.npz: not found"),
    "truncated": (_truncated, "not a readable .npz"),
    "a flipped bit": (_flipped, "not a readable .npz"),
    "pickled code": (_pickled, "without object arrays"),
    "labels out of range": (lambda path: write_npz(path, test_labels=np.full(30, 7)), "contains 7"),
    "one class": (lambda path: write_npz(path, train_labels=np.zeros(200, int)), "only one class"),
    "other sizes": (
        lambda path: write_npz(path, test_images=np.zeros((30, 9, 8, 3), np.uint8)),
        "one size",
    ),
}


@pytest.mark.parametrize(("write", "said"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_are_refused_with_their_file(refused, changed, tmp_path, write, said):
    path = tmp_path / "own.npz"
    write(path)
    line = refused("train", "--config", changed(dataset={"name": "npz", "path": str(path)}))
    assert str(path) in line
    assert said in line


def test_images_of_mixed_size_are_refused_with_the_odd_one(refused, changed, tmp_path):
    for split in ("train", "test"):
        for number in range(8):
            folder = tmp_path / "own" / split / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            size = (9, 8) if (split, number) == ("test", 7) else (8, 8)
            Image.new("RGB", size).save(folder / f"{number}.png")
    config = changed(dataset={"name": "imagefolder", "path": str(tmp_path / "own")})
    line = refused("train", "--config", config)
    assert str(tmp_path / "own" / "test" / "b" / "7.png") in line


def test_truncated_svhn_files_are_refused_by_name(refused, changed, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    images = np.zeros((32, 32, 3, 4), np.uint8)
    for split in ("train", "test"):
        path = root / f"{split}_32x32.mat"
        scipy.io.savemat(path, {"X": images, "y": np.ones((4, 1), np.uint8)})
        path.write_bytes(path.read_bytes()[:1000])
    config = changed(dataset={"name": "svhn", "root": str(root), "download": False})
    line = refused("train", "--config", config)
    assert str(root) in line
    assert "damaged train_32x32.mat, test_32x32.mat" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training__batch_size": 501}, ("training.batch_size", "501", "500")),
        ({"dataset__val_size": 600}, ("dataset.val_size", "600")),
        ({"dataset__name": "shvn"}, ("dataset.name", "'shvn'", "did you mean")),
        ({"model__name": "resnet19"}, ("model.name", "'resnet19'", "did you mean 'resnet18'")),
        ({"model__depth": 3}, ("model.depth",)),
        ({"schedules__clr__step_size_epochs": 0.01}, ("step_size_epochs", "0.01")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_the_data_is_refused_with_file_key_and_value(
    refused, changed, changes, said
):
    path = changed(**changes)
    line = refused("train", "--config", path, "--device", "cpu")
    for part in (str(path), *said):
        assert part in line


# ---- security ------------------------------------------------------------------------------------


def test_a_config_from_a_stranger_runs_no_code_until_allowed(refused, changed, tmp_path):
    (tmp_path / "stranger.py").write_text(
        "import pathlib; pathlib.Path('it-ran').touch()\n"
        "from clr_cli.training.models import cnn\n"
        "def net(num_classes, in_channels):\n"
        "    return cnn(num_classes=num_classes, in_channels=in_channels, width=2)\n"
    )
    path = changed(model={"name": "stranger:net"}, training={"epochs": 1, "batch_size": 250})
    command = ("train", "--config", path, "--device", "cpu")
    assert "--allow-code" in refused(*command)
    assert not (tmp_path / "it-ran").exists()
    child = forked.start(tmp_path, *command, "--allow-code")
    assert child.wait() == 0, child.stderr
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("name", ["../up", "/tmp/x", "a/b", ".hidden", "-x", "", "a" * 101, "a\0b"])
def test_names_cannot_leave_the_output_folder(name):
    for tree in (
        {"name": name},
        {"schedules": {name: {"kind": "constant"}}},
        {"compare": {"schedules": [name, "constant"]}},
    ):
        with pytest.raises(InputError):
            configs.validate(tree, "x.yaml")


# ---- the output folder ---------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "range-test", "compare"])
@pytest.mark.parametrize("place", ["a-file", "a-file/deeper", "/proc/nowhere"])
def test_an_output_folder_that_cannot_be_is_found_before_anything_else(
    refused, tiny, tmp_path, command, place
):
    (tmp_path / "a-file").touch()
    line = refused(command, "--config", tiny, "--output-dir", place)
    assert f"{place}/tiny/train: cannot be written" in line


def test_a_blocked_results_folder_is_found_before_training(refused, tiny, tmp_path):
    (tmp_path / "outputs" / "tiny").mkdir(parents=True)
    (tmp_path / "outputs" / "tiny" / "compare").touch()
    line = refused("compare", "--config", tiny)
    assert "outputs/tiny/compare: cannot be written" in line


# ---- lightness and odd terminals -----------------------------------------------------------------

PROBE = """
import sys
from clr_cli.cli import app as cli
sys.argv = ["clr", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as exit:
    loaded = [name for name in %r if name in sys.modules]
    print("exit", exit.code, *loaded, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("compare --help", 0),
        ("config schema", 0),
        ("config show --config tiny.yaml", 0),
        ("schedule plot --help", 0),
        ("train --config tiny.yaml --set trainig.epochs=1", 2),
        ("compare --config tiny.yaml --schedules clr,nothing", 2),
        ("train --config nowhere", 2),
        ("train --config tiny.yaml --device gpu", 2),
        ("train --config tiny.yaml --output-dir /proc/x", 2),
    ],
)
def test_help_and_config_errors_come_without_the_heavy_packages(tiny, tmp_path, arguments, code):
    heavy = ANYTHING_HEAVY + (CONFIGS if arguments in ("--help", "--version") else ())
    done = subprocess.run(
        [sys.executable, "-c", PROBE % (heavy,), *arguments.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == f"exit {code}"


def test_a_reader_that_leaves_and_a_full_stdout_are_no_bugs(tiny, tmp_path):
    command = [sys.executable, "-m", "clr_cli", "config", "schema"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 1
        assert done.stderr.startswith("clr: No space left on device")
        assert done.stderr.count("\n") == 1


def test_the_list_of_commands_has_the_first_line_of_the_help_of_each():
    for name, (line, _) in cli.COMMANDS.items():
        module = importlib.import_module(f"clr_cli.cli.{name.replace('-', '_')}")
        assert module.command.__doc__.splitlines()[0] == line
    for name, line in cli.GROUPS.items():
        assert getattr(inspect, f"{name}_app").info.help == line


def with_closed(streams: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m clr_cli "$@" {streams}', sys.executable, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_closed_stdout_is_no_error(tmp_path):
    done = with_closed("0>&- 1>&-", tmp_path, "config", "schema")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
def test_closed_standard_streams_are_no_files_of_the_run(tiny, tmp_path, closed):
    """The next file to be opened would get their numbers, and what is printed would go there."""
    streams = " ".join(f"{number}>&-" for number in closed)
    arguments = ("train", "--config", tiny, "--set", "training.epochs=1", "--device", "cpu")
    done = with_closed(streams, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert (1 not in closed) == ("wrote" in done.stdout)
    assert (2 not in closed) == ("clr train: tiny" in done.stderr)
    run = tmp_path / "outputs" / "tiny" / "train" / "clr" / "seed-0"
    assert (run / ".lock").read_bytes() == b""
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_config_may_come_through_a_pipe_which_can_be_read_once(tiny, tmp_path):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(tiny.read_bytes(),))
    writer.start()
    first = configs.load(str(pipe), ["training.epochs=1"])
    writer.join()
    assert first.name == "stdin"
    assert first == configs.load(str(pipe), ["training.epochs=1"])
    assert first == configs.load(str(tiny), ["training.epochs=1", "name=stdin"])


def test_file_names_that_are_not_utf_8_are_read_and_shown(tmp_path):
    """As older archives have them."""
    table = os.fsencode(tmp_path) + b"/r\xe9sum\xe9.csv"
    with open(table, "w") as file:
        file.write("arm,seed,loss\na,0,1\na,1,2\nb,0,2\nb,1,3\n")
    child = forked.start(tmp_path, "compare", "--from", os.fsdecode(table), "--name", "latin")
    assert child.wait() == 0, child.stderr
    page = (tmp_path / "outputs/latin/compare/report.html").read_text("utf-8")
    assert r"r\udce9sum\udce9.csv" in page
    child = forked.start(tmp_path, "report", "outputs/latin")
    assert child.wait() == 0, child.stderr


# ---- fuzzing the bytes ---------------------------------------------------------------------------

FRAGMENTS = [
    *(b"{ } [ ] : - , # & * ! | > ' \" % @ ` ? ~ \t".split(b" ")),
    *(b"\n", b"\n  ", b": ", b"- ", b"&a ", b"*a", b"<<: ", b"!!python/name:os ", b"---\n", b"..."),
    *(b"null", b"yes", b".nan", b"-.inf", b"1e999", b"0", b"-1", b"0x7f", b"1:30", b"2020-01-01"),
    *(b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\x85", b"\x1b"),
    *(b"auto", b"kind", b"clr", b"max_lr", b"9" * 40, b"../", b"synthetic_digits"),
]


def check_mutated_bytes(data: st.DataObject, path: Path) -> None:
    """Cut, double, replace and insert pieces of a shipped config: valid, or a clean refusal."""
    content = data.draw(st.sampled_from(SHIPPED)).read_bytes()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 30)))
        piece = data.draw(
            st.sampled_from(FRAGMENTS) | st.binary(max_size=4) | st.just(content[start:stop] * 2)
        )
        content = content[:start] + piece + content[stop:]
    path.write_bytes(content)
    try:
        config = configs.load(str(path))
    except InputError as error:
        assert str(error).isprintable()
        assert str(path) in str(error)
        return
    text = dump(config.model_dump(mode="json", exclude_none=True))
    assert configs.validate(parse_yaml(text, "dump"), "dump") == config
    try:
        assert config.baseline in config.arms(Path("nowhere"))
    except InputError as error:
        assert str(error).isprintable()


ONE_FOLDER = [HealthCheck.function_scoped_fixture]


@settings(max_examples=100, deadline=None, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_mutated_bytes_are_valid_or_cleanly_refused(tmp_path, data):
    check_mutated_bytes(data, tmp_path / "mutated.yaml")


@pytest.mark.slow
@settings(
    max_examples=int(os.environ.get("CLR_TEST_FUZZ", "5000")),
    deadline=None,
    suppress_health_check=ONE_FOLDER,
)
@given(data=st.data())
def test_mutated_bytes_by_the_thousand(tmp_path, data):
    check_mutated_bytes(data, tmp_path / "mutated.yaml")
