"""Gin: command-line values, composition, and errors that name what is nearest."""

import math
import pathlib

import gin
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flan_jax import config
from flan_jax.errors import ConfigError
from flan_jax.gin_text import statements
from flan_jax.macros import in_full

EXPERIMENTS = sorted(
    str(path.relative_to(config.ROOT))
    for path in (config.ROOT / "gin_configs" / "experiments").rglob("*.gin")
)
# Experiments of `flan-jax select align` and `select study`, which have run files of their own.
ALIGNMENTS = [name for name in EXPERIMENTS if "/selector_" in name]
STUDIES = [name for name in EXPERIMENTS if "/minilab_select" in name]
EXPERIMENTS = [name for name in EXPERIMENTS if name not in (*ALIGNMENTS, *STUDIES)]
# Experiments whose model is what a checkpoint of the hub says, and that T5X could not train.
OF_CHECKPOINTS = ["gin_configs/experiments/super_ni_gemma3_270m.gin"]
EXPERIMENTS = [name for name in EXPERIMENTS if name not in OF_CHECKPOINTS]
# Experiments of families that are not there yet, with the model file that makes them run.
WAITING = {"gin_configs/experiments/ni_v1_bart.gin": "gin_configs/models/bart/base.gin"}
RUNNABLE = [
    name for name in EXPERIMENTS if name not in WAITING or (config.ROOT / WAITING[name]).is_file()
]
COMPLETE = """
MODEL = 't5_1_1/tiny'
MIXTURE_OR_TASK_NAME = 'm'
TASK_FEATURE_LENGTHS = {'inputs': 8, 'targets': 4}
TRAIN_STEPS = 2
BATCH_SIZE = 2
MODEL_DIR = 'nowhere'
"""


@pytest.fixture(autouse=True)
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


