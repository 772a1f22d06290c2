"""Folders of transformers: opened, trained from, evaluated, converted, and refused."""

import json
import pickle
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flan_jax.cli import run
from flan_jax.errors import CheckpointError, ConfigError, OutputError
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.interop import hf_files
from flan_jax.training import checkpoints, restore

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

GIN = """
MIXTURE_OR_TASK_NAME = 'toy_train'
MIXTURE_OR_TASK_MODULE = 'toy_tasks'
TASK_FEATURE_LENGTHS = {'inputs': 64, 'targets': 16}
BATCH_SIZE = 8
CHECKPOINT_PERIOD = 2
"""


@pytest.fixture
def copy(gemma_folder, tmp_path):
    """A copy of the model with its tensors in one file."""
    folder = tmp_path / "copy"
    shutil.copytree(gemma_folder, folder)
    tensors = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
        file.unlink()
    (folder / "model.safetensors.index.json").unlink()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def params_of(where):
    found = restore.require(where)
    model = restore.model_of(found)
    device = __import__("jax").devices()[0]
    sharding = __import__("jax").sharding.SingleDeviceSharding(device)
    return restore.weights(found, model, sharding)


def equal(one, other):
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(other[name]), err_msg=name)


def test_one_file_several_files_and_torch_files_are_the_same(gemma_folder, copy, tmp_path):
    several = params_of(f"hf:{gemma_folder}")
    equal(several, params_of(f"hf:{copy}"))
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save({k: torch.tensor(v) for k, v in tensors.items()}, copy / "pytorch_model.bin")
    equal(several, params_of(f"hf:{copy}"))


