"""Every verb, as a person would type it, on something tiny."""

import json
import subprocess
import sys

import pytest

from flan_jax.cli import run
from flan_jax.errors import DataError, FlanJaxError

SMALL = [
    "--gin.MIXTURE_OR_TASK_NAME=minilab_who_has",
    "--gin.HELDOUT=minilab_first_word",
    "--gin.TRAIN_STEPS=2",
    "--gin.RENDERINGS=1",
    "--gin.EMB_DIM=16",
    "--gin.MLP_DIM=16",
]


def test_demo(tmp_path, capsys):
    assert run(["demo", f"--out={tmp_path}", "--fast", *SMALL]) == 0
    said = capsys.readouterr().out
    for text in ("1/3", "2/3", "3/3", "who_has", "clusters never seen", "saved step 2"):
        assert text in said
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert set(scores) == {"before", "after"}
    for stage in scores.values():
        assert stage["seen"]["overall"]["n"] == stage["unseen"]["overall"]["n"] == 50
    # Started again it goes on from where it is: nothing is trained twice.
    assert run(["demo", f"--out={tmp_path}", "--fast", *SMALL]) == 0
    assert "nothing to do: step 2 of 2" in capsys.readouterr().out


def test_tasks_list(capsys):
    assert run(["tasks", "list", "--module=tasks.minilab", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(entries) >= 12
    fields = [
        "name",
        "cluster",
        "kind",
        "instructions",
        "templates",
        "options",
        "source",
        "licence",
        "variants",
    ]
    for entry in entries:
        assert set(fields) <= set(entry)
        assert entry["variants"] == [entry["name"]]
        assert len(entry["templates"]) == 10 and len(entry["instructions"]) >= 4
        assert (entry["kind"] == "classification") == bool(entry["options"])
    assert run(["tasks", "list", "--module=tasks.minilab"]) == 0
    assert entries[0]["name"] in capsys.readouterr().out


def test_tasks_show(capsys):
    show = ["tasks", "show", "minilab_sentiment", "--module=tasks.minilab", "-n", "12"]
    assert run([*show, "--split=test"]) == 0
    said = capsys.readouterr().out
    assert said.count("[input]") == said.count("[target]") == 12
    assert (
        "OPTIONS:\n- positive\n- negative\n[target]" in said and "minilab_sentiment/test/0" in said
    )
    assert run([*show, "--split=test", "--rendering=1"]) == 0
    assert capsys.readouterr().out != said
    with pytest.raises(DataError, match="did you mean 'minilab_sentiment'"):
        run(["tasks", "show", "minilab_sentimnt", "--module=tasks.minilab"])
    with pytest.raises(DataError, match="is a mixture"):
        run(["tasks", "show", "minilab_train", "--module=tasks.minilab"])


def test_gin(capsys):
    experiment = "gin_configs/experiments/super_ni_tiny.gin"
    assert run(["gin", experiment, "--gin.TRAIN_STEPS=7"]) == 0
    said = capsys.readouterr().out
    assert said.index("EMB_DIM = 64") < said.index("TrainConfig.mixture") < said.index("= 7")
    assert run(["gin", experiment, "--engine=t5x"]) == 0
    assert "t5x" in capsys.readouterr().out
    with pytest.raises(FlanJaxError, match="did you mean 't5x'"):
        run(["gin", experiment, "--engine=t5"])


def test_vocab_then_train_with_it(tmp_path, capsys):
    model = tmp_path / "own.model"
    options = ["--module=tasks.minilab", "--size=400", f"--out={model}", "--max_examples=300"]
    assert run(["vocab", "--mixture=minilab_who_has", *options]) == 0
    gin = {
        "MODEL_DIR": tmp_path / "run",
        "PREPARED_DIR": tmp_path / "prepared",
        "MIXTURE_OR_TASK_NAME": "minilab_who_has",
        "VOCABULARY": model,
        "TRAIN_STEPS": 2,
    }
    flags = [f"--gin.{name}={value}" for name, value in gin.items()]
    run(["train", "--gin_file=gin_configs/experiments/minilab_demo.gin", *flags])
    # 400 pieces and 100 sentinels, padded to 512 rows of 64.
    assert "saved step 2" in capsys.readouterr().out
    assert "VOCABULARY = " in (tmp_path / "run" / "config.gin").read_text()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["tasks", "list", "--module=tasks.minilab"]]
)
def test_the_installed_command_is_quiet_on_standard_error(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flan_jax", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout
    assert done.stderr == ""


def test_model_info(capsys):
    info = ["model-info", "--gin.MODEL=t5_1_1/xl", "--gin.SHARDING=fsdp", "--devices=64"]
    assert run(info) == 0
    said = capsys.readouterr().out
    assert "mesh: data 1, fsdp 64, tensor 1 (64 devices)" in said
    assert "encoder/layers/mlp/wo/kernel" in said and "parameters: 2,7" in said
    with pytest.raises(FlanJaxError, match="tensor 5 does not divide"):
        run([*info[:2], "--gin.SHARDING=tensor", "--devices=5"])
