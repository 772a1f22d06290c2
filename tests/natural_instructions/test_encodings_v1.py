"""Encodings of the first release: the original's bytes, and prompts that keep their query."""

import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions.budgets import Budget
from flan_jax.natural_instructions import encodings_v1
from flan_jax.natural_instructions.encodings_v1 import (
    COMPONENTS,
    ENCODINGS,
    QUERY_TAIL,
    Encoding,
    encode,
    get_encoding,
    parse_published,
)

TASK = {
    "Title": "Rhyming",
    "Prompt": " Name a rhyme. ",
    "Definition": "Given a word,\nrhyme.",
    "Things to Avoid": "-",
    "Emphasis & Caution": "- ",
    "Instances": [{"input": f"in{i}", "output": [f"out{i}", "other"]} for i in range(90)],
    "Examples": {
        "Positive Examples": [
            {"input": "cat", "output": "hat ", "reason": "Both end in at."},
            {"input": "sun", "output": "run", "reason": "-"},
        ],
        "Negative Examples": [
            {"input": "cat", "output": "dog", "reason": "No rhyme.", "suggestion": "Say hat."},
            {"input": "sun", "output": "", "reason": "Blank.", "suggestion": " "},
        ],
    },
}
INSTANCE = {"input": " tree", "output": ["bee"]}
QUERY = "\ninput:  tree\noutput:"
DEFINITION = "Definition: Given a word,\nrhyme."
PROMPT = "Prompt: Name a rhyme."
CAUTION = "Emphasis & Caution: -"
PAIRS = ("\ninput: cat\noutput: hat ", "\ninput: sun\noutput: run")
POSITIVE = (
    "\nPositive Example1- \ninput: cat\noutput: hat \nreason: Both end in at.",
    "\nPositive Example2- \ninput: sun\noutput: run\nreason: -",
)
NEGATIVE = (
    "\nNegative Example1- \ninput: cat\noutput: dog\nreason: No rhyme.suggestion: Say hat.",
    "\nNegative Example2- \ninput: sun\noutput: \nreason: Blank.",
)


def render(encoding, task=TASK, instance=INSTANCE, budget=100_000, tokenize=str.split, **kwargs):
    kwargs = {"detokenize": " ".join, **kwargs}
    return encode(task, instance, encoding, Budget(budget, tokenize, **kwargs))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("input_only", ""),
        ("prompt", PROMPT),
        ("def_prompt", f"{DEFINITION}\n{PROMPT}"),
        ("prompt_avoid", PROMPT),
        ("prompt_emphasis", f"{PROMPT}\n{CAUTION}"),
        ("prompt_pos", PROMPT + "".join(PAIRS)),
        ("def_prompt_pos", f"{DEFINITION}\n{PROMPT}" + "".join(PAIRS)),
        ("pos", "".join(PAIRS)[1:]),
        ("prompt_neg_pos_expl", PROMPT + "".join(NEGATIVE) + "".join(POSITIVE)),
        ("all_texts", f"{DEFINITION}\n{PROMPT}\n{CAUTION}"),
        ("full_no_neg", f"{DEFINITION}\n{PROMPT}\n{CAUTION}" + "".join(PAIRS)),
        ("full_no_neg_expl", f"{DEFINITION}\n{PROMPT}\n{CAUTION}" + "".join(POSITIVE)),
        ("full", f"{DEFINITION}\n{PROMPT}\n{CAUTION}" + "".join(NEGATIVE) + "".join(POSITIVE)),
        ("full@1", f"{DEFINITION}\n{PROMPT}\n{CAUTION}" + NEGATIVE[0] + POSITIVE[0]),
        ("full@0", f"{DEFINITION}\n{PROMPT}\n{CAUTION}"),
        ("pos@1", PAIRS[0][1:]),
        ("_Prompt_Title", f"{PROMPT}\nTitle: Rhyming"),
        # The order is that of the components, examples before texts included.
        ("_Positive Examples Full Explanations_Prompt@1", f"{POSITIVE[0]}\n{PROMPT}"),
        ("_Negative Examples Full Explanations@1", NEGATIVE[0]),
    ],
)
def test_every_encoding(encoding, expected):
    assert render(encoding) == expected + QUERY
    assert render(encoding, overflow="keep_query") == expected + QUERY