@pytest.fixture(scope="module")
def trained(gemma_folder, prepared_dir, tmp_path_factory):
    """A run that starts from the model; neither MODEL nor VOCABULARY is given."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.gin").write_text(GIN)
    command = [
        "train", f"--gin_file={folder / 'run.gin'}", f"--gin.MODEL_DIR={folder / 'run'}",
        f"--gin.PREPARED_DIR={prepared_dir}", f"--gin.INITIAL_CHECKPOINT_PATH=hf:{gemma_folder}",
    ]  # fmt: skip
    assert run([*command, "--gin.TRAIN_STEPS=2"]) == 0
    return folder / "run", command


def evaluate(checkpoint, out, *more):
    arguments = [f"--checkpoint={checkpoint}", "--mixture=toy_train", "--module=toy_tasks"]
    assert run(["eval", *arguments, f"--out={out}", *more]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_trains_from_it_goes_on_without_it_and_evaluates_both(
    trained, gemma_folder, tmp_path, prepared_dir, capsys
):
    folder, command = trained
    gone = [part.replace(str(gemma_folder), "/nowhere/gemma") for part in command]
    assert run([*gone, f"--gin.VOCABULARY={gemma_folder}", "--gin.TRAIN_STEPS=3"]) == 0
    assert "resuming at step 2" in capsys.readouterr().out
    found = evaluate(f"{folder}@2", tmp_path / "ours", f"--gin.PREPARED_DIR={prepared_dir}")
    assert found["step"] == 2 and found["overall"]["n"] == 12
    lengths = "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 16}"
    prepared = f"--gin.PREPARED_DIR={prepared_dir}"
    found = evaluate(f"hf:{gemma_folder}", tmp_path / "theirs", prepared, lengths)
    assert found["step"] == 0 and found["overall"]["n"] == 12


def test_another_vocabulary_is_refused(gemma_folder, trained, tmp_path):
    _, command = trained
    fresh = f"--gin.MODEL_DIR={tmp_path / 'new'}"
    with pytest.raises(ConfigError, match="VOCABULARY 'byte'"):
        run([*command, fresh, "--gin.VOCABULARY=byte", "--gin.TRAIN_STEPS=2"])
    tokenizer = json.loads((gemma_folder / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = (gemma_folder / "tokenizer_config.json").read_text()
    (tmp_path / "tokenizer_config.json").write_text(names)
    with pytest.raises(CheckpointError, match="another vocabulary"):
        run([*command, fresh, f"--gin.VOCABULARY={tmp_path}", "--gin.TRAIN_STEPS=2"])
    assert not (tmp_path / "new" / "checkpoints").exists()


def test_there_and_back_and_there_again(trained, gemma_folder, tmp_path):
    """Theirs to ours to theirs: the same bytes of weights, and transformers loads the folder."""
    ours, theirs, again = (str(tmp_path / name) for name in ("ours", "theirs", "again"))
    assert run(["convert", f"hf:{gemma_folder}", ours]) == 0
    assert run(["convert", ours, theirs]) == 0
    assert run(["convert", theirs, again]) == 0
    equal(params_of(ours), params_of(again))
    model = transformers.AutoModelForCausalLM.from_pretrained(theirs)
    original = transformers.AutoModelForCausalLM.from_pretrained(gemma_folder)
    state = original.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    words = transformers.AutoTokenizer.from_pretrained(theirs)
    assert words("add 1")["input_ids"] == [VOCABULARY.bos_id, *VOCABULARY.encode("add 1")]
    assert run(["convert", f"{trained[0]}@2", str(tmp_path / "bf"), "--dtype=bfloat16"]) == 0
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "bf")
    assert model.dtype == torch.bfloat16
    with pytest.raises(OutputError, match="exists already"):
        run(["convert", f"hf:{gemma_folder}", ours])


def test_large_models_are_written_in_parts(gemma_folder, tmp_path):
    from flan_jax.interop.convert import convert

    told = []
    where, out = f"hf:{gemma_folder}", str(tmp_path / "parts")
    convert(where, out, to="hf", say=told.append, shard_bytes=60_000)
    assert len(list((tmp_path / "parts").glob("model-0000*-of-*.safetensors"))) > 2
    equal(params_of(where), params_of(f"hf:{out}"))
    assert transformers.AutoModelForCausalLM.from_pretrained(out).num_parameters() == 47_776


def change_config(**change):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return damage


def change_tensors(change):
    def damage(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return damage


def truncate(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def lead_out(folder):
    (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
    index = {"weight_map": {"model.norm.weight": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class Harm:
    def __reduce__(self):
        return (print, ("this is code",))


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"model.norm.weight": Harm()}))


def torch_pickled(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Harm()}, folder / "pytorch_model.bin")


NORM = "model.norm.weight"
QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    "damage, words",
    [
        (change_config(model_type="gemma33"), "'model_type' is 'gemma33'"),
        (change_config(model_type="bert"), "those that can be read are"),
        (change_config(hidden_size=64), "has to be 64"),
        (change_config(num_hidden_layers=5, layer_types=None), "missing: 'model.layers.4"),
        (change_config(num_hidden_layers=2, layer_types=None), "of no such model"),
        (change_tensors(lambda t: t.pop(NORM)), f"missing: '{NORM}'"),
        (change_tensors(lambda t: t.update({"model.nrm.weight": t.pop(NORM)})), "did you mean"),
        (change_tensors(lambda t: t.update({QUERY: t[QUERY].T.copy()})), f"{QUERY} is 32 x 64"),
        (
            change_tensors(lambda t: t.update({"lm_head.weight": np.ones((128, 32), "f4")})),
            "not the copies they should be: lm_head.weight",
        ),
        (truncate, "no whole safetensors file"),
        (lead_out, "not inside"),
        (pickled, "no PyTorch file of weights"),
        (torch_pickled, "no PyTorch file of weights"),
        (lambda folder: (folder / "config.json").write_text("[" * 9999), "nested too deeply"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    ],
)
def test_what_is_no_good_is_refused_with_names(copy, tmp_path, damage, words, capsys):
    damage(copy)
    with pytest.raises(CheckpointError, match=words):
        restore.require(f"hf:{copy}")
    with pytest.raises(CheckpointError, match=words):
        run(["convert", f"hf:{copy}", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert "this is code" not in said.out and not (tmp_path / "out").exists()


def test_names_of_the_hub_and_prefixes(monkeypatch):
    monkeypatch.setattr("flan_jax.hub.answers", lambda url: False)
    monkeypatch.setattr("flan_jax.hub.cached", lambda name, file: None)
    with pytest.raises(CheckpointError, match="google/none.*does not answer"):
        restore.require("hf:google/none")
    with pytest.raises(CheckpointError, match="no such folder"):
        restore.require("hf:./none")
    with pytest.raises(CheckpointError, match="no kind of checkpoint 'guff'.*did you mean 'gguf'"):
        restore.require("guff:google/none")
    with pytest.raises(CheckpointError):
        checkpoints.require("/none")
    wanted = hf_files.DOWNLOADED
    from flan_jax.hub import _matching

    both = ["config.json", "model.safetensors", "pytorch_model.bin", "onnx/model.safetensors"]
    assert _matching(both, wanted) == ["config.json", "model.safetensors"]
