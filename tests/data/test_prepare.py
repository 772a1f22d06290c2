"""SeqIO tasks become records, once; whatever shaped them makes others when it changes."""

import dataclasses
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap

import gin
import pytest
import seqio
import tensorflow as tf

from flan_jax import cli, config
from flan_jax.data.prepare import prepare, prepare_on_beam
from flan_jax.data.records import INDEX, RECORDS, TABLE
from flan_jax.data.units import Renderings, unit_specs
from flan_jax.errors import DataError, FlanJaxError
from flan_jax.instructions import cards, mixtures, recipes, registration
from flan_jax.instructions.templates import Template
from flan_jax.instructions.vocabulary import VOCABULARY, load_vocabulary

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNTS = {"train": 12, "test": 3}


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """Leaves no task behind, and the byte vocabulary in force, here and in worker processes."""
    monkeypatch.setenv("VOCABULARY", "byte")
    monkeypatch.setattr(VOCABULARY, "_pinned", "byte")
    before = {*seqio.TaskRegistry.names()}, {*seqio.MixtureRegistry.names()}
    yield
    for name in {*seqio.TaskRegistry.names()} - before[0]:
        unregister(name)
    for name in {*seqio.MixtureRegistry.names()} - before[1]:
        seqio.MixtureRegistry.remove(name)


def unregister(name):
    seqio.TaskRegistry.remove(name)
    recipes._RECIPES.pop(name, None)
    if cards.find_card(name) is not None:
        cards.remove_card(name)


def rows_of(name, split):
    return [
        {"id": f"{split}/{i}", "text": f"{name} {i * i}", "answer": f"no. {i}"}
        for i in range(COUNTS[split])
    ]


def register(name, verb="Copy", version="1", splits=("train", "test")):
    """A task with two templates, one of which names the verb."""
    registration.register_templated_task(
        cards.Card(
            name=name, cluster="c", kind="generation", instructions=("Copy.",), module=__name__
        ),
        source=registration.rows_source(
            functools.partial(rows_of, name),
            {"text": "string", "answer": "string"},
            {split: COUNTS[split] for split in splits},
        ),
        fields=["text", "answer"],
        templates=[Template(f"{verb}: {{text}}", "{answer}"), Template("{text}?", "{answer}")],
        version=version,
    )


def prepared(name, root, said=None, split="train", renderings=1, **kwargs):
    report = (lambda line: None) if said is None else said.append
    return prepare(name, split, Renderings(renderings), str(root), report=report, **kwargs)


def snapshot(root):
    """Modification time of every file."""
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(root).rglob("*")}


def contents(mixture):
    """Everything in a prepared mixture, comparable."""
    found = {}
    for of_task in mixture.units:
        for unit in of_task:
            examples = [dataclasses.asdict(example) for example in unit]
            for example in examples:
                example["inputs"] = example["inputs"].tolist()
                example["targets"] = example["targets"].tolist()
            found[unit.spec.task, unit.spec.rendering.number] = examples
    return found


# What is prepared


def test_records_hold_what_seqio_yields(tmp_path):
    register("flan_t_one")
    mixture = prepared("flan_t_one", tmp_path)
    examples = contents(mixture)["flan_t_one", 0]
    dataset = seqio.TaskRegistry.get("flan_t_one").get_dataset(
        {"inputs": 512, "targets": 512}, "train", shuffle=False
    )
    for example, raw in zip(examples, dataset.as_numpy_iterator(), strict=True):
        assert example["inputs"] == raw["inputs"].tolist()
        assert example["targets"] == raw["targets"].tolist()
        assert example["prompt"] == raw["inputs_pretokenized"].decode()
        assert example["id"] == raw["id"].decode()
        assert example["inputs"][-1] == VOCABULARY.eos_id
        assert load_vocabulary("byte").decode(example["targets"]) == example["target"]
    assert [example["id"] for example in examples] == [f"train/{i}" for i in range(12)]
    assert {example["template"] for example in examples} == {"t0", "t1"}
    assert mixture.rates == {"flan_t_one": 1.0}


