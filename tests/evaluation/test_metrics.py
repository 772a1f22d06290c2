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


# FLAN's


def test_squad():
    found = metrics.squad_metric(
        [["the Old Bridge", "Stari Most"], ["1815"]], ["old bridge!", "in 1815"]
    )
    assert found["em"] == 50.0
    assert found["f1"] == pytest.approx((100 + 100 * 2 / 3) / 2)
    assert metrics.squad_metric([["the"]], ["a"]) == {"em": 100.0, "f1": 100.0}
    assert metrics.squad_metric([], []) == {"em": 0.0, "f1": 0.0}


def test_bleu_is_sacrebleu_with_any_number_of_references():
    import sacrebleu

    said = ["the cat sat on the mat", "there is a dog here"]
    assert metrics.bleu_metric([["the cat sat on the mat"], ["there is a dog here"]], said) == {
        "bleu": pytest.approx(100.0)
    }
    references = [["a cat sat on a mat", "the cat sat on the mat"], ["a dog is here"]]
    columns = [["a cat sat on a mat", "a dog is here"], ["the cat sat on the mat", None]]
    expected = sacrebleu.corpus_bleu(said, columns).score
    assert metrics.bleu_metric(references, said)["bleu"] == pytest.approx(expected)


def test_edit_distance_and_verbatim():
    found = metrics.edit_distance_metric([["abcd"], ["xy", "xyz"]], ["abed", "xyz"])
    assert found == {"edit_distance": pytest.approx(0.125)}
    assert metrics.verbatim_metric([["A b."], ["c"]], ["A b. ", "C"]) == {"verbatim": 50.0}


def test_glue_metrics_are_scipys_and_by_hand():
    targets, said = [["yes"], ["yes"], ["no"], ["no"]], ["yes", "no", "Yes.", "no"]
    assert metrics.f1_metric("yes")(targets, said) == {"f1": 50.0}
    assert metrics.matthews_metric("yes")(targets, said) == {"matthews": 0.0}
    assert metrics.matthews_metric("yes")(targets, ["yes", "yes", "no", "no"])["matthews"] == 100.0
    assert metrics.matthews_metric("yes")(targets, ["yes"] * 4)["matthews"] == 0.0
    assert metrics.macro_f1_metric(("yes", "no", "maybe"))(targets, said) == {"macro_f1": 50.0}
    found = metrics.correlation_metric([["0"], ["1"], ["2"]], ["1", "3", "x"])
    assert found["pearson"] == pytest.approx(-100 * 0.3273268, abs=1e-4)
    assert found["spearman"] == pytest.approx(-50.0)
    assert metrics.correlation_metric([["0"], ["1"]], ["2", "2"]) == {
        "pearson": 0.0,
        "spearman": 0.0,
    }
    assert metrics.correlation_metric([["0"], ["1"]], ["0", "nan"])["pearson"] == 0.0


def test_rouge_takes_the_best_reference():
    found = metrics.rouge_metric([["a b c d", "x"]], ["x"])
    assert found == {"rouge1": 100.0, "rouge2": 0.0, "rougeLsum": 100.0}
