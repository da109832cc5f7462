"""Configs: lookup, overrides, and refusals that name the file, the key and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clr_cli.config import load as configs
from clr_cli.config.arms import SCHEDULE_MODELS
from clr_cli.config.program import ProgramConfig
from clr_cli.config.sections import with_numbers
from clr_cli.config.trees import differences
from clr_cli.config.yaml_text import dump, parse_yaml
from clr_cli.errors import InputError

SHIPPED = sorted(configs.shipped_configs().glob("*.yaml"))
MINIMAL = "schedules:\n  clr: {kind: triangular, base_lr: 0.001, max_lr: 0.14}\n"


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        configs.load(str(path), overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_shipped_configs_load_and_survive_a_dump(path):
    config = configs.load(str(path))
    text = dump(config.model_dump(mode="json", exclude_none=True))
    assert configs.validate(parse_yaml(text, "dump"), "dump") == config
    config.arms(Path("outputs"))
    assert path.read_text().startswith("# yaml-language-server: $schema=")


def test_the_name_is_the_files_unless_given(minimal):
    assert configs.load(str(minimal)).name == "mine"
    assert configs.load(str(minimal), ["name=other"]).name == "other"


def test_lookup_prefers_the_path_then_configs_then_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = configs.find_config("quickstart.yaml")
    assert shipped.parent == configs.shipped_configs()
    Path("configs").mkdir()
    Path("configs/quickstart.yaml").write_text(MINIMAL)
    assert configs.find_config("quickstart") == Path("configs/quickstart.yaml")
    Path("quickstart.yaml").write_text(MINIMAL)
    assert configs.find_config("quickstart.yaml") == Path("quickstart.yaml")


def test_scientific_notation_is_a_number(minimal):
    config = configs.load(
        str(minimal), ["schedules.clr.base_lr=1e-3", "optimizer.weight_decay=5e-4"]
    )
    assert config.schedules["clr"].params["base_lr"] == 0.001
    assert config.optimizer.weight_decay == 5e-4


def test_a_bare_kind_is_an_arm_with_its_defaults(minimal):
    assert configs.load(str(minimal)).schedule("one_cycle").kind == "one_cycle"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainig.epochs=3", "trainig: unknown key; did you mean 'training'?"),
        ("training.epoch=3", "training.epoch: unknown key; did you mean 'epochs'?"),
        ("schedules.clr.maxlr=1", "schedules.clr.maxlr: unknown key; did you mean 'max_lr'?"),
        ("schedules.clr.kind=trianglar", "did you mean 'triangular'?"),
        ("schedules.clr.max_lr=1e-4", "schedules.clr.max_lr: 0.0001 is below base_lr 0.001"),
        ("schedules.clr.max_lr=-1", "schedules.clr.max_lr: -1"),
        ("schedules.clr.max_lr=.nan", "schedules.clr.max_lr: nan"),
        ("schedules.clr.step_size=0", "schedules.clr.step_size: 0"),
        ("schedules.new.lr=1", "schedules.new.kind: missing"),
        ("schedules.new=3", "schedules.new.kind: missing"),
        ("schedules.new=", "schedules.new.kind: missing"),
        ("schedules.new.kind=[1]", "schedules.new.kind: [1] is unknown"),
        ("training.epochs=0", "training.epochs: 0"),
        ("training.epochs=99999999999999999999", "training.epochs: 99999999999999999999"),
        ("training.epochs=many", "training.epochs: 'many'"),
        ("training=3", "training: 3"),
        ("compare.seeds=[]", "compare.seeds"),
        ("compare.seeds=[-1]", "compare.seeds"),
        ("name=../../etc", "name: '../../etc': expected 1 to 100 letters"),
        ("schedules={../x: {kind: constant}}", "schedules"),
        ("range_test.max_lr=1e-9", "range_test.max_lr: 1e-09 must be above min_lr 0.001"),
        ("training.epochs=yes", "training.epochs: True: expected a number, not true or false"),
        ("name=yes", "name: YAML reads this as true, not as text; put it in quotes"),
        ("name=2020-01-01", "name: YAML reads this as 2020-01-01, not as text"),
        ("compare.baseline=no", "compare.baseline: YAML reads this as false, not as text"),
        ("schedules={on: {kind: constant}}", "schedules: YAML reads a name as true, not as text"),
        ("compare.seeds=many", "seeds: 'many': expected a number of seeds from 1, a list"),
        ("dataset.image_size=[2, 0]", "[2, 0]: expected 1 to 4096 pixels: one side, or [height"),
        ("model.output=[1]", "model.output: [1]: expected a key, an attribute or a position"),
        (
            "schedules={constant: {kind: triangular, max_lrr: 1}}",
            "schedules.constant.max_lrr: unknown key; did you mean 'max_lr'?",
        ),
        ("training.epochs", "--set 'training.epochs': write it as section.key=value"),
        ("training.epochs=[1", "--set training.epochs=[1: line 1"),
    ],
)
def test_a_wrong_value_is_named(minimal, override, expected):
    message = refusal(minimal, override)
    assert expected in message
    assert "more)" not in message


def test_all_wrong_keys_are_counted(minimal):
    wrong = ["training.epochs=0", "dataset.image_size=[2, 0]", "compare.seeds=many"]
    assert refusal(minimal, *wrong).endswith("(and 2 more)")


def test_a_truth_value_is_read_where_a_key_takes_one(minimal):
    arm = "schedules.one={kind: one_cycle, three_phase: true}"
    assert configs.load(str(minimal), [arm]).schedule("one").params["three_phase"] is True


def test_an_empty_section_has_its_defaults(minimal):
    empty = ["compare=", "dataset.augment=", "model.settings=", "range_test=", "schedules="]
    adam = "optimizer.name=adam"
    assert configs.load(str(minimal), [*empty, adam]) == configs.load(
        str(minimal), ["schedules={}", adam]
    )


def test_settings_may_have_numbers_that_yaml_takes_for_words(minimal):
    """What the config is stays as it was written: finished runs are known by it."""
    texts = ["model.settings.eps=1e-6", "optimizer.settings.betas=[.9, 1E-3]"]
    config = configs.load(str(minimal), texts)
    assert config.model.settings == {"eps": "1e-6"}
    assert config.model.arguments == {"eps": 1e-6}
    assert with_numbers(config.optimizer.settings) == {"betas": [0.9, 1e-3]}
    assert with_numbers({"a": "1e", "b": "e-6", "c": "7"}) == {"a": "1e", "b": "e-6", "c": "7"}


@pytest.mark.parametrize(
    ("file", "name"),
    [("(1)", "_-1-"), ("图", "_-"), (".x", "_.x"), ("_x", "_x"), ("a" * 120, "a" * 100)],
)
def test_any_file_gives_a_name(minimal, file, name):
    assert configs.load(str(minimal.rename(minimal.with_name(f"{file}.yaml")))).name == name


PROGRAM = {"command": "train {lr} {seed} {out}", "metric": {"name": "loss"}}
TWO = {"a": {"lr": 1}, "b": {"lr": 2}}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"arms": {True: {"lr": 1}, "off": {"lr": 2}}}, "arms: YAML reads a name as true, not"),
        ({"arms": TWO, "command": "a 'b {lr} {seed} {out}"}, "No closing quotation; close"),
        ({"arms": TWO, "command": "a } {lr} {seed} {out}"}, "double braces that do not enclose"),
        ({"arms": TWO, "metric": {"name": "1x"}}, "and . _ / -, beginning with a letter or _"),
        ({"arms": TWO, "compare": {"seeds": "many"}}, "'many': expected a number of seeds"),
    ],
)
def test_a_wrong_key_of_a_program_is_named(keys, expected):
    with pytest.raises(InputError) as caught:
        configs.validate_as(ProgramConfig, PROGRAM | keys, "mine.yaml")
    assert expected in str(caught.value)
    assert "more)" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"training: {epochs: 1}\ntraining: {epochs: 2}\n", "line 2, column 1: the key 'training'"),
        (b"a: [1, 2\nb: 3\n", "line 2"),
        (b"a: &x [1]\nb: [*x, *x]\n", "anchors and aliases"),
        (b"a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        (b"\xff\xfe\x00a", "not UTF-8"),
        (b"- 1\n- 2\n", "expected a mapping of keys to values, not a list"),
        (b"a: b: c\n", "line 1"),
        (b"training: {epochs: 2022-02-30}\n", "not readable"),
        (b"? [1, 2]\n: 3\n", "unhashable"),
        (b"[" * 5000, "mine.yaml"),
    ],
)
def test_damaged_yaml_is_refused_with_its_place(minimal, text, expected):
    minimal.write_bytes(text)
    message = refusal(minimal)
    assert str(minimal) in message
    assert expected in message


def test_a_missing_config_names_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"'quickstrt' not found; did you mean 'quickstart.yaml'"):
        configs.load("quickstrt")


def test_auto_bounds_come_from_the_range_test_or_name_the_command(minimal, tmp_path):
    config = configs.load(str(minimal), ["schedules.clr.max_lr=auto"])
    with pytest.raises(InputError, match="run clr range-test"):
        config.arm("clr", tmp_path)
    bounds = tmp_path / "mine" / "range-test" / "bounds.yaml"
    bounds.parent.mkdir(parents=True)
    bounds.write_text("base_lr: 0.002\nmax_lr: 0.3\n")
    arm = config.arm("clr", tmp_path)
    assert (arm.params["base_lr"], arm.params["max_lr"]) == (0.001, 0.3)
    arm = config.arm("clr", tmp_path, bounds)
    assert (arm.params["base_lr"], arm.params["max_lr"]) == (0.002, 0.3)


def test_any_rate_can_be_auto(minimal, tmp_path):
    arms = [
        "schedules.one={kind: constant, lr: auto}",
        "schedules.two={kind: cosine, min_lr: auto}",
    ]
    config = configs.load(str(minimal), arms)
    bounds = tmp_path / "mine" / "range-test" / "bounds.yaml"
    bounds.parent.mkdir(parents=True)
    bounds.write_text("base_lr: 0.002\nmax_lr: 0.3\n")
    assert config.arm("one", tmp_path).params == {"lr": 0.3}
    assert config.arm("two", tmp_path).params == {"min_lr": 0.002}


def test_the_schema_is_json_and_knows_every_kind():
    schema = json.loads(configs.json_schema())
    assert set(SCHEDULE_MODELS) <= {
        kind
        for model in schema["$defs"].values()
        for kind in [model.get("properties", {}).get("kind", {}).get("const")]
    }


def _meaning(schema):
    """Leave out what only some versions of pydantic write: it says nothing."""
    if isinstance(schema, list):
        return [_meaning(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _meaning(value) for key, value in schema.items()}
    if len(schema.get("allOf", ())) == 1:
        schema |= schema.pop("allOf")[0]
    if "const" in schema:
        schema.pop("enum", None)
    if schema.get("additionalProperties") is True:
        del schema["additionalProperties"]
    return schema


def test_the_shipped_schema_is_the_present_one():
    """Made by: clr config schema > configs/schema.json"""
    shipped = (configs.shipped_configs() / "schema.json").read_text()
    assert _meaning(json.loads(shipped)) == _meaning(json.loads(configs.json_schema()))


ADAMW = "schedules.clr.set={optimizer.name: adamw, optimizer.weight_decay: 0.05}"


def test_an_arm_sets_keys_for_itself_alone(minimal):
    config = configs.load(str(minimal), [ADAMW, "schedules.clr.set.model.width=64"])
    own = config.for_arm("clr")
    assert (own.optimizer.name, own.optimizer.weight_decay) == ("adamw", 0.05)
    assert own.model.width == 64
    assert own.training.epochs == config.training.epochs
    assert config.for_arm("one_cycle") == config
    assert own.for_run("clr", own.schedule("clr"))["optimizer"]["name"] == "adamw"
    dumped = {name: each.model_dump() for name, each in (("clr", own), ("one_cycle", config))}
    for tree in dumped.values():
        del tree["schedules"]
    assert differences(dumped) == {
        "model.width": {"clr": 64, "one_cycle": None},
        "optimizer.name": {"clr": "adamw", "one_cycle": "sgd"},
        "optimizer.weight_decay": {"clr": 0.05, "one_cycle": 5e-4},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{optimizer.weightdecay: 1}", "set.optimizer.weightdecay: unknown key; did you mean"),
        ("{optimizer.momentum: 2}", "schedules.clr.set.optimizer.momentum: 2"),
        ("{optimizer.name: adamx}", "set.optimizer.name: 'adamx' is unknown; did you mean 'adam"),
        ("{dataset.name: svhn}", "schedules.clr.set.dataset.name: an arm may set only model."),
        ("{dataset.augment.crop_padding: -1}", "schedules.clr.set.dataset.augment.crop_padding"),
        ("{optimizer.name.x: 1}", "schedules.clr.set.name.x: 'name' is a value, not a section"),
        ("{training.epochs: 64}", "set.training.epochs: an arm may set only model."),
        ("{training.batch_size: 0}", "schedules.clr.set.training.batch_size: 0"),
        ("{schedules.clr.lr: 1}", "schedules.clr.set.schedules.clr.lr: an arm may set only"),
        ("3", "schedules.clr.set: 3"),
    ],
)
def test_what_an_arm_sets_is_checked_as_the_config_is(minimal, given, expected):
    assert expected in refusal(minimal, f"schedules.clr.set={given}")


def test_the_default_range_follows_the_optimizer(minimal):
    sgd = configs.load(str(minimal)).range_test
    adamw = configs.load(str(minimal), ["optimizer.name=adamw"]).range_test
    given = configs.load(str(minimal), ["optimizer.name=adamw", "range_test.max_lr=1"]).range_test
    assert [(r.min_lr, r.max_lr) for r in (sgd, adamw, given)] == [
        (0.001, 0.5),
        (1e-5, 0.1),
        (1e-5, 1.0),
    ]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "1e-3", "-1", "0", "clr", "triangular", "../x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def check_mutated(data: st.DataObject) -> None:
    """Replace, remove or add a value anywhere in a shipped config."""
    path = data.draw(st.sampled_from(SHIPPED))
    tree = parse_yaml(path.read_text(), str(path))
    for _ in range(data.draw(st.integers(1, 3))):
        node = tree
        while True:
            key = data.draw(st.sampled_from([*node, "extra"]) if node else st.just("extra"))
            if isinstance(node.get(key), dict) and data.draw(st.booleans()):
                node = node[key]
                continue
            break
        if key in node and data.draw(st.booleans()):
            del node[key]
        else:
            node[key] = data.draw(JUNK)
    try:
        config = configs.validate(tree, path.name)
        arms = config.arms(Path("nowhere"))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert config.baseline in arms


@settings(max_examples=150)
@given(data=st.data())
def test_a_mutated_config_is_valid_or_cleanly_refused(data):
    check_mutated(data)


@pytest.mark.slow
@settings(max_examples=1500)
@given(data=st.data())
def test_many_more_mutated_configs_are_valid_or_cleanly_refused(data):
    check_mutated(data)
