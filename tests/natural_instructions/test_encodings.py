"""Encodings: the published prompts byte for byte, and prompts that never lose their query."""

import collections
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import ConfigError
from flan_jax.instructions import budgets
from flan_jax.instructions.budgets import Budget
from flan_jax.instructions.draws import Draws, RenderingKey
from flan_jax.natural_instructions import encodings
from flan_jax.natural_instructions.encodings import (
    ENCODINGS,
    QUERY_TAIL,
    Encoding,
    encode_prompt,
    get_encoding,
)
from flan_jax.texts import most_bytes

TASK = {
    "Task": "task007_rhyme",
    "Definition": [" Name a word that rhymes ", "never read"],
    "Positive Examples": [
        {"input": "cat", "output": "hat", "explanation": "Both end in at"},
        {"input": "Sun!", "output": "run."},
        {"input": "", "output": "new"},
    ],
    "Negative Examples": [{"input": "cat", "output": "dog", "explanation": "No rhyme"}],
}
INSTANCE = {"id": "a", "input": " tree\n", "output": ["bee"]}
QUERY = "Now complete the following example -\nInput: tree.\nOutput: "
DEFINITION = "Definition: Name a word that rhymes.\n\n"
POSITIVE = (
    " Positive Example 1 -\nInput: cat.\n Output: hat.\n\n",
    " Positive Example 2 -\nInput: Sun!\n Output: run.\n\n",
    " Positive Example 3 -\nInput: .\n Output: new.\n\n",
)
NEGATIVE = " Negative Example 1 -\nInput: cat.\n Output: dog.\n\n"


def render(encoding, task=TASK, instance=INSTANCE, budget=10_000, tokenize=str.split, **kwargs):
    kwargs = {"detokenize": " ".join, **kwargs}
    return encode_prompt(task, instance, encoding, Budget(budget, tokenize, **kwargs)).text


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("input_only", QUERY),
        ("task_name", "task007_rhyme. " + QUERY),
        ("def", DEFINITION + QUERY),
        ("pos1", POSITIVE[0] + QUERY),
        ("pos2", POSITIVE[0] + POSITIVE[1] + QUERY),
        ("pos4", "".join(POSITIVE) + QUERY),
        ("def_pos1", DEFINITION + POSITIVE[0] + QUERY),
        ("def_pos2", DEFINITION + POSITIVE[0] + POSITIVE[1] + QUERY),
        ("def_pos4", DEFINITION + "".join(POSITIVE) + QUERY),
        ("def_pos2_neg2", DEFINITION + POSITIVE[0] + POSITIVE[1] + NEGATIVE + QUERY),
        (
            "def_pos2_expl",
            DEFINITION
            + POSITIVE[0][:-1]
            + " Explanation: Both end in at.\n\n"
            + POSITIVE[1]
            + QUERY,
        ),
        (
            "def_pos2_neg2_expl",
            DEFINITION
            + POSITIVE[0][:-1]
            + " Explanation: Both end in at.\n\n"
            + POSITIVE[1]
            + NEGATIVE[:-1]
            + " Explanation: No rhyme.\n\n"
            + QUERY,
        ),
    ],
)
def test_every_encoding(encoding, expected):
    assert render(encoding) == expected
    assert render(encoding, overflow="keep_query") == expected


def test_a_definition_may_be_a_string():
    assert render("def", {**TASK, "Definition": "Why?"}) == "Definition: Why?\n\n" + QUERY


def test_only_what_an_encoding_shows_is_needed():
    assert render("input_only", {"Task": "x"}) == QUERY
    assert render("pos1", {"Positive Examples": []}) == QUERY