def test_every_name_is_tested_and_reads_itself():
    for name, encoding in ENCODINGS.items():
        assert get_encoding(name) == encoding
        if name != "input_only":
            assert get_encoding(str(encoding)) == encoding
            assert str(get_encoding(f"{name}@3")) == f"{encoding}@3"


def test_instances_follow_where_positive_examples_run_out():
    shown = [f"\ninput: in{i}\noutput: out{i}" for i in range(2)]
    assert render("pos@4") == "".join((*PAIRS, *shown))[1:] + QUERY
    explained = (*POSITIVE, f"\nPositive Example3- {shown[0]}")
    expected = "".join((*NEGATIVE, *explained))
    assert render("prompt_neg_pos_expl@3") == PROMPT + expected + QUERY
    # The first instance that is tested on is passed over for a later one, once.
    assert render("pos@64").endswith("\ninput: in80\noutput: out80\ninput: in61\noutput: out61"
                                     + QUERY)  # fmt: skip
    # No more than there are, none at all unless a number asks for them.
    assert render("pos@1000") == render("pos@92")
    assert "in0" not in render("full")
    alone = {**TASK, "Examples": {"Positive Examples": [], "Negative Examples": ["-"]}}
    assert render("pos@1", alone) == shown[0] + QUERY
    assert render("full@1", alone).count("Example") == 1


def test_an_instance_is_no_example_to_itself():
    instance = {**INSTANCE, "position": 0}
    assert "in0" not in render("pos@4", instance=instance)
    assert "in2" in render("pos@4", instance=instance)
    assert render("pos@4", instance={**INSTANCE, "position": 9}) == render("pos@4")


@pytest.mark.parametrize("none", [[], ["-"], ["- "]])
def test_no_negative_examples(none):
    task = {**TASK, "Examples": {**TASK["Examples"], "Negative Examples": none}}
    assert render("prompt_neg_pos_expl", task) == PROMPT + "".join(POSITIVE) + QUERY


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ful", "did you mean 'full'"),
        ("xyz", "known are input_only, prompt"),
        ("", "known are input_only"),
        ("_Definitions_Prompt", "no component 'Definitions'; did you mean 'Definition'"),
        ("_", "no component ''"),
        ("_Prompt_Prompt", "names a component twice"),
        ("full@", "after '@' stands a number"),
        ("full@x", "after '@' stands a number"),
        ("full@-1", "after '@' stands a number"),
        ("full@\u00b2", "after '@' stands a number"),
        ("full@" + "9" * 5000, "after '@' stands a number"),
    ],
)
def test_wrong_names(name, expected):
    with pytest.raises(ConfigError, match=re.escape(expected)):
        get_encoding(name)


def test_published_names(shared_data):
    folder = shared_data / "natural_instructions_v1"
    names = list(json.loads((folder / "gpt3_predictions" / "predictions.json").read_text()))
    known = {file.stem for file in (folder / "dataset_jsons").glob("*.json")}
    found = [parse_published(name) for name in names]
    assert [str(one) for one in found] == names and len(names) == 130
    assert {one.subtask for one in found} == known
    assert {one.instances for one in found} == {100}
    # All that were published are named encodings, with a number of examples.
    named = {encoding.components for encoding in ENCODINGS.values()}
    published = {one.encoding.components for one in found}
    assert published <= named
    left = named - published
    assert left == {(), ENCODINGS["full_no_neg_expl"].components}
    assert max(one.encoding.examples for one in found) == 48


@pytest.mark.parametrize(
    "name",
    ["", "x", "subtask003@_Prompt@0", "subtask003@Prompt@0_100", "subtask003@_Promt@0_100",
     "@_Prompt@0_100", "a@_Prompt@0_100@1", "a@_Prompt@0_" + "9" * 5000],
)  # fmt: skip
def test_names_that_were_not_published(name):
    with pytest.raises(DataError):
        parse_published(name)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30) | st.text("a@_0 Prompt", max_size=30))
def test_any_name_is_read_or_refused(name):
    try:
        found = parse_published(name)
    except DataError:
        return
    assert parse_published(str(found)) == found


# SHA-256 of the prompts that the released encoder (allenai/natural-instructions-v1 at e64650d)
# renders for the published sets of each subtask, in the order of predictions.json, each prompt
# followed by a zero byte.
ORIGINAL = {
    "subtask003": "572dda2bb052fd7c",
    "subtask005": "8f4633185aaaf1c3",
    "subtask022": "8f21eb59f5dbfad6",
    "subtask034": "d17baa9b85699707",
    "subtask044": "1e6a6fe41fb207ed",
    "subtask045": "93efabd9418e49d6",
    "subtask052": "5b80d17cfd45ec77",
}


