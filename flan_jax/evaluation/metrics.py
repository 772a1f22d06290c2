"""Metrics over generated text, and over scores of options.

ROUGE-L and exact match are as Super-NaturalInstructions publishes them: ROUGE-L is rouge_score's
own (F-measure, sentence level, Porter stemming); exact match compares after SQuAD's normalisation
without its removal of articles (Wang et al. 2022, section 4 and the benchmark's published scorer).
An instance's score is its best over the references; a group's score is the mean over its
instances. Scores are in 0..100.
"""

import collections
import functools
import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.evaluation import rouge

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@functools.cache
def _scorer() -> Any:
    return rouge.RougeL(rouge.EnglishTokens())


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Returns ROUGE-L of one prediction, 0..100, the best over `references`."""
    scorer = _scorer()
    return 100.0 * max(scorer.score(ref, prediction)["rougeL"].fmeasure for ref in references)


def normalize_answer(text: str) -> str:
    """Lower case, ASCII punctuation removed, white space collapsed."""
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Returns 100.0 where the prediction equals a reference after normalisation, else 0.0."""
    normalized = normalize_answer(prediction)
    return 100.0 * any(normalized == normalize_answer(reference) for reference in references)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _as_references(target: Any) -> Sequence[str]:
    return [target] if isinstance(target, str) else list(target)


def rouge_l_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: mean ROUGE-L; a target is a string or a list of references."""
    pairs = zip(predictions, targets, strict=True)
    return {"rougeL": _mean([rouge_l(p, _as_references(t)) for p, t in pairs])}


def exact_match_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: mean exact match; a target is a string or a list of references."""
    pairs = zip(predictions, targets, strict=True)
    return {"exact_match": _mean([exact_match(p, _as_references(t)) for p, t in pairs])}


GENERATION_METRICS = (rouge_l_metric, exact_match_metric)


def rouge_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: mean ROUGE-1, -2 and -Lsum, the best over the references of each."""
    from rouge_score import rouge_scorer

    names = ("rouge1", "rouge2", "rougeLsum")
    scorer = rouge_scorer.RougeScorer(names, tokenizer=rouge.EnglishTokens())
    values: dict[str, list[float]] = {name: [] for name in names}
    for prediction, target in zip(predictions, targets, strict=True):
        scores = [scorer.score(reference, prediction) for reference in _as_references(target)]
        for name in names:
            values[name].append(100.0 * max(score[name].fmeasure for score in scores))
    return {name: _mean(scores) for name, scores in values.items()}


def bleu_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: corpus BLEU of sacreBLEU (13a tokens, exponential smoothing)."""
    import sacrebleu

    references = [_as_references(target) for target in targets]
    most = max(map(len, references), default=0)
    # sacreBLEU takes the i-th reference of all; None where an example has fewer.
    columns: list[Any] = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    score = sacrebleu.corpus_bleu(list(predictions), columns).score if predictions else 0.0
    return {"bleu": float(score)}


def edit_distance_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: mean edits a character of the reference, 0 being the best.

    Characters inserted, deleted and replaced, over the length of the reference; the least over
    the references.
    """
    import editdistance

    values = []
    for prediction, target in zip(predictions, targets, strict=True):
        distances = [
            editdistance.eval(prediction, reference) / max(len(reference), 1)
            for reference in _as_references(target)
        ]
        values.append(min(distances))
    return {"edit_distance": _mean(values)}


def verbatim_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: share of texts that equal a reference to the letter, 0..100.

    For tasks about case, punctuation and spaces, which exact match ignores.
    """
    pairs = zip(predictions, targets, strict=True)
    right = [100.0 * (said.strip() in _as_references(target)) for said, target in pairs]
    return {"verbatim": _mean(right)}


_ARTICLES = re.compile(r"\b(a|an|the)\b")


