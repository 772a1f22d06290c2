"""Super-NI: a folder becomes SeqIO tasks, cards and mixtures, and says what is wrong with it."""

import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import gin
import pytest
import seqio
from absl import logging
from prepared import examples as unit
from releases import examples, imported

from flan_jax import files
from flan_jax.cli import run
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import cards, draws, recipes, registration
from flan_jax.instructions.mixtures import member_tasks, task_rates
from flan_jax.natural_instructions import encodings
from tasks.natural_instructions import index

MODULE = "tasks.natural_instructions.super_ni"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def task_object(number, count, output, **fields):
    obj = {
        "Source": [f"source{number}"],
        "Categories": ["Rhyming"],
        "Definition": [f"Definition of {number}"],
        "Input_language": ["English"],
        "Output_language": ["French"],
        "Domains": ["Books"],
        "Positive Examples": [{"input": "p", "output": "q", "explanation": "r"}],
        "Negative Examples": [],
        "Instances": [
            {"id": f"task{number}-{i:04d}", "input": f"input {i}", "output": output(i)}
            for i in range(count)
        ],
    }
    return obj | fields


def write_task(folder, name, obj):
    (folder / "tasks" / f"{name}.json").write_text(json.dumps(obj))


def write_split(folder, track, part, names):
    file = folder / "splits" / track / f"{part}_tasks.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def folder(tmp_path):
    """Four small tasks: two to train on, two that are tested on."""
    folder = tmp_path / "ni"
    (folder / "tasks").mkdir(parents=True)
    write_task(folder, "task001_label", task_object(1, 12, lambda i: ["yes" if i % 2 else "no"]))
    write_task(
        folder, "task002_many-refs", task_object(2, 6, lambda i: [f"a{i}", f"b{i}", f"c{i}"])
    )
    write_task(folder, "task003_small", task_object(3, 5, lambda i: f"out {i}"))
    write_task(folder, "task004_big", task_object(4, 103, lambda i: [f"out {i}"]))
    write_split(
        folder, "default", "train", ["task001_label", "task002_many-refs", "task900_absent"]
    )
    write_split(folder, "default", "test", ["task003_small", "task004_big"])
    write_split(folder, "default", "excluded", ["task901_absent"])
    return folder


@pytest.fixture
def super_ni(folder, tmp_path, monkeypatch):
    """The module, imported for `folder` and with nothing registered."""
    with imported(MODULE, "SUPER_NI_DIR", folder, tmp_path / "cache", monkeypatch) as module:
        yield module


def words(example):
    return tuple(example[key].decode() for key in ("inputs_pretokenized", "targets_pretokenized"))


def test_importing_registers_the_folder_of_the_settings(super_ni, folder, monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE)
    module = importlib.import_module(MODULE)
    try:
        assert "super_ni_task001_label" in seqio.TaskRegistry.names()
        assert module.register(str(folder)).folder == os.path.realpath(folder)
    finally:
        module.unregister()


@pytest.mark.parametrize("value", [None, "/no/such/folder"])
def test_importing_without_a_folder_says_how_to_set_it(super_ni, monkeypatch, value):
    monkeypatch.delitem(sys.modules, MODULE)
    monkeypatch.delenv("SUPER_NI_DIR")
    if value:
        monkeypatch.setenv("SUPER_NI_DIR", value)
    with pytest.raises(DataError, match=r"--gin\.SUPER_NI_DIR=") as caught:
        importlib.import_module(MODULE)
    assert (value or "not set") in str(caught.value)
    assert "environment variable SUPER_NI_DIR" in str(caught.value)


def test_a_gin_macro_names_the_folder(super_ni, folder, monkeypatch):
    monkeypatch.delenv("SUPER_NI_DIR")
    gin.parse_config(f"SUPER_NI_DIR = {str(folder)!r}\nSUPER_NI_BUDGET = 300")
    try:
        registered = super_ni.register(super_ni._folder_from_settings())
    finally:
        gin.clear_config()
    assert registered.folder == os.path.realpath(folder)
    assert registered.rendering.budget == 300


