"""Studies that a file declares: what is read, the commands that follow, and a whole tiny one."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flan_jax.cli import run
from flan_jax.errors import ConfigError, DataError, FlanJaxError
from flan_jax.scoring.comparison import Estimate
from flan_jax.scoring.summaries import METRICS
from flan_jax.studies import answer, declared, jobs
from flan_jax.studies.declared import Started

TINY = """
question: Do ten wordings help?
source: nobody, section 1
experiment: gin_configs/experiments/minilab_demo.gin
mixture: minilab_tiny_heldout_tasks
seeds: 2
train: {TRAIN_STEPS: 2, LOG_PERIOD: 1, CHECKPOINT_PERIOD: 1}
test: {EVAL_EXAMPLES: 2}
arms:
  base: {title: Base <untuned>, text: the pretrained model}
  tuned:
    title: Tuned
    text: on four tasks
    train: {MIXTURE_OR_TASK_NAME: minilab_tiny_train}
  asked_again: {title: Again, text: the same weights, weights: tuned, first_line: true}
  chosen:
    title: Chosen
    text: on two tasks
    train: {}
    select: [--library=tasks.minilab, --among=minilab_tiny_train, --target-task=minilab_drop_last,
             --encoder=lexical, "--seed={seed}", -k=2]
    seeds: 1
comparisons:
  - {arm: tuned, than: base, text: tuning beats not tuning}
  - {arm: tuned, than: asked_again, text: asking twice helps}
published:
  - {what: nothing, figure: "1.0", source: nobody}
