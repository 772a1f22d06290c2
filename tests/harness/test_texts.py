"""Tokens of another harness's texts, for a model whose prompts and answers are parted by EOS."""

import numpy as np
import pytest

from flan_jax.harness.texts import Texts, cut_at
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.decoder import DecoderConfig
from flan_jax.models.framing import Framing
from flan_jax.models.layouts import OneSequence


@pytest.fixture
def flan():
    config = DecoderConfig(vocab_size=4224, prompt_eos=True)
    return Texts(config.row_layout(config.framing(VOCABULARY)), 12)


def test_a_model_that_parts_prompt_and_answer_reads_two_texts(flan):
    before, after = flan.pair("Is it red? ", "yes")
    assert before == [*VOCABULARY.encode("Is it red?"), VOCABULARY.eos_id]
    assert after == VOCABULARY.encode("yes") != VOCABULARY.encode(" yes")
    assert flan.pair("", "yes") == ([VOCABULARY.eos_id], after)
    assert flan.pair(" \n", "yes")[0] == [VOCABULARY.eos_id]
    long, _ = flan.pair("Is it red? " * 9, "yes")
    assert len(long) == 12 + 1 - len(after) and long[-1] == VOCABULARY.eos_id


def test_each_token_of_a_text_is_in_one_window(flan):
    text = "It is red and it is green and it is neither. " * 3
    tokens = VOCABULARY.encode(text)
    windows = flan.windows(text)
    assert [token for _, piece in windows for token in piece] == tokens
    assert windows[0][0] == [VOCABULARY.eos_id]
    at = 0
    for read, piece in windows[1:]:
        at += 12
        assert len(read) + len(piece) == 12 + 1
        assert tokens[at - len(read) : at] == read
    assert flan.windows("") == []


def test_of_a_context_that_is_cut_a_soft_prompt_stays():
    framing = Framing(pad_id=0, eos_id=1, bos_id=2, prompt_eos=False, soft_prompt=(5000, 5001))
    texts = Texts(OneSequence(framing), 9)
    whole = texts.context("red green red green red green")
    assert whole[:3] == [2, 5000, 5001]
    assert texts.shortened(whole, 6) == [5000, 5001, *whole[-4:]]
    assert texts.shortened(whole, len(whole)) == whole
    read, _ = texts.windows("red green " * 9)[1]
    assert read[:2] == [5000, 5001] and len(np.unique(read)) > 2


def test_answers_end_where_the_first_of_some_texts_begins():
    assert cut_at("a b\nc", ["\n", " "]) == "a"
    assert cut_at("a b", ["", "x"]) == "a b"
