"""Conversations from a file to a table, with each kind of model, as a person would do it."""

import json

import chat_folders
import pytest

from flan_jax.cli import run
from flan_jax.errors import CheckpointError
from flan_jax.instructions import jsonl

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file of 80 conversations of two turns, and a vocabulary with a template."""
    root = tmp_path_factory.mktemp("chat")
    chat_folders.write(root / "vocabulary", ["Add 2 and 3. Why? Since 2 and 3 are 5."], TEMPLATE)
    lines = [
        [("user", f"Add 2 and {i}."), ("assistant", f"{2 + i}"), ("user", "Why?"),
         ("assistant", f"Since 2 and {i} are {2 + i}.")]
        for i in range(80)
    ]  # fmt: skip
    messages = [[{"role": r, "content": c} for r, c in line] for line in lines]
    text = "".join(json.dumps({"messages": one}) + "\n" for one in messages)
    (root / "sums.jsonl").write_text(text)
    return root


@pytest.mark.parametrize(
    "model, task, learnt",
    # Of both turns and of all of their tokens; in a row, and an example each.
    [("flan/tiny", "sums_whole", 2), ("t5_1_1/tiny", "sums_turns", 1)],
)
def test_trained_and_evaluated(folder, tmp_path, capsys, model, task, learnt):
    module = f"jsonl:{folder}/sums.jsonl"
    flags = {
        "MODEL": model, "MIXTURE_OR_TASK_NAME": "sums", "MIXTURE_OR_TASK_MODULE": module,
        "VOCABULARY": folder / "vocabulary", "PREPARED_DIR": folder / "prepared",
        "VALIDATION_MIXTURES": "('sums',)", "VALIDATION_SPLIT": "validation",
        "TRAIN_STEPS": 2, "BATCH_SIZE": 4, "LOG_PERIOD": 1, "VALIDATION_PERIOD": 2,
        "TASK_FEATURE_LENGTHS": "{'inputs': 64, 'targets': 96}", "MODEL_DIR": tmp_path / "run",
        "EMB_DIM": 16, "NUM_HEADS": 2, "HEAD_DIM": 8, "MLP_DIM": 32,
    }  # fmt: skip
    experiment = "--gin_file=gin_configs/test/toy.gin"
    assert run(["train", experiment, *(f"--gin.{k}={v}" for k, v in flags.items())]) == 0
    capsys.readouterr()
    metrics = [
        json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    ]
    assert 0 < metrics[-1]["validation/sums/loss"] < 20
    units = folder / "prepared/records"
    assert {path.name for path in units.iterdir()} >= {task}
    out = tmp_path / "eval"
    evaluate = [
        "eval", f"--checkpoint={tmp_path / 'run'}", "--mixture=sums", f"--out={out}",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 128, 'targets': 8}",
        f"--gin.PREPARED_DIR={folder / 'prepared'}",
    ]  # fmt: skip
    with pytest.raises(CheckpointError, match=f"--module={module}"):
        run(evaluate)
    assert run([*evaluate, f"--module={module}"]) == 0
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    test = jsonl.find_registered("sums").rows["test"]
    assert [row["id"] for row in rows] == [row["id"] for row in test]
    for row, line in zip(rows, test, strict=True):
        *_, answer = json.loads(line["messages"])
        assert row["targets"] == [answer["content"]] and row["task"] == "sums"
        assert row["prompt"].endswith("<turn>user\nWhy?<end>\n<turn>assistant\n")


def test_prepared_ahead_by_workers(folder, tmp_path, capsys):
    """The records that training then finds, of the layout that is named."""
    argv = [
        "prepare", "--mixture=sums", f"--module=jsonl:{folder}/sums.jsonl", "--layout=decoder",
        f"--prepared_dir={tmp_path}", f"--gin.VOCABULARY={folder / 'vocabulary'}",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 96}", "--workers=2",
        "--renderings=2",
    ]  # fmt: skip
    assert run(argv) == 0
    said = capsys.readouterr().out
    assert "prepared" in said and "truncated: 0 inputs, 0 targets" in said
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["sums_whole"]
