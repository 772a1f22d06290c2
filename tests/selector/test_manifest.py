"""Manifests: the contract, and the mixture that one becomes."""

import json
import math
import subprocess
import sys

import pytest

from flan_jax import cli
from flan_jax.errors import ConfigError, DataError, FlanJaxError, OutputError
from flan_jax.selector import register_mixture
from flan_jax.selector.manifest import Mixing, read_manifest, write_manifest

TARGET = "Decide whether the sentence is sarcastic."


def test_the_contract(tmp_path, select):
    out = tmp_path / "manifest.json"
    command = ["--target", TARGET, "--library=tasks.minilab", "-k", "5", "--encoder=lexical"]
    printed = select(*command, f"--out={out}", "--json").out
    assert printed == out.read_text()
    manifest = json.loads(printed)
    assert manifest["target"] == TARGET and manifest["k"] == 5
    scores = [row["score"] for row in manifest["selected"]]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert {"task", "score", "instruction", "target_instruction"} <= set(manifest["selected"][0])
    assert manifest["encoder"]["name"] == "lexical" and len(manifest["encoder"]["hash"]) == 64
    assert manifest["library"]["tasks"] == len(manifest["scores"]) > 100
    assert len(manifest["library"]["hash"]) == 64
    assert manifest["parameters"]["aggregation"] == "mean"
    again = select(*command, "--json").out
    assert again == printed


def test_a_registered_task_is_left_out(select):
    name = "minilab_first_word_input"  # a variant of minilab_first_word
    command = ["--library=tasks.minilab", "-k", "3", "--encoder=lexical", "--json"]
    manifest = json.loads(select(f"--target-task={name}", *command).out)
    assert manifest["target"] == "minilab_first_word"
    assert manifest["blocked"]["minilab_first_word"]
    assert "minilab_first_word" not in manifest["scores"]
    with pytest.raises(DataError, match="did you mean 'minilab_first_word'"):
        cli.run(["select", "--target-task=minilab_frist_word", *command])


def test_the_encoder_is_said_where_none_was_named(select, monkeypatch):
    monkeypatch.setattr("flan_jax.selector.sentence_models.default_folder", lambda: None)
    said = select("--target", TARGET, "--library=tasks.minilab")
    assert "encoder: lexical" in said.err
    assert "minilab_" in said.out


def test_wrong_commands(tmp_path):
    for command, message in [
        (["--target", "x"], "which library"),
        (["--library=tasks.minilab"], "which target"),
        (["--target", " ", "--library=tasks.minilab"], "empty"),
        (["--target", "x", "--library=tasks.minilab", "-k", "999"], "ask for at most"),
        (["--target", "x", "--library=tasks.minilab", "--rates=unifrom"], "did you mean"),
        (["--target", "x", "--library=tasks.minilab", "--gin.SUPER_NI_DRI=x"], "SUPER_NI_DIR"),
    ]:
        with pytest.raises(FlanJaxError, match=message):
            cli.run(["select", *command, "--encoder=lexical"])


def manifest_of(tmp_path, *scores, mixture=None, name="m.json"):
    rows = [{"task": f"minilab_{t}", "score": s} for t, s in scores]
    path = tmp_path / name
    write_manifest(str(path), {"selected": rows} | ({"mixture": mixture} if mixture else {}))
    return str(path)


SCORES = (("first_word", 0.5), ("last_word", 0.3))


def test_the_mixture(tmp_path):
    import tasks.minilab  # noqa: F401
    from flan_jax.instructions import mixtures

    path = manifest_of(tmp_path, *SCORES)
    mixture = register_mixture(path, name="test_specialist")
    assert sorted(task.name for task in mixture.tasks) == [
        "minilab_first_word", "minilab_last_word",
    ]  # fmt: skip
    assert register_mixture(path, name="test_specialist") is mixture
    assert set(mixtures.task_rates("test_specialist").values()) == {1.0}
    named = mixtures.resolve(f"selected:{path}")
    assert named is mixtures.resolve(f"selected:{path}")
    assert named.name.startswith("selected_m_")
    with pytest.raises(DataError, match="registered already"):
        register_mixture(manifest_of(tmp_path, ("first_word", 1)), name="test_specialist")
    with pytest.raises(DataError, match="registered already"):
        register_mixture(path, name="minilab_first_word")


