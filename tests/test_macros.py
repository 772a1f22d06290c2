"""The table of macros: complete, true to gin_configs, and refusing what makes no sense."""

import math
import os
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax import config, kinds, macros, settings
from flan_jax.errors import ConfigError, DataError, FlanJaxError
from flan_jax.gin_text import MOST_TEXT, Part, Reference, references, statements

GIN_FILES = sorted((config.ROOT / "gin_configs").rglob("*.gin"))
COMPLETE = """
MODEL = 't5_1_1/tiny'
MIXTURE_OR_TASK_NAME = 'm'
TASK_FEATURE_LENGTHS = {'inputs': 8, 'targets': 4}
TRAIN_STEPS = 2
BATCH_SIZE = 2
MODEL_DIR = 'nowhere'
"""


@pytest.fixture
def write(tmp_path):
    """Writes a gin file and returns its path."""

    def write_file(text, name="user.gin"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write_file


def own_part(path):
    """A gin file without what it includes."""
    name = str(path.relative_to(config.ROOT))
    return Part(name, config._INCLUDE.sub("", path.read_text()))


# The table and gin_configs


@pytest.mark.parametrize("path", GIN_FILES, ids=lambda path: path.stem)
def test_every_macro_of_a_gin_file_is_declared_and_its_value_fits(path):
    part = own_part(path)
    used = {name for name, value in config.macros([part]).items()}
    for statement in statements(part):
        used.update(references(getattr(statement, "value", None), "%"))
    assert sorted(name for name in used - set(macros.TABLE) if "." not in name) == []
    for name, value in config.macros([part]).items():
        # In a run file None says that an experiment or nothing sets it.
        none = value is None and "/runs/" in str(path)
        if not none and not isinstance(value, Reference):
            macros.TABLE[name].check(value)


def test_the_table_declares_nothing_that_no_gin_file_knows():
    known = {
        name for path in GIN_FILES for name in re.findall(r"\b[A-Z][A-Z0-9_]+\b", path.read_text())
    }
    assert set(macros.TABLE) <= known


def test_names_that_macros_may_be_are_those_that_do_something():
    from flan_jax.instructions import budgets, options
    from flan_jax.models import decoding, layers
    from flan_jax.training import mesh

    assert set(macros.choices("REMAT")) == set(layers.REMAT)
    assert set(macros.choices("DECODING")) == set(decoding.METHODS)
    assert set(macros.choices("SHARDING")) == set(mesh.PRESETS)
    assert set(macros.choices("SUPER_NI_OVERFLOW")) == set(budgets.Overflow.__args__)
    assert set(macros.choices("OPTIONS_STYLE")) == {"list", "none", *options._LABELS}


def test_places_and_settings_are_told_by_the_table():
    """What was listed in three places before there was a table."""
    assert {"MODEL_DIR", "PREPARED_DIR", "INITIAL_CHECKPOINT_PATH"} <= set(macros.LOCAL)
    assert {"SUPER_NI_DIR", "VOCABULARY", "OPTIONS_STYLE", "TFDS_DATA_DIR"} <= set(macros.SETTINGS)
    for name in ("MODEL_DIR", "VOCABULARY", "PROFILE_STEPS", "BEST_METRIC", "MODEL", "NI_V1_DIR"):
        assert macros.TABLE[name].verbatim, name
    for name in macros.SETTINGS:
        assert macros.TABLE[name].setting


# Values


def refused(write, overrides=(), run="train", engine="flan_jax"):
    """What composing says of values that are no good."""
    experiments = [write(COMPLETE)] if "select" not in run else []
    with pytest.raises(ConfigError) as raised:
        config.compose_parts(experiments, engine, run, overrides)
    message = str(raised.value)
    assert len(message) < 400 and "\n" not in message and message.isprintable()
    return message


@pytest.mark.parametrize(
    "override, expected",
    [
        ("SEED=1180591620717411303424", "from 0 to 4,294,967,295, not 1180591620717411303424"),
        ("SEED=-1", "a whole number from 0 to 4,294,967,295, not -1"),
        ("SEED=10**400", "not '10**400'"),
        ("SEED=" + "9" * 5000, "not '99999"),
        ("SEED=1" + "0" * 399, "very many digits"),
        ("SEED=0x" + "f" * 390, "very many digits"),
        ("SEED=" + "[" * 100_000, "not '[[[["),
        ("SEED=" + "'a' " * 30_000, "a whole number from 0"),
        ("RENDER_SEED=0.5", "a whole number"),
        ("VOCAB_SIZE=0", "a whole number from 2 to 1,048,576, not 0"),
        ("VOCAB_SIZE=1", "a whole number from 2 to 1,048,576, not 1"),
        ("DROPOUT_RATE=1.0", "a number from 0 and below 1, not 1.0"),
        ("DROPOUT_RATE=-0.1", "a number from 0"),
        ("ATTENTION_CHUNK=-1", "None or a whole number above 0, not -1"),
        ("ATTENTION_CHUNK=0", "None or a whole number above 0, not 0"),
        ("MESH_SHAPE=(0,1,1)", "such as {'fsdp': 4, 'tensor': 2}"),
        ("MESH_SHAPE={'data': 0}", "-1 or whole numbers above 0, not {'data': 0}"),
        ("MESH_SHAPE={'data': True}", "-1 or whole numbers above 0"),
        ("HOOKS=1", "a list of hooks, such as (@Hook(),), not 1"),
        ("HOOKS=('a',)", "a list of hooks"),
        ("HOOKS=None", "a list of hooks"),
        ("Z_LOSS=nan", "a number from 0, not 'nan'"),
        ("Z_LOSS=1e39", "that float32 can hold, not 1e+39"),
        ("Z_LOSS=1e999", "Z_LOSS: inf is no finite number"),
        ("Z_LOSS=-1e-4", "a number from 0"),
        ("LEARNING_RATE=inf", "a number from 0, not 'inf'"),
        ("LEARNING_RATE=-1e999", "LEARNING_RATE: -inf is no finite number"),
        ("BATCH_SIZE=1e9", "a whole number above 0, not 1000000000.0"),
        ("BATCH_SIZE=4294967296", "from 1 to 2,147,483,647"),
        ("BATCH_SIZE=True", "a whole number above 0, not True"),
        ("TRAIN_STEPS=0", "a whole number above 0, not 0"),
        ("TRAIN_STEPS=None", "a whole number above 0, not None"),
        ("TASK_FEATURE_LENGTHS=5", "a mapping of 'inputs' and 'targets'"),
        ("TASK_FEATURE_LENGTHS={'inputs': 8}", "a mapping of 'inputs' and 'targets'"),
        ("TASK_FEATURE_LENGTHS={'inputs': '8', 'targets': 4}", "to whole numbers above 0"),
        ("TASK_FEATURE_LENGTHS={'inputs': 0, 'targets': 4}", "to whole numbers above 0"),
        ("TASK_FEATURE_LENGTHS=['inputs', 'targets']", "a mapping of"),
        ("MODEL_DIR=a\0b", "a path without NUL, not 'a\\x00b'"),
        ("MODEL_DIR='a\\0b'", "a path without NUL"),
        ("MODEL_DIR=" + "a" * 5000, "a path of at most 4,096 bytes"),
        ("MODEL_DIR=" + "ä" * 3000, "a path of at most 4,096 bytes"),
        ("MODEL_DIR=a/" + "b" * 256, "a path with names of at most 255 bytes"),
        ("VALIDATION_SPLIT='\\ud800'", "text of Unicode characters"),
        ("VALIDATION_SPLIT=''", "text, not ''"),
        ("PACKING=1", "True or False, not 1"),
        ("OPTIMIZER=adamv", "'adafactor' or 'adamw', not 'adamv'; did you mean 'adamw'?"),
        ("REMAT=dotz", "did you mean 'dots'?"),
        ("DECODING=beem", "did you mean 'beam'?"),
        ("COMPUTE_DTYPE=flaot32", "did you mean 'float32'?"),
        ("LOSS_NORMALIZING_FACTOR=0", "or a number above 0, not 0"),
        ("LOSS_NORMALIZING_FACTOR=AVERAGE_PER_SEQENCE", "did you mean 'AVERAGE_PER_SEQUENCE'?"),
        ("MLP_ACTIVATIONS=relu", "a list of activations, not 'relu'"),
        ("PROFILE_STEPS=5:2", "first:last, such as 10:12"),
        ("OPTIONS_STYLE=leters", "did you mean 'letters'?"),
        ("FEWSHOT_EXEMPLARS=17", "a whole number from 1 to 16, not 17"),
        ("SUPER_NI_BUDGET=12", "a whole number from 64, not 12"),
        ("SUPER_NI_TRAIN_TASKS=16,x", "or several with commas between them, not '16,x'"),
        ("SKIP_UNAVAILABLE=yes", "True or False, not 'yes'"),
        ("VOCABULARY='a\\0b'", "without NUL"),
        ("MODEL_CONFIG=5", "the configurable of a model family"),
        ("MODEL=a\0b", "text without NUL"),
        ("MODEL_FAMILY=../../../tmp/mine", "a name of letters, digits and underscores"),
    ],
)  # fmt: skip
def test_what_a_macro_cannot_be_is_named_with_what_is_expected(override, expected, write):
    message = refused(write, [override])
    assert override.partition("=")[0] in message and expected in message


@pytest.mark.parametrize(
    "override",
    [
        "SEED=4294967295", "DROPOUT_RATE=0", "ATTENTION_CHUNK=None", "MESH_SHAPE={'data': -1}",
        "HOOKS=(@Hook(),)", "HOOKS=[@mine.Hook(), @Hook()]", "HOOKS=@mine.hooks()", "Z_LOSS=1e30",
        "LEARNING_RATE=@mine.rate()", "SEED=%RENDER_SEED", "LOSS_NORMALIZING_FACTOR=2.5",
        "LOSS_NORMALIZING_FACTOR=None", "LEARNING_RATE=1", "SUPER_NI_BUDGET='512'",
        "SUPER_NI_TRAIN_TASKS=(16, 48)", "SUPER_NI_TRAIN_TASKS=16,48", "SKIP_UNAVAILABLE=1",
        "VALIDATION_MIXTURES=m", "VALIDATION_MIXTURES=['m', 'n']", "SUPER_NI_ENCODING=",
        "MIXTURE_OR_TASK_MODULE=('a', 'b.c')", "PROFILE_STEPS=2:2", "SUPER_NI_TASKS=a,b",
    ],
)  # fmt: skip
def test_what_a_macro_can_be_passes(override, write):
    config.compose_parts([write(COMPLETE)], "flan_jax", "train", [override])


def test_a_value_in_a_file_is_named_with_the_file(write):
    path = write(COMPLETE + "DROPOUT_RATE = 2\n")
    with pytest.raises(ConfigError) as raised:
        config.compose_parts([path], "flan_jax")
    assert str(raised.value).startswith(f"{path}: DROPOUT_RATE must be a number")


def test_a_macro_that_only_names_another_is_not_blamed_for_it(write):
    # LEARNING_RATE_DECAY_STEPS = %TRAIN_STEPS
    assert "--gin.TRAIN_STEPS must be" in refused(write, ["TRAIN_STEPS=x"])


def test_macros_of_a_users_own_may_be_anything(write):
    text = "MINE = (0, None, 'x', -1.5)\nSEED = %MY_STEPS\nMY_STEPS = 7\n"
    values = config.macros(config.compose_parts([write(COMPLETE + text)], "flan_jax"))
    assert values["MINE"] == (0, None, "x", -1.5) and values["MY_STEPS"] == 7


def test_every_engine_run_and_checkpoint_is_checked(write):
    for engine, run in (("t5x", "train"), ("flan_jax", "eval"), ("flan_jax", "prepare")):
        assert "SEED must be" in refused(write, ["SEED=-1"], run, engine)
    assert "EPOCHS must be" in refused(write, ["EPOCHS=0"], "select_align")
    assert "KS must be" in refused(write, ["KS=(0, 1)", "MODEL=minilab/base"], "select_study")
    trained = config.macros_text(config.compose_parts([write(COMPLETE)], "flan_jax"))
    stored = Part("runs/x/checkpoints/2", trained + "DROPOUT_RATE = 7\n")
    with pytest.raises(ConfigError, match="^runs/x/checkpoints/2: DROPOUT_RATE must be"):
        config.compose_parts([], "flan_jax", "eval", [], stored)


def test_classes_check_their_fields_by_the_same_table():
    from flan_jax.models.t5 import T5Config
    from flan_jax.training.losses import Loss
    from flan_jax.training.optimizers import Optimizer
    from flan_jax.training.schedules import Schedule

    for make, macro in (
        (lambda: T5Config(vocab_size=0), "VOCAB_SIZE"),
        (lambda: T5Config(vocab_size=10, dropout_rate=1.0), "DROPOUT_RATE"),
        (lambda: T5Config(vocab_size=10, attention_chunk=-1), "ATTENTION_CHUNK"),
        (lambda: T5Config(vocab_size=10, dtype="float3"), "COMPUTE_DTYPE"),
        (lambda: T5Config(vocab_size=10, mlp_activations=3), "MLP_ACTIVATIONS"),
        (lambda: Loss(z_loss=math.nan), "Z_LOSS"),
        (lambda: Optimizer(weight_decay=10**400), "WEIGHT_DECAY"),
        (lambda: Schedule(peak=math.inf), "LEARNING_RATE"),
        (lambda: Schedule(warmup_steps=1.5), "WARMUP_STEPS"),
    ):
        with pytest.raises(ConfigError, match=f"^{macro} must be"):
            make()


def test_hooks_are_hooks(write):
    from flan_jax.commands import common
    from flan_jax.models import families
    from flan_jax.training.train import TrainConfig

    common.import_tensorflow()
    families.register_families()
    for hooks, said in (("(@Hook,)", "has <"), ("[@Schedule()]", "has Schedule")):
        config.parse(
            config.compose_parts([write(COMPLETE)], "flan_jax", "train", [f"HOOKS={hooks}"])
        )
        with pytest.raises(ConfigError, match=f"HOOKS must be a list of hooks, and {said}"):
            TrainConfig()


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@given(st.sampled_from(sorted(macros.TABLE)), VALUES)
def test_any_value_of_any_macro_fits_or_is_refused(name, value):
    try:
        macros.TABLE[name].check(value)
    except ConfigError as error:
        assert name in str(error) and len(str(error)) < 1000
    else:
        macros.read(name, value)


# Settings


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("SUPER_NI_BUDGET", "512", 512),
        ("SUPER_NI_TRAIN_TASKS", "16, 48", (16, 48)),
        ("SUPER_NI_TRAIN_TASKS", "(16, 48)", (16, 48)),
        ("SKIP_UNAVAILABLE", "true", True),
        ("SKIP_UNAVAILABLE", "False", False),
        ("OPTIONS_ORDER", "shuffled", "shuffled"),
        ("SUPER_NI_DIR", "~/ni", os.path.expanduser("~/ni")),
        ("VOCABULARY", "~/v.model", os.path.expanduser("~/v.model")),
        ("VOCABULARY", "byte", "byte"),
        ("SUPER_NI_TASKS", "~/names.txt", os.path.expanduser("~/names.txt")),
        ("NOT_DECLARED", "~/x", "~/x"),
    ],
)
def test_a_setting_of_the_environment_is_what_its_text_stands_for(name, text, value, monkeypatch):
    monkeypatch.setenv(name, text)
    found = settings.setting(name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "name, text",
    [
        ("SUPER_NI_BUDGET", "many"), ("FEWSHOT_TOKENS", "-1"), ("FEWSHOT_TOKENS", "9" * 5000),
        ("OPTIONS_STYLE", "letter"), ("SUPER_NI_DIR", "a" * 5000), ("SUPER_NI_SEED", "1,2"),
        ("SKIP_UNAVAILABLE", "perhaps"),
    ],
)  # fmt: skip
def test_environment_variables_are_checked_before_work_begins(name, text, monkeypatch, write):
    monkeypatch.setenv(name, text)
    said = refused(write)
    assert said.startswith(f"environment variable {name} must be ")
    with pytest.raises(ConfigError, match=f"environment variable {name} must be"):
        config.compose_settings([])
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        settings.setting(name)
    # What the command line gives instead counts.
    good = {"SUPER_NI_BUDGET": "64", "OPTIONS_STYLE": "letters", "SUPER_NI_DIR": "a"}.get(name, "1")
    config.compose_parts([write(COMPLETE)], "flan_jax", "train", [f"{name}={good}"])


