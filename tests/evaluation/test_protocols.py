"""Ways to ask: a user's own test set, exemplars, templates, other scores of options, watching."""

import json
import math
import os
import pathlib
import statistics
import subprocess
import sys

import pytest
import super_ni_test_set

from flan_jax.cli import run
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import protocols, test_sets

CLASSES = [
    {"instruction": f"Is {i} even?", "input": f"Say yes or no to {i}.", "id": f"n{i}",
     "options": ["yes", "no, it is not"], "targets": ["yes" if i % 2 == 0 else "no, it is not"]}
    for i in range(6)
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared_dir) -> pathlib.Path:
    """A run of four steps with a checkpoint after two of them."""
    folder = tmp_path_factory.mktemp("protocols") / "run"
    gin = {
        "MODEL_DIR": folder, "PREPARED_DIR": prepared_dir, "TRAIN_STEPS": 4, "LOG_PERIOD": 2,
        "CHECKPOINT_PERIOD": 2, "LEARNING_RATE": 0.05, "EMB_DIM": 16, "VOCABULARY": "byte",
    }  # fmt: skip
    flags = [f"--gin.{name}={value}" for name, value in gin.items()]
    assert run(["train", "--gin_file=gin_configs/test/toy.gin", *flags]) == 0
    return folder


def evaluate(trained, out, *arguments: str) -> dict:
    command = ["eval", f"--checkpoint={trained}", f"--out={out}", "--module=toy_tasks"]
    assert run([*command, *arguments]) == 0
    return json.loads((pathlib.Path(out) / "metrics.json").read_text())


