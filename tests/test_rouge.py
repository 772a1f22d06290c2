"""ROUGE-L is rouge_score's, and long texts take seconds."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from flan_jax import rouge
from flan_jax.errors import DataError

PUBLISHED = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
WORDS = st.sampled_from(["the", "cats", "running", "yes", "no", "a", "b", "中文", "é", "12", "-"])
TEXTS = st.lists(WORDS, max_size=40).map(" ".join) | st.text()


def score(target, prediction):
    tokenize = rouge.english().tokenize
    return rouge.f_measure(tokenize(target), tokenize(prediction))


@given(TEXTS, TEXTS)
def test_scores_are_the_published_ones(target, prediction):
    assert score(target, prediction) == PUBLISHED.score(target, prediction)["rougeL"].fmeasure


def test_long_texts():
    start = time.monotonic()
    assert score("a b " * 100_000, "b a " * 4000) == pytest.approx(2 * 0.04 / 1.04)
    assert score("y" * 100_000, "y" * 100_000) == 1
    numbers = " ".join(map(str, range(20_000)))
    assert score(numbers, numbers) == 1
    with pytest.raises(DataError, match="a reference of 200,000 words and a prediction of 200,000"):
        score("a b " * 100_000, "b a " * 100_000)
    assert time.monotonic() - start < 20