def test_examples_stop_at_the_first_that_does_not_fit():
    long = {"input": "word " * 50, "output": "x"}
    task = {**TASK, "Positive Examples": [TASK["Positive Examples"][0], long, long]}
    budget = len((DEFINITION + POSITIVE[0] + NEGATIVE + QUERY).split())
    # A positive example that is too long does not keep negative ones out.
    expected = DEFINITION + POSITIVE[0] + NEGATIVE + QUERY
    assert render("def_pos2_neg2", task, budget=budget) == expected
    assert render("def_pos2_neg2", task, budget=budget - 1) == DEFINITION + POSITIVE[0] + QUERY
    short_last = {**task, "Positive Examples": [long, TASK["Positive Examples"][0]]}
    assert render("def_pos2", short_last, budget=budget) == DEFINITION + QUERY


@pytest.mark.parametrize("tokenize", [str.split, list])
def test_examples_are_tried_one_by_one(tokenize):
    """For every budget: as many as fit, counted as the original counts (joined with blanks)."""
    whole = len(tokenize(DEFINITION + " ".join(POSITIVE) + QUERY))
    for budget in range(len(tokenize(DEFINITION + QUERY)), whole + 3):
        kept = []
        for block in POSITIVE:
            if len(tokenize(DEFINITION + " ".join(kept) + block + QUERY)) > budget:
                break
            kept.append(block)
        expected = DEFINITION + "".join(kept) + QUERY
        assert render("def_pos4", budget=budget, tokenize=tokenize) == expected


def test_overflow_as_in_the_original():
    prompt = render("def", budget=9)
    assert prompt == "Definition: Name a word that rhymes. Now complete the"


def test_overflow_that_keeps_the_query():
    query_words = len(QUERY.split())
    keep = {"overflow": "keep_query"}
    assert render("def", budget=query_words + 3, **keep) == "Definition: Name a\n\n" + QUERY
    assert render("def_pos2", budget=query_words, **keep) == QUERY
    words = [f"w{i}" for i in range(100)]
    shortened = render("def", instance={"input": " ".join(words)}, budget=19, **keep)
    # Both ends of the input stay: questions stand before or after their text.
    assert shortened == (
        "Now complete the following example -\n"
        "Input: w0 w1 w2 w3 w4 w5 ... w96 w97 w98 w99.\nOutput: "
    )
    assert len(shortened.split()) <= 19
    assert render("def", budget=3, **keep).endswith("Output: ")
    assert len(render("def", budget=3, **keep).split()) == 3


def test_budget_without_room_for_the_query():
    with pytest.raises(ConfigError, match="budget of 0 tokens"):
        render("def", budget=0, overflow="keep_query")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("name_def_pos1", "task007_rhyme. " + DEFINITION + POSITIVE[0] + QUERY),
        ("task_name_def", "task007_rhyme. " + DEFINITION + QUERY),
        ("neg1", NEGATIVE + QUERY),
        ("def_pos3_neg9", DEFINITION + "".join(POSITIVE) + NEGATIVE + QUERY),
        (
            "name_neg1_expl",
            "task007_rhyme. " + NEGATIVE[:-1] + " Explanation: No rhyme.\n\n" + QUERY,
        ),
    ],
)
def test_any_combination(encoding, expected):
    assert render(encoding) == expected


def test_a_published_name_is_what_its_parts_say():
    composed = {name: encodings._composed(name) for name in ENCODINGS if name != "input_only"}
    assert composed == {name: ENCODINGS[name] for name in composed}


@given(st.booleans(), st.booleans(), st.integers(0, 99), st.integers(0, 99), st.booleans())
def test_composed_names(name, definition, positives, negatives, explanations):
    explanations = explanations and positives + negatives > 0
    parts = [
        "name" * name, "def" * definition, f"pos{positives}" * (positives > 0),
        f"neg{negatives}" * (negatives > 0), "expl" * explanations,
    ]  # fmt: skip
    composed = "_".join(filter(None, parts)) or "input_only"
    assert get_encoding(composed) == Encoding(name, definition, positives, negatives, explanations)