def test_registering_twice_does_nothing_and_another_folder_is_refused(
    super_ni, folder, tmp_path, monkeypatch
):
    first = super_ni.register(str(folder))
    assert super_ni.register(f"{folder}/") is first
    with pytest.raises(DataError, match="one process reads one folder"):
        super_ni.register(str(tmp_path))
    monkeypatch.setenv("SUPER_NI_ENCODING", "def")
    with pytest.raises(DataError, match="registered already"):
        super_ni.register(str(folder))
    super_ni.unregister()
    assert super_ni.register(str(folder)).rendering.encoding == "def"


def test_nothing_stays_after_unregister(super_ni, folder):
    registered = super_ni.register(str(folder))
    assert len(registered.tasks) == 4
    super_ni.unregister()
    left = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names(), *cards.card_names()}
    assert not left & {*registered.tasks, *registered.mixtures}


def test_registering_after_the_registry_was_emptied_by_hand(super_ni, folder):
    registered = super_ni.register(str(folder))
    for name in registered.mixtures:
        seqio.MixtureRegistry.remove(name)
    for name in registered.tasks:
        seqio.TaskRegistry.remove(name)
    assert super_ni.register(str(folder)) == registered
    assert set(registered.tasks) <= set(seqio.TaskRegistry.names())


def test_a_mixture_name_that_is_taken_leaves_nothing_behind(super_ni, folder):
    source = registration.rows_source(lambda split: [], {}, {"train": 0})
    seqio.TaskRegistry.add("foreign", source=source, output_features={})
    seqio.MixtureRegistry.add("super_ni_default_test", ["foreign"], default_rate=1.0)
    try:
        with pytest.raises(DataError, match="registered already"):
            super_ni.register(str(folder))
        assert not any(name.startswith("super_ni_") for name in seqio.TaskRegistry.names())
        assert "super_ni_default_train" not in seqio.MixtureRegistry.names()
    finally:
        seqio.MixtureRegistry.remove("super_ni_default_test")
        seqio.TaskRegistry.remove("foreign")
    assert len(super_ni.register(str(folder)).mixtures) == 2


def test_a_name_that_is_taken_leaves_nothing_behind(super_ni, folder):
    source = registration.rows_source(lambda split: [], {}, {"train": 0})
    seqio.TaskRegistry.add("super_ni_task004_big", source=source, output_features={})
    try:
        with pytest.raises(DataError, match="registered already"):
            super_ni.register(str(folder))
        assert "super_ni_task001_label" not in seqio.TaskRegistry.names()
        assert "super_ni_task004_big" in seqio.TaskRegistry.names()
    finally:
        seqio.TaskRegistry.remove("super_ni_task004_big")
    assert super_ni.register(str(folder))


def test_splits(super_ni, folder):
    super_ni.register(str(folder))
    assert [e["id"] for e in examples("super_ni_task004_big", "test")] == [
        f"task4-{i:04d}".encode() for i in range(100)
    ]
    assert [e["id"] for e in examples("super_ni_task004_big", "train")] == [
        f"task4-{i:04d}".encode() for i in range(100, 103)
    ]
    assert set(seqio.TaskRegistry.get("super_ni_task003_small").splits) == {"test"}
    assert len(examples("super_ni_task003_small", "test")) == 5
    task = seqio.TaskRegistry.get("super_ni_task001_label")
    assert set(task.splits) == {"train"}
    assert task.num_input_examples("train") == 12
    assert len(examples("super_ni_task001_label", "train")) == 12


def test_end_to_end_prompt_and_target(super_ni, folder):
    super_ni.register(str(folder))
    example = examples("super_ni_task001_label", "train")[3]
    prompt = (
        "Definition: Definition of 1.\n\n Positive Example 1 -\nInput: p.\n Output: q.\n\n"
        "Now complete the following example -\nInput: input 3.\nOutput: "
    )
    assert words(example) == (prompt, "yes")
    vocabulary = seqio.ByteVocabulary(extra_ids=100)
    assert example["inputs"].tolist() == [*vocabulary.encode(prompt), 1]
    assert example["targets"].tolist() == [*vocabulary.encode("yes"), 1]
    assert example["id"] == b"task1-0003"
    assert example["template"] == b"def_pos2"
    assert example["references"].tolist() == [b"yes"]


