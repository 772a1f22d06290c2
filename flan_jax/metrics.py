"""Metrics over generated text, and over scores of options.

ROUGE-L is rouge_score's own (F-measure, sentence level, Porter stemming). Exact match compares
after SQuAD's normalisation without its removal of articles, once as Super-NaturalInstructions
publishes it (Wang et al. 2022, section 4 and the benchmark's published scorer), and once, for all
other suites, with a minus before a digit kept: -5 is not 5.

Where normalising leaves nothing of a reference (`]`, `+`, the English ROUGE-L of a Chinese text),
every metric compares what stands there, so that an empty answer is not a right one.

An instance's score is its best over the references; a group's score is the mean over its
instances. Scores are in 0..100.
"""

import collections
import dataclasses
import math
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax import rouge

_PUNCTUATION = str.maketrans("", "", string.punctuation)
# A hyphen stands between letters or digits; a minus does not, but in 1e-5.
_MINUS = re.compile(r"(?:(?<!\w)|(?<=\de))[-\u2212](?=[$£€¥]?\.?\d)")

_NEXT_QUESTION = re.compile(r"^Q:", re.MULTILINE)
_ANSWER_IS = re.compile(r"the answer is[: \t]*", re.IGNORECASE)


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Returns ROUGE-L of one prediction, 0..100, the best over `references`."""
    tokenize = rouge.english().tokenize
    return 100.0 * max(rouge_l_of_one(prediction, one, tokenize) for one in references)


def rouge_l_of_one(prediction: str, reference: str, tokenize: rouge.Tokenize) -> float:
    """Returns ROUGE-L against one reference, 0..1, by any tokens."""
    if tokens := tokenize(reference):
        return rouge.f_measure(tokens, tokenize(prediction))
    return float(as_it_stands(prediction) == as_it_stands(reference))


def as_it_stands(text: str) -> str:
    """Returns a text in lower case with white space collapsed, and every sign kept."""
    return " ".join(text.lower().split())


def published_answer(text: str) -> str:
    """Lower case, ASCII punctuation removed, white space collapsed: as Super-NI normalises."""
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def normalize_answer(text: str) -> str:
    """As `published_answer`, but a minus before a digit, also U+2212, counts."""
    # The proper minus is no ASCII punctuation.
    return published_answer(_MINUS.sub("\u2212", text.lower()))


def same_answer(
    prediction: str, reference: str, normalize: Callable[[str], str] = normalize_answer
) -> bool:
    """Whether two texts are equal after normalisation, or as they stand where nothing is left."""
    if wanted := normalize(reference):
        return normalize(prediction) == wanted
    return as_it_stands(prediction) == as_it_stands(reference)


def exact_match(prediction: str, references: Sequence[str], *, published: bool = False) -> float:
    """Returns 100.0 where the prediction equals a reference after normalisation, else 0.0.

    Args:
        prediction: the answer.
        references: what is acceptable.
        published: whether to normalise as Super-NaturalInstructions publishes it, for which a
            minus is a sign like any other.
    """
    normalize = published_answer if published else normalize_answer
    return 100.0 * any(same_answer(prediction, one, normalize) for one in references)


def final_answer(text: str) -> str:
    """Returns the answer that a chain of thought ends in.

    That is the rest of the line behind its last "the answer is", or all of a text that does not say
    this, in both without a full stop at the end; and what comes after the first line that begins
    with `Q:`, where a model goes on with a question of its own, does not count. By this rule and by
    verbatim comparison, the outputs that were published with BIG-Bench Hard (Suzgun et al. 2022)
    have the accuracies that were published with them.
    """
    own = _NEXT_QUESTION.split(text.strip(), maxsplit=1)[0]
    if said := list(_ANSWER_IS.finditer(own)):
        own = own[said[-1].end() :].partition("\n")[0]
    return own.strip().removesuffix(".").rstrip()


def final_answer_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: as `exact_match_metric`, of the `final_answer` of each prediction."""
    return exact_match_metric(targets, [final_answer(prediction) for prediction in predictions])


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


def published_exact_match_metric(
    targets: Sequence[Any], predictions: Sequence[str]
) -> dict[str, float]:
    """SeqIO metric function: as `exact_match_metric`, by Super-NI's published normalisation."""
    pairs = zip(predictions, targets, strict=True)
    values = [exact_match(p, _as_references(t), published=True) for p, t in pairs]
    return {"exact_match": _mean(values)}


GENERATION_METRICS = (rouge_l_metric, exact_match_metric)
# Of both releases of Natural Instructions.
PUBLISHED_METRICS = (rouge_l_metric, published_exact_match_metric)