def _squad_words(text: str) -> list[str]:
    """Words after SQuAD's normalisation: no case, punctuation or articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _words_f1(prediction: list[str], reference: list[str]) -> float:
    if not prediction or not reference:
        return float(prediction == reference)
    common = collections.Counter(prediction) & collections.Counter(reference)
    return 2 * common.total() / (len(prediction) + len(reference))


def squad_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: SQuAD's exact match ("em") and F1 over words ("f1"), 0..100.

    Rajpurkar et al. 2016, section 6.1; the best over the references of each.
    """
    exact, f1 = [], []
    for prediction, target in zip(predictions, targets, strict=True):
        words = _squad_words(prediction)
        references = [_squad_words(reference) for reference in _as_references(target)]
        exact.append(100.0 * (words in references))
        f1.append(100.0 * max(_words_f1(words, reference) for reference in references))
    return {"em": _mean(exact), "f1": _mean(f1)}


def _binary(texts: Sequence[Any], positive: str) -> list[bool]:
    wanted = normalize_answer(positive)
    return [normalize_answer(_as_references(text)[0]) == wanted for text in texts]


def f1_metric(positive: str) -> Callable[..., dict[str, float]]:
    """Returns a SeqIO metric function: F1 of the answer `positive`, 0..100 (GLUE, SuperGLUE)."""

    def f1_of_positive(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
        true, said = _binary(targets, positive), _binary(predictions, positive)
        both = sum(t and s for t, s in zip(true, said, strict=True))
        return {"f1": 200.0 * both / max(sum(true) + sum(said), 1)}

    return f1_of_positive


def macro_f1_metric(answers: Sequence[str]) -> Callable[..., dict[str, float]]:
    """Returns a SeqIO metric function: mean F1 of those answers that occur, 0..100 (SuperGLUE)."""

    def macro_f1(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
        found = [answer for answer in answers if any(_binary(targets, answer))]
        return {"macro_f1": _mean([f1_metric(a)(targets, predictions)["f1"] for a in found])}

    return macro_f1


def matthews_metric(positive: str) -> Callable[..., dict[str, float]]:
    """Returns a SeqIO metric function: Matthews' correlation, -100..100 (GLUE's for CoLA)."""

    def matthews(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
        true, said = _binary(targets, positive), _binary(predictions, positive)
        pairs = collections.Counter(zip(true, said, strict=True))
        tp, tn = pairs[True, True], pairs[False, False]
        fp, fn = pairs[False, True], pairs[True, False]
        norm = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return {"matthews": 100.0 * (tp * tn - fp * fn) / norm if norm else 0.0}

    return matthews


def correlation_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: Pearson's and Spearman's correlation, -100..100 (GLUE's for STS-B).

    What is no number counts as 0; a constant has correlation 0.
    """
    from scipy import stats

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            return 0.0
        return value if math.isfinite(value) else 0.0

    true = [number(_as_references(target)[0]) for target in targets]
    said = [number(prediction) for prediction in predictions]
    if len(set(true)) < 2 or len(set(said)) < 2:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": 100.0 * float(stats.pearsonr(true, said).statistic),
        "spearman": 100.0 * float(stats.spearmanr(true, said).statistic),
    }


def rank_choices(
    targets: Sequence[tuple[str, int, bool]], scores: Sequence[float]
) -> dict[str, tuple[int, bool]]:
    """Returns, by example id, the option with the highest score, and whether it is right.

    Args:
        targets: example id, option index and whether the option is right, of each record.
        scores: summed log-likelihood of the option given the prompt, not divided by its length
            (as FLAN and T0 rank); of equal ones the first option wins.
    """
    best: dict[str, tuple[float, int, bool]] = {}
    for (example_id, index, right), score in zip(targets, scores, strict=True):
        key = (float(score), -int(index), bool(right))
        best[example_id] = max(best.get(example_id, key), key)
    return {example_id: (-index, right) for example_id, (_, index, right) in best.items()}


def rank_classification(
    targets: Sequence[tuple[str, int, bool]], scores: Sequence[float]
) -> dict[str, float]:
    """SeqIO score metric function: share of examples whose best option is right, 0..100.

    See `rank_choices`.
    """
    choices = rank_choices(targets, scores).values()
    return {"accuracy": 100.0 * _mean([float(right) for _, right in choices])}
