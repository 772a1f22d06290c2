"""Metrics against worked examples and against rouge_score itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.evaluation import metrics


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ("the cat sat", ["the cat sat"], 100.0),
        ("the cat", ["the cat sat on mats"], 100 * 2 * (1.0 * 0.4) / 1.4),
        ("cats running", ["cat run"], 100.0),  # Porter stems of words longer than three letters
        ("dog", ["cat", "a dog"], 100 * 2 * (1.0 * 0.5) / 1.5),  # the best reference counts
        ("", ["cat"], 0.0),
        ("你好", ["你好"], 0.0),  # the English scorer has no tokens for it
    ],
)
def test_rouge_l(prediction, references, expected):
    assert metrics.rouge_l(prediction, references) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "references", "equal"),
    [
        ("Yes.", ["yes"], True),
        ("  a  DOG! ", ["a dog"], True),
        ("dog", ["a dog"], False),  # articles stay
        ("no", ["yes", "No"], True),
        ("", ["..."], True),
    ],
)
def test_exact_match(prediction, references, equal):
    assert metrics.exact_match(prediction, references) == 100.0 * equal


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_scores_are_percentages_and_more_references_never_hurt(prediction, references):
    for metric in (metrics.rouge_l, metrics.exact_match):
        first = metric(prediction, references[:1])
        assert 0 <= first <= metric(prediction, references) <= 100.0 + 1e-9


def test_seqio_metric_functions_take_strings_and_lists_of_references():
    targets, predictions = ["yes", ["no", "never"]], ["yes", "never"]
    assert metrics.exact_match_metric(targets, predictions) == {"exact_match": 100.0}
    assert metrics.rouge_l_metric(targets, predictions) == {"rougeL": pytest.approx(100.0)}
    assert metrics.rouge_l_metric([], []) == {"rougeL": 0.0}