@given(st.text("defnampos_negxl0123456789", max_size=25))
def test_a_name_is_an_encoding_or_an_error(name):
    try:
        found = get_encoding(name)
    except ConfigError as error:
        assert repr(name) in str(error)
        return
    assert found != Encoding() or name == "input_only"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("def_pos_2", "def_pos2"),
        ("def_pos3_ng1_expl", "def_pos3_neg1_expl"),
        ("nme_def_pos7", "name_def_pos7"),
        ("pos2_def", "def_pos2"),
        ("def_trm", "def_trim"),
        ("trim_def", "def_trim"),
        ("neg1_pos2_name", "name_pos2_neg1"),
        ("Def_Pos2", "def_pos2"),
        ("metta", "meta"),
        ("def_pos0", "def_pos"),
        ("def_pos100", "def_pos"),
        ("def_", "def"),
        ("def_expl", "def_pos2_expl"),
        ("def_pos\u0662", "def_pos"),
    ],
)
def test_misspelt_encoding(wrong, meant):
    with pytest.raises(ConfigError, match=f"no encoding named .*; did you mean '{meant}"):
        render(wrong)


@pytest.mark.parametrize("wrong", ["", "xyz", "_", "é" * 100])
def test_an_encoding_like_no_other_lists_them(wrong):
    with pytest.raises(ConfigError, match="known are meta, input_only, task_name"):
        render(wrong)


def test_the_meta_encoding_is_drawn():
    with pytest.raises(ConfigError, match="drawn example by example"):
        render("meta")
    assert encodings.check_encoding("meta") == "meta"
    drawn = [encodings.draw("meta", Draws(RenderingKey(), "t", str(i))) for i in range(2000)]
    counts = collections.Counter(drawn)
    assert set(counts) == {"def", "pos2", "def_pos2", "def_pos2_neg2", "def_pos2_expl"}
    assert all(330 <= count <= 470 for count in counts.values())
    assert encodings.draw("pos4", Draws(RenderingKey(), "t", "1")) == "pos4"


@pytest.mark.parametrize("encoding", ["def", "def_pos2_expl", "name_def_pos3_neg1_expl"])
def test_trimmed_prompts_end_without_the_blank(encoding):
    assert render(encoding).endswith("Output: ")
    assert render(f"{encoding}_trim") + " " == render(encoding)
    assert render("trim") + " " == render("input_only")


def test_what_was_lost_is_said():
    arguments = {"tokenize": str.split, "detokenize": " ".join, "overflow": "keep_query"}

    def prompt(budget, encoding="def_pos2", **changes):
        return encode_prompt(TASK, INSTANCE, encoding, Budget(budget, **(arguments | changes)))

    whole = len(render("def_pos2").split())
    assert prompt(whole) == (render("def_pos2"), 2, True)
    assert prompt(whole - 1) == (DEFINITION + POSITIVE[0] + QUERY, 1, True)
    needed = len((DEFINITION + QUERY).split())
    assert prompt(needed, "def_pos4") == (DEFINITION + QUERY, 0, True)
    assert not prompt(needed - 1).whole
    assert not prompt(needed - 1, overflow="original").whole


def characters(text):
    return list(text)


def pieces(text):
    """Up to three letters a token, and white space collapses: not invertible, like T5's."""
    return re.findall(r"\w{1,3}|[^\w\s]", text)


def utf8(text):
    return list(text.encode("utf-8"))


_line = st.text(st.characters(codec="utf-8"), max_size=60)
_long = st.text("ab .,\né\u4e2d", max_size=300)
_example = st.fixed_dictionaries({"input": _line, "output": _line, "explanation": _line})
_task = st.fixed_dictionaries(
    {
        "Task": st.just("task1_x"),
        "Definition": st.lists(_line | _long, min_size=1, max_size=1),
        "Positive Examples": st.lists(_example, max_size=4),
        "Negative Examples": st.lists(_example, max_size=2),
    }
)
_tokenizers = st.sampled_from([str.split, characters, pieces, utf8])


