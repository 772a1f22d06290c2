"""BIG-Bench Hard: real files, prompts to the letter, how 27 files count as 23 tasks, bad files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prepared import examples

from flan_jax import cli
from flan_jax.errors import DataError
from flan_jax.instructions import cards
from flan_jax.instructions.mixtures import task_rates
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction

MODULE = "tasks.bbh"
SNARK = "Which is meant?\nOptions:\n(A) Great, rain\n(B) Great, sun"
PROMPT = """CANARY
-----
Find the sarcasm.

Q: Which one?
Options:
(A) x
(B) y
A: Let's think step by step.
Nobody says x. So the answer is (B).

Q: Which two?
A: Let's think step by step.
The answer is said. So the answer is (A)."""


def write(path, *pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"input": asked, "target": said} for asked, said in pairs]
    path.write_text(json.dumps({"canary": "x", "examples": rows}))


@pytest.fixture
def folder(tmp_path):
    """A clone with two tasks, one of them with a prompt file."""
    write(tmp_path / "bbh/snarks.json", (SNARK, "(A)"), (f"{SNARK}\n(C) Rain", "(B)"))
    write(tmp_path / "bbh/word_sorting.json", ("Sort: b a", "a b"))
    (tmp_path / "cot-prompts").mkdir()
    (tmp_path / "cot-prompts/snarks.txt").write_text(PROMPT)
    return tmp_path


def test_prompts_to_the_letter(suite, folder):
    bbh = suite(MODULE, BBH_DIR=folder)
    told = bbh.INSTRUCTIONS["snarks"]
    ranked = examples("bbh_snarks")
    assert [(e.id, e.target, e.ranked) for e in ranked] == [
        ("snarks/0#0", "(A)", ("snarks/0", 0, True)),
        ("snarks/0#1", "(B)", ("snarks/0", 1, False)),
        ("snarks/1#0", "(A)", ("snarks/1", 0, False)),
        ("snarks/1#1", "(B)", ("snarks/1", 1, True)),
        ("snarks/1#2", "(C)", ("snarks/1", 2, False)),
    ]
    assert {e.prompt for e in ranked[:2]} == {f"{told}\n\nQ: {SNARK}\nA:"}
    (first, _) = examples("bbh_snarks_generate")
    assert (first.prompt, first.target) == (ranked[0].prompt, "(A)")
    (first, _) = examples("bbh_snarks_fewshot")
    assert first.prompt == (
        "Find the sarcasm.\n\nQ: Which one?\nOptions:\n(A) x\n(B) y\nA: (B)\n\nQ: Which two?\nA: "
        f"(A)\n\nQ: {SNARK}\nA:"
    )
    (first, _) = examples("bbh_snarks_cot")
    assert first.prompt == (
        f"{PROMPT.partition('-----')[2].strip()}\n\nQ: {SNARK}\nA: Let's think step by step."
    )
    (alone,) = examples("bbh_word_sorting_cot")
    told = bbh.INSTRUCTIONS["word_sorting"]
    assert alone.prompt == f"{told}\n\nQ: Sort: b a\nA: Let's think step by step."
    assert set(task_rates("bbh_generate")) == {"bbh_snarks_generate", "bbh_word_sorting"}
    assert set(task_rates("bbh_fewshot")) == {"bbh_snarks_fewshot"}


def test_answers_are_taken_from_chains(suite, folder):
    suite(MODULE, BBH_DIR=folder)
    said = "I think so. So the answer is (A).\n\nQ: Which next?\nA: So the answer is (C)."
    answer = Prediction("bbh_snarks_cot", "snarks/0", "cot", (), "", said, ("(A)",))
    assert report.task_metrics("bbh_snarks_cot", [answer]) == {"exact_match": 100.0, "n": 1}
    ranked = Prediction("bbh_snarks", "snarks/0", "plain", ("(A)", "(B)"), "", "(A)", ("(A)",),
                        scores=(-1.0, -2.0))  # fmt: skip
    assert report.task_metrics("bbh_snarks", [ranked])["accuracy"] == 100.0


def test_27_files_count_as_23_tasks(suite, tmp_path):
    write(tmp_path / "word_sorting.json", ("Sort: b a", "a b"))
    bbh = suite(MODULE, BBH_DIR=tmp_path)  # the benchmark's files may lie in the folder itself
    for task in bbh.TASKS:
        write(tmp_path / f"{task}.json", ("x?\nOptions:\n- valid \n- invalid", "valid")
              if task not in bbh._ANSWERS else ("x?", bbh._ANSWERS[task][0]))  # fmt: skip
    bbh.unregister()
    bbh.register(str(tmp_path))
    rates = task_rates("bbh")
    assert len(rates) == 27 and sum(rates.values()) == pytest.approx(23)
    assert rates["bbh_tracking_shuffled_objects_five_objects"] == pytest.approx(1 / 3)
    assert len({cards.get_card(name).cluster for name in rates}) == 23 == len(bbh.INSTRUCTIONS)
    assert cards.get_card("bbh_formal_fallacies").options == ("valid", "invalid")
    assert "bbh_fewshot" not in bbh.register(str(tmp_path)).mixtures


def test_real_files(suite, shared_data, capsys):
    suite(MODULE, BBH_DIR=shared_data / "bbh")
    kinds = {name: cards.get_card(name).kind for name in task_rates("bbh")}
    assert len(kinds) == 12
    assert {name for name, kind in kinds.items() if kind == "generation"} == {
        "bbh_dyck_languages", "bbh_multistep_arithmetic_two", "bbh_word_sorting",
    }  # fmt: skip
    assert cards.get_card("bbh_boolean_expressions").options == ("True", "False")
    assert cards.get_card("bbh_navigate").options == ("Yes", "No")
    dates = examples("bbh_date_understanding")
    assert sum(e.ranked[2] for e in dates) == len({e.ranked[0] for e in dates}) == 250
    films = examples("bbh_movie_recommendation")
    assert sum(e.ranked[2] for e in films) == 249  # see DEFECTS
    assert len(examples("bbh_word_sorting")) == 250
    assert cli.run(["tasks", "check", f"--module={MODULE}"]) == 1
    said = capsys.readouterr().out
    assert "bbh_movie_recommendation: 1 targets are none of the options" in said
    assert "12 entries checked, 2 with problems" in said
    assert cli.run(["tasks", "show", "bbh_snarks_cot", "-n1", f"--module={MODULE}"]) == 0
    assert "Let's think step by step." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("snark.json", {}, "snark.json: no task of BIG-Bench Hard; did you mean 'snarks'"),
        ("snarks.json", [], "must be an object, found a list"),
        ("snarks.json", {"exmples": []}, "'examples' is missing"),
        ("snarks.json", {"examples": []}, "'examples' is empty"),
        ("snarks.json", {"examples": [{"input": "x"}]}, r"examples\[0\]: 'target' is missing"),
        ("snarks.json", {"examples": [{"input": "x", "target": 3}]}, "must be a string"),
        (
            "snarks.json",
            {"examples": [{"input": SNARK, "target": "(A)"}, {"input": SNARK, "target": "(C)"}]},
            r"examples\[1\]: 'target' is '\(C\)', which is none of the options \['\(A\)', '\(B\)'",
        ),
        ("web_of_lies.json", {"examples": [{"input": "x", "target": "yes"}]}, "none of the opti"),
        ("cot-prompts/snarks.txt", "Only words.", "no exemplars"),
        ("cot-prompts/snarks.txt", "Say.\n\nQ: what?", "has no line that begins 'A:'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(suite, folder, file, content, said):
    (folder / "bbh/word_sorting.json").unlink()
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / ("bbh" if file.endswith("json") else ".") / file).write_text(text)
    with pytest.raises(DataError, match=said):
        suite(MODULE, BBH_DIR=folder)


def test_another_folder_and_a_changed_file_are_refused(suite, folder, tmp_path_factory):
    bbh = suite(MODULE, BBH_DIR=folder)
    assert bbh.register(str(folder)).tasks
    with pytest.raises(DataError, match="BIG-Bench Hard is registered already from"):
        bbh.register(str(tmp_path_factory.mktemp("other")))
    write(folder / "bbh/word_sorting.json", ("Sort: d c", "c d"))
    bbh._examples.cache_clear()
    with pytest.raises(DataError, match=r"word_sorting.json has changed since it was registered"):
        examples("bbh_word_sorting")
    bbh.unregister()
    with pytest.raises(DataError, match="holds no task files"):
        bbh.register(str(tmp_path_factory.mktemp("empty")))
    with pytest.raises(DataError, match="BBH_DIR is not set"):
        suite(MODULE, BBH_DIR="")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SNARK),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["examples", "input", "target", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def test_readers_raise_nothing_else(suite, folder):
    bbh = suite(MODULE, BBH_DIR=folder)

    @given(JSON, st.text(alphabet="QA:-\n (B)x", max_size=60))
    def check(value, text):
        for read in (
            lambda: bbh.parse_task(json.dumps(value).encode(), "f", "snarks"),
            lambda: bbh.parse_prompt(text, "f").answers_only,
        ):
            try:
                assert read()
            except DataError as error:
                assert str(error).startswith("f")
        bbh.find_options(text)

    check()
