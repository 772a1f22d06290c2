"""Metrics over generated text, as Super-NaturalInstructions publishes them.

ROUGE-L is rouge_score's own (F-measure, sentence level, Porter stemming); exact match compares
after SQuAD's normalisation without its removal of articles (Wang et al. 2022, section 4 and the
benchmark's published scorer). An instance's score is its best over the references; a group's
score is the mean over its instances. Scores are in 0..100.
"""

import functools
import string
from collections.abc import Sequence
from typing import Any

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@functools.cache
def _scorer() -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


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