@pytest.fixture
def write(tmp_path):
    """Writes a gin file and returns its path."""

    def write_file(text, name="user.gin"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write_file


@pytest.fixture(scope="module")
def train_config():
    """The class that a training run's gin file binds, with all that it refers to."""
    from flan_jax.commands import common

    common.import_tensorflow()
    from flan_jax.models import families
    from flan_jax.training.train import TrainConfig

    families.register_families()
    return TrainConfig


def value_of(argument):
    """What gin makes of `NAME=value`."""
    name, text = config.parse_override(argument)
    with gin.unlock_config():
        gin.parse_config(f"{name} = {text}\n")
    return gin.query_parameter(f"{name}/gin.macro.value")


# Values on the command line


@pytest.mark.parametrize(
    "argument, expected",
    [
        ("X=3", 3),
        ("X=-1.5e-3", -1.5e-3),
        ("X=1.2.3", "1.2.3"),
        ("X=007", "007"),
        ("X=hello", "hello"),
        ("X='hello'", "hello"),
        ('X="hello"', "hello"),
        ("X=it's", "it's"),
        ("X='a' and 'b'", "'a' and 'b'"),
        ("X=a b", "a b"),
        ("X=", ""),
        ("X=a=b", "a=b"),
        ("X=True", True),
        ("X=None", None),
        ("X=(1, 'a')", (1, "a")),
        ("X={'inputs': 512, 'targets': 64}", {"inputs": 512, "targets": 64}),
        ("X={'inputs': 512,\n 'targets': 64}", {"inputs": 512, "targets": 64}),
        ("X=1\nY=2", "1\nY=2"),
        ("X=3 # steps", 3),
        (" X = 3 ", 3),
        ("MODEL_DIR=runs/x", "runs/x"),
        ("MODEL_DIR='runs/x'", "runs/x"),
        ("MODEL_DIR=gs://b/c", "gs://b/c"),
        ("MODEL_DIR=2024", "2024"),
        ("MODEL_DIR=1e-3", "1e-3"),
        ("MODEL_DIR=None", None),
        ("MODEL_DIR='None'", "None"),
        ("MODEL_DIR=[a]", "[a]"),
        ("MODEL_DIR=('a')", "('a')"),
        ("MODEL_DIR=r'a'", "r'a'"),
        ("MODEL_DIR=%TRAIN_STEPS", "%TRAIN_STEPS"),
        ("MODEL_DIR=@train", "@train"),
        ("MODEL_DIR=True", "True"),
        ("VOCABULARY=byte", "byte"),
        ("MIXTURE_OR_TASK_NAME=42", "42"),
    ],
)
def test_values(argument, expected):
    found = value_of(argument)
    assert found == expected and type(found) is type(expected)


def test_references_stay_references():
    assert config.parse_override("X=%Y") == ("X", "%Y")
    assert config.parse_override("X=@f()") == ("X", "@f()")
    assert config.parse_override("a/f.x=@g") == ("a/f.x", "@g")
    gin.parse_config("Y = 5\nX = %Y\n")
    assert config.resolved({"X": config.Reference("%Y"), "Y": 5}) == {"X": 5, "Y": 5}


@settings(max_examples=200, deadline=None)
@given(st.text().map(str.strip).filter(lambda text: "\n" not in text))
@example("None ")
@example("~/a")
@example("'a' # b")
@example("\\")
@example("a\\nb")
@example("\u2028 \x85 \x0c \r é 😀")
@example("{'a': %b}")
@example("1\t2")
def test_any_path_comes_back(path):
    """But for `~`: plainly, unless it looks quoted or like None; in quotes always."""
    plain = path.strip()
    if plain != "None" and plain[:1] not in ("'", '"'):
        assert value_of(f"MODEL_DIR={path}") == in_full(plain)
    assert value_of(f"MODEL_DIR={path!r}") == in_full(path)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_any_number_comes_back(number):
    assert value_of(f"X={number!r}") == number


@pytest.mark.parametrize("argument", ["X", "", "=3", " =3"])
def test_an_override_needs_a_name_and_a_value(argument):
    with pytest.raises(ConfigError, match="expected --gin.NAME=value"):
        config.parse_override(argument)


@pytest.mark.parametrize("raw, meant", [("false", "False"), ("TRUE", "True"), ("none", "None")])
def test_a_misspelt_constant_is_not_taken_for_a_string(raw, meant):
    """The string 'false' is true."""
    with pytest.raises(ConfigError, match=f"--gin.PACKING={raw}.*did you mean {meant}"):
        config.parse_override(f"PACKING={raw}")
    assert value_of(f"MODEL_DIR={raw}") == raw


# Files


def test_gin_files_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packaged = config.ROOT / "gin_configs" / "test" / "toy.gin"
    assert config.find_gin_file("gin_configs/test/toy.gin") == packaged
    assert config.find_gin_file("test/toy.gin") == packaged
    assert config.find_gin_file(str(packaged)) == packaged
    mine = tmp_path / "gin_configs" / "test" / "toy.gin"
    mine.parent.mkdir(parents=True)
    mine.write_text("")
    assert config.find_gin_file("gin_configs/test/toy.gin").resolve() == mine


@pytest.mark.parametrize("name", ["gin_configs/experiments/minilab_dmo.gin", "minilab_dmo.gin"])
def test_a_misspelt_file_is_answered_with_the_nearest(name):
    with pytest.raises(ConfigError, match="did you mean 'gin_configs/experiments/minilab_demo.gin"):
        config.find_gin_file(name)


def test_includes_are_put_in_place(write):
    inner = write("A = 1\nB = 1\n", "inner.gin")
    outer = write(f"A = 0\ninclude '{inner}'  # why\nB = 2\n# include 'nothing'\n", "outer.gin")
    text = config.read_gin_file(outer)
    assert config.macros([config.Part("outer", text)]) == {"A": 1, "B": 2}
    assert "include '" not in text.replace("# include", "")


def test_an_include_of_itself_is_an_error(write, tmp_path):
    path = write(f"include '{tmp_path}/b.gin'\n", "a.gin")
    write(f"include '{path}'\n", "b.gin")
    with pytest.raises(ConfigError, match="includes itself"):
        config.read_gin_file(path)


def test_a_missing_include_is_named(write):
    with pytest.raises(ConfigError, match="no gin file 'nope.gin'"):
        config.read_gin_file(write("include 'nope.gin'\n"))


# Composition


def test_later_parts_override_earlier_ones(write):
    """run < model < inherited < first experiment < second < command line."""

    def final(experiments=(), overrides=(), inherited=None):
        files = [write(text, f"{i}.gin") for i, text in enumerate(experiments)]
        parts = config.compose_parts(files, "flan_jax", "train", overrides, inherited)
        return config.macros(parts)

    base = COMPLETE.replace("BATCH_SIZE = 2\n", "")
    assert final([base])["EMB_DIM"] == 64  # the model's
    assert final([base])["LEARNING_RATE"] == 1e-3  # the run's
    # What a family does by default, a model may do its own way.
    assert isinstance(final([base])["VOCAB_SIZE"], config.Reference)
    assert final([base], ["MODEL=mt5/small"])["VOCAB_SIZE"] == 250112
    trained = config.compose_parts(
        [write(COMPLETE)], "flan_jax", overrides=["LEARNING_RATE=0.5", "EMB_DIM=8"]
    )
    checkpoint = config.Part("checkpoint", config.macros_text(trained))
    values = final([], inherited=checkpoint)
    assert values["LEARNING_RATE"] == 0.5 and values["EMB_DIM"] == 8
    values = final(["LEARNING_RATE = 0.25\n"], inherited=checkpoint)
    assert values["LEARNING_RATE"] == 0.25 and values["EMB_DIM"] == 8
    texts = [base + "LEARNING_RATE = 1\nEMB_DIM = 1\n", "LEARNING_RATE = 2\n"]
    values = final(texts, inherited=checkpoint)
    assert values["LEARNING_RATE"] == 2 and values["EMB_DIM"] == 1
    values = final(texts, ["LEARNING_RATE=3"], checkpoint)
    assert values["LEARNING_RATE"] == 3
    # MODEL on the command line brings its file, below what the experiment says of the shape.
    values = final([base + "EMB_DIM = 1\n"], ["MODEL=t5_1_1/small"])
    assert values["EMB_DIM"] == 1 and values["NUM_HEADS"] == 6


def test_the_order_is_that_of_parsing(write):
    parts = config.compose_parts([write(COMPLETE)], "flan_jax", "train", ["BATCH_SIZE=4"])
    origins = [pathlib.Path(part.origin).name for part in parts]
    assert origins == ["train.gin", "t5.gin", "tiny.gin", "user.gin", "the command line"]


@pytest.mark.parametrize("experiment", RUNNABLE)
def test_every_experiment_builds(experiment, train_config):
    parts = config.compose_parts([experiment], "flan_jax", "train", ["MODEL_DIR=runs/x"])
    config.parse(parts)
    built = train_config()
    values = config.macros(parts)
    assert built.model_dir == "runs/x"
    assert built.mixture == values["MIXTURE_OR_TASK_NAME"]
    assert built.feature_lengths == values["TASK_FEATURE_LENGTHS"]
    assert built.model.emb_dim == values["EMB_DIM"] and built.model.vocab_size > 256


@pytest.mark.parametrize("experiment", OF_CHECKPOINTS)
def test_an_experiment_may_leave_its_model_to_a_checkpoint(experiment):
    values = config.macros(
        config.compose_parts([experiment], "flan_jax", "train", ["MODEL_DIR=runs/x"])
    )
    assert values["MODEL"] is None and values["MODEL_FAMILY"] == config.OF_CHECKPOINT
    assert values["INITIAL_CHECKPOINT_PATH"].startswith("hf:")
    with pytest.raises(ConfigError, match=f"{experiment}: unknown macro TRAINABLE"):
        config.compose_parts([experiment], "t5x", "train", ["MODEL_DIR=runs/x"])


@pytest.mark.parametrize("experiment", ALIGNMENTS)
def test_every_alignment_builds(experiment):
    from flan_jax.selector.pairs import AlignConfig

    config.parse(config.compose_parts([experiment], "flan_jax", "select_align"))
    fields = {"learning_rate": "LEARNING_RATE", "loss": "LOSS", "batch_size": "BATCH_SIZE"}
    macros = config.macros([config.Part(experiment, config.read_gin_file(experiment))])
    built = AlignConfig()
    assert {f: getattr(built, f) for f, m in fields.items() if m in macros} == {
        f: macros[m] for f, m in fields.items() if m in macros
    }
    assert built.student == macros.get("STUDENT")


@pytest.mark.parametrize("experiment", STUDIES)
def test_every_study_builds(experiment, train_config):
    from flan_jax.evaluation.evaluate import EvalConfig

    parts = config.compose_parts([experiment], "flan_jax", "select_study", ["MODEL_DIR=x"])
    config.parse(parts)
    values = config.macros(parts)
    assert train_config().train_steps == values["TRAIN_STEPS"]
    assert EvalConfig().examples == values["EVAL_EXAMPLES"]
    assert set(values["KS"]) and values["LIBRARY"] == "tasks.minilab"


@pytest.mark.parametrize("experiment", [*EXPERIMENTS, *OF_CHECKPOINTS, *ALIGNMENTS, *STUDIES])
def test_an_experiment_sets_macros_only(experiment):
    """So that it runs on any engine; and it opens with what it is."""
    text = config.read_gin_file(experiment)
    part = config.Part(experiment, text)
    assert all(not statement.arg_name for statement in statements(part))
    for heading in ("Source:", "Command:", "Hardware:"):
        assert heading in "".join(line for line in text.splitlines(True) if line[0] == "#")
    if experiment in (*OF_CHECKPOINTS, *ALIGNMENTS, *STUDIES):
        return
    if experiment not in RUNNABLE:
        with pytest.raises(ConfigError, match=f"no file {WAITING[experiment]}"):
            config.compose_parts([experiment], "t5x", "train", ["MODEL_DIR=runs/x"])
        return
    config.compose_parts([experiment], "t5x", "train", ["MODEL_DIR=runs/x"])


def test_the_printed_configuration_can_be_trained_on(write, train_config):
    """`flan-jax gin E > F` and then `--gin_file=F` mean E."""
    text = config.compose(write(COMPLETE), "flan_jax", overrides=["BATCH_SIZE=6"])
    parts = config.compose_parts([write(text, "composed.gin")], "flan_jax")
    config.parse(parts)
    assert train_config().batch_size == 6
    gin.clear_config()
    gin.parse_config(text)
    assert train_config().batch_size == 6


def test_t5x_gets_its_imports_first():
    text = config.compose(EXPERIMENTS[-1], "t5x", overrides=["MODEL_DIR=x"])
    code = [line for line in text.splitlines() if line and not line.startswith("#")]
    imports = [line for line in code if line.startswith(("import ", "from "))]
    assert code[0] == "from __gin__ import dynamic_registration"
    assert code[: len(imports)] == imports and len(set(imports)) == len(imports)


def test_macros_survive_being_written(write):
    experiment = COMPLETE + (
        "A = '%not a reference'\nB = %BATCH_SIZE\nC = {'inputs': %BATCH_SIZE, 'x': ['%y', 1.5]}\n"
        "D = 'it\\'s\\n'\nE = @T5Config()\nF = None\nG = ()\n"
    )
    parts = config.compose_parts([write(experiment)], "flan_jax")
    text = config.macros_text(parts)
    values = config.macros(parts)
    again = config.macros([config.Part("written", text)])
    assert again == values
    for name, value in values.items():
        assert type(again[name]) is type(value), name
    assert isinstance(again["C"]["inputs"], config.Reference)
    assert not isinstance(again["C"]["x"][0], config.Reference)
    assert config.resolved(again)["C"] == {"inputs": 2, "x": ["%y", 1.5]}


def test_required_macros_that_nothing_set_are_not_written(write):
    parts = config.compose_parts([write("MODEL = 't5_1_1/tiny'\n")], "flan_jax")
    assert "MODEL_DIR" not in config.macros_text(parts)
    assert "REQUIRED" not in config.macros_text(parts)


def test_a_macro_that_refers_to_itself_is_an_error():
    values = {"A": config.Reference("%B"), "B": config.Reference("%A")}
    with pytest.raises(ConfigError, match="refers to itself"):
        config.resolved(values)


# What is wrong is named


def problem_of(texts, overrides=(), engine="flan_jax", run="train"):
    """The message of the error that composing or parsing raises."""
    with pytest.raises(ConfigError) as raised:
        config.parse(config.compose_parts(texts, engine, run, overrides))
    return str(raised.value)


@pytest.mark.parametrize(
    "line, said",
    [
        ("BATCH_SIZ = 4", "unknown macro BATCH_SIZ; did you mean 'BATCH_SIZE'"),
        (
            "TRAIN_STEPS = %TRANI_STEPS",
            "nothing sets macro TRANI_STEPS; did you mean 'TRAIN_STEPS'",
        ),
        ("TrainConfg.batch_size = 4", "'TrainConfg'. In bindings string line 8"),
        ("TrainConfg.batch_size = 4", "did you mean 'TrainConfig'"),
        ("TrainConfig.batchsize = 4", "did you mean 'batch_size'"),
        ("TrainConfig:\n  batchsize = 4", "did you mean 'batch_size'"),
        ("TrainConfig.model = @T5Confg()", "did you mean 'T5Config'"),
        ("X = (1,", "not gin"),
        ("X = 'a", "Unable to parse value. (line 8)"),
        ("X y", "Couldn't parse statement, expected ':' or '='. (line 8)"),
        ("OPTIMIZER = adamw", "Failed to parse token 'adamw' (line 8)"),
        ("import no_such_module", "No module named 'no_such_module'"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(line, said, write, train_config):
    path = write(f"{COMPLETE}{line}\n")
    message = problem_of([path])
    assert message.startswith(f"{path}: ") and said in message


@pytest.mark.parametrize(
    "override, said",
    [
        ("TRAIN_STEP=4", "--gin.TRAIN_STEP: unknown macro; did you mean 'TRAIN_STEPS'"),
        ("NO_SUCH_THING=4", "--gin.NO_SUCH_THING: unknown macro"),
        ("SEED=%SEEED", "nothing sets macro SEEED; did you mean 'SEED'"),
        ("TrainConfig.batchsize=4", "the command line: Configurable 'TrainConfig' doesn't have"),
        ("TrainConfig.batchsize=4", "did you mean 'batch_size'"),
        ("A-B=1", "the command line: Couldn't parse statement"),
        ("MODEL=t5_1_1/tny", "did you mean 't5_1_1/tiny'"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(override, said, write, train_config):
    assert said in problem_of([write(COMPLETE)], [override])


def test_missing_macros_are_named_together(write, train_config):
    message = problem_of([write("MODEL = 't5_1_1/tiny'\nTRAIN_STEPS = 2\n")])
    assert message.startswith(
        "required: MIXTURE_OR_TASK_NAME, MODEL_DIR, TASK_FEATURE_LENGTHS, BATCH_SIZE; "
    )
    assert "--gin.MODEL_DIR=... --gin.TASK_FEATURE_LENGTHS=..." in message


def test_a_missing_model_is_named(write):
    message = problem_of([write(COMPLETE.replace("MODEL = 't5_1_1/tiny'\n", ""))])
    assert "--gin.MODEL=t5_1_1/small" in message


def test_preparing_needs_no_model(write, train_config):
    config.parse(config.compose_parts([], "flan_jax", "prepare"))


@pytest.mark.parametrize(
    "engine, run, said",
    [
        ("flanjax", "train", "no engine 'flanjax'; did you mean 'flan_jax'"),
        ("flan_jax", "trian", "no gin file 'gin_configs/runs/flan_jax/trian.gin'"),
    ],
)
def test_a_misspelt_engine_or_run_is_named(engine, run, said, write):
    assert said in problem_of([write(COMPLETE)], engine=engine, run=run)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no task module 'tasks.minilb'; did you mean"):
        config.import_modules("tasks.minilb")
    with pytest.raises(ConfigError, match="no task module 'no_such_package.x'"):
        config.import_modules(["math", "no_such_package.x"])


@pytest.mark.parametrize(
    "module, ships",
    [
        ("tasks.minilab", True),
        ("tasks.natural_instructions.super_ni", True),
        ("tasks", False),
        ("tasks.mine", False),
        ("tasks/minilab", False),
        ("../tasks.minilab", False),
        ("os", False),
        ("", False),
        (None, False),
    ],
)
def test_what_ships_with_the_package_is_told_by_name(module, ships, tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert config.ships_with_package(module) is ships


def test_numbers_in_gin_are_python_numbers(write, train_config):
    config.parse(
        config.compose_parts([write(COMPLETE)], "flan_jax", overrides=["LEARNING_RATE=1e-3"])
    )
    assert math.isclose(train_config().optimizer.schedule.peak, 1e-3)