def rouge_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: mean ROUGE-1, -2 and -Lsum, the best over the references of each."""
    from rouge_score import rouge_scorer

    names = ("rouge1", "rouge2", "rougeLsum")
    scorer = rouge_scorer.RougeScorer(names, tokenizer=rouge.english())
    values: dict[str, list[float]] = {name: [] for name in names}
    for prediction, target in zip(predictions, targets, strict=True):
        scores = []
        for reference in _as_references(target):
            if rouge.english().tokenize(reference):
                found = scorer.score(reference, prediction)
                scores.append([found[name].fmeasure for name in names])
            else:
                same = as_it_stands(prediction) == as_it_stands(reference)
                scores.append([float(same)] * len(names))
        for name, of_name in zip(names, zip(*scores, strict=True), strict=True):
            values[name].append(100.0 * max(of_name))
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

    For tasks about case, punctuation and spaces, which exact match ignores; blanks at either end,
    which vocabularies drop, do not count in either.
    """
    pairs = zip(predictions, targets, strict=True)
    right = [
        100.0 * any(said.strip() == reference.strip() for reference in _as_references(target))
        for said, target in pairs
    ]
    return {"verbatim": _mean(right)}


_ARTICLES = re.compile(r"\b(a|an|the)\b")


def _squad_words(text: str) -> list[str]:
    """Words after SQuAD's normalisation: no case, punctuation (but a minus) or articles."""
    return _ARTICLES.sub(" ", normalize_answer(text)).split()


def _words_f1(prediction: list[str], reference: list[str]) -> float:
    common = collections.Counter(prediction) & collections.Counter(reference)
    return 2 * common.total() / (len(prediction) + len(reference))


def _squad_scores(prediction: str, reference: str) -> tuple[float, float]:
    """Exact match and F1 over words, 0..1."""
    wanted = _squad_words(reference)
    if not wanted:
        same = float(as_it_stands(prediction) == as_it_stands(reference))
        return same, same
    words = _squad_words(prediction)
    return float(words == wanted), _words_f1(words, wanted)


def squad_metric(targets: Sequence[Any], predictions: Sequence[str]) -> dict[str, float]:
    """SeqIO metric function: SQuAD's exact match ("em") and F1 over words ("f1"), 0..100.

    Rajpurkar et al. 2016, section 6.1; the best over the references of each.
    """
    exact, f1 = [], []
    for prediction, target in zip(predictions, targets, strict=True):
        scores = [_squad_scores(prediction, reference) for reference in _as_references(target)]
        exact.append(100.0 * max(em for em, _ in scores))
        f1.append(100.0 * max(f1 for _, f1 in scores))
    return {"em": _mean(exact), "f1": _mean(f1)}


def _binary(texts: Sequence[Any], positive: str) -> list[bool]:
    return [same_answer(_as_references(text)[0], positive) for text in texts]


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


@dataclasses.dataclass(frozen=True)
class Ranked:
    """What the scores of an example's options say.

    Attributes:
        best: positions of the options with the highest score, rising: one, or several where there
            is a tie; none where no score is finite.
        credit: share of them that is right, 0..1.
        not_finite: whether a score of the example is NaN or infinite.
    """

    best: tuple[int, ...]
    credit: float
    not_finite: bool

    @property
    def tied(self) -> bool:
        """Whether the best score is that of several options."""
        return len(self.best) > 1


def rank_choices(
    targets: Sequence[tuple[str, int, bool]], scores: Sequence[float]
) -> dict[str, Ranked]:
    """Returns, by example id, which options have the highest score, and whether they are right.

    Of k options with an equal score none is better than the others, so each counts 1/k: the
    expected value of drawing one of them. Taking the first, as an argmax does, would make the
    order of the options an answer. A score that is not finite never wins, and an example without
    a finite one is wrong.

    Args:
        targets: example id, option index and whether the option is right, of each record.
        scores: summed log-likelihood of the option given the prompt, not divided by its length
            (as FLAN and T0 rank).
    """
    options: dict[str, list[tuple[float, int, bool]]] = {}
    for (example_id, index, right), score in zip(targets, scores, strict=True):
        options.setdefault(example_id, []).append((float(score), int(index), bool(right)))
    return {example_id: _ranked(found) for example_id, found in options.items()}


def _ranked(options: Sequence[tuple[float, int, bool]]) -> Ranked:
    finite = [option for option in options if math.isfinite(option[0])]
    highest = max((score for score, _, _ in finite), default=0.0)
    best = sorted((index, right) for score, index, right in finite if score == highest)
    return Ranked(
        tuple(index for index, _ in best),
        _mean([float(right) for _, right in best]),
        len(finite) < len(options),
    )


def rank_classification(
    targets: Sequence[tuple[str, int, bool]], scores: Sequence[float]
) -> dict[str, float]:
    """SeqIO score metric function: share of examples whose best option is right, 0..100.

    Beside it, "ties" is the number of examples in which several options share the best score, and
    "not_finite" of those with a score that is NaN or infinite. See `rank_choices` for what these
    count.
    """
    found = rank_choices(targets, scores).values()
    return {
        "accuracy": 100.0 * _mean([one.credit for one in found]),
        "ties": sum(one.tied for one in found),
        "not_finite": sum(one.not_finite for one in found),
    }