def test_the_target_is_one_of_the_references_and_varies(super_ni, folder):
    super_ni.register(str(folder))
    drawn = []
    for number in range(6):
        with draws.rendering_context(0, number):
            rows = examples("super_ni_task002_many_refs", "train")
        for i, row in enumerate(rows):
            assert row["references"].tolist() == [f"{x}{i}".encode() for x in "abc"]
            assert row["targets_pretokenized"] in row["references"].tolist()
        drawn.append(tuple(row["targets_pretokenized"] for row in rows))
    assert len(set(drawn)) > 3
    with draws.rendering_context(0, 2):
        again = examples("super_ni_task002_many_refs", "train")
    assert tuple(row["targets_pretokenized"] for row in again) == drawn[2]


def test_renderings_do_not_depend_on_order_or_sharding(super_ni, folder):
    super_ni.register(str(folder))
    task = "super_ni_task002_many_refs"
    expected = {e["id"]: words(e) for e in examples(task, "train")}
    shuffled = examples(task, "train", shuffle=True, seed=5)
    assert [e["id"] for e in shuffled] != list(expected)
    assert {e["id"]: words(e) for e in shuffled} == expected
    for shard in range(2):
        info = seqio.ShardInfo(index=shard, num_shards=2)
        rows = examples(task, "train", shard_info=info)
        assert len(rows) == 3
        assert all(words(e) == expected[e["id"]] for e in rows)


WORKER = """
import json, seqio
import tasks.natural_instructions.super_ni
task = seqio.get_mixture_or_task("super_ni_task002_many_refs")
rows = task.get_dataset({"inputs": 1024, "targets": 128}, "train", shuffle=True, seed=9)
print(json.dumps({r["id"].decode(): [r["inputs_pretokenized"].decode(),
      r["targets_pretokenized"].decode()] for r in rows.as_numpy_iterator()}))
"""