def test_settings_without_a_run_file_are_checked(monkeypatch):
    with pytest.raises(ConfigError, match="--gin.SUPER_NI_BUDGET must be"):
        config.compose_settings(["SUPER_NI_BUDGET=0"])
    with pytest.raises(ConfigError, match="did you mean 'SUPER_NI_DIR'"):
        config.compose_settings(["SUPER_NI_DRI=x"])
    values = config.macros(config.compose_settings(["SUPER_NI_DIR=~/ni", "NI_V1_DIR='~/v1'"]))
    assert values["SUPER_NI_DIR"] == os.path.expanduser("~/ni")
    assert values["NI_V1_DIR"] == os.path.expanduser("~/v1")


# Paths


PATHS = [name for name, macro in macros.TABLE.items() if macro.path]


@pytest.mark.parametrize("name", PATHS)
def test_home_is_meant_by_a_tilde_in_every_path_macro(name, write):
    home = os.path.expanduser("~")
    run, engine = "train", "flan_jax"
    if name in ("CHECKPOINT_PATH", "EVAL_OUTPUT_DIR", "INFER_OUTPUT_DIR"):
        run, engine = ("infer" if name.startswith("INFER") else "eval"), "t5x"
    elif name in ("ENCODER", "EMBEDDINGS_DIR"):
        run = "select_study"
    for experiment, overrides in (
        (COMPLETE + f"{name} = '~/a/b'\n", []),
        (COMPLETE + f"WHERE = '~/a/b'\n{name} = %WHERE\n", []),
        (COMPLETE, [f"{name}=~/a/b"]),
        (COMPLETE, [f"{name}='~/a/b'"]),
    ):
        parts = config.compose_parts([write(experiment)], engine, run, overrides)
        values = config.resolved(config.macros(parts))
        assert values[name] == f"{home}/a/b", (experiment, overrides)
        assert f"{home}/a/b" in config.join_parts(parts)


