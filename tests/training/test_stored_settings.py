"""Settings in checkpoints: data in both forms, and nothing but data."""

import json
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax import config, gin_text, macros
from flan_jax.config import Reference
from flan_jax.errors import CheckpointError, ConfigError, FlanJaxError
from flan_jax.training import stored_settings as stored

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
REFERENCES = st.sampled_from(["%OTHER", "@models.T5Config()", "@Hook"]).map(Reference)
KEYS = st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS | REFERENCES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.from_regex(r"X[A-Z_]{1,8}", fullmatch=True)


def kinds(value):
    """Values with their types: True is 1, and a reference is a string, where they are compared."""
    if isinstance(value, dict):
        return [(kinds(key), kinds(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [kinds(item) for item in value]
    return type(value), value


def as_json(value):
    return json.loads(json.dumps(value))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_is_read_again(values):
    run = as_json(stored.encode(values))
    assert run["left_out"] == []
    found = stored.decode(run, "here")
    assert kinds(found) == kinds(values)
    # And gin reads the text made of it as the same values.
    text = stored.as_gin(found)
    assert text.isascii() and text.count("\n") == len(values)
    assert kinds(config.macros([config.Part("here", text)])) == kinds(values)
    assert kinds(stored.decode({"macros": text}, "here")) == kinds(values)


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        SCALARS | st.floats() | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["tuple", "dict", "macro", "configurable", "call", "x"]), inner
            )
        ),
        max_leaves=20,
    )
)
def test_other_json_is_refused_or_read_as_data(value):
    for settings_ in (value, {"X": value}):
        run = {"settings_format": 1, "settings": settings_}
        try:
            text = stored.as_gin(stored.decode(run, "here"))
        except FlanJaxError as error:
            assert str(error).startswith("here")
        else:
            for statement in gin_text.statements(config.Part("here", text)):
                assert statement.arg_name == "" and statement.scope == ""


@settings(max_examples=300, deadline=None)
@given(st.text("XY=%@()[]{}'\",:.-+ \\\nab01_/#", max_size=40))
def test_other_text_is_refused_or_read_as_data(text):
    try:
        found = stored.decode({"macros": text}, "here")
    except FlanJaxError as error:
        assert str(error).startswith("here")
    else:
        again = config.macros([config.Part("here", stored.as_gin(found))])
        assert kinds(again) == kinds(found)


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "from __gin__ import dynamic_registration",
        "include 'other.gin'",
        "os.system.command = 'id'",
        "TrainConfig.model = 1",
        "scope/NAME = 1",
        "NAME = @scope/Hook()",
        "NAME = %scope/OTHER",
        "NAME = %gin.REQUIRED",
        "NAME:",
        "NAME = open('x')",
        "NAME = 1 + 1",
        "NAME = b'x'",
        "NAME = {1}",
        "NAME = {[]: 1}",
        "NAME = 1e999",
        "NAME = nan",
        "NAME = 'a' 'b'",
        "NAME = 'a",
        "NAME = '\\x'",
        "NAME = (1,,2)",
        "NAME = [1",
        "NAME =",
        "NAME = 1 # word",
        "NAME = 1; import os",
        "include = 1",
        "NAME = (\n1)",
        f"NAME = {'9' * 5000}",
        f"NAME = {2**70}",
        "NAME = " + "[" * 100_000,
        "NAME = " + "(" * 21 + ")" * 21,
        "\n".join(f"N{number} = 1" for number in range(3000)),
    ],
)
def test_text_that_is_no_data(text):
    with pytest.raises(CheckpointError, match="^here: line") as raised:
        stored.decode({"macros": text}, "here")
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "value",
    [
        {"macro": "os.path"},
        {"macro": "X = 1\nimport os"},
        {"configurable": "a/b", "call": True},
        {"configurable": "b()", "call": True},
        {"configurable": "b", "call": "yes"},
        {"configurable": "b"},
        {"tuple": 1},
        {"dict": [[1]]},
        {"dict": [[[1], 1]]},
        {"dict": [[{"macro": "X"}, 1]]},
        {"other": 1},
        {},
        2**63,
        math.inf,
        math.nan,
        json.loads("[" * 30 + "]" * 30),
    ],
)
def test_json_that_is_no_data(value):
    with pytest.raises(CheckpointError, match="^here: setting 'NAME' "):
        stored.decode({"settings_format": 1, "settings": {"NAME": value}}, "here")


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "import", "include", "N = 1\nimport os\nM"])
def test_names_that_are_none(name):
    with pytest.raises(CheckpointError, match="no name of a setting"):
        stored.decode({"settings_format": 1, "settings": {name: 1}}, "here")