def test_tables_describe_the_records(tmp_path):
    register("flan_t_one")
    [table] = prepared("flan_t_one", tmp_path, renderings=3).tables
    mixture = prepared("flan_t_one", tmp_path, renderings=3)
    assert (table.name, table.count, table.renderings) == ("flan_t_one", 12, 3)
    for number in range(3):
        examples = contents(mixture)["flan_t_one", number]
        lengths = [[len(e["inputs"]), len(e["targets"])] for e in examples]
        assert table.lengths_RxNx2[number].tolist() == lengths
        assert table.ids.tolist() == [e["id"].encode() for e in examples]
    prompts = {tuple(e["prompt"] for e in found) for found in contents(mixture).values()}
    assert len(prompts) == 3  # renderings differ


def test_a_second_call_does_nothing(tmp_path):
    register("flan_t_one")
    said = []
    first = contents(prepared("flan_t_one", tmp_path, said, renderings=2))
    assert said == [
        f"preparing 24 examples of 1 tasks below {tmp_path}",
        "prepared 24 examples",
    ]
    before = snapshot(tmp_path)
    said.clear()
    assert contents(prepared("flan_t_one", tmp_path, said, renderings=2)) == first
    assert said == [] and snapshot(tmp_path) == before
    # A third rendering leaves the two that are there alone.
    assert len(contents(prepared("flan_t_one", tmp_path, said, renderings=3))) == 3
    assert said[-1] == "prepared 12 examples"
    after = snapshot(tmp_path)
    assert {path: after[path] for path in before if path.is_file()} == {
        path: time for path, time in before.items() if path.is_file()
    }


def test_mixtures_share_records(tmp_path):
    register("flan_t_one")
    register("flan_t_two")
    mixtures.register_mixture("flan_t_both", ["flan_t_two", "flan_t_one"], cap=5)
    prepared("flan_t_one", tmp_path)
    said = []
    both = prepared("flan_t_both", tmp_path, said)
    assert said[-1] == "prepared 12 examples"
    assert [units[0].spec.task for units in both.units] == ["flan_t_one", "flan_t_two"]
    assert both.rates == {"flan_t_one": 5.0, "flan_t_two": 5.0}
    assert len(both.recipes) == 2


def change_template():
    unregister("flan_t_one")
    register("flan_t_one", verb="Repeat")


def change_version():
    unregister("flan_t_one")
    register("flan_t_one", version="2")


def change_vocabulary():
    VOCABULARY._pinned = "default"


@pytest.mark.parametrize("change", [change_template, change_version, change_vocabulary])
def test_what_shapes_tokens_leads_to_other_records(change, tmp_path):
    register("flan_t_one")
    old = prepared("flan_t_one", tmp_path)
    change()
    said = []
    new = prepared("flan_t_one", tmp_path, said)
    assert said[-1] == "prepared 12 examples"
    assert new.units[0][0].folder != old.units[0][0].folder
    assert (contents(new) != contents(old)) == (change is not change_version)
    assert new.tables[0].fingerprint != old.tables[0].fingerprint


@pytest.mark.parametrize("name", [RECORDS, TABLE, INDEX])
def test_damaged_records_are_made_again_and_it_says_so(name, tmp_path):
    register("flan_t_one")
    mixture = prepared("flan_t_one", tmp_path, renderings=2)
    expected = contents(mixture)
    path = pathlib.Path(mixture.units[0][1].folder) / name
    path.write_bytes(path.read_bytes()[:-7])
    said = []
    assert contents(prepared("flan_t_one", tmp_path, said, renderings=2)) == expected
    assert said[0].startswith("preparing flan_t_one/train again: records are damaged: ")
    assert said[-1] == "prepared 12 examples"


def test_a_run_that_was_killed_while_writing_is_made_up_for(tmp_path):
    register("flan_t_one")
    mixture = prepared("flan_t_one", tmp_path)
    expected = contents(mixture)
    folder = pathlib.Path(mixture.units[0][0].folder)
    shutil.copytree(folder, folder.parent / ".writing-abc")
    (folder / INDEX).unlink()
    said = []
    assert contents(prepared("flan_t_one", tmp_path, said)) == expected
    assert said[0].startswith("preparing flan_t_one/train again: records are unfinished: ")


# Tasks from elsewhere


def plain_source(split, shuffle_files, seed=None):
    texts = [{"question": f"q{i}", "reply": f"r{i}"} for i in range(4)]
    columns = {key: [text[key] for text in texts] for key in texts[0]}
    return tf.data.Dataset.from_tensor_slices(columns)


def to_features(dataset, **columns):
    return dataset.map(lambda x: {name: x[field] for name, field in columns.items()})


