"""BIG-bench's JSON tasks: prompts to the letter, what is ranked or generated, bad files."""

import json

import pytest
import seqio
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared import examples

from flan_jax import cli
from flan_jax.errors import DataError
from flan_jax.instructions import cards
from flan_jax.instructions.draws import rendering_context
from flan_jax.instructions.mixtures import task_rates

MODULE = "tasks.bigbench"


def task_object(**fields):
    rows = [
        {"input": "2 + 2", "target_scores": {"4": 1, "5": 0, "6": 0}},
        {"input": "Even?", "target_scores": {"2": 1, "4": 1, "5": 0}, "comment": "two are right"},
    ]
    return {
        "canary": "x", "name": "n", "description": "Choose the number.", "keywords": ["numbers"],
        "metrics": ["multiple_choice_grade"], "examples": rows,
    } | fields  # fmt: skip


def write(folder, name, obj):
    path = folder / name / "task.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(obj if isinstance(obj, str) else json.dumps(obj))


SHAPED = {
    "task_prefix": "Count.", "example_input_prefix": "\nSum: ", "example_output_prefix": "\nIs: ",
    "choice_prefix": "\n- ",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A clone with a task of options, one of words, and one with two subtasks."""
    tasks = tmp_path / "bigbench/benchmark_tasks"
    write(tasks, "winowhy", task_object(**SHAPED))
    words = [{"input": "x", "target": "y"}, {"input": "z", "target": ["a", "b"]}]
    write(tasks, "linguistics", task_object(metrics=["bleu", "rouge", "bleurt"], examples=words))
    both = {"metrics": ["multiple_choice_grade", "exact_str_match"]}
    write(tasks, "logical_deduction/three", task_object(**both, append_choices_to_input=False))
    write(tasks, "logical_deduction/five", task_object(**both, preferred_score="exact_str_match"))
    told = [{"input": "2 + 2", "target": "four", "target_scores": {"4": 1, "5": 0}}]
    write(tasks, "numbers", task_object(**both, examples=told))
    (tasks / "program").mkdir()
    (tasks / "program/task.py").write_text("raise SystemExit")
    return tmp_path


def test_prompts_to_the_letter(suite, folder):
    suite(MODULE, BIGBENCH_DIR=folder)
    ranked = examples("bigbench_winowhy")
    assert [(e.id, e.target, e.ranked) for e in ranked] == [
        ("winowhy/0#0", "4", ("winowhy/0", 0, True)),
        ("winowhy/0#1", "5", ("winowhy/0", 1, False)),
        ("winowhy/0#2", "6", ("winowhy/0", 2, False)),
        ("winowhy/1#0", "2", ("winowhy/1", 0, True)),
        ("winowhy/1#1", "4", ("winowhy/1", 1, True)),
        ("winowhy/1#2", "5", ("winowhy/1", 2, False)),
    ]
    listed = "".join(f"\n- {option}" for option in ranked[0].options)
    assert sorted(ranked[0].options) == ["4", "5", "6"]
    assert {e.prompt for e in ranked[:3]} == {f"Count.\nSum: 2 + 2{listed}\nIs:"}
    (first, second) = examples("bigbench_linguistics")
    assert (first.prompt, first.target) == ("Q: x\nA:", "y")
    assert second.references == ("a", "b")
    names = {fn.__name__ for fn in seqio.TaskRegistry.get("bigbench_linguistics").metric_fns}
    assert names == {"bleu_metric", "rouge_metric"}
    assert {e.prompt for e in examples("bigbench_logical_deduction_three")[:3]} == {"Q: 2 + 2\nA:"}
    (first, second) = examples("bigbench_logical_deduction_five")
    assert first.prompt.startswith("Q: 2 + 2\n  choice: ") and first.target == "4"
    assert second.references == ("2", "4")
    assert len(examples("bigbench_logical_deduction_five_rank")) == 6
    alike = examples("bigbench_logical_deduction_three_generate")
    assert [e.target for e in alike] == ["4", "2"]
    assert examples("bigbench_numbers_generate")[0].references == ("four",)
    assert [e.ranked[2] for e in examples("bigbench_numbers")] == [True, False]


def test_the_order_of_options_is_drawn_by_the_id(suite, tmp_path):
    rows = [{"input": str(i), "target_scores": {"yes": 1, "no": 0}} for i in range(40)]
    write(tmp_path, "t", task_object(examples=rows))
    suite(MODULE, BIGBENCH_DIR=tmp_path)
    first = [e.options[0] for e in examples("bigbench_t")[::2]]
    assert 8 < first.count("yes") < 32
    assert [e.options[0] for e in examples("bigbench_t")[::2]] == first
    with rendering_context(1, 0):
        dataset = seqio.get_mixture_or_task("bigbench_t").get_dataset(None, "test", shuffle=False)
        other = [e["options"][0].decode() for e in dataset.as_numpy_iterator()][::2]
    assert other != first


def test_mixtures_and_cards(suite, folder, capsys):
    suite(MODULE, BIGBENCH_DIR=folder)
    assert task_rates("bigbench") == {
        "bigbench_linguistics": 1.0, "bigbench_winowhy": 1.0, "bigbench_numbers": 1.0,
        "bigbench_logical_deduction_five": 0.5, "bigbench_logical_deduction_three": 0.5,
    }  # fmt: skip
    assert set(task_rates("bigbench_insta")) == set(task_rates("bigbench")) - {
        "bigbench_linguistics", "bigbench_numbers",
    }  # fmt: skip
    card = cards.get_card("bigbench_winowhy")
    assert (card.kind, card.instructions) == ("classification", ("Count.", "Choose the number."))
    card = cards.get_card("bigbench_logical_deduction_five")
    assert (card.kind, card.cluster) == ("generation", "logical_deduction")
    assert cli.run(["tasks", "check", f"--module={MODULE}"]) == 0
    assert "5 entries checked, 0 with problems" in capsys.readouterr().out
    assert cli.run(["tasks", "show", "bigbench_winowhy", "-n1", f"--module={MODULE}"]) == 0
    assert "Sum: 2 + 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"examples": []}, "'examples' is empty"),
        ({"examples": None}, "'examples' must be a list, found null"),
        ({"metrics": ["bleurt"]}, "'metrics' has none of multiple_choice_grade, exact_str_match"),
        ({"metrics": []}, "'metrics' must be a list of at least one string"),
        ({"description": " "}, "'description' must be a name"),
        ({"task_prefix": 3}, "'task_prefix' must be a string"),
        ({"append_choices_to_input": "no"}, "must be true or false"),
        ({"examples": [{"input": "x"}]}, r"examples\[0\]: 'target' is missing"),
        ({"examples": [{"input": "x", "target": "y"}]}, "'target_scores' is missing, and"),
        ({"examples": [{"input": "x", "target_scores": {}}]}, "nothing to choose from"),
        ({"examples": [{"input": "x", "target_scores": {" ": 1}}]}, "the blank option ' '"),
        (
            {"examples": [{"input": "x", "target_scores": {"a": "b"}}]},
            "'a' must be a finite number",
        ),
        ({"examples": [{"target_scores": {"a": 1}}]}, "'input' is missing"),
    ],
)
def test_what_is_wrong_is_named(suite, tmp_path, change, said):
    write(tmp_path, "known", task_object(**change))
    with pytest.raises(DataError, match=f"known/task.json.*{said}"):
        suite(MODULE, BIGBENCH_DIR=tmp_path)


def test_what_is_odd_is_found(suite, tmp_path, capsys):
    rows = [{"input": "x", "target_scores": {"a": 1, "b": 1}}] * 2
    write(tmp_path, "odd", task_object(examples=[*rows, {"input": "y", "target_scores": {"a": 1}}]))
    suite(MODULE, BIGBENCH_DIR=tmp_path)
    assert cli.run(["tasks", "check", f"--module={MODULE}"]) == 1
    said = capsys.readouterr().out
    assert "2 examples have options that all have the same score" in said
    assert "1 examples have one option" in said and "1 examples repeat others" in said
    with pytest.raises(DataError, match="holds no <task>/task.json"):
        (tmp_path / "empty").mkdir()
        suite(MODULE, BIGBENCH_DIR=tmp_path / "empty")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["bleu", " ", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["examples", "input", "target", "target_scores", "metrics", "description"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def test_a_reader_raises_nothing_else(suite, folder):
    bigbench = suite(MODULE, BIGBENCH_DIR=folder)

    @settings(max_examples=60)
    @given(JSON, st.booleans())
    def check(value, inside):
        obj = task_object(examples=[value]) if inside else value
        try:
            assert bigbench.parse_task(json.dumps(obj).encode(), "f").judged
        except DataError as error:
            assert str(error).startswith("f")

    check()
