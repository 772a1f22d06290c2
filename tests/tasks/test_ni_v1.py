"""The first release: a folder becomes SeqIO tasks, cards and the mixtures of the study's splits."""

import importlib
import json
import os
import sys

import gin
import pytest
import seqio
from absl import logging
from releases import LENGTHS, examples, imported

from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import cards, draws, recipes, registration
from flan_jax.instructions.mixtures import task_rates

MODULE = "tasks.natural_instructions.ni_v1"
# One or two of each category; 040 and 041 share a source.
FILES = {
    "subtask002_quoref_answer_generation": 160,
    "subtask010_mctaco_answer_generation_event_ordering": 70,
    "subtask040_qasc_question_generation": 262,
    "subtask041_qasc_answer_generation": 40,
    "subtask050_multirc_answerability": 165,
}


def subtask_object(name, count, **fields):
    answer = (lambda i: ["Yes", "No"][i % 2]) if "answerability" in name else "out {}".format
    obj = {
        "Title": f"Title of {name}",
        "Prompt": "Answer.",
        "Definition": f"Definition of {name}. ",
        "Things to Avoid": "-",
        "Emphasis & Caution": "Be brief.",
        "Instances": [{"input": f"input {i}", "output": [answer(i)]} for i in range(count)],
        "Examples": {
            "Positive Examples": [{"input": "p", "output": "q", "reason": "r"}],
            "Negative Examples": [{"input": "n", "output": "m", "reason": "s", "suggestion": "t"}],
        },
    }
    return obj | fields


def write(folder, name, obj):
    (folder / f"{name}.json").write_text(json.dumps(obj))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "v1"
    folder.mkdir()
    for name, count in FILES.items():
        write(folder, name, subtask_object(name, count))
    return folder


@pytest.fixture
def ni_v1(folder, tmp_path, monkeypatch):
    """The module, imported for `folder` and with nothing registered."""
    for name in ("NI_V1_ENCODING", "NI_V1_BUDGET"):
        monkeypatch.delenv(name, raising=False)
    with imported(MODULE, "NI_V1_DIR", folder, tmp_path / "cache", monkeypatch) as module:
        yield module


def ids(task, split):
    return [int(e["id"].decode().rpartition("-")[2]) for e in examples(task, split)]


def prompts(task, split):
    return [e["inputs_pretokenized"].decode() for e in examples(task, split)]


def members(mixture):
    """Numbers of the subtasks of a mixture, which all have the same rate."""
    rates = task_rates(mixture)
    assert set(rates.values()) == {1.0}
    return {int(name.removeprefix("ni_v1_subtask")[:3]) for name in rates}


def test_importing_registers_the_folder_of_the_settings(ni_v1, folder, monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE)
    module = importlib.import_module(MODULE)
    try:
        assert "ni_v1_subtask002_quoref_answer_generation" in seqio.TaskRegistry.names()
        assert module.register(str(folder)).folder == os.path.realpath(folder)
    finally:
        module.unregister()


@pytest.mark.parametrize("value", [None, "/no/such/folder"])
def test_importing_without_a_folder_says_how_to_set_it(ni_v1, monkeypatch, value):
    monkeypatch.delitem(sys.modules, MODULE)
    monkeypatch.delenv("NI_V1_DIR")
    if value:
        monkeypatch.setenv("NI_V1_DIR", value)
    with pytest.raises(DataError, match=r"--gin\.NI_V1_DIR=") as caught:
        importlib.import_module(MODULE)
    assert (value or "not set") in str(caught.value)
    assert "environment variable NI_V1_DIR" in str(caught.value)


def test_gin_macros_are_settings(ni_v1, folder, monkeypatch):
    monkeypatch.delenv("NI_V1_DIR")
    gin.parse_config(
        f"NI_V1_DIR = {str(folder)!r}\nNI_V1_BUDGET = 300\nNI_V1_ENCODING = 'full_no_neg@2'"
    )
    try:
        registered = ni_v1.register(ni_v1._folder_from_settings())
    finally:
        gin.clear_config()
    assert registered.folder == os.path.realpath(folder)
    assert registered.rendering.facts() == {
        "name": "full_no_neg@2",
        "budget": 300,
        "encoding": "_Definition_Prompt_Things to Avoid_Emphasis & Caution"
        "_Positive Examples Full Only@2",
    }


