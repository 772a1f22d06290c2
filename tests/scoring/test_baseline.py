"""`flan-jax baseline`: copied demonstrations and inputs, as predictions that `score` reads."""

import importlib
import json
import sys

import pytest
import seqio

from flan_jax import cli
from flan_jax.errors import DataError

MODULES = ("super_ni", "ni_v1")


def super_ni_task(number, count):
    example = {"input": "p", "explanation": "r"}
    return {
        "Source": [f"source{number}"],
        "Categories": ["Rhyming"],
        "Definition": [f"Definition of {number}"],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [{**example, "output": f"déjà {number}"}, {**example, "output": "2"}],
        "Negative Examples": [{**example, "output": "wrong"}],
        "Instances": [
            {"id": f"task{number}-{i}", "input": f"input {i}", "output": [f"{i}", f"input {i}"]}
            for i in range(count)
        ],
    }


def v1_task(examples):
    return {
        "Title": "t", "Prompt": "p", "Definition": "d", "Things to Avoid": "-",
        "Emphasis & Caution": "-",
        "Instances": [{"input": f"i{n}", "output": [f"o{n}"]} for n in range(170)],
        "Examples": {"Positive Examples": examples, "Negative Examples": ["-"]},
    }  # fmt: skip


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder of each release, named by the environment, with nothing registered."""
    ni, v1 = tmp_path / "ni", tmp_path / "v1" / "dataset_jsons"
    v1.mkdir(parents=True)
    (ni / "tasks").mkdir(parents=True)
    (ni / "splits" / "default").mkdir(parents=True)
    for name, count in {"task001_train": 5, "task002_small-one": 3, "task003_big": 104}.items():
        number = int(name[4:7])
        (ni / "tasks" / f"{name}.json").write_text(json.dumps(super_ni_task(number, count)))
    (ni / "splits" / "default" / "train_tasks.txt").write_text("task001_train\n")
    (ni / "splits" / "default" / "test_tasks.txt").write_text("task002_small-one\ntask003_big\n")
    demo = {"input": "i", "output": "shown", "reason": "r"}
    for name, examples in {"subtask003_a": [demo], "subtask005_b": ["-"]}.items():
        (v1 / f"{name}.json").write_text(json.dumps(v1_task(examples)))
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("VOCABULARY", "byte")
    monkeypatch.setenv("SUPER_NI_DIR", str(ni))
    monkeypatch.setenv("NI_V1_DIR", str(v1.parent))
    forget()
    yield ni, v1.parent
    forget()


def forget():
    """Unregisters, and lets the modules be imported anew for another folder."""
    for name in MODULES:
        full = f"tasks.natural_instructions.{name}"
        if full in sys.modules:
            sys.modules[full].unregister()
            del sys.modules[full]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def score(capsys, *arguments):
    capsys.readouterr()
    assert cli.run(["score", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_copied_demonstrations_and_inputs_are_scored(folders, tmp_path, capsys):
    out = tmp_path / "new" / "demo.jsonl"
    mixture = "--mixture=super_ni_default_test"
    assert cli.run(["baseline", "copy_demo", mixture, f"--out={out}"]) == 0
    assert "wrote 103 predictions for 2 tasks" in capsys.readouterr().out
    rows = lines(out)
    assert {row["prediction"] for row in rows} == {"déjà 2", "déjà 3"}
    assert rows[0] == {
        "task": "super_ni_task002_small_one", "id": "task2-0", "template": "copy_demo",
        "options": [], "prompt": "input 0", "prediction": "déjà 2", "targets": ["0", "input 0"],
    }  # fmt: skip
    assert cli.run(["baseline", "copy_input", mixture, f"--out={out}"]) == 0
    assert [row["prediction"] for row in lines(out)[:3]] == ["input 0", "input 1", "input 2"]
    found = score(capsys, f"--predictions={out}", f"--references={folders[0]}")
    assert found["overall"]["exact_match"] == 100.0 and found["ids"]["missing"] == 0
    assert found["by_task"]["task002_small-one"]["n"] == 3
    assert score(capsys, f"--predictions={out}")["overall"]["n"] == 103


def test_predictions_are_those_of_eval(folders, tmp_path):
    from flan_jax.scoring.predictions import Prediction

    out = tmp_path / "p.jsonl"
    arguments = ["baseline", "copy_demo", "--mixture=super_ni_task003_big", f"--out={out}"]
    assert cli.run(arguments) == 0
    found = [Prediction.from_json(line) for line in out.read_text().splitlines()]
    assert (found[7].id, found[7].targets) == ("task3-7", ("7", "input 7"))


def test_other_splits_and_a_folder_as_gin_setting(folders, tmp_path, monkeypatch):
    monkeypatch.delenv("SUPER_NI_DIR")
    out = tmp_path / "p.jsonl"
    arguments = ["baseline", "copy_demo", f"--out={out}", "--mixture=super_ni_default_train"]
    arguments += [f"--gin.SUPER_NI_DIR={folders[0]}"]
    module = "--module=tasks.natural_instructions.super_ni"
    assert cli.run([*arguments, "--split=train", module]) == 0
    assert [row["prediction"] for row in lines(out)] == ["déjà 1"] * 5
    with pytest.raises(DataError, match="no split 'test'; there are train"):
        cli.run([*arguments, module])
    with pytest.raises(DataError, match="did you mean 'super_ni_default_train'"):
        cli.run([*arguments[:3], "--mixture=super_ni_default_trian", *arguments[4:], module])


def test_the_first_release(folders, tmp_path, capsys):
    out = tmp_path / "p.jsonl"
    assert cli.run(["baseline", "copy_demo", "--mixture=ni_v1_random_test", f"--out={out}"]) == 0
    assert "100 predictions are empty" in capsys.readouterr().err  # subtask005 shows nothing
    found = score(capsys, f"--predictions={out}", f"--references={folders[1]}")
    assert found["overall"]["n"] == 200 and found["ids"]["missing"] == 0
    assert {row["prediction"] for row in lines(out)} == {"shown", ""}
    assert cli.run(["baseline", "copy_input", "--mixture=ni_v1_random_test", f"--out={out}"]) == 0
    assert lines(out)[0]["prediction"] == "i60"


def test_tasks_without_a_file_are_refused(folders, tmp_path, monkeypatch):
    importlib.import_module("toy_tasks")
    assert "toy_train" in seqio.MixtureRegistry.names()
    out = tmp_path / "p.jsonl"
    arguments = ["--module=toy_tasks", "--mixture=toy_train", f"--out={out}"]
    with pytest.raises(DataError, match="toy_copy was not made from a task file"):
        cli.run(["baseline", "copy_demo", *arguments])
    with pytest.raises(DataError, match="toy_copy: its instances have no 'input'"):
        cli.run(["baseline", "copy_input", *arguments])
    assert not out.exists()


def test_without_any_data_it_says_how_to_name_it(folders, tmp_path, monkeypatch):
    monkeypatch.delenv("SUPER_NI_DIR")
    monkeypatch.delenv("NI_V1_DIR")
    with pytest.raises(DataError, match="SUPER_NI_DIR is not set"):
        cli.run(["baseline", "copy_demo", "--mixture=super_ni_default_test", "--out=p"])


def test_real_tasks(shared_data, tmp_path, monkeypatch, capsys):
    """The figures are those of 64 of the 119 tasks; the published ones of all are 28.54, 14.20."""
    forget()
    folder = shared_data / "super_ni"
    monkeypatch.setenv("SUPER_NI_DIR", str(folder))
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "cache"))
    demo, copied = tmp_path / "copy_demo.jsonl", tmp_path / "copy_input.jsonl"
    module = "--module=tasks.natural_instructions.super_ni"
    try:
        run = ["baseline", "copy_demo", module, "--mixture=super_ni_default_test", f"--out={demo}"]
        assert cli.run(run) == 0
    finally:
        forget()
    rows = [{"id": row["id"], "prediction": row["prompt"]} for row in lines(demo)]
    copied.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file, published in ((demo, 28.54), (copied, 14.20)):
        found = score(capsys, f"--predictions={file}", f"--references={folder}")
        assert (found["overall"]["n"], found["ids"]["missing"]) == (6384, 0)
        assert found["overall"]["rougeL"] == pytest.approx(published, abs=2)
