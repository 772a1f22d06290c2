"""Every verb, as a person would type it, on something tiny."""

import json
import os
import re
import subprocess
import sys

import pytest

from flan_jax import files
from flan_jax.cli import run
from flan_jax.errors import CheckpointError, ConfigError, DataError, FlanJaxError, OutputError

ARMS = ("with_instructions", "without_instructions", "specialist", "base", "nearest_wording")
STRUCTURES = ("seen", "new_wordings", "compositions", "heldout_tasks", "heldout_clusters")


def test_demo(tmp_path, capsys):
    demo = ["demo", f"--out={tmp_path}", "--fast"]
    assert run(demo) == 0
    said = capsys.readouterr().out
    for text in ("1/8", "8/8", "With instructions", "New compositions", "saved step 4"):
        assert text in said
    assert said.splitlines()[-1] == f"report: {tmp_path}/report.html"
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert tuple(metrics["arms"]) == ARMS
    for scores in metrics["arms"].values():
        assert tuple(scores) == STRUCTURES and all(0 <= x <= 100 for x in scores.values())
    assert metrics["arms"]["nearest_wording"]["seen"] == 100
    assert metrics["examples"] == dict(zip(STRUCTURES, (8, 8, 2, 2, 2), strict=True))
    page = (tmp_path / "report.html").read_text()
    for text in ("Without instructions", "<svg", "flan-jax train", "What the models said"):
        assert text in page
    assert not re.search(r"(src|href)=|@import|url\(", page), "the page needs the network"

    # Started again it goes on from where it is: nothing is trained or asked twice.
    (tmp_path / "metrics.json").unlink()
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("predictions.jsonl")}
    assert len(before) == 5
    assert run(demo) == 0
    assert capsys.readouterr().out.count("nothing to do: step 4 of 4") == 3
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("predictions.jsonl")}
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again["arms"] == metrics["arms"]

    # Another study is not mixed into it.
    with pytest.raises(ConfigError, match="other settings .TRAIN_STEPS is 4 there and 6 here"):
        run([*demo, "--gin.TRAIN_STEPS=6"])


@pytest.mark.parametrize("verb", [["demo"], ["select", "study"]])
def test_two_studies_do_not_share_a_folder(tmp_path, verb):
    out = tmp_path / "out"
    with (
        files.lock_folder(out),
        pytest.raises(CheckpointError, match=f"out is in use by process {os.getpid()} on"),
    ):
        run([*verb, f"--out={out}", "--fast"])
    assert [path.name for path in out.iterdir()] == [".lock"]
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match=f"cannot write {folder}: "):
            run([*verb, f"--out={folder}", "--fast"])
    assert (tmp_path / "file").read_text() == "mine"


def test_select_study(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "study"
    study = ["select", "study", f"--out={out}", "--fast"]
    assert run(study) == 0
    said = capsys.readouterr().out
    for text in ("6/6", "top 2 by instruction", "2 tasks by chance", "all 4 tasks"):
        assert text in said
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["targets"] == ["minilab_drop_last"] and metrics["ks"] == [1, 2]
    for metric in ("exact_match", "rougeL"):
        for arm, ks in (("base", "0"), ("all", "4"), ("selected", "12"), ("random", "12")):
            means = metrics["means"][metric][arm]
            assert list(means) == list(ks) and all(0 <= m["mean"] <= 100 for m in means.values())
    chosen = json.loads((out / "minilab_drop_last/selected_2/manifest.json").read_text())
    drawn = json.loads((out / "minilab_drop_last/random_2_0/manifest.json").read_text())
    assert [c["parameters"]["method"] for c in (chosen, drawn)] == ["instructions", "random"]
    assert chosen["selected"][0]["task"] == "minilab_drop_first" and chosen["k"] == drawn["k"] == 2
    page = (out / "report.html").read_text()
    assert "<svg" in page and "flan-jax select study" in page
    assert not re.search(r"(src|href)=|@import|url\(", page), "the page needs the network"

    # Started again it goes on from where it is.
    assert run(study) == 0
    assert capsys.readouterr().out.count("nothing to do: step 2 of 2") == 5
    again = json.loads((out / "metrics.json").read_text())
    assert again["by_target"] == metrics["by_target"]
    with pytest.raises(ConfigError, match="other settings .TRAIN_STEPS is 2 there and 6 here"):
        run([*study, "--gin.TRAIN_STEPS=6"])
    for override, message in [
        ("TARGETS=('minilab_drop_first',)", "minilab_drop_first is in CANDIDATES"),
        ("KS=(1, 9)", "whole numbers from 1 to 4"),
        ("TARGETS=()", "a list of tasks and mixtures"),
        ("TARGETS_EACH=0", "must be None or a whole number"),
        ("TARGETS=('minilab_drop_lsat',)", "did you mean 'minilab_drop_last'"),
    ]:
        with pytest.raises(FlanJaxError, match=message):
            run(["select", "study", "--fast", f"--out={tmp_path / 'x'}", f"--gin.{override}"])


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
        assert entry["variants"][:2] == [entry["name"], f"{entry['name']}_input"]
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
    assert said.index("TrainConfig.mixture") < said.index("EMB_DIM = 64") < said.index("= 7")
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
        "MODEL": "t5_1_1/tiny",
        "INITIAL_CHECKPOINT_PATH": None,
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