@pytest.mark.parametrize("part", ["dataset_jsons", "Dataset_Jsons"])
def test_the_files_may_lie_one_folder_deeper(ni_v1, folder, tmp_path, part):
    (tmp_path / "release").mkdir()
    folder.rename(tmp_path / "release" / part)
    (tmp_path / "release" / "package.json").write_text("{}")
    assert len(ni_v1.register(str(tmp_path / "release")).tasks) == len(FILES)


def test_registering_twice_does_nothing_and_another_folder_is_refused(
    ni_v1, folder, tmp_path, monkeypatch
):
    first = ni_v1.register(str(folder))
    assert ni_v1.register(f"{folder}/") is first
    with pytest.raises(DataError, match="one process reads one folder"):
        ni_v1.register(str(tmp_path))
    monkeypatch.setenv("NI_V1_ENCODING", "prompt")
    with pytest.raises(DataError, match="registered already"):
        ni_v1.register(str(folder))
    ni_v1.unregister()
    assert ni_v1.register(str(folder)).rendering.name == "prompt"


def test_nothing_stays_after_unregister(ni_v1, folder):
    registered = ni_v1.register(str(folder))
    assert len(registered.tasks) == 5
    ni_v1.unregister()
    left = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names(), *cards.card_names()}
    assert not any(name.startswith("ni_v1_") for name in left)


@pytest.mark.parametrize("taken", ["ni_v1_subtask050_multirc_answerability", "ni_v1_random_test"])
def test_a_name_that_is_taken_leaves_nothing_behind(ni_v1, folder, taken):
    source = registration.rows_source(lambda split: [], {}, {"train": 0})
    seqio.TaskRegistry.add(taken, source=source, output_features={})
    try:
        with pytest.raises(DataError, match="registered already"):
            ni_v1.register(str(folder))
        names = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
        assert {name for name in names if name.startswith("ni_v1_")} == {taken}
    finally:
        seqio.TaskRegistry.remove(taken)
    assert ni_v1.register(str(folder))


def test_indices_that_are_tested_on(ni_v1):
    # Those of the published predictions of tasks of 430, 6,500 and 193 instances.
    assert ni_v1.test_indices(430) == tuple(range(60, 358, 3))
    assert ni_v1.test_indices(6500) == tuple(range(60, 6397, 64))
    assert ni_v1.test_indices(193) == tuple(range(60, 160))
    # The last instance is never among them.
    assert ni_v1.test_indices(160) == tuple(range(60, 159))
    assert ni_v1.test_indices(70) == tuple(range(60, 69))
    assert ni_v1.test_indices(61) == ni_v1.test_indices(1) == ()
    for count in range(1, 700, 7):
        parts = ni_v1.split_indices(count)
        assert sorted(i for part in parts.values() for i in part) == list(range(count))
        assert "test" not in parts or 0 < len(parts["test"]) <= 100


def test_splits_of_a_task(ni_v1, folder):
    ni_v1.register(str(folder))
    task = "ni_v1_subtask040_qasc_question_generation"
    assert ids(task, "test") == list(range(60, 260, 2))
    assert ids(task, "train") == [i for i in range(262) if i < 60 or i % 2 or i > 259]
    short = seqio.TaskRegistry.get("ni_v1_subtask041_qasc_answer_generation")
    assert set(short.splits) == {"train"}
    assert ids(short.name, "train") == list(range(40))
    assert examples(task, "test")[3]["id"] == b"subtask040_qasc_question_generation-66"