@pytest.mark.parametrize(
    "given, meant",
    [
        ("selected:~/m.json", "selected:{home}/m.json"),
        ("selected:m~.json", "selected:m~.json"),
        ("m", "m"),
    ],
)
def test_home_is_meant_in_the_name_of_a_mixture(given, meant, write):
    overrides = [f"MIXTURE_OR_TASK_NAME={given}"]
    values = config.macros(config.compose_parts([write(COMPLETE)], "flan_jax", "train", overrides))
    assert values["MIXTURE_OR_TASK_NAME"] == meant.format(home=os.path.expanduser("~"))


def test_a_step_of_a_run_at_home_can_be_named(write):
    overrides = ["INITIAL_CHECKPOINT_PATH=~/run@best"]
    values = config.macros(config.compose_parts([write(COMPLETE)], "flan_jax", "train", overrides))
    assert values["INITIAL_CHECKPOINT_PATH"] == os.path.expanduser("~/run") + "@best"


# Gin text that would cost too much, or is none


def costly():
    bomb = "A0 = [1, 1]\n" + "".join(f"A{i + 1} = [%A{i}, %A{i}]\n" for i in range(35))
    bomb += "HOOKS = %A35\n"
    text = "B0 = '" + "x" * 50_000 + "'\n"
    text += "".join(f"B{i + 1} = [%B{i}, %B{i}]\n" for i in range(8)) + "HOOKS = %B8\n"
    long_chain = "".join(f"C{i} = %C{i + 1}\n" for i in range(500)) + "C500 = 1\nHOOKS = %C0\n"
    nested = (
        "".join(f"D{i} = [[[[[[[[%D{i + 1}]]]]]]]]\n" for i in range(30)) + "D30 = 1\nHOOKS = %D0\n"
    )
    return {
        "bomb": (bomb, "stands for more than"),
        "long strings": (text, "stands for more than"),
        "long chain": (long_chain, "in a row"),
        "nested": (nested, "nested more than"),
        "circle": ("A = [%B]\nB = {'x': %C}\nC = (%A,)\n", "refers to itself"),
        "deep brackets": ("X = " + "[" * 20_000 + "]" * 20_000, "nested more than"),
        "brackets": ("X = " + "[" * 50_000, "nested more than"),
        "strings": ("X = " + "''" * 30_000, "strings side by side"),
        "digits": ("X = " + "9" * 5000, "more than 400 digits (line 8)"),
        "hexadecimal": ("X = 0x" + "f" * 390, "X: a number of very many digits"),
        "infinite": ("X = (1, -1e999)", "X: -inf is no finite number (line 8)"),
        "large": ("X = '" + "a" * MOST_TEXT + "'", "more than"),
        "large in lines": ("X = 1\n" * (MOST_TEXT // 6), "more than"),
        "nul": ("X = 1\0", ""),
        "unhashable": ("X = {[1]: 2}", "unhashable"),
        "end": ("X = '''abc", "line "),
        "indentation": ("  X = 1\n Y = 2\n", ""),
        "include": ("X = 1\n  include 'a.gin'\n", "a line of its own"),
        "dollars": ("$" * 1000, ""),
        "key": ("a" * 10_000 + "/b.c = 1\n@", ""),
    }


@pytest.mark.parametrize("case", costly())
def test_gin_text_that_is_none_or_too_much_is_one_error(case, write):
    text, said = costly()[case]
    path = write(COMPLETE + text)
    with pytest.raises(ConfigError) as raised:
        config.compose_parts([path], "flan_jax")
    message = str(raised.value)
    assert said in message and len(message) < 700 and "\n" not in message
    if case not in ("bomb", "long strings", "long chain", "nested", "circle"):
        assert message.startswith(f"{path}: ") or message.startswith(f"{path} ")


def test_a_macro_in_many_others_is_one_object():
    """So that a large one costs nothing as often as it is named."""
    found = config.resolved({"A": [1] * 1000, "B": [Reference("%A")] * 200})
    assert all(one is found["A"] for one in found["B"])


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01" * 50, b"\x80abc", bytes(range(256))])
def test_a_binary_file_is_no_gin(content, write):
    path = write(content)
    with pytest.raises(ConfigError, match=re.escape(path)):
        config.compose_parts([path], "flan_jax")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_may_end_in_any_way(end, write):
    text = (COMPLETE + "SEED = 5\n").replace("\n", end)
    values = config.macros(config.compose_parts([write(text)], "flan_jax"))
    assert values["SEED"] == 5 and values["MODEL_DIR"] == "nowhere"


def test_a_pipe_is_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe.gin"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="not a regular file"):
        config.read_gin_file(str(pipe))
    (tmp_path / "outer.gin").write_text(f"include '{pipe}'\n")
    with pytest.raises(ConfigError, match="not a regular file"):
        config.read_gin_file(str(tmp_path / "outer.gin"))


@pytest.mark.parametrize("name", ["a\0b.gin", "a" * 5000, "/", ".", "", "/dev/zero", "a\nb.gin"])
def test_names_that_no_file_has(name):
    with pytest.raises(ConfigError) as raised:
        config.read_gin_file(name)
    assert len(str(raised.value)) < 500


def test_a_thousand_includes_are_too_deep(tmp_path):
    for i in range(1000):
        (tmp_path / f"{i}.gin").write_text(f"include '{tmp_path}/{i + 1}.gin'\n")
    (tmp_path / "1000.gin").write_text("X = 1\n")
    with pytest.raises(ConfigError, match=r"0.gin: includes are more than 20 deep"):
        config.read_gin_file(f"{tmp_path}/0.gin")
    assert config.read_gin_file(f"{tmp_path}/990.gin").strip() == "X = 1"


def test_includes_that_multiply_are_too_much(tmp_path):
    for i in range(18):
        (tmp_path / f"{i}.gin").write_text(f"include '{tmp_path}/{i + 1}.gin'\n" * 3)
    (tmp_path / "18.gin").write_text("".join(f"X{i} = 1\n" for i in range(100)))
    with pytest.raises(ConfigError, match=r"0.gin: more than 131,072 characters, with all"):
        config.read_gin_file(f"{tmp_path}/0.gin")


def test_empty_includes_that_multiply_are_too_many(tmp_path):
    for i in range(18):
        (tmp_path / f"{i}.gin").write_text(f"include '{tmp_path}/{i + 1}.gin'\n" * 3)
    (tmp_path / "18.gin").write_text("")
    with pytest.raises(ConfigError, match=r"0.gin: "):
        config.read_gin_file(f"{tmp_path}/0.gin")


def test_a_mistake_in_an_included_file_names_it_and_its_line(write, tmp_path):
    inner = write("X = 1\n\nY = (1,,\n", "inner.gin")
    outer = write(f"Z = 1\ninclude '{inner}'\n", "outer.gin")
    with pytest.raises(ConfigError, match=rf"^{re.escape(inner)}: .*\(line 3\)"):
        config.read_gin_file(outer)


def test_many_macros_of_ones_own_take_no_time(write):
    text = "".join(f"QQ{i} = {i}\n" for i in range(8000))
    values = config.macros(config.compose_parts([write(COMPLETE + text)], "flan_jax"))
    assert values["QQ7999"] == 7999


@given(st.text(max_size=200))
def test_any_text_is_gin_or_an_error_for_people(text):
    try:
        config.resolved(config.macros([Part("any", text)]))
    except FlanJaxError as error:
        assert str(error)


@given(st.text(max_size=50), st.text(max_size=200))
def test_any_value_on_the_command_line_is_taken_or_refused(name, value):
    try:
        parts = [config._override_part([f"{name}={value}"])]
        config.resolved(config.macros(parts))
    except FlanJaxError as error:
        assert str(error)


def test_one_helper_words_all_numbers():
    with pytest.raises(DataError, match="^n must be a whole number above 0, not 0$"):
        kinds.whole_number("n", 0, error=DataError)
    with pytest.raises(ConfigError, match="^n must be a whole number from 3, not 2$"):
        kinds.whole_number("n", 2, 3)
    kinds.whole_number("n", 3, 3)


def test_no_module_words_whole_numbers_by_itself():
    """But the readers of JSON, which name the field and what they found there."""
    own = ("kinds.py", "json_files.py", "sources.py", "manifest.py", "pairs.py", "evaluate.py")
    for path in sorted(pathlib.Path(config.ROOT, "flan_jax").rglob("*.py")):
        if path.name in own or path.parent.name == "selector":
            continue
        text = path.read_text()
        assert "whole number above 0" not in text or path.name == "macros.py", path