def test_renderings_do_not_depend_on_the_process(super_ni, folder):
    super_ni.register(str(folder))
    rows = examples("super_ni_task002_many_refs", "train")
    expected = {e["id"].decode(): list(words(e)) for e in rows}
    environment = {**os.environ, "PYTHONHASHSEED": "77", "CUDA_VISIBLE_DEVICES": ""}
    worker = subprocess.run(
        [sys.executable, "-c", WORKER],
        capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert worker.returncode == 0, worker.stderr[-2000:]
    assert json.loads(worker.stdout.splitlines()[-1]) == expected


def test_a_file_is_parsed_once(super_ni, folder, monkeypatch):
    super_ni.register(str(folder))
    parsed = []
    read = index.read_task
    monkeypatch.setattr(index, "read_task", lambda path: parsed.append(path) or read(path))
    examples("super_ni_task004_big", "test")
    examples("super_ni_task004_big", "train")
    assert len(parsed) == 1


def test_mixtures(super_ni, folder):
    registered = super_ni.register(str(folder))
    assert registered.mixtures == ("super_ni_default_train", "super_ni_default_test")
    assert task_rates("super_ni_default_train") == {
        "super_ni_task001_label": 1.0,
        "super_ni_task002_many_refs": 1.0,
    }
    names = [task.name for task in member_tasks("super_ni_default_test")]
    assert names == ["super_ni_task003_small", "super_ni_task004_big"]


def test_other_tracks(super_ni, folder):
    write_split(folder, "xlingual", "train", ["task001_label", "task004_big", "task003_small"])
    write_split(folder, "xlingual", "test", ["task002_many-refs"])
    write_split(folder, "xlingual", "dev", ["task905_absent"])
    registered = super_ni.register(str(folder))
    assert "super_ni_xlingual_test" in registered.mixtures
    assert "super_ni_xlingual_dev" not in registered.mixtures
    # task003 is held out whole by the default track, task004 all but three instances, and
    # task002, which is in the default track's training list, by this one.
    assert set(task_rates("super_ni_xlingual_train")) == {
        "super_ni_task001_label", "super_ni_task004_big",
    }  # fmt: skip
    assert set(task_rates("super_ni_default_train")) == {"super_ni_task001_label"}


def test_a_dev_split_is_held_out(super_ni, folder):
    write_split(folder, "default", "train", ["task001_label"])
    write_split(folder, "default", "dev", ["task002_many-refs"])
    registered = super_ni.register(str(folder))
    assert "super_ni_default_dev" in registered.mixtures
    assert set(seqio.TaskRegistry.get("super_ni_task002_many_refs").splits) == {"validation"}


def test_cards(super_ni, folder):
    super_ni.register(str(folder))
    card = cards.get_card("super_ni_task001_label")
    assert (card.cluster, card.kind, card.options) == ("Rhyming", "classification", ("no", "yes"))
    assert card.instructions == ("Definition of 1",)
    assert (card.sources, card.licence, card.language) == (("source1",), "unknown", "English")
    assert card.module == MODULE
    as_json = card.to_json()
    assert as_json["output_language"] == ["French"]
    assert as_json["category"] == "Rhyming"
    assert as_json["split"] == {"default": "train"}
    many = cards.get_card("super_ni_task002_many_refs")
    assert (many.kind, many.options) == ("generation", ())
    assert many.to_json()["task"] == "task002_many-refs"


def test_recipe_follows_file_and_settings(super_ni, folder, monkeypatch):
    def fingerprint():
        super_ni.unregister()
        super_ni.register(str(folder))
        return recipes.get_recipe("super_ni_task001_label").fingerprint()

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    monkeypatch.setenv("SUPER_NI_BUDGET", "512")
    seen.append(fingerprint())
    monkeypatch.setenv("SUPER_NI_ENCODING", "pos1")
    seen.append(fingerprint())
    write_task(folder, "task001_label", task_object(1, 13, lambda i: ["x"]))
    seen.append(fingerprint())
    assert len(set(seen)) == 4


def test_prompt_budget_stands_for_a_budget_that_is_not_given(super_ni, folder, monkeypatch):
    monkeypatch.setenv("PROMPT_BUDGET", "200")
    long = task_object(1, 4, lambda i: ["x"])
    long["Instances"][2]["input"] = "é " * 300
    write_task(folder, "task001_label", long)
    super_ni.register(str(folder))
    found = unit("super_ni_task001_label", "train")
    assert [one.fit for one in found] == [0, 0, 1, 0]
    assert max(len(one.inputs) for one in found) <= 200
    super_ni.unregister()
    monkeypatch.setenv("SUPER_NI_BUDGET", "600")
    super_ni.register(str(folder))
    found = unit("super_ni_task001_label", "train")
    assert [one.fit for one in found] == [0, 0, 2, 0]  # longer than what others are allowed


def test_budget_is_kept(super_ni, folder, monkeypatch):
    monkeypatch.setenv("SUPER_NI_BUDGET", "80")
    long = task_object(1, 4, lambda i: ["x"])
    long["Instances"][2]["input"] = "é " * 300
    write_task(folder, "task001_label", long)
    super_ni.register(str(folder))
    rows = examples("super_ni_task001_label", "train", trim_output_features=False)
    # A cut falls between words, so a few tokens may stay free.
    assert 75 <= max(len(row["inputs"]) for row in rows) <= 80
    assert all(words(row)[0].endswith("\nOutput: ") for row in rows)


@pytest.mark.parametrize("budget", ["many", "-5", "63", "1.5", "9" * 5000, "²5"])
def test_wrong_budget(super_ni, folder, monkeypatch, budget):
    monkeypatch.setenv("SUPER_NI_BUDGET", budget)
    with pytest.raises(ConfigError, match="SUPER_NI_BUDGET"):
        super_ni.register(str(folder))


def test_wrong_encoding(super_ni, folder, monkeypatch):
    monkeypatch.setenv("SUPER_NI_ENCODING", "dfe_pos3")
    with pytest.raises(ConfigError, match="did you mean 'def_pos3'"):
        super_ni.register(str(folder))


def test_the_meta_encoding_is_drawn_for_each_example(super_ni, folder, monkeypatch):
    write_task(folder, "task001_label", task_object(1, 60, lambda i: ["x"]))
    task = "super_ni_task001_label"
    expected = {}
    for name in encodings.META_ENCODINGS:
        super_ni.unregister()
        monkeypatch.setenv("SUPER_NI_ENCODING", name)
        super_ni.register(str(folder))
        for row in examples(task, "train"):
            expected[row["id"], name.encode()] = row["inputs_pretokenized"]
    super_ni.unregister()
    monkeypatch.setenv("SUPER_NI_ENCODING", "meta")
    super_ni.register(str(folder))
    with draws.rendering_context(0, 1):
        later = examples(task, "train")
    rows = examples(task, "train", shuffle=True, seed=3)
    for row in (*rows, *later):
        assert row["inputs_pretokenized"] == expected[row["id"], row["template"]]
    drawn = {row["id"]: row["template"].decode() for row in rows}
    assert set(drawn.values()) == set(encodings.META_ENCODINGS)
    assert drawn == {row["id"]: row["template"].decode() for row in examples(task, "train")}
    assert drawn != {row["id"]: row["template"].decode() for row in later}


def test_a_prompt_that_is_cut_is_said_and_may_be_cut_as_in_the_original(
    super_ni, folder, monkeypatch
):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    monkeypatch.setenv("SUPER_NI_BUDGET", "120")
    long = task_object(1, 4, lambda i: ["x"])
    long["Instances"][2]["input"] = long["Instances"][3]["input"] = "word " * 60
    write_task(folder, "task001_label", long)
    super_ni.register(str(folder))
    assert words(examples("super_ni_task001_label", "train")[2])[0].endswith("\nOutput: ")
    (line,) = [line for line in said if "exceed 120 tokens" in line]
    assert line.startswith("task001_label.json: ")
    super_ni.unregister()
    monkeypatch.setenv("SUPER_NI_OVERFLOW", "original")
    super_ni.register(str(folder))
    prompt = words(examples("super_ni_task001_label", "train")[2])[0]
    assert len(prompt) == 119
    assert prompt.startswith("Definition: Definition of 1.\n\nNow complete")
    monkeypatch.setenv("SUPER_NI_OVERFLOW", "keep_qery")
    super_ni.unregister()
    with pytest.raises(ConfigError, match="did you mean 'keep_query'"):
        super_ni.register(str(folder))


def test_show_prints_the_prompt_and_nothing_else(super_ni, folder, monkeypatch, capsys):
    show = ["tasks", "show", "super_ni_task001_label", "-n", "1", "--raw", f"--module={MODULE}"]
    monkeypatch.delitem(sys.modules, MODULE)
    assert run([*show, "--encoding=name_def", f"--gin.SUPER_NI_DIR={folder}"]) == 0
    shown = capsys.readouterr().out
    try:
        assert shown == (
            "task001_label. Definition: Definition of 1.\n\n"
            "Now complete the following example -\nInput: input 0.\nOutput: "
        )
        with pytest.raises(DataError, match="--encoding=def comes too late"):
            run([*show, "--encoding=def"])
        with pytest.raises(ConfigError, match="names begin with super_ni_ or"):
            run(["tasks", "show", "minilab_sentiment", "--encoding=def"])
    finally:
        gin.clear_config()
        sys.modules[MODULE].unregister()


def test_a_file_that_changes_after_registering_is_noticed(super_ni, folder):
    super_ni.register(str(folder))
    write_task(folder, "task001_label", task_object(1, 2, lambda i: ["other"]))
    with pytest.raises(DataError, match="has changed since it was registered"):
        examples("super_ni_task001_label", "train")


def same_size_and_time(path, old, new):
    """Changes a file so that neither its size nor the time of its modification tells."""
    before = path.stat()
    text = path.read_text()
    assert len(old) == len(new) and old in text
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.stat().st_size == before.st_size


def targets(root):
    mixture = prepare("super_ni_task9001_plain", "train", Renderings(), str(root))
    return {example.target for example in mixture.units[0][0]}


def test_a_file_that_changed_without_a_trace_is_prepared_anew(
    super_ni, shared_data, tmp_path, monkeypatch
):
    folder = tmp_path / "changing"
    shutil.copytree(shared_data / "cases/index_same_mtime/ni2", folder)
    super_ni.register(str(folder))
    recipe = recipes.get_recipe("super_ni_task9001_plain")
    assert recipe.fingerprint() == "acedcf0797cca04a"  # what was prepared stays in use
    assert targets(tmp_path) == {"the"}
    path = folder / "tasks/task9001_plain.json"
    same_size_and_time(path, '"the"', '"eht"')
    super_ni.unregister()  # as in another process
    super_ni.register(str(folder))
    assert targets(tmp_path) == {"eht"}

    # On storage that tells nothing, what the message advises helps.
    monkeypatch.setattr(index.files, "stamp", lambda path: files.Stamp(1, 1, 0, 0))
    super_ni.unregister()
    super_ni.register(str(folder))
    same_size_and_time(path, '"eht"', '"het"')
    super_ni.unregister()
    super_ni._parse.cache_clear()
    super_ni.register(str(folder))
    with pytest.raises(DataError, match="has changed since it was registered: start the process"):
        examples("super_ni_task9001_plain", "train")
    super_ni.unregister()
    super_ni.register(str(folder))
    assert targets(tmp_path) == {"het"}


def test_two_names_that_become_one(super_ni, folder):
    write_task(folder, "task002_many_refs", task_object(2, 2, lambda i: ["x"]))
    with pytest.raises(DataError, match="both be named 'super_ni_task002_many_refs'"):
        super_ni.register(str(folder))


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Names of the files that the index reads, emptied by whoever looks."""
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "cache"))
    seen = []
    read = index.read_task
    monkeypatch.setattr(index, "read_task", lambda p: seen.append(p.name) or read(p))
    return seen


def test_index_reads_only_what_changed(folder, reads):
    first = index.build_index(str(folder))
    assert len(reads) == 4
    assert list(first) == sorted(first)
    assert (first["task004_big"].instances, first["task004_big"].options) == (103, ())
    reads.clear()
    assert index.build_index(str(folder)) == first
    assert reads == []
    write_task(folder, "task001_label", task_object(1, 13, lambda i: ["x"]))
    (folder / "tasks" / "task003_small.json").unlink()
    second = index.build_index(str(folder))
    assert reads == ["task001_label.json"]
    assert second["task001_label"].instances == 13
    assert "task003_small" not in second
    reads.clear()
    assert index.build_index(str(folder)) == second
    assert reads == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "\0" * len(text),
        lambda text: text.replace("Rhyming", "Rhyminh"),
        lambda text: text.replace('"format": ', '"format": 10'),
        lambda text: json.dumps({**json.loads(text), "files": [3]}),
    ],
)
def test_a_damaged_index_is_made_anew(folder, reads, tmp_path, damage):
    first = index.build_index(str(folder))
    (file,) = (tmp_path / "cache" / "index").iterdir()
    file.write_text(damage(file.read_text()))
    reads.clear()
    assert index.build_index(str(folder)) == first
    assert len(reads) == 4
    reads.clear()
    assert index.build_index(str(folder)) == first
    assert reads == []


def test_an_index_that_cannot_be_written_is_no_error(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "file"))
    assert len(index.build_index(str(folder))) == 4


def test_all_wrong_files_are_reported_together(folder, reads):
    write_task(folder, "task003_small", {"Definition": 3})
    (folder / "tasks" / "task001_label.json").write_bytes(b"\xff")
    (folder / "tasks" / "bad name.json").write_text("{}")
    (folder / "tasks" / "._task001_label.json").write_bytes(b"\0")  # macOS leaves such files
    with pytest.raises(DataError) as caught:
        index.build_index(str(folder))
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 of 5 task files are wrong:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "tasks/bad name.json", "tasks/task001_label.json", "tasks/task003_small.json",
    ]  # fmt: skip
    for i in range(12):
        write_task(folder, f"task5{i:02d}_bad", [])
    with pytest.raises(DataError) as caught:
        index.build_index(str(folder))
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines)) == ("15 of 17 task files are wrong:", 12)
    assert lines[-1].strip() == "... and 5 more"


def test_the_malformed_files_of_others_are_all_named(shared_data, reads):
    with pytest.raises(DataError) as caught:
        index.build_index(str(shared_data / "cases/malformed_json/bad"))
    lines = str(caught.value).splitlines()
    assert lines[0] == "14 of 15 task files are wrong:" and lines[-1].endswith("and 4 more")
    for line, place in zip(
        lines[1:],
        (
            "task9101_dupid.json: Instances[1].id is 'task-0', which Instances[0] has already",
            "task9102_number.json: Instances[0].output[0] must be a string, found a number",
            "task9103_nested.json: Instances[0].output[0] must be a string, found a list",
            "task9104_nooutput.json: Instances[0].output must not be empty",
            "task9105_nopos.json: Positive Examples is missing",
            "task9106_emptydef.json: Definition[0] must not be blank",
            "task9107_noinst.json: Instances must not be empty",
            "task9108_null.json: Instances[0].input must be a string, found null",
        ),
        strict=False,
    ):
        assert line.strip() == f"tasks/{place}"


# What may lie in the place of a task file, and what is said of it.
STRANGE = {
    "fifo": (os.mkfifo, "not a regular file"),
    "folder": (os.mkdir, "Is a directory"),
    "link to nothing": (lambda path: os.symlink("nowhere", path), "does not exist"),
    "link to itself": (lambda path: os.symlink(path, path), "Too many levels of symbolic links"),
    "link to a device": (lambda path: os.symlink("/dev/zero", path), "not a regular file"),
    "link to no task": (lambda path: os.symlink("/etc/hostname", path), "not JSON: "),
    "huge": (lambda path: path.touch() or os.truncate(path, 1 << 40), "larger than the "),
    "deep": (lambda path: path.write_text("[" * 1_000_000), "nested too deeply"),
    "long number": (lambda path: path.write_text("9" * 5_000), "not JSON: "),
    "large number": (lambda path: path.write_text(f"{10**400}"), "must be an object, found a num"),
    "nul": (lambda path: path.write_bytes(b'{"Source": ["\0"]}'), "not JSON: "),
    "half a character": (lambda path: path.write_text('{"\\ud800": 1}'), "unknown field '.ud800'"),
    "key that is no key": (
        lambda path: path.write_text(json.dumps({"\x1b[31m" + "x" * 9_000: 1})),
        r"unknown field '.x1b\[31mx+'\.\.\.",
    ),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_whatever_lies_in_the_place_of_a_task_file_is_refused_by_name(kind, folder, reads):
    make, said = STRANGE[kind]
    make(folder / "tasks" / "task777_strange.json")
    with pytest.raises(DataError, match=f"task777_strange.json.*{said}") as caught:
        index.build_index(str(folder))
    assert len(str(caught.value)) < 500 and str(caught.value).isprintable()


def test_settings_that_name_no_file_are_refused(super_ni, folder, monkeypatch):
    os.mkfifo(folder / "names.txt")
    for value in ("a/\0", "a/" + "x" * 5000, str(folder / "names.txt"), str(folder) + "/"):
        if "\0" not in value:  # which no environment variable can hold
            monkeypatch.setenv("SUPER_NI_TASKS", value)
            with pytest.raises(DataError):
                super_ni.register(str(folder))
        gin.parse_config(f"SUPER_NI_TASKS = {value!r}")
        try:
            with pytest.raises(ConfigError if "\0" in value else DataError):
                super_ni.register(str(folder))
        finally:
            gin.clear_config()
    monkeypatch.delenv("SUPER_NI_TASKS")
    for name in ("SUPER_NI_TRAIN_TASKS", "SUPER_NI_SEED"):
        monkeypatch.setenv(name, "9" * 5_000)
        with pytest.raises(ConfigError, match=name):
            super_ni.register(str(folder))
        monkeypatch.delenv(name)


def test_one_wrong_file_is_one_line(folder, reads):
    obj = task_object(1, 5, lambda i: ["x"])
    obj["Instances"][3]["output"] = 7
    write_task(folder, "task001_label", obj)
    with pytest.raises(DataError) as caught:
        index.build_index(str(folder))
    assert str(caught.value) == (
        "tasks/task001_label.json: Instances[3].output must be a list of strings, found a number"
    )


def test_folder_without_tasks(tmp_path):
    with pytest.raises(DataError, match="has no folder 'tasks'"):
        index.build_index(str(tmp_path))
    (tmp_path / "tasks").mkdir()
    with pytest.raises(DataError, match=r"holds no \*\.json files"):
        index.build_index(str(tmp_path))


TASKS = ("task001_label", "task002_many-refs", "task003_small", "task004_big")


def test_split_file_that_is_missing(folder):
    (folder / "splits" / "default" / "test_tasks.txt").rename(
        folder / "splits" / "default" / "tests_tasks.txt"
    )
    with pytest.raises(DataError, match=r"test_tasks\.txt does not exist; did you mean 'tests_"):
        index.read_tracks(str(folder), TASKS)
    (folder / "splits" / "default").rename(folder / "splits" / "defualt")
    with pytest.raises(DataError, match="no folder 'splits/default'; did you mean 'defualt'"):
        index.read_tracks(str(folder), TASKS)


def test_a_task_in_two_splits(folder):
    write_split(folder, "default", "excluded", ["task901_absent", "task003_small"])
    with pytest.raises(DataError) as caught:
        index.read_tracks(str(folder), TASKS)
    assert str(caught.value) == (
        "splits/default/excluded_tasks.txt, line 2: 'task003_small' is named already in "
        "splits/default/test_tasks.txt, line 1"
    )


def test_a_misspelt_task(folder):
    write_split(folder, "default", "train", ["task001_labl", "task002_many-refs"])
    with pytest.raises(DataError, match="did you mean 'task001_label'"):
        index.read_tracks(str(folder), TASKS)
    # Another number is another task, however alike the names are.
    write_split(folder, "default", "train", ["task005_label", "task002_many-refs"])
    (track,) = index.read_tracks(str(folder), TASKS)
    assert track.present["train"] == ("task002_many-refs",)


def test_splits_of_another_release(folder):
    for part in ("train", "test", "excluded"):
        write_split(folder, "default", part, [f"task90{part}_x"])
    with pytest.raises(DataError, match="none of the 4 tasks in .* is named"):
        index.read_tracks(str(folder), TASKS)


def test_a_split_without_tasks_is_said_and_makes_no_mixture(super_ni, folder, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    write_split(folder, "default", "train", [])
    write_split(folder, "default", "test", ["task950_absent"])
    write_split(folder, "default", "excluded", TASKS)
    assert super_ni.register(str(folder)).mixtures == ()
    assert said == [
        "splits/default/train_tasks.txt is empty: there is no mixture super_ni_default_train",
        "splits/default/test_tasks.txt: none of its 1 tasks is in tasks/: "
        "no mixture super_ni_default_test",
    ]


def test_real_folder(super_ni, shared_data):
    registered = super_ni.register(str(shared_data / "super_ni"))
    assert len(registered.tasks) == 145
    sizes = {name: len(task_rates(name)) for name in registered.mixtures}
    assert sizes == {
        "super_ni_default_train": 55,
        "super_ni_default_test": 64,
        "super_ni_xlingual_train": 55,
        "super_ni_xlingual_test": 26,
    }
    manifest = json.loads((shared_data / "super_ni" / "manifest.json").read_text())
    for name, facts in manifest.items():
        card = cards.get_card(super_ni.seqio_name(name))
        assert card.cluster == facts["category"][0]
        assert card.attributes["split"] == {"default": facts["split"], "xlingual": facts["xsplit"]}
        split = "train" if facts["split"] == "train" else "test"
        source = seqio.TaskRegistry.get(card.name).source
        assert source.num_input_examples(split) == facts["kept"]


def test_real_prompts(super_ni, shared_data):
    super_ni.register(str(shared_data / "super_ni"))
    golden = (shared_data / "super_ni" / "golden_encodings" / "limit100000.jsonl").read_text()
    checked = 0
    for row in map(json.loads, golden.splitlines()):
        prompt = row["source"]
        if row["encoding"] != "def_pos2" or len(prompt.encode()) > 1000:
            continue
        task = seqio.get_mixture_or_task(super_ni.seqio_name(row["task"]))
        found = {e["id"].decode(): words(e)[0] for e in examples(task.name, list(task.splits)[0])}
        assert found[row["id"]] == prompt
        checked += 1
    assert checked >= 3