def test_end_to_end_prompt_and_target(ni_v1, folder):
    ni_v1.register(str(folder))
    example = examples("ni_v1_subtask002_quoref_answer_generation", "test")[1]
    prompt = (
        "Definition: Definition of subtask002_quoref_answer_generation.\nPrompt: Answer.\n"
        "Emphasis & Caution: Be brief.\nNegative Example1- \ninput: n\noutput: m\n"
        "reason: ssuggestion: t\nPositive Example1- \ninput: p\noutput: q\nreason: r\n"
        "input: input 61\noutput:"
    )
    assert example["inputs_pretokenized"].decode() == prompt
    assert example["targets_pretokenized"] == b"out 61"
    vocabulary = seqio.ByteVocabulary(extra_ids=100)
    assert example["inputs"].tolist() == [*vocabulary.encode(prompt), 1]
    assert example["template"] == b"full"
    assert example["references"].tolist() == [b"out 61"]


def test_without_negative_examples(ni_v1, folder, monkeypatch):
    monkeypatch.setenv("NI_V1_ENCODING", "full_no_neg")
    ni_v1.register(str(folder))
    (prompt, *_) = prompts("ni_v1_subtask002_quoref_answer_generation", "test")
    assert "Be brief.\ninput: p\noutput: q\ninput: input 60\noutput:" in prompt
    assert "Negative" not in prompt


def test_instances_as_examples(ni_v1, folder, monkeypatch):
    monkeypatch.setenv("NI_V1_ENCODING", "pos@3")
    ni_v1.register(str(folder))
    found = prompts("ni_v1_subtask050_multirc_answerability", "train")
    shown = "input: p\noutput: q\ninput: input {}\noutput: {}\ninput: input {}\noutput: {}\n"
    assert found[5] == shown.format(0, "Yes", 1, "No") + "input: input 5\noutput:"
    # An instance does not show its own answer.
    assert found[1] == shown.format(0, "Yes", 2, "Yes") + "input: input 1\noutput:"


def test_the_target_is_one_of_the_references_and_varies(ni_v1, folder):
    name = "subtask050_multirc_answerability"
    rows = [{"input": str(i), "output": [f"{x}{i}" for x in "abc"]} for i in range(10)]
    write(folder, name, subtask_object(name, 0, Instances=rows))
    ni_v1.register(str(folder))
    drawn = []
    for number in range(4):
        with draws.rendering_context(0, number):
            found = examples(f"ni_v1_{name}", "train")
        for i, row in enumerate(found):
            assert row["references"].tolist() == [f"{x}{i}".encode() for x in "abc"]
            assert row["targets_pretokenized"] in row["references"].tolist()
        drawn.append(tuple(row["targets_pretokenized"] for row in found))
    assert len(set(drawn)) > 1


def test_mixtures(ni_v1, folder):
    registered = ni_v1.register(str(folder))
    found = {name.removeprefix("ni_v1_"): members(name) for name in registered.mixtures}
    everything = {2, 10, 40, 41, 50}
    assert found["random_train"] == {10, 41, 50} and found["random_test"] == {2, 40}
    assert found["supervised_train"] == found["supervised_test"] == {2, 40}
    assert found["leave_category_ag_train"] == {40, 50}
    assert found["leave_category_ag_test"] == {2, 10}  # 041 has no instances to test on
    assert found["leave_dataset_qasc_train"] == {2, 10, 50}
    assert found["leave_dataset_qasc_test"] == {40}
    assert found["leave_task_040_train"] == everything - {40}
    assert found["leave_task_040_test"] == {40}
    assert found["leave_task_041_train"] == everything - {41}
    assert "leave_task_041_test" not in found
    assert not [name for name in found if "leave_dataset_ropes" in name or "category_vf" in name]
    # Nothing that is tested on is trained on: neither subtasks, nor instances of one.
    for name, tested in found.items():
        if name.endswith("_test") and not name.startswith("supervised"):
            assert not tested & found[name.removesuffix("_test") + "_train"]
    for task in registered.tasks[:1]:
        assert not set(ids(task, "train")) & set(ids(task, "test"))