def predictions_of(out) -> list[dict]:
    lines = (pathlib.Path(out) / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def written(path: pathlib.Path, rows) -> pathlib.Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_test_set_of_ones_own(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "even-ones.jsonl", CLASSES)
    metrics = evaluate(trained, tmp_path / "out", "--data=even-ones.jsonl")
    assert set(metrics["by_task"]) == {"even_ones"} and metrics["rank_score"] == "sum"
    assert "6 examples whose options are ranked" in capsys.readouterr().err
    found = predictions_of(tmp_path / "out")
    assert [row["id"] for row in found] == [f"n{i}" for i in range(6)]
    assert found[0]["prompt"] == "Is 0 even?\n\nSay yes or no to 0."
    assert found[1]["targets"] == ["no, it is not"] and len(found[1]["scores"]) == 2
    assert run(["score", f"--predictions={tmp_path / 'out'}"]) == 0

    # Exemplars are other lines of the file.
    shots = evaluate(trained, tmp_path / "two", "--data=even-ones.jsonl", "--num_shots=2")
    assert shots["overall"]["n"] == 6 and set(shots["by_task"]) == {"even_ones_fewshot"}
    for row in predictions_of(tmp_path / "two"):
        number = row["id"][1:]
        *exemplars, query = row["prompt"].split("\n###\n")
        assert len(exemplars) == 2 and query.startswith(f"Is {number} even?")
        assert not any(f"Is {number} even?" in text for text in exemplars)
        assert all(text.endswith(("ANSWER: yes", "ANSWER: no, it is not")) for text in exemplars)

    # An answer of several right ones; nothing to rank.
    rows = [
        {"instruction": "Say a colour.", "targets": ["red", "blue"]},
        {"instruction": "Say yes.", "targets": ["yes"]},
    ]
    written(tmp_path / "asked.jsonl", rows)
    metrics = evaluate(trained, tmp_path / "asked", "--data=asked.jsonl")
    assert {"rougeL", "exact_match"} <= set(metrics["overall"]) and "rank_score" not in metrics
    assert predictions_of(tmp_path / "asked")[0]["targets"] == ["red", "blue"]


def test_a_task_of_super_ni_as_a_test_set(shared_data, tmp_path):
    tasks = shared_data / "super_ni/tasks"
    lines = super_ni_test_set.lines_of(str(tasks / "task1388_cb_entailment.json"))
    found = test_sets.read_test_set(str(written(tmp_path / "cb.jsonl", lines)))
    assert len(found.rows) == 100 and found.ranked
    assert found.rows[0]["answers"] == ["Contradiction", "Entailment", "Neutral"]
    with pytest.raises(DataError, match="171 different answers are no classification"):
        super_ni_test_set.lines_of(str(tasks / "task059_ropes_story_generation.json"))


GOOD = {"instruction": "Say it.", "targets": ["a"], "options": ["a", "b"]}


@pytest.mark.parametrize(
    "rows, message",
    [
        ([], "no lines"),
        ([{"instruction": "Say it."}], "line 1.*'targets' is missing"),
        ([{**GOOD, "targets": []}], "line 1.*'targets' must be a list of at least one string"),
        ([{**GOOD, "targets": ["c"]}], "line 1.*'c', which is none of the options 'a', 'b'"),
        ([{**GOOD, "options": []}], "line 1.*'options' must be two or more, found 0"),
        ([{**GOOD, "options": ["a", "a"]}], "line 1.*'options' must not name one twice"),
        ([{**GOOD, "instruction": " "}], "line 1.*'instruction' must not be blank"),
        ([{**GOOD, "option": ["a"]}], "line 1.*'option' is not known; did you mean 'options'"),
        ([GOOD, {"instruction": "x", "targets": ["a"]}], "line 2.*'options' must be in all lines"),
        ([{**GOOD, "id": "x"}, {**GOOD, "id": "x"}], "line 2.*'id' is 'x', as in line 1"),
        ([{**GOOD, "input": 3}], "line 1.*'input' must be a string"),
    ],
)
def test_what_is_wrong_in_a_test_set_is_named(tmp_path, rows, message):
    path = written(tmp_path / "mine.jsonl", rows)
    with pytest.raises(DataError, match=f"mine.jsonl.*{message}"):
        run(["eval", "--checkpoint=nowhere", f"--data={path}", f"--out={tmp_path / 'out'}"])


def test_an_error_is_one_line_and_libraries_are_silent(tmp_path):
    path = written(tmp_path / "mine.jsonl", [GOOD])
    done = subprocess.run(
        [sys.executable, "-m", "flan_jax", "eval", f"--checkpoint={tmp_path / 'none'}",
         f"--data={path}", f"--out={tmp_path / 'out'}"],
        capture_output=True, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == f"flan-jax: no checkpoint in {tmp_path / 'none'} (no such directory)\n"


def test_options_are_ranked_by_other_scores(trained, tmp_path):
    """Each follows from the sums, and is what `score` reads back."""
    path = written(tmp_path / "ranked.jsonl", CLASSES)
    found = {}
    for score in ("sum", "per_token", "per_character", "unconditional"):
        out = tmp_path / score
        metrics = evaluate(trained, out, f"--data={path}", f"--gin.RANK_SCORE={score}")
        assert metrics["rank_score"] == score
        found[score] = [row["scores"] for row in predictions_of(out)]
    lengths = [len("yes"), len("no, it is not")]
    for sums, tokens, characters in zip(
        found["sum"], found["per_token"], found["per_character"], strict=True
    ):
        assert tokens == [total / (n + 1) for total, n in zip(sums, lengths, strict=True)]  # EOS
        assert characters == [total / n for total, n in zip(sums, lengths, strict=True)]
    rest = [
        [total - alone for total, alone in zip(sums, unconditional, strict=True)]
        for sums, unconditional in zip(found["sum"], found["unconditional"], strict=True)
    ]
    # What is taken away is of the option alone, and what the model says after "Answer:".
    assert all(row == pytest.approx(rest[0], rel=1e-5) for row in rest)
    alone = written(
        tmp_path / "alone.jsonl",
        [{"instruction": "Answer:", "options": CLASSES[0]["options"], "targets": ["yes"]}],
    )
    evaluate(trained, tmp_path / "alone", f"--data={alone}")
    assert predictions_of(tmp_path / "alone")[0]["scores"] == pytest.approx(rest[0], rel=1e-5)
    with pytest.raises(ConfigError, match="RANK_SCORE must be.*did you mean 'per_token'"):
        evaluate(trained, tmp_path / "none", f"--data={path}", "--gin.RANK_SCORE=per_tokn")


def test_all_templates_and_the_best_of_them(trained, tmp_path, capsys):
    arguments = ["--mixture=worded_rank", "--module=toy_worded"]
    metrics = evaluate(trained, tmp_path / "all", *arguments, "--templates=all")
    assert metrics["mixture"] == "worded_rank_templates" and metrics["overall"]["n"] == 21
    spread = metrics["by_templates"]["worded_rank"]
    scores = [metrics["by_task"][f"worded_t{i}_rank"]["accuracy"] for i in range(3)]
    assert spread["templates"] == 3 and spread["metric"] == "accuracy"
    assert spread["mean"] == pytest.approx(statistics.fmean(scores), abs=1e-4)
    assert spread["std"] == pytest.approx(statistics.stdev(scores), abs=1e-4)
    assert spread["median"] == statistics.median(scores)
    assert (spread["lowest"], spread["highest"]) == (min(scores), max(scores))
    assert "by template" in capsys.readouterr().out

    best = evaluate(trained, tmp_path / "best", *arguments, "--templates=best")
    development = json.loads((tmp_path / "best/validation/metrics.json").read_text())
    assert development["overall"]["n"] == 15
    on_validation = {t: s["accuracy"] for t, s in development["by_task"].items()}
    chosen = best["best_templates"]["by_task"]["worded_rank"]
    assert chosen["score"] == max(on_validation.values()) == on_validation[chosen["task"]]
    assert list(best["by_task"]) == [chosen["task"]] and best["overall"]["n"] == 7
    assert best["by_task"][chosen["task"]] == metrics["by_task"][chosen["task"]]
    with pytest.raises(ConfigError, match="chooses on the split 'validation'"):
        evaluate(
            trained, tmp_path / "x", *arguments, "--templates=best", "--gin.EVAL_SPLIT=validation"
        )
    with pytest.raises(DataError, match="toy_train: no task has templates to compare"):
        evaluate(trained, tmp_path / "x", "--mixture=toy_train", "--templates=all")


def test_exemplars_are_asked_for(trained, tmp_path):
    arguments = ["--mixture=worded_rank", "--module=toy_worded"]
    zero = evaluate(trained, tmp_path / "zero", *arguments, "--num_shots=0")
    one = evaluate(trained, tmp_path / "one", *arguments, "--num_shots=1")
    assert list(zero["by_task"]) == ["worded_rank"]
    assert list(one["by_task"]) == ["worded_rank_fewshot"]
    assert protocols.with_shots("worded_rank_fewshot", 0) == "worded_rank"
    with pytest.raises(DataError, match="'worded_rank_fewshot' has always 1 exemplars, not 2"):
        evaluate(trained, tmp_path / "x", *arguments, "--num_shots=2")
    with pytest.raises(DataError, match="'toy_copy' has no variant 'toy_copy_fewshot'"):
        evaluate(trained, tmp_path / "x", "--mixture=toy_copy", "--num_shots=2")


def test_a_run_is_watched(trained, tmp_path, capsys):
    """What is there is evaluated, oldest first, and it ends with the run's last step."""
    command = ["eval", f"--checkpoint={trained}", "--mixture=toy_train", "--module=toy_tasks"]
    assert run([*command, f"--out={tmp_path / 'watched'}", "--watch"]) == 0
    rows = json.loads((tmp_path / "watched/results.json").read_text())["checkpoints"]
    assert [row["step"] for row in rows] == [2, 4]
    for row in rows:
        alone = tmp_path / f"alone{row['step']}"
        metrics = evaluate(f"{trained}@{row['step']}", alone, "--mixture=toy_train")
        there = dict(row["mixtures"]["toy_train"])
        assert there.pop("out") == str(tmp_path / "watched" / str(row["step"]))
        assert there == metrics["overall"]
    assert list((tmp_path / "watched/tensorboard").glob("events.*"))
    assert "step 2:" in capsys.readouterr().out
    # A run that does not come, for a moment.
    command[1] = f"--checkpoint={tmp_path / 'later'}"
    assert run([*command, f"--out={tmp_path / 'none'}", "--watch=0.1"]) == 0
    assert "waiting for checkpoints in" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--watch follows a run, a MODEL_DIR, not 'hf:there'"):
        run(["eval", "--checkpoint=hf:there", *command[2:], f"--out={tmp_path}", "--watch"])


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batch_size_changes_nothing(trained, tmp_path, size):
    """Metrics to the byte, of generated answers and of ranked ones."""
    for mixture, modules in (("toy_train", []), ("worded_rank", ["--module=toy_worded"])):
        texts = []
        for batch in (32, size):
            out = tmp_path / f"{mixture}{batch}"
            flags = [f"--mixture={mixture}", *modules, f"--gin.EVAL_BATCH_SIZE={batch}"]
            evaluate(trained, out, *flags)
            texts.append((out / "metrics.json").read_text())
        assert texts[0] == texts[1]


def test_what_made_the_results_is_said(trained, tmp_path):
    made_by = evaluate(trained, tmp_path, "--mixture=toy_train")["made_by"]
    assert set(made_by["tasks"]) == {"toy_copy", "toy_upper"} and len(made_by["weights"]) == 64
    assert made_by["split"] == "test" and made_by["vocabulary"][0] == "byte"
    assert made_by["versions"]["flan-jax"] and made_by["versions"]["jax"]
    other = evaluate(f"{trained}@2", tmp_path / "b", "--mixture=toy_train")["made_by"]
    assert other["weights"] != made_by["weights"]
    assert other == {**made_by, "weights": other["weights"]}
    assert math.isfinite(made_by["scores_format"]) and test_sets.SPLIT == "test"