def test_rates(tmp_path):
    import seqio

    import tasks.minilab  # noqa: F401

    rates = {}
    for kind, given in [
        ("softmax", {"rates": "softmax", "temperature": 0.2}),
        ("examples", {"rates": "examples"}),
        ("capped", {"rates": "examples", "cap": 7}),
    ]:
        path = manifest_of(tmp_path, *SCORES, mixture=given)
        mixture = register_mixture(path, name=f"test_rates_{kind}")
        rates[kind] = {task.name: mixture.get_rate(task) for task in mixture.tasks}
    ratio = rates["softmax"]["minilab_first_word"] / rates["softmax"]["minilab_last_word"]
    assert ratio == pytest.approx(math.exp(0.2 / 0.2))
    sizes = {
        name: seqio.TaskRegistry.get(name).num_input_examples("train")
        for name in ("minilab_first_word", "minilab_last_word")
    }
    assert rates["examples"] == sizes
    assert set(rates["capped"].values()) == {7}
    overridden = register_mixture(path, name="test_rates_own", rates="uniform")
    assert {overridden.get_rate(task) for task in overridden.tasks} == {1.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object, found a list"),
        ("{}", "is not a manifest"),
        ('{"selected": []}', "at least one task"),
        ('{"selected": [{"task": 1}]}', r"selected\[0\]"),
        ('{"selected": [{"task": "a", "score": NaN}]}', "'score' must be a finite number"),
        ('{"selected": [{"task": "a"}]}', "'score' is missing"),
        (f'{{"selected": [{{"task": "a", "score": 1{"0" * 400}}}]}}', "must be a finite number"),
        (f'{{"selected": [{{"task": "a", "score": 1{"0" * 5000}}}]}}', "not JSON"),
        ('{"selected": ' + "[" * 100_000, "nested too deeply"),
        ('{"selected": 3}', "'selected' must be a list of at least one task"),
        ('{"selected": [{"task": " ", "score": 1}]}', "'task' must be a name"),
        ('{"selected": [{"task": "a", "score": 1}, {"task": "a", "score": 1}]}', "twice"),
        ('{"format": 9, "selected": [{"task": "a", "score": 1}]}', "'format' is 9, not 1"),
        ('{"selected": [{"task": "a", "score": 1}], "mixture": {"rate": 1}}', "must be an object"),
        ('{"selected": [{"task": "a", "score": 1}], "mixture": {"rates": "x"}}', "not known"),
        ('{"selected": [{"task": "a", "score": 1}], "mixture": {"temperature": 0}}', "above 0"),
        (
            f'{{"selected": [{{"task": "a", "score": 1}}], "mixture": {{"cap": -1{"0" * 400}}}}}',
            "cap = .* must be a whole number above 0",
        ),
        (
            f'{{"selected": [{{"task": "a", "score": 1}}], "mixture": {{"temperature": '
            f"1{'0' * 400}}}}}",
            "temperature = .* must be above 0",
        ),
        ('{"selected": [{"task": "minilab_frist", "score": 1}]}', "import the module"),
    ],
    ids=lambda value: value[:50],
)
def test_wrong_manifests(tmp_path, text, message):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        register_mixture(str(path), name="test_wrong")
    assert "m.json" in str(error.value)


def test_no_manifest(tmp_path):
    from flan_jax.instructions import mixtures

    with pytest.raises(DataError, match="flan-jax select"):
        read_manifest(str(tmp_path / "none.json"))
    with pytest.raises(DataError, match="names no manifest"):
        mixtures.resolve("selected:")
    for out in ("/proc/nowhere/m.json", str(tmp_path), "/dev/full/m.json"):
        with pytest.raises(OutputError, match=f"cannot write {out.removesuffix('/m.json')}"):
            write_manifest(out, {})
    with pytest.raises(ConfigError, match="did you mean 'softmax'"):
        Mixing("sofmax")


@pytest.mark.parametrize("verb", [["gin"], ["train", "--gin.MODEL_DIR=runs/x"]])
def test_t5x_is_told_how(verb):
    experiment = "gin_configs/experiments/minilab_demo.gin"
    given = [experiment] if verb == ["gin"] else [f"--gin_file={experiment}"]
    command = [*verb, *given, "--engine=t5x", "--gin.MIXTURE_OR_TASK_NAME=selected:m.json"]
    with pytest.raises(ConfigError, match="register_mixture"):
        cli.run(command)


def test_selecting_imports_neither_jax_nor_a_model(tmp_path):
    lines = [{"task": t, "instructions": [f"Do {t} now."]} for t in ("a", "b", "c")]
    library = tmp_path / "lib.jsonl"
    library.write_text("\n".join(map(json.dumps, lines)))
    code = (
        "import sys; from flan_jax import cli;"
        f"cli.run(['select', '--target', 'Do b', '--library={library}', '-k', '2',"
        " '--encoder=lexical']);"
        "heavy = {'jax', 'flax', 'tensorflow', 'seqio', 'torch', 'flan_jax.training',"
        " 'flan_jax.data', 'tasks'} & set(sys.modules); sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_training_and_scoring_on_a_manifest(tmp_path, prepared_dir, capsys):
    path = manifest_of(tmp_path, *SCORES)
    command = [
        "train", "--gin_file=gin_configs/test/toy.gin", "--gin.TRAIN_STEPS=2",
        f"--gin.MIXTURE_OR_TASK_NAME='selected:{path}'",
        "--gin.MIXTURE_OR_TASK_MODULE=tasks.minilab", "--gin.CHECKPOINT_PERIOD=2",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 256, 'targets': 64}",
        f"--gin.MODEL_DIR={tmp_path}/run", f"--gin.PREPARED_DIR={prepared_dir}",
    ]  # fmt: skip
    assert cli.run(command) == 0
    assert "2 tasks" in capsys.readouterr().out
    command = [
        "eval", f"--checkpoint={tmp_path}/run", f"--mixture=selected:{path}",
        "--module=tasks.minilab", f"--out={tmp_path}/out", "--gin.EVAL_BATCH_SIZE=8",
    ]  # fmt: skip
    assert cli.run(command) == 0
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert "minilab_first_word" in json.dumps(metrics)
