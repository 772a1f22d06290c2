"""Metrics against worked examples and against rouge_score itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax import metrics, rouge


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ("the cat sat", ["the cat sat"], 100.0),
        ("the cat", ["the cat sat on mats"], 100 * 2 * (1.0 * 0.4) / 1.4),
        ("cats running", ["cat run"], 100.0),  # Porter stems of words longer than three letters
        ("dog", ["cat", "a dog"], 100 * 2 * (1.0 * 0.5) / 1.5),  # the best reference counts
        ("", ["cat"], 0.0),
        # The English scorer has no tokens for these: what stands there is compared.
        ("你好", ["你好"], 100.0),
        ("", ["你好"], 0.0),
        ("再见", ["你好"], 0.0),
        ("] ]", [" ]  ] "], 100.0),
        ("", ["]"], 0.0),
        ("+", ["-", "plus"], 0.0),
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
        # What normalises to nothing is compared as it stands.
        ("", ["..."], False),
        ("...", ["..."], True),
        ("", ["]"], False),
        (")", ["]"], False),
        (" ]  }\n", ["] }"], True),
        ("+", ["+"], True),
        ("-", ["+"], False),
        (".", [""], False),
        ("", [" "], True),
        ("no", [".", "no"], True),
    ],
)
def test_exact_match(prediction, references, equal):
    for published in (False, True):
        assert metrics.exact_match(prediction, references, published=published) == 100.0 * equal


@pytest.mark.parametrize(
    ("prediction", "reference", "equal"),
    [
        ("5", "-5", False),
        ("-5", "5", False),
        ("-5", "-5.", True),
        ("\u22125", "-5", True),  # the proper minus
        ("x = -5", "x = 5", False),
        ("(-.5)", "-.5", True),
        ("-$3", "$3", False),
        ("1e-5", "1e5", False),
        ("covid-19", "covid19", True),  # a hyphen is none
        ("10-3", "103", True),
        ("well-known", "wellknown", True),
        ("- yes", "yes", True),
    ],
)
def test_a_minus_counts_in_suites_of_ours(prediction, reference, equal):
    assert metrics.exact_match(prediction, [reference]) == 100.0 * equal
    # The published scorer drops it with all other ASCII signs.
    published = 100.0 * prediction.isascii()
    assert metrics.exact_match(prediction, [reference], published=True) == published
    assert metrics.squad_metric([[reference]], [prediction])["em"] == 100.0 * equal


@given(st.text(), st.text())
def test_without_a_minus_both_normalisations_are_one(prediction, reference):
    said, expected = (t.replace("-", "").replace("\u2212", "") for t in (prediction, reference))
    both = [metrics.exact_match(said, [expected], published=p) for p in (False, True)]
    assert both[0] == both[1]


signs = st.text(alphabet=st.sampled_from("()[]{}<>+-*/=.,:;!?$% "), min_size=1, max_size=6)


@given(signs | st.sampled_from(["你好", "the", "ё", "-5"]), signs | st.just(""))
def test_an_answer_of_signs_is_right_only_where_it_stands_there(reference, said):
    """In every metric that strips signs."""
    same = metrics.as_it_stands(said) == metrics.as_it_stands(reference)
    for metric in (
        metrics.rouge_l_metric,
        metrics.exact_match_metric,
        metrics.published_exact_match_metric,
        metrics.rouge_metric,
        metrics.squad_metric,
        metrics.f1_metric(reference),
        metrics.macro_f1_metric([reference]),
    ):
        assert set(metric([[reference]], [said]).values()) == {100.0 * same}, metric
        if metric is not metrics.rouge_metric or not rouge.english().tokenize(reference):
            assert set(metric([[reference]], [reference]).values()) == {100.0}
    if reference.strip():
        other = metrics.matthews_metric(reference)([[reference], ["no"]], [said, "no"])
        assert other == {"matthews": 100.0 * same}


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
    assert metrics.squad_metric([["the"]], ["a"]) == {"em": 0.0, "f1": 0.0}
    assert metrics.squad_metric([["the"]], ["The "]) == {"em": 100.0, "f1": 100.0}
    assert metrics.squad_metric([["$"], ["-5"]], ["", "5"]) == {"em": 0.0, "f1": 0.0}
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
    # Blanks at the ends count in neither, those inside in both.
    assert metrics.verbatim_metric([[" A b.\n"], ["a  b"]], ["A b.", "a b"]) == {"verbatim": 50.0}


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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("First, 2 + 2. So the answer is 4.", "4"),
        ("The answer is 3. No: the answer is: 4.\nDone.", "4"),
        ("So the answer is ) ].\n\nQ: Next?\nA: So the answer is 7.", ") ]"),
        (" (B).\n\nQ: Next?\nA: (C)", "(B)"),
        ("Yes", "Yes"),
        ("so the answer is", ""),
        ("Q: what?", ""),
    ],
)
def test_final_answer(text, answer):
    assert metrics.final_answer(text) == answer
    if answer:
        assert metrics.final_answer_metric([[answer]], [text]) == {"exact_match": 100.0}