@pytest.mark.parametrize(
    "run", [{}, {"settings": {}}, {"settings_format": 1}, {"settings_format": 1, "settings": []}]
)
def test_no_settings_at_all(run):
    with pytest.raises(CheckpointError, match="no settings of format 1"):
        stored.decode(run, "here")


def test_a_newer_format():
    with pytest.raises(CheckpointError, match="written by a newer version"):
        stored.decode({"settings_format": 2, "settings": {}}, "here")


def test_bombs_and_circles():
    bomb = {f"M{i}": [Reference(f"%M{i + 1}")] * 10 for i in range(9)} | {"M9": 1}
    circle = {"A": Reference("%B"), "B": (Reference("%A"),)}
    chain = {f"M{i}": Reference(f"%M{i + 1}") for i in range(1000)}
    for values in (bomb, circle, chain):
        text = stored.as_gin(values)
        with pytest.raises(CheckpointError, match="too many|refers to itself"):
            stored.decode({"macros": text}, "here")
        with pytest.raises(ConfigError, match="cannot hold these settings"):
            stored.encode(values)


def test_very_many_values_cost_little():
    many, deep = [1] * 3_000_000, json.loads("[" * 900 + "]" * 900)
    for values in ({"A": many}, {"A": deep}, {f"A{i}": 1 for i in range(300_000)}):
        started = time.perf_counter()
        with pytest.raises(CheckpointError, match="too deeply|more than 20,000 values"):
            stored.decode({"settings_format": 1, "settings": values}, "here")
        assert time.perf_counter() - started < 5
    started = time.perf_counter()
    with pytest.raises(CheckpointError):
        stored.decode({"macros": "A = [" + "1," * 130_000 + "1]\nB = " + "'" * 1000}, "here")
    with pytest.raises(CheckpointError, match="no text of 262,144 characters"):
        stored.decode({"macros": "A = [" + "1," * 5_000_000 + "1]"}, "here")
    assert time.perf_counter() - started < 5


def test_places_and_what_is_no_data_are_left_out():
    values = {
        "MODEL_DIR": "/runs/a",
        "SUPER_NI_DIR": "/data",
        "NI_V1_DIR": None,
        "HOOKS": (Reference("@Hook()"),),
        "VOCABULARY": "/data/own.model",
        "MIXTURE_OR_TASK_NAME": "selected:/data/manifest.json",
        "VALIDATION_MIXTURES": ("a", "selected:b.json"),
        "TRAIN_STEPS": Reference("%gin.REQUIRED"),
        "ODD": b"bytes",
        "CONSTANT": Reference("%module.CONSTANT"),
        "SEED": 3,
    }
    run = stored.encode(values)
    assert run["settings"] == {"SEED": 3}
    assert run["left_out"] == ["CONSTANT", "ODD", "SUPER_NI_DIR", "VOCABULARY"]
    kept, local = stored.split({**values, "VOCABULARY": "byte"})
    assert kept["VOCABULARY"] == "byte" and set(local) == {
        "MODEL_DIR", "SUPER_NI_DIR", "HOOKS", "MIXTURE_OR_TASK_NAME", "VALIDATION_MIXTURES",
    }  # fmt: skip


def test_a_family_names_no_file():
    for family in ("../../other", "a/b", 3, ["t5"]):
        with pytest.raises(CheckpointError, match="MODEL_FAMILY"):
            stored.decode({"settings_format": 1, "settings": {"MODEL_FAMILY": family}}, "here")


def test_only_configurables_of_the_package(monkeypatch):
    import gin

    from flan_jax.models import families

    families.register_families()
    stored.check_configurables({"A": Reference("@models.T5Config()"), "B": (1, "@x")}, "here")
    gin.external_configurable(json.dumps, name="dumps", module="elsewhere")
    for name in ("@os.system()", "@elsewhere.dumps", "@gin.singleton()", "@macro"):
        with pytest.raises(CheckpointError, match="setting A refers to .* not of this package"):
            stored.check_configurables({"A": [Reference(name)]}, "here")


@pytest.mark.parametrize("value", [3, ["a", 3], [["a"]], {"a": 1}])
def test_modules_are_names(value):
    with pytest.raises(CheckpointError, match="no name of a module"):
        stored.modules_of({"MIXTURE_OR_TASK_MODULE": value}, "here")


def test_run_files_hold_no_place_that_is_not_local():
    """Whoever adds a macro that names a place adds it to `LOCAL`."""
    # Looked at on their own.
    elsewhere = {"MIXTURE_OR_TASK_MODULE", "MIXTURE_OR_TASK_NAME", "VOCABULARY"}
    places = {name for name, macro in macros.TABLE.items() if macro.path}
    assert places - stored.LOCAL == elsewhere | {
        "CHECKPOINT_PATH",
        "EVAL_OUTPUT_DIR",
        "INFER_OUTPUT_DIR",
    }