def register_plain(name, features=("inputs", "targets"), **columns):
    vocabulary = load_vocabulary("byte")
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(plain_source, splits=["train"]),
        preprocessors=[
            functools.partial(to_features, **columns),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={f: seqio.Feature(vocabulary, add_eos=f == "targets") for f in features},
        metric_fns=[],
    )


def test_a_plain_seqio_task_is_prepared_as_well(tmp_path):
    register_plain("plain_t", inputs="question", targets="reply")
    examples = contents(prepared("plain_t", tmp_path))["plain_t", 0]
    assert [example["id"] for example in examples] == [f"train/{i}" for i in range(4)]
    byte = load_vocabulary("byte")
    for i, example in enumerate(examples):
        assert example["prompt"] == f"q{i}" and example["target"] == f"r{i}"
        assert example["inputs"] == byte.encode(f"q{i}")
        assert example["targets"] == [*byte.encode(f"r{i}"), byte.eos_id]
        assert example["references"] == (f"r{i}",) and example["options"] == ()
    said = []
    prepared("plain_t", tmp_path, said)
    assert said == []


def test_a_column_of_single_texts_is_not_read_as_letters(tmp_path):
    register_plain("plain_t", inputs="question", targets="reply", references="question")
    examples = contents(prepared("plain_t", tmp_path))["plain_t", 0]
    assert [example["references"] for example in examples] == [(f"q{i}",) for i in range(4)]


def test_a_task_without_inputs_is_an_error_that_names_it(tmp_path):
    register_plain("plain_t", features=["targets"], targets="reply")
    with pytest.raises(DataError, match="'plain_t', split 'train': .*no feature 'inputs'"):
        prepared("plain_t", tmp_path)


# What cannot be prepared


def test_a_misspelt_name_is_answered_with_the_nearest(tmp_path):
    register("flan_t_one")
    with pytest.raises(DataError, match="named 'flan_t_on'; did you mean 'flan_t_one'"):
        prepared("flan_t_on", tmp_path)


def test_a_split_that_no_task_has_is_an_error(tmp_path):
    register("flan_t_one")
    with pytest.raises(DataError, match="no split 'dev'; there are test, train"):
        prepared("flan_t_one", tmp_path, split="dev")


def test_tasks_without_the_split_are_left_out_and_it_says_so(tmp_path):
    register("flan_t_one")
    register("flan_t_two", splits=["train"])
    mixtures.register_mixture("flan_t_both", ["flan_t_two", "flan_t_one"])
    said = []
    mixture = prepared("flan_t_both", tmp_path, said, split="test")
    assert [table.name for table in mixture.tables] == ["flan_t_one"]
    assert said[0] == "left out, for want of split 'test': flan_t_two"


@pytest.mark.parametrize("count", [0, -1, 1.0, "2"])
def test_a_wrong_number_of_renderings_is_an_error(count):
    with pytest.raises(DataError, match="renderings must be a whole number above 0"):
        Renderings(count)


def test_a_failing_source_names_the_task(tmp_path):
    def fails(split, shuffle_files, seed=None):
        raise OSError("no such server")

    seqio.TaskRegistry.add(
        "plain_t",
        source=seqio.FunctionDataSource(fails, splits=["train"]),
        preprocessors=[],
        output_features={},
        metric_fns=[],
    )
    with pytest.raises(DataError, match="task 'plain_t', split 'train': .*no such server"):
        prepared("plain_t", tmp_path)


# Several processes

