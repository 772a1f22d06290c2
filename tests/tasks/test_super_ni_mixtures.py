"""Super-NI's further mixtures: nested subsets, categories, sources apart, a development split."""

import itertools
import json

import pytest
import seqio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from releases import LENGTHS, imported

from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import cards
from flan_jax.instructions.mixtures import member_tasks, resolve, task_rates
from flan_jax.instructions.recipes import get_recipe
from flan_jax.natural_instructions.schema import Instance
from tasks.natural_instructions import super_ni_mixtures as sn

TRAIN = "super_ni_default_train"
# name, category, sources, number of instances, part of the default track
TASKS = (
    ("task001_a", "Question Answering", ["squad"], 300, "train"),
    ("task002_b-c", "Question Answering", ["Drop"], 90, "train"),
    ("task003_c", "Sentiment Analysis", ["imdb"], 150, "train"),
    ("task004_d", "Sentiment Analysis", ["yelp", "squad,"], 5, "train"),
    ("task005_e", "Fill in The Blank", ["cloze"], 40, "train"),
    ("task006_f", "Fill in The Blank", ["blank"], 40, "train"),
    ("task007_g", "Misc.", ["misc"], 40, "train"),
    ("task008_h", "Misc.", ["cloze"], 1, "train"),
    ("task011_dev", "Word Semantics", ["words"], 130, "train"),
    ("task012_dev", "Summarization", ["news"], 20, "train"),
    ("task013_dev", "Summarization", ["quoref"], 20, "train"),
    ("task014_n", "Question Answering", ["NEWS"], 60, "train"),
    ("task021_t", "Textual Entailment", ["snli"], 1200, "test"),
    ("task022_t", "Textual Entailment", ["quoref"], 104, "test"),
    ("task023_t", "Title Generation", ["titles"], 60, "test"),
    ("task031_x", "Question Answering", ["squad"], 30, "excluded"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve tasks to train on, three to test on, one that is excluded."""
    folder = tmp_path_factory.mktemp("ni")
    (folder / "tasks").mkdir()
    (folder / "splits" / "default").mkdir(parents=True)
    for name, category, sources, count, _ in TASKS:
        obj = {
            "Source": sources,
            "Categories": [category],
            "Definition": [f"Do {name}"],
            "Input_language": ["English"],
            "Output_language": ["English"],
            "Positive Examples": [{"input": "p", "output": "q", "explanation": "r"}],
            "Negative Examples": [],
            "Instances": [
                {"id": f"{name}-{i}", "input": f"input {i}", "output": [f"{i}", f"#{i}"]}
                for i in range(count)
            ],
        }
        (folder / "tasks" / f"{name}.json").write_text(json.dumps(obj))
    for part in ("train", "test", "excluded"):
        names = [f"{task[0]}\n" for task in TASKS if task[-1] == part]
        (folder / "splits" / "default" / f"{part}_tasks.txt").write_text("".join(names))
    return folder


@pytest.fixture
def super_ni(folder, tmp_path, monkeypatch):
    """The module, with nothing registered and settings for `folder`."""
    module = "tasks.natural_instructions.super_ni"
    with imported(module, "SUPER_NI_DIR", folder, tmp_path / "cache", monkeypatch) as module:
        yield module


@pytest.fixture
def registered(super_ni, folder):
    return super_ni.register(str(folder))


def members(mixture):
    return {task.name for task in member_tasks(mixture)}


def files(mixture):
    """The task files that a mixture's tasks are made from."""
    return {cards.get_card(name).attributes["task"] for name in members(mixture)}


def rows(task, split="train"):
    """What a model gets of each instance, by id, in the order of the task."""
    dataset = seqio.get_mixture_or_task(task).get_dataset(LENGTHS, split, shuffle=False)
    keys = ("inputs_pretokenized", "targets_pretokenized", "template")
    return {
        row["id"].decode(): tuple(row[key].decode() for key in keys)
        for row in dataset.as_numpy_iterator()
    }


ALL_TRAIN = {task[0] for task in TASKS if task[-1] == "train"}


def test_whole_splits_are_what_they_were(registered):
    assert registered.mixtures == (TRAIN, "super_ni_default_test")
    assert files(TRAIN) == ALL_TRAIN
    assert set(task_rates(TRAIN).values()) == {1.0}
    assert members(TRAIN) == {sn.seqio_name(name) for name in ALL_TRAIN}


def test_curves_over_tasks_are_nested(super_ni, folder, monkeypatch):
    monkeypatch.setenv("SUPER_NI_TRAIN_TASKS", "3, 11,5")
    registered = super_ni.register(str(folder))
    nested = [files(f"{TRAIN}_{n}tasks_8inst") for n in (3, 5, 8, 11)]
    assert [len(of) for of in nested] == [3, 5, 8, 11]
    assert all(small < large for small, large in itertools.pairwise(nested))
    assert nested[-1] < ALL_TRAIN
    assert files(f"{TRAIN}_5tasks") == files(f"{TRAIN}_5tasks_64inst_proportional") == nested[1]
    # There are twelve.
    assert not [name for name in registered.more_mixtures if "_32tasks" in name]
    with pytest.raises(DataError, match=f"did you mean '{TRAIN}_3tasks_8inst'"):
        resolve(f"{TRAIN}_13tasks_8inst")


def test_the_order_of_tasks_does_not_depend_on_which_are_there(super_ni, folder, tmp_path):
    super_ni.register(str(folder))
    eight = files(f"{TRAIN}_8tasks")
    super_ni.unregister()
    part = tmp_path / "part"
    (part / "tasks").mkdir(parents=True)
    (part / "splits").symlink_to(folder / "splits")
    missing = sorted(ALL_TRAIN - eight)[0]
    for name in ALL_TRAIN - {missing}:
        (part / "tasks" / f"{name}.json").symlink_to(folder / "tasks" / f"{name}.json")
    super_ni.register(str(part))
    assert files(f"{TRAIN}_8tasks") == eight


def test_curves_over_instances_are_nested_and_differ_in_nothing_else(super_ni, folder, monkeypatch):
    monkeypatch.setenv("SUPER_NI_TRAIN_INSTANCES", "20")
    monkeypatch.setenv("SUPER_NI_ENCODING", "meta")
    super_ni.register(str(folder))
    name = "super_ni_task001_a"
    whole = rows(name)
    nested = {m: rows(f"{name}_{m}inst") for m in (8, 20, 32, 64, 100, 128, 256)}
    assert {m: len(of) for m, of in nested.items()} == {m: m for m in nested}
    for few, more in itertools.pairwise(nested.values()):
        assert list(few) == list(more)[: len(few)]
    # Not just the first ones; and encoding and reference are those of the whole task.
    assert list(nested[256]) != list(whole)[:256]
    assert all(whole[key] == row for key, row in nested[256].items())
    assert seqio.TaskRegistry.get(f"{name}_20inst").num_input_examples("train") == 20


def test_a_task_with_fewer_instances_gives_all(registered):
    assert {"super_ni_task001_a_100inst", "super_ni_task002_b_c"} <= members(f"{TRAIN}_100inst")
    assert "super_ni_task002_b_c_64inst" in members(f"{TRAIN}_64inst")
    assert "super_ni_task002_b_c_100inst" not in seqio.TaskRegistry.names()
    assert set(task_rates(f"{TRAIN}_100inst").values()) == {1.0}
    rates = task_rates(f"{TRAIN}_100inst_proportional")
    assert rates["super_ni_task001_a_100inst"] == 100
    assert rates["super_ni_task002_b_c"] == 90
    assert task_rates(f"{TRAIN}_proportional")["super_ni_task001_a"] == 300


def test_another_seed_is_another_order_and_another_fingerprint(super_ni, folder, monkeypatch):
    def found():
        super_ni.register(str(folder))
        tasks = files(f"{TRAIN}_8tasks")
        instances = list(rows("super_ni_task001_a_32inst"))
        recipes = [
            get_recipe(f"super_ni_task001_a{part}").fingerprint()
            for part in ("", "_32inst", "_64inst")
        ]
        super_ni.unregister()
        return tasks, instances, recipes

    tasks, instances, recipes = found()
    assert found() == (tasks, instances, recipes)
    monkeypatch.setenv("SUPER_NI_SEED", "1")
    other_tasks, other_instances, other_recipes = found()
    assert other_tasks != tasks
    assert other_instances != instances
    assert other_recipes[0] == recipes[0]
    assert len({*recipes, *other_recipes}) == 5


def test_the_supervised_bound_never_sees_a_test_instance(registered):
    name = "super_ni_default_supervised_train"
    # task023 has no instances beside those it is tested on; task022 has four.
    assert task_rates(name) == {"super_ni_task021_t_1000inst": 1.0, "super_ni_task022_t": 1.0}
    taught = rows("super_ni_task021_t_1000inst")
    tested = rows("super_ni_task021_t", "test")
    assert (len(taught), len(tested)) == (1000, 100)
    assert not set(taught) & set(tested)
    assert set(tested) == {f"task021_t-{i}" for i in range(100)}
    assert len(rows("super_ni_task022_t")) == 4


def test_a_category_is_trained_and_tested_on_different_instances(registered):
    for category in ("question_answering", "textual_entailment"):
        taught = members(f"super_ni_category_{category}_train")
        tested = members(f"super_ni_category_{category}_test")
        for task in taught | tested:
            splits = seqio.TaskRegistry.get(task).splits
            both = [set(rows(task, split)) for split in ("train", "test") if split in splits]
            assert len(both) == 2 and not both[0] & both[1]
    assert files("super_ni_category_question_answering_train") == {
        "task001_a", "task002_b-c", "task014_n",
    }  # fmt: skip
    held = seqio.TaskRegistry.get("super_ni_task001_a_heldout")
    assert [held.num_input_examples(split) for split in ("test", "train")] == [100, 200]
    assert list(rows("super_ni_task001_a_heldout", "test")) == [
        f"task001_a-{i}" for i in range(100)
    ]
    few = seqio.TaskRegistry.get("super_ni_task004_d_heldout")
    assert [few.num_input_examples(split) for split in ("test", "train")] == [2, 3]
    # One instance cannot be shared out.
    assert files("super_ni_category_misc_test") == {"task007_g"}
    assert files("super_ni_category_title_generation_test") == {"task023_t"}
    assert "super_ni_category_title_generation_train" not in registered.more_mixtures


def test_leave_one_category_out(registered):
    # task004 shares a source with task001, a stray comma notwithstanding.
    assert files(f"{TRAIN}_except_question_answering") == ALL_TRAIN - {
        "task001_a", "task002_b-c", "task014_n", "task004_d", "task012_dev",
    }  # fmt: skip
    few = members(f"{TRAIN}_except_question_answering_100inst")
    assert {"super_ni_task003_c_100inst", "super_ni_task005_e"} < few
    assert f"{TRAIN}_except_textual_entailment" not in registered.more_mixtures


def test_training_without_what_shares_a_source_with_a_task(registered):
    assert files(f"{TRAIN}_without_task001_a") == ALL_TRAIN - {"task001_a", "task004_d"}
    assert files(f"{TRAIN}_without_task002_b_c_100inst") == ALL_TRAIN - {"task002_b-c"}
    assert files(f"{TRAIN}_without_task022_t") == ALL_TRAIN - {"task013_dev"}
    assert files(f"{TRAIN}_without_task021_t") == ALL_TRAIN


def test_the_development_split_shares_no_source(registered):
    # task013 is of a development category, but shares a source with a test task.
    assert members("super_ni_default_dev") == {
        "super_ni_task011_dev_dev", "super_ni_task012_dev_dev",
    }  # fmt: skip
    assert list(rows("super_ni_task011_dev_dev", "validation")) == [
        f"task011_dev-{i}" for i in range(100)
    ]
    assert set(resolve("super_ni_default_dev").splits) == {"validation"}
    rest = files(f"{TRAIN}_less_dev_100inst_proportional")
    assert rest == ALL_TRAIN - {"task011_dev", "task012_dev", "task013_dev", "task014_n"}


def test_a_development_split_of_the_folder_comes_first(super_ni, folder, tmp_path):
    own = tmp_path / "own"
    (own / "splits" / "default").mkdir(parents=True)
    (own / "tasks").symlink_to(folder / "tasks")
    for file in (folder / "splits" / "default").iterdir():
        text = file.read_text().replace("task003_c\n", "")
        (own / "splits" / "default" / file.name).write_text(text)
    (own / "splits" / "default" / "dev_tasks.txt").write_text("task003_c\n")
    registered = super_ni.register(str(own))
    assert members("super_ni_default_dev") == {"super_ni_task003_c"}
    assert not [name for name in registered.more_mixtures if "less_dev" in name]
    assert not [name for name in registered.more_tasks if name.endswith("_dev_dev")]


@pytest.mark.parametrize("how", ["names", "file"])
def test_any_list_of_tasks(super_ni, folder, tmp_path, monkeypatch, how):
    names = ["task031_x", "super_ni_task002_b_c", "task021_t", "task023_t"]
    (tmp_path / "mine.txt").write_text("\n".join([*names, ""]))
    value = ", ".join(names) if how == "names" else str(tmp_path / "mine.txt")
    monkeypatch.setenv("SUPER_NI_TASKS", value)
    super_ni.register(str(folder))
    # task023 is held out whole.
    assert files("super_ni_custom_train") == {"task031_x", "task002_b-c", "task021_t"}
    assert files("super_ni_custom_test") == {"task021_t", "task023_t"}
    assert members("super_ni_custom_train_8inst") == {
        "super_ni_task031_x_8inst", "super_ni_task002_b_c_8inst", "super_ni_task021_t_8inst",
    }  # fmt: skip
    assert not set(rows("super_ni_task021_t_8inst")) & set(rows("super_ni_task021_t", "test"))
    monkeypatch.setenv("SUPER_NI_TASKS", "task031_x")
    with pytest.raises(DataError, match="registered already"):
        super_ni.register(str(folder))


@pytest.mark.parametrize(
    ("setting", "value", "error", "said"),
    [
        ("TASKS", "task001_b", DataError, "did you mean 'task001_a'"),
        ("TASKS", "task001_a,super_ni_task001_a", DataError, "names 'task001_a' twice"),
        ("TASKS", "nowhere/mine.txt", DataError, "'nowhere/mine.txt', which does not exist"),
        ("TRAIN_TASKS", "13", DataError, "trains on more than 12"),
        ("TRAIN_TASKS", "0", ConfigError, "above 0"),
        ("TRAIN_TASKS", "8;16", ConfigError, "not '8;16'"),
        ("TRAIN_INSTANCES", "-3", ConfigError, "not '-3'"),
        ("TRAIN_INSTANCES", "1.5", ConfigError, "whole number"),
        ("SEED", "1,2", ConfigError, "whole number from 0"),
    ],
)
def test_wrong_settings(super_ni, folder, monkeypatch, setting, value, error, said):
    monkeypatch.setenv(f"SUPER_NI_{setting}", value)
    with pytest.raises(error, match=said) as caught:
        super_ni.register(str(folder))
    assert f"SUPER_NI_{setting}" in str(caught.value)
    assert not [name for name in seqio.TaskRegistry.names() if name.startswith("super_ni_")]


def test_nothing_stays_after_unregister(super_ni, registered):
    made = {*registered.more_tasks, *registered.more_mixtures}
    assert made <= {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
    assert cards.find_card("super_ni_task001_a_8inst").name == "super_ni_task001_a"
    super_ni.unregister()
    assert not made & {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
    assert cards.find_card("super_ni_task001_a_8inst") is None


def test_a_mixture_is_an_ordinary_one_once_it_is_used(registered):
    late = seqio.MixtureRegistry.get(f"{TRAIN}_8tasks_8inst")
    assert isinstance(late, seqio.Mixture)
    assert late.name == f"{TRAIN}_8tasks_8inst"
    assert "_tasks" not in vars(late)
    assert late.num_input_examples("train") == sum(
        task.num_input_examples("train") for task in late.tasks
    )
    assert len(late.tasks) == 8
    examples = late.get_dataset(LENGTHS, "train", shuffle=False, num_epochs=1)
    assert next(examples.as_numpy_iterator())["inputs"].size
    with pytest.raises(AttributeError, match="no_such_thing"):
        late.no_such_thing  # noqa: B018


def test_every_mixture_has_members_that_have_its_split(registered):
    for name in (*registered.mixtures, *registered.more_mixtures):
        ends = {"_test": "test", "default_dev": "validation"}
        split = next((of for end, of in ends.items() if name.endswith(end)), "train")
        tasks = member_tasks(name)
        assert tasks and all(split in task.splits for task in tasks), name


def test_xlingual_is_sized_too_and_categories_keep_tracks_apart(super_ni, folder, tmp_path):
    two = tmp_path / "two"
    (two / "splits" / "xlingual").mkdir(parents=True)
    (two / "tasks").symlink_to(folder / "tasks")
    (two / "splits" / "default").symlink_to(folder / "splits" / "default")
    parts = {"train": ["task031_x", "task001_a"], "test": ["task003_c"]}
    for part, names in parts.items():
        (two / "splits" / "xlingual" / f"{part}_tasks.txt").write_text("\n".join(names))
    super_ni.register(str(two))
    assert members("super_ni_xlingual_train_8inst_proportional") == {
        "super_ni_task031_x_8inst", "super_ni_task001_a_8inst",
    }  # fmt: skip
    assert files("super_ni_xlingual_category_question_answering_train") == set(parts["train"])
    assert "task031_x" not in files("super_ni_category_question_answering_train")
    # What the other track tests on is tested on those instances here, too.
    assert members("super_ni_category_sentiment_analysis_test") == {
        "super_ni_task003_c", "super_ni_task004_d_heldout",
    }  # fmt: skip


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.integers(1, 200), st.data())
def test_any_two_subsets_of_instances_are_nested(total, data):
    held = data.draw(st.integers(0, total - 1))
    pool = total - held
    few = data.draw(st.integers(1, pool))
    more = data.draw(st.integers(few, pool))
    instances = [Instance(f"i{i}", "x", ("y",)) for i in range(total)]
    small, large = (
        sn.Part({"train": n}, pool=pool, seed=3).select("t", instances, "train")
        for n in (few, more)
    )
    assert small == large[:few] and len(large) == more
    assert len(set(large)) == more
    assert set(large) <= set(instances[held:])


def test_real_folder(super_ni, shared_data):
    registered = super_ni.register(str(shared_data / "super_ni"))
    # 55 training tasks of 60 instances are here, and no test task has more than 100.
    assert len(members(f"{TRAIN}_32tasks_8inst")) == 32
    assert f"{TRAIN}_64tasks_8inst" not in registered.more_mixtures
    assert members(f"{TRAIN}_100inst") == members(TRAIN)
    assert "super_ni_default_supervised_train" not in registered.more_mixtures
    dev, rest = files("super_ni_default_dev"), files(f"{TRAIN}_less_dev")
    tested = files("super_ni_default_test")
    assert (len(dev), len(rest)) == (15, 39)

    def sources(tasks):
        found = (cards.get_card(sn.seqio_name(task)).sources for task in tasks)
        return {source for of in found for source in of}

    assert not sources(dev) & sources(rest)
    assert not sources(dev) & sources(tested)
    categories = {cards.get_card(sn.seqio_name(task)).cluster for task in dev}
    assert categories <= set(sn.DEV_CATEGORIES)