@settings(max_examples=300, deadline=None)
@given(_task, _line | _long, st.sampled_from(list(ENCODINGS)), st.integers(16, 500), _tokenizers)
def test_keep_query_keeps_the_query_within_the_budget(task, source, encoding, budget, tokenize):
    arguments = (encoding, task, {"input": source}, budget, tokenize)
    prompt = render(*arguments, overflow="keep_query")
    assert len(tokenize(prompt)) <= budget
    assert prompt.endswith(QUERY_TAIL)
    query = render("input_only", task, {"input": source})
    if len(tokenize(query)) <= budget:
        assert prompt.endswith(query)
    whole = render(*arguments, detokenize=lambda tokens: None)
    assert whole is None or whole == prompt


@settings(max_examples=200, deadline=None)
@given(_task, _line | _long, st.sampled_from(list(ENCODINGS)), st.integers(60, 600), _tokenizers)
def test_the_cheap_path_changes_nothing(task, source, encoding, budget, tokenize):
    arguments = (encoding, task, {"input": source}, budget, tokenize)
    slow = render(*arguments, overflow="keep_query")
    assert slow == render(*arguments, overflow="keep_query", max_tokens_per_byte=1)


def test_the_cheap_path_does_not_tokenize():
    def tokenize(text):
        raise AssertionError("tokenized")

    assert render("def_pos2", tokenize=tokenize, max_tokens_per_byte=1) == render("def_pos2")


def test_a_prompt_that_is_cut_is_tokenized_a_few_times_only():
    lengths = []

    def tokenize(text):
        lengths.append(len(text))
        return text.split()

    source = "word " * 100_000
    prompt = render("def_pos2", TASK, {"input": source}, 1000, tokenize, overflow="keep_query")
    assert 990 <= len(prompt.split()) <= 1000
    # The whole prompt is counted now and then; what is searched for stays near the answer.
    assert len(lengths) < 30
    assert sum(length > 50_000 for length in lengths) <= 6


@pytest.fixture(scope="module")
def sentencepiece_encode():
    """A tokenizer as the library uses them: NFKC normalization and byte fallback."""
    spm = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    text = [" ".join(("the cat sat on a mat", f"line {i} of {i * 7}")) for i in range(300)]
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model,
        vocab_size=330,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return spm.SentencePieceProcessor(model_proto=model.getvalue()).encode


@pytest.mark.parametrize(
    "text", ["q" * 900, "\ufdfa" * 40, "\ud55c" * 60, "\u0390\ufb03" * 50, "a b "]
)
def test_the_cheap_path_bounds_sentencepiece(sentencepiece_encode, text):
    """NFKC makes 33 bytes of U+FDFA's three, so bytes of the text alone are no bound."""
    most = most_bytes(text) + budgets._EXTRA_TOKENS
    assert len(sentencepiece_encode(text)) <= most


@pytest.mark.parametrize("limit", [100_000, 128])
def test_published_prompts(shared_data, limit):
    folder = shared_data / "super_ni"
    lines = (folder / "golden_encodings" / f"limit{limit}.jsonl").read_text().splitlines()
    seen = set()
    for line in lines:
        golden = json.loads(line)
        task = json.loads((folder / "tasks" / f"{golden['task']}.json").read_text())
        instance = next(row for row in task["Instances"] if row["id"] == golden["id"])
        task["Task"] = golden["task"]
        assert render(golden["encoding"], task, instance, limit) == golden["source"]
        kept = render(golden["encoding"], task, instance, limit, overflow="keep_query")
        assert len(kept.split()) <= limit
        assert kept.endswith("\n" + QUERY_TAIL)
        seen.add((golden["task"], golden["encoding"]))
    assert len(lines) == 108
    assert {encoding for _, encoding in seen} == set(ENCODINGS)
    assert len(seen) == 9 * 12