MODULE = """
import os
import seqio
from flan_jax.instructions import mixtures, registration

def rows(split):
    return [{"id": f"{split}/{i}", "text": str(i)} for i in range(8)]

def good(example, draws):
    number = draws.integer("number", 1000)
    return registration.Rendered(f"{example['text']} {number}", "answer", "t0")

def raises(example, draws):
    if example["id"] == "train/5":
        raise KeyError("no such field")
    return good(example, draws)

def dies(example, draws):
    os._exit(3)

def register(name, render):
    registration.register_task(
        name,
        source=registration.rows_source(rows, {"text": "string"}, {"train": 8}),
        render=render,
        facts={},
    )

register("w_a", good)
register("w_b", good)
register("w_bad", raises)
register("w_die", dies)
mixtures.register_mixture("w_good", ["w_a", "w_b"])
mixtures.register_mixture("w_some_bad", ["w_a", "w_b", "w_bad"])
mixtures.register_mixture("w_some_die", ["w_a", "w_die"])
"""
# Prepares mixtures of the module, in worker processes or in this one, and ends as usual.
SCRIPT = """
import sys
from flan_jax.data.prepare import prepare
from flan_jax.data.units import Renderings
from flan_jax.errors import DataError
import worker_tasks_of_a_test

if __name__ == "__main__":
    for mixture, workers in (("w_some_bad", 2), ("w_some_die", 2), ("w_bad", 1)):
        root = f"{sys.argv[1]}/{mixture}"
        try:
            prepare(
                mixture, "train", Renderings(), root,
                modules=["worker_tasks_of_a_test"], workers=workers,
            )
        except DataError as error:
            print(mixture, workers, error, flush=True)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A task module that other processes can import too."""
    (tmp_path / "worker_tasks_of_a_test.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "worker_tasks_of_a_test"
    sys.modules.pop("worker_tasks_of_a_test", None)


def test_workers_write_the_same_records_and_tell_what_fails(module, tmp_path, monkeypatch):
    """In a process of its own, which has to come to its end after pipelines that failed."""
    (tmp_path / "script.py").write_text(SCRIPT)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "script.py", str(tmp_path / "out")],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr[-3000:]
    assert lines[0].startswith("w_some_bad 2 task 'w_bad', split 'train': KeyError: ")
    assert "no such field" in lines[0]
    assert lines[1].startswith("w_some_die 2 a process that prepared data was killed")
    assert lines[2] == lines[0].replace("w_some_bad 2", "w_bad 1")

    config.import_modules(module)
    alone = prepared("w_good", tmp_path / "alone", workers=1)
    said = []
    by_workers = prepared("w_good", tmp_path / "out" / "w_some_bad", said)
    assert said == []  # what did not fail is there
    assert contents(by_workers) == contents(alone) and len(contents(alone)) == 2
    for one, two in zip(alone.units, by_workers.units, strict=True):
        for name in (RECORDS, TABLE, INDEX):
            assert (one[0].folder / name).read_bytes() == (two[0].folder / name).read_bytes()


def test_beam_writes_the_same_records(module, tmp_path):
    pytest.importorskip("apache_beam")
    config.import_modules(module)
    specs = unit_specs("w_good", "train", Renderings(2))
    root = str(tmp_path / "beam")
    options = ["--runner=DirectRunner", "--direct_num_workers=1"]
    prepare_on_beam(specs, root, [module], options)
    said = []
    found = prepared("w_good", root, said, renderings=2)
    assert said == []
    assert contents(found) == contents(prepared("w_good", tmp_path / "alone", renderings=2))
    before = snapshot(root)
    prepare_on_beam(specs, root, [module], options)
    assert snapshot(root) == before


def test_the_command_line_prepares_once(tmp_path):
    """The verb, as a process, twice: one that writes and one that finds everything there."""
    command = [
        *(sys.executable, "-m", "flan_jax", "prepare", "--mixture=minilab_tiny_train"),
        *("--module=tasks.minilab", f"--prepared_dir={tmp_path}", "--renderings=1"),
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 256, 'targets': 64}",
    ]
    env = {k: v for k, v in os.environ.items() if k not in ("VOCABULARY", "PREPARED_DIR")}

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=150
        )

    first = run()
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("preparing ") and f"below {tmp_path}" in first.stdout
    before = snapshot(tmp_path)
    second = run()
    assert second.returncode == 0, second.stderr
    lines = second.stdout.splitlines()
    assert lines[0].startswith("minilab_tiny_train (train): ") and "tasks below" in lines[0]
    assert lines[1].startswith("an epoch at 256/64 tokens: ")
    assert first.stdout.splitlines()[-2:] == lines
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("lengths", ["{'inputs': 256}", "256", "{'inputs': 0, 'targets': 1}"])
def test_wrong_feature_lengths_are_refused_before_any_work(lengths, tmp_path, monkeypatch):
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path))  # so that it is put back
    override = f"--gin.TASK_FEATURE_LENGTHS={lengths}"
    with pytest.raises(FlanJaxError, match="TASK_FEATURE_LENGTHS must be"):
        cli.run(["prepare", "--mixture=none", f"--prepared_dir={tmp_path}", override])
    gin.clear_config()
    assert list(tmp_path.iterdir()) == []