def test_the_whole_release(ni_v1):
    numbers = range(1, 62)
    found = ni_v1.splits(numbers)
    assert len(found) == 2 + 6 + 10 + 61
    sizes = {name: (len(train), len(test)) for name, (train, test) in found.items()}
    # The paper's counts: 49 and 12, and tasks by category.
    assert sizes["random"] == (49, 12)
    assert [sizes[f"leave_category_{c}"][1] for c in ("qg", "ag", "cf", "iag", "mm", "vf")] == [
        13, 16, 12, 8, 10, 2,
    ]  # fmt: skip
    assert sizes["leave_dataset_qasc"] == (54, 7)
    for name, (train, test) in found.items():
        whole = numbers if name != "supervised" else ni_v1.EVALUATION
        assert sorted({*train, *test}) == list(whole)
    # Of the 12, two are of each category.
    tested = [ni_v1._CATEGORY_OF[number] for number in found["random"][1]]
    assert sorted(tested) == sorted(2 * list(ni_v1.CATEGORIES))


def test_what_a_part_of_the_release_lacks_is_said(ni_v1, folder, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    for name in FILES:
        if not name.startswith(("subtask002", "subtask041")):
            (folder / f"{name}.json").unlink()
    mixtures = ni_v1.register(str(folder)).mixtures
    assert "ni_v1_leave_task_041_train" in mixtures
    assert said == [
        "no mixture ni_v1_leave_category_ag_train: no subtask of it is there to train on",
        "ni_v1_leave_category_ag_test lacks ni_v1_subtask041_qasc_answer_generation: too few "
        "instances to test on any",
        "no mixture ni_v1_leave_dataset_qasc_test: no subtask of it is there to test on",
        "no mixture ni_v1_leave_task_041_test: no subtask of it is there to test on",
    ]


def test_cards(ni_v1, folder):
    ni_v1.register(str(folder))
    card = cards.get_card("ni_v1_subtask050_multirc_answerability")
    assert (card.cluster, card.kind, card.options) == ("CF", "classification", ("No", "Yes"))
    assert card.instructions == (
        "Definition of subtask050_multirc_answerability.", "Answer.",
        "Title of subtask050_multirc_answerability",
    )  # fmt: skip
    assert (card.sources, card.module) == (("multirc",), MODULE)
    assert card.to_json()["category"] == "CF"
    assert card.to_json()["split"] == {"random": "train"}
    other = cards.get_card("ni_v1_subtask040_qasc_question_generation").to_json()
    assert (other["split"], other["kind"]) == ({"random": "test"}, "generation")


def test_recipe_follows_file_and_settings(ni_v1, folder, monkeypatch):
    name = "subtask002_quoref_answer_generation"

    def fingerprint():
        ni_v1.unregister()
        ni_v1.register(str(folder))
        return recipes.get_recipe(f"ni_v1_{name}").fingerprint()

    seen = [fingerprint()]
    assert fingerprint() == seen[0]
    monkeypatch.setenv("NI_V1_BUDGET", "512")
    seen.append(fingerprint())
    monkeypatch.setenv("NI_V1_ENCODING", "full@1")
    seen.append(fingerprint())
    write(folder, name, subtask_object(name, 201))
    seen.append(fingerprint())
    assert len(set(seen)) == 4


def test_budget_is_kept(ni_v1, folder, monkeypatch):
    name = "subtask050_multirc_answerability"
    monkeypatch.setenv("NI_V1_BUDGET", "80")
    obj = subtask_object(name, 9)
    obj["Instances"][2]["input"] = "é " * 300
    write(folder, name, obj)
    ni_v1.register(str(folder))
    dataset = seqio.get_mixture_or_task(f"ni_v1_{name}").get_dataset(
        LENGTHS, "train", shuffle=False, trim_output_features=False
    )
    rows = list(dataset.as_numpy_iterator())
    assert 75 <= max(len(row["inputs"]) for row in rows) <= 80
    assert all(row["inputs_pretokenized"].endswith(b"\noutput:") for row in rows)


@pytest.mark.parametrize("budget", ["many", "-5", "31", "1.5", "\u00b2"])
def test_wrong_budget(ni_v1, folder, monkeypatch, budget):
    monkeypatch.setenv("NI_V1_BUDGET", budget)
    with pytest.raises(ConfigError, match="NI_V1_BUDGET"):
        ni_v1.register(str(folder))


def test_wrong_encoding(ni_v1, folder, monkeypatch):
    monkeypatch.setenv("NI_V1_ENCODING", "full_no_neq")
    with pytest.raises(ConfigError, match="did you mean 'full_no_neg'"):
        ni_v1.register(str(folder))


def test_a_file_that_changes_after_registering_is_noticed(ni_v1, folder):
    name = "subtask041_qasc_answer_generation"
    ni_v1.register(str(folder))
    write(folder, name, subtask_object(name, 41))
    with pytest.raises(DataError, match="has changed since it was registered"):
        examples(f"ni_v1_{name}", "train")
    ni_v1.unregister()
    ni_v1.register(str(folder))
    assert len(examples(f"ni_v1_{name}", "train")) == 41


@pytest.mark.parametrize(
    "make, said",
    [
        (os.mkfifo, "not a regular file"),
        (os.mkdir, "Is a directory"),
        (lambda path: os.symlink("nowhere", path), "does not exist"),
        (lambda path: os.symlink("/dev/zero", path), "not a regular file"),
        (lambda path: path.write_text("[" * 1_000_000), "nested too deeply"),
        (lambda path: path.write_text("9" * 5_000), "not JSON"),
    ],
)
def test_whatever_lies_in_the_place_of_a_file_is_refused_by_name(ni_v1, folder, make, said):
    make(folder / "subtask001_strange.json")
    with pytest.raises(DataError, match=f"subtask001_strange.json.*{said}") as caught:
        ni_v1.register(str(folder))
    assert len(str(caught.value)) < 500


def test_wrong_files(ni_v1, folder, tmp_path):
    write(folder, "subtask099_x", {})
    write(folder, "predictions", {})
    write(folder, "subtask002_twin", subtask_object("x", 3))
    write(folder, "subtask041_qasc_answer_generation", {"Title": 3})
    (folder / "._subtask002_x.json").write_bytes(b"\0")  # macOS leaves such files
    with pytest.raises(DataError) as caught:
        ni_v1.register(str(folder))
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines == [
        "4 of 8 task files are wrong:",
        "predictions.json: not the name of a subtask of the first release, 001 to 061",
        "subtask002_twin.json: subtask002_quoref_answer_generation has its number already",
        "subtask041_qasc_answer_generation.json: Prompt is missing",
        "subtask099_x.json: not the name of a subtask of the first release, 001 to 061",
    ]
    with pytest.raises(DataError, match=r"holds no subtask\*\.json"):
        ni_v1.register(str(tmp_path))


def test_real_folder(ni_v1, shared_data):
    folder = shared_data / "natural_instructions_v1"
    registered = ni_v1.register(str(folder))
    assert len(registered.tasks) == 7
    assert members("ni_v1_random_test") == {3, 5, 22, 34, 44, 45, 52}
    assert members("ni_v1_leave_dataset_mctaco_test") == {3, 5}
    assert "ni_v1_random_train" not in registered.mixtures
    # Published predictions are of exactly the instances of the split "test", in its order.
    sets = json.loads((folder / "gpt3_predictions" / "predictions.json").read_text())
    for name, predictions in sets.items():
        source = seqio.TaskRegistry.get(f"ni_v1_{name.partition('@')[0]}").source
        count = sum(source.num_input_examples(split) for split in source.splits)
        assert [row["index"] for row in predictions] == list(ni_v1.test_indices(count))


def test_real_prompts(ni_v1, shared_data, monkeypatch):
    """Where all of a prompt fits, it is the original's; all others keep their query."""
    monkeypatch.setenv("NI_V1_ENCODING", "full@2")
    monkeypatch.setenv("NI_V1_BUDGET", "3000")
    ni_v1.register(str(shared_data / "natural_instructions_v1"))
    name = "ni_v1_subtask022_cosmosqa_passage_inappropriate_binary"
    rows = examples(name, "test")
    assert [row["id"].decode().rpartition("-")[2] for row in rows[:2]] == ["60", "64"]
    first = rows[0]["inputs_pretokenized"].decode()
    assert first.startswith("Definition: Read the given context and if the the context is ")
    assert "\nPrompt: Answer whether the context is inappropriate?\nNegative Example1- \n" in first
    assert "Things to Avoid" not in first
    assert len(rows) == 100
    assert all(row["inputs_pretokenized"].endswith(b"\noutput:") for row in rows)