"""


@pytest.fixture
def tiny(tmp_path):
    file = tmp_path / "wordings.yaml"
    file.write_text(TINY)
    return str(file)


def test_the_commands_of_a_study(tiny):
    study = declared.read(tiny)
    assert study.name == "wordings"
    started = Started(
        "out", ("gin_configs/experiments/minilab_tiny.gin",), ("EVAL_EXAMPLES=1", "ENCODER=folder")
    )
    planned = declared.plan(study, started)
    assert [str(job) for job in planned] == [
        "test base, seed 0", "train tuned, seed 0", "test tuned, seed 0",
        "test asked_again, seed 0", "select chosen, seed 0", "train chosen, seed 0",
        "test chosen, seed 0", "train tuned, seed 1", "test tuned, seed 1",
        "test asked_again, seed 1",
    ]  # fmt: skip
    by_name = {str(job): job.arguments for job in planned}
    assert by_name["test base, seed 0"][1] == f"--checkpoint={_base(study, started)}"
    train = by_name["train tuned, seed 1"]
    # Of what is given, the file's own comes first, then the user's, then what the arm varies.
    assert [a for a in train if a.startswith("--gin_file")] == [
        "--gin_file=gin_configs/experiments/minilab_demo.gin",
        "--gin_file=gin_configs/experiments/minilab_tiny.gin",
    ]  # fmt: skip
    assert train.index("--gin.TRAIN_STEPS=2") < train.index("--gin.EVAL_EXAMPLES=1")
    assert train[-3:] == (
        "--gin.MIXTURE_OR_TASK_NAME=minilab_tiny_train", "--gin.SEED=1",
        "--gin.MODEL_DIR=out/tuned/seed1/run",
    )  # fmt: skip
    again = by_name["test asked_again, seed 1"]
    assert again[1:4] == (
        "--checkpoint=out/tuned/seed1/run", "--mixture=minilab_tiny_heldout_tasks",
        "--out=out/asked_again/seed1/answers",
    )  # fmt: skip
    select = by_name["select chosen, seed 0"]
    assert select[-3:] == ("-k=2", "--encoder=folder", "--out=out/chosen/seed0/manifest.json")
    assert "--seed=0" in select and "--gin.ENCODER=folder" not in train
    mixture = "--gin.MIXTURE_OR_TASK_NAME=selected:out/chosen/seed0/manifest.json"
    assert mixture in by_name["train chosen, seed 0"]
    # Arms differ in what they vary, and in where they lie.
    others = {
        a for a in {*train} ^ {*by_name["train tuned, seed 0"]} if not a.startswith("--gin.SEED")
    }
    assert all(a.startswith("--gin.MODEL_DIR") for a in others)
    one = declared.plan(study, Started("out", seeds=1))
    assert [job.seed for job in one] == [0] * 7


def _base(study, started):
    return declared._initial(study, started)


@pytest.mark.parametrize(
    "old, new, error",
    [
        ("question:", "qestion:", "'qestion' is not known; did you mean 'question'"),
        ("seeds: 2", "seeds: 0", "'seeds' must be a whole number from 1 on"),
        ("TRAIN_STEPS: 2,", "TRAIN_STEP: 2,", "'TRAIN_STEP' is no macro; did you mean"),
        ("TRAIN_STEPS: 2,", "TRAIN_STEPS: -2,", "TRAIN_STEPS"),
        ("weights: tuned,", "weights: tned,", "'weights' names no arm .*did you mean 'tuned'"),
        ("arm: tuned, than: base", "arm: tuned, than: bse", "no arm 'bse'; did you mean 'base'"),
        ("  base:", "  ../base:", "must be lower-case letters"),
        ("weights: tuned,", "weights: tuned, baseline: copy_input,", "one of the three"),
        ("weights: tuned,", "baseline: copy_inputs,", "'baseline' is none of .*did you mean"),
        ("weights: tuned,", "select: [a],", "'select' chooses tasks to train on"),
    ],
)
def test_files_that_are_not_as_they_should_be(tiny, old, new, error):
    with open(tiny) as file:
        text = file.read()
    assert old in text
    with open(tiny, "w") as file:
        file.write(text.replace(old, new, 1))
    with pytest.raises(DataError, match=rf"wordings.yaml.*{error}"):
        declared.read(tiny)


def test_names_of_studies():
    with pytest.raises(ConfigError, match="no study 'rael'; did you mean 'real'"):
        declared.read("rael")
    for name in declared.known():
        study = declared.read(name)
        assert study.question and study.comparisons


def test_sentences_follow_from_numbers():
    def said(*estimates):
        return answer.sentence("a beats b", dict(zip(METRICS, estimates, strict=True)))

    more, less, open_ = Estimate(2, 1, 3), Estimate(-2, -3, -1), Estimate(0.5, -1, 2)
    assert (
        said(more, more) == "A beats b: ROUGE-L +2.0 [+1.0, +3.0]; exact match +2.0 [+1.0, +3.0]."
    )
    assert said(open_, open_).startswith("Not shown: that a beats b: ROUGE-L +0.5 [-1.0, +2.0]")
    assert said(more, open_).startswith("By ROUGE-L alone, a beats b")
    assert said(less, open_).startswith("The opposite of “a beats b” is seen in ROUGE-L")
    assert said(less, more).startswith("By exact match one way and by ROUGE-L the other")


def test_a_whole_study(tiny, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["study", tiny, f"--out={out}", "--seeds=1"]
    environment = {**os.environ, "PREPARED_DIR": str(tmp_path / "prepared")}
    # Killed while something trains, it goes on from there.
    process = subprocess.Popen(
        [sys.executable, "-m", "flan_jax", *command], env=environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    marker = out / "base/seed0/test.done.json"
    deadline = time.monotonic() + 180
    while not marker.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "the same command goes on from here" in said
    first = marker.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "flan_jax", *command], env=environment, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1/6  train tuned, seed 0" in done.stdout and "Base <untuned>" in done.stdout
    assert marker.read_text() == first
    results = json.loads((out / "results.json").read_text())
    arms = {arm["name"]: arm for arm in results["arms"]}
    assert [len(arm["seeds"]) for arm in arms.values()] == [1, 1, 1, 1]
    assert arms["tuned"]["parameters"] == {"train": {"MIXTURE_OR_TASK_NAME": "minilab_tiny_train"}}
    for arm in arms.values():
        for value in arm["metrics"].values():
            assert 0 <= value["ci95"][0] <= value["mean"] <= value["ci95"][1] <= 100
    same = results["comparisons"][1]["metrics"]["rougeL"]
    assert same["mean"] == 0 and not same["shown"]
    assert results["comparisons"][1]["sentence"].startswith("Not shown: that asking twice helps")
    assert "| Tuned |" in (out / "results.md").read_text()
    page = (out / "report.html").read_text()
    assert "Base &lt;untuned&gt;" in page and "<untuned>" not in page

    # Done again, nothing is run; with other settings, it is refused before anything is.
    study, started = declared.read(tiny), Started(str(out), seeds=1)
    jobs.run(str(out), declared.plan(study, started), lambda text: pytest.fail(text))
    with pytest.raises(ConfigError, match=r"as another command made it \(--gin.EVAL_EXAMPLES=1"):
        run([*command, "--gin.EVAL_EXAMPLES=1"])


def test_a_command_that_fails_has_its_last_words(tiny, tmp_path):
    study = declared.read(tiny)
    planned = declared.plan(study, Started(str(tmp_path), overrides=("VOCABULARY=nowhere.model",)))
    with pytest.raises(FlanJaxError, match=r"(?s)test base, seed 0 failed; .*nowhere.model"):
        jobs.run(str(tmp_path), planned[:1], print)
    assert not jobs.is_done(str(tmp_path), planned[0])
