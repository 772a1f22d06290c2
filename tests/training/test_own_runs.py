"""Notes of what this machine gave a run: for its own checkpoints alone."""

import json

import pytest

from flan_jax.errors import OutputError
from flan_jax.training import own_runs


@pytest.fixture(autouse=True)
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "flan_jax" / "runs"


def test_what_was_given_is_known_below_the_run_alone(tmp_path, notes, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUPER_NI_DIR", "data")  # from wherever one stands later
    monkeypatch.setenv("SUPER_NI_TASKS", "task1,task2")
    name = own_runs.remember("run")
    given = {"SUPER_NI_DIR": str(tmp_path / "data"), "SUPER_NI_TASKS": "task1,task2"}
    assert own_runs.recall({"run_id": name}, tmp_path / "run" / "checkpoints" / "5") == given
    assert own_runs.recall({"run_id": name}, tmp_path / "run2" / "checkpoints" / "5") is None
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert own_runs.recall({"run_id": name}, tmp_path / "link" / "checkpoints" / "5") == given
    assert own_runs.recall({"run_id": "0" * 32}, tmp_path / "run") is None
    # It goes on under the same name; another run takes over no name.
    monkeypatch.delenv("SUPER_NI_TASKS")
    assert own_runs.remember("run", {"run_id": name}) == name
    assert own_runs.recall({"run_id": name}, tmp_path / "run") == {
        "SUPER_NI_DIR": given["SUPER_NI_DIR"]
    }
    assert own_runs.remember("other", {"run_id": name}) != name
    assert len(list(notes.iterdir())) == 2


@pytest.mark.parametrize("name", [None, 3, "", "../" * 12 + "etc", "a" * 31, "A" * 32, ["a"]])
def test_names_that_a_checkpoint_makes_up(tmp_path, name):
    assert own_runs.recall({"run_id": name}, tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_dir": 3, "settings": {}}', "[" * 9999])
def test_a_damaged_note_is_none(tmp_path, notes, text):
    name = own_runs.remember(str(tmp_path))
    (notes / f"{name}.json").write_text(text)
    assert own_runs.recall({"run_id": name}, tmp_path) is None


def test_a_note_holds_what_is_remembered_and_no_more(tmp_path, notes):
    name = own_runs.remember(str(tmp_path))
    settings = {"SUPER_NI_DIR": "/data", "MIXTURE_OR_TASK_MODULE": "evil"}
    (notes / f"{name}.json").write_text(json.dumps({"model_dir": "/", "settings": settings}))
    assert own_runs.recall({"run_id": name}, tmp_path) == {"SUPER_NI_DIR": "/data"}


def test_old_notes_go(tmp_path, notes, monkeypatch):
    monkeypatch.setattr(own_runs, "_MOST", 3)
    for number in range(6):
        own_runs.remember(str(tmp_path / str(number)))
    assert len(list(notes.iterdir())) == 4


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot write .*file.*Not a directory"):
        own_runs.remember("run")
