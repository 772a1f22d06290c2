"""ROUGE-L is rouge_score's, and long texts take seconds."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from flan_jax.errors import DataError
from flan_jax.evaluation import rouge

PUBLISHED = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
OURS = rouge.RougeL(rouge.EnglishTokens())
WORDS = st.sampled_from(["the", "cats", "running", "yes", "no", "a", "b", "中文", "é", "12", "-"])
TEXTS = st.lists(WORDS, max_size=40).map(" ".join) | st.text()


@given(TEXTS, TEXTS)
def test_scores_are_the_published_ones(target, prediction):
    assert OURS.score(target, prediction) == PUBLISHED.score(target, prediction)


def test_long_texts():
    start = time.monotonic()
    (score,) = OURS.score("a b " * 100_000, "b a " * 4000).values()
    assert (score.precision, score.recall) == (1.0, 0.04)
    assert OURS.score("y" * 100_000, "y" * 100_000)["rougeL"].fmeasure == 1
    numbers = " ".join(map(str, range(20_000)))
    assert OURS.score(numbers, numbers)["rougeL"].fmeasure == 1
    with pytest.raises(DataError, match="has 200,000 words and the reference 200,000, more than"):
        OURS.score("a b " * 100_000, "b a " * 100_000)
    assert time.monotonic() - start < 20