def test_all_published_prompts_are_the_original_bytes(shared_data):
    folder = shared_data / "natural_instructions_v1"
    sets = json.loads((folder / "gpt3_predictions" / "predictions.json").read_text())
    tasks, digests = {}, {}
    for name, predictions in sets.items():
        published = parse_published(name)
        number = published.subtask[: len("subtask000")]
        if number not in tasks:
            file = folder / "dataset_jsons" / f"{published.subtask}.json"
            tasks[number] = json.loads(file.read_text())
            digests[number] = hashlib.sha256()
        for row in predictions:
            instance = tasks[number]["Instances"][row["index"]]
            prompt = render(published.encoding, tasks[number], instance)
            digests[number].update(prompt.encode() + b"\0")
    assert {number: digest.hexdigest()[:16] for number, digest in digests.items()} == ORIGINAL


def test_overflow_as_in_the_original():
    assert render("def_prompt", budget=7) == "Definition: Given a word, rhyme. Prompt: Name"


def test_overflow_gives_the_largest_number_of_examples_that_fits():
    for encoding in ("full", "pos@30", "prompt_neg_pos_expl@30"):
        sizes = [len(render(f"{encoding.partition('@')[0]}@{k}").split()) for k in range(31)]
        most = 2 if encoding == "full" else 30
        for budget in range(sizes[0], sizes[most] + 2):
            count = max(k for k in range(most + 1) if sizes[k] <= budget)
            expected = render(f"{encoding.partition('@')[0]}@{count}")
            assert render(encoding, budget=budget, overflow="keep_query") == expected


def test_overflow_that_keeps_the_query():
    keep = {"overflow": "keep_query"}
    assert render("full", budget=6, **keep) == "Definition: Given a" + QUERY
    assert render("full", budget=3, **keep) == QUERY
    long = {"input": " ".join(f"w{i}" for i in range(100))}
    shortened = render("full", instance=long, budget=10, **keep)
    # Both ends of the input stay: questions stand before or after their text.
    assert re.fullmatch(r"\ninput: w0 w1 .* \.\.\. .*w99\noutput:", shortened)
    assert len(shortened.split()) <= 10
    assert render("full", budget=1, **keep).strip() == QUERY_TAIL
    with pytest.raises(ConfigError, match="budget of 0 tokens"):
        render("full", budget=0, **keep)


_line = st.text(st.characters(codec="utf-8"), max_size=60)
_long = st.text("ab .,\né\u4e2d", max_size=300)
_example = st.fixed_dictionaries(
    {"input": _line, "output": _line, "reason": _line, "suggestion": st.just(" ") | _line}
)
_task = st.fixed_dictionaries(
    {
        **{key: st.sampled_from(["-", "- "]) | _line | _long for key in encodings_v1.TEXTS},
        "Instances": st.lists(
            st.fixed_dictionaries({"input": _line, "output": st.lists(_line, min_size=1)}),
            max_size=3,
        ),
        "Examples": st.fixed_dictionaries(
            {
                "Positive Examples": st.lists(_example, max_size=3),
                "Negative Examples": st.lists(_example, max_size=3) | st.just(["-"]),
            }
        ),
    }
)
_encoding = st.builds(
    Encoding,
    st.lists(st.sampled_from(COMPONENTS), unique=True).map(tuple),
    st.none() | st.integers(0, 8),
)
_tokenizers = st.sampled_from([str.split, list, lambda text: list(text.encode("utf-8"))])


@settings(max_examples=300, deadline=None)
@given(_task, _line | _long, _encoding, st.integers(20, 500), _tokenizers)
def test_keep_query_keeps_the_query_within_the_budget(task, source, encoding, budget, tokenize):
    instance = {"input": source}
    arguments = (encoding, task, instance, budget, tokenize)
    prompt = render(*arguments, overflow="keep_query")
    assert len(tokenize(prompt)) <= budget
    assert prompt.endswith(QUERY_TAIL)
    query = render("input_only", task, instance)
    if len(tokenize(query)) <= budget:
        assert prompt.endswith(query)
    whole = render(*arguments, detokenize=lambda tokens: None)
    assert whole is None or whole == prompt
    if tokenize is not str.split:
        fast = render(*arguments, overflow="keep_query", max_tokens_per_byte=1)
        assert fast == prompt
