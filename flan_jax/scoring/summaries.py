"""Scores of predictions as the benchmarks publish them, with no model and no accelerator.

ROUGE-L is computed in several processes where there is enough to do; the stems of words and the
tokens of texts are kept, since the same ones come again and again.
English is lower-cased, cut at what is neither letter nor digit and stemmed. The cross-lingual
track takes the pieces of GPT-2's byte-level BPE without their mark of a blank, unstemmed, for the
English tokens of most scripts are none at all (Wang et al. 2022, section 5.1 and the published
scorer). Exact match is `metrics.exact_match` on both tracks. What a text without tokens, or one
that normalises to nothing, counts is said in `metrics`.

The score of a group (all, a category, a task) is the mean over its instances. Confidence intervals
are percentiles over bootstrap samples of the group's tasks, for tasks differ far more from each
other than the instances of one.
"""

import concurrent.futures
import dataclasses
import functools
import itertools
import math
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files, metrics, rouge
from flan_jax.errors import ConfigError, DataError, quoted
from flan_jax.scoring import report
from flan_jax.scoring.prediction_files import Matched
from flan_jax.scoring.references import Reference

METRICS = ("rougeL", "exact_match")
# The metric that each category of Super-NI's test tasks reports; all others report ROUGE-L.
EXACT_CATEGORIES = frozenset({
    "Textual Entailment", "Cause Effect Classification", "Coreference Resolution",
    "Dialogue Act Recognition", "Answerability Classification", "Word Analogy",
})  # fmt: skip
# Starting processes costs as much as scoring so many pairs of prediction and reference.
_PAIRS_WORTH_PROCESSES = 3000
_CHUNK = 256
_KEPT_TOKENS = 1 << 15
_GPT2_SIZE = 50257
_MOST_SAMPLES, _SAMPLES_TOGETHER = 1_000_000, 2000
# GPT-2 writes the blank before a word so.
_BLANK_PIECE = "\u0120"

Pair = tuple[str, tuple[str, ...]]  # prediction, references
Key = tuple[Pair, bool]  # and whether exact match is the published one


def reported_metric(category: str) -> str:
    """Returns the metric that the benchmark reports for a category."""
    return "exact_match" if category in EXACT_CATEGORIES else "rougeL"


# ROUGE-L


def _pieces(spec: str) -> rouge.Tokenize:
    """Returns what gives pieces of GPT-2's tokenizer, without the mark of a blank before them."""
    tokenizer = load_tokenizer(spec)

    def pieces(text: str) -> list[str]:
        # Half a surrogate pair is no text for the tokenizer.
        whole = text.encode("utf-8", "replace").decode("utf-8")
        found = tokenizer.encode(whole, add_special_tokens=False).tokens
        return [piece.lstrip(_BLANK_PIECE) for piece in found]

    return functools.lru_cache(_KEPT_TOKENS)(pieces)


@functools.lru_cache(maxsize=2)
def load_tokenizer(spec: str) -> Any:
    """Returns a byte-level BPE tokenizer.

    Args:
        spec: a tokenizer.json, a folder that holds one, or one with vocab.json and merges.txt.

    Raises:
        DataError: it is none of these, or the package tokenizers is missing.
    """
    try:
        import tokenizers
    except ImportError:
        raise DataError("the cross-lingual track needs: pip install tokenizers") from None
    path = epath.Path(spec)
    parts = [path / name for name in ("vocab.json", "merges.txt")]
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        if file.exists():
            tokenizer = tokenizers.Tokenizer.from_str(files.read_text(file))
        elif all(part.is_file() for part in parts):
            tokenizer = _bpe_from_files(*map(os.fspath, parts))
        else:
            raise DataError(
                f"--tokenizer={spec} does not exist or holds no tokenizer: {HOW_TO_GET}"
            )
    except DataError:
        raise
    except Exception as error:  # what the Rust library raises is a plain Exception
        raise DataError(f"--tokenizer={spec} is no tokenizer: {error}") from None
    if not any(p.startswith(_BLANK_PIECE) for p in tokenizer.encode("a b").tokens):
        raise DataError(f"--tokenizer={spec} is not a byte-level BPE as GPT-2's is: {HOW_TO_GET}")
    return tokenizer


HOW_TO_GET = (
    "the cross-lingual track counts pieces of GPT-2's tokenizer; give --tokenizer=FOLDER with its "
    "tokenizer.json, or vocab.json and merges.txt (`hf download openai-community/gpt2 "
    "tokenizer.json --local-dir FOLDER`)"
)


def _bpe_from_files(vocabulary: str, merges: str) -> Any:
    """Returns GPT-2's tokenizer made from the two files of its first release."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    tokenizer = tokenizers.Tokenizer(models.BPE.from_file(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def tokenizer_note(spec: str) -> str | None:
    """Returns a sentence where a tokenizer is not GPT-2's, so that scores are not comparable."""
    size = load_tokenizer(spec).get_vocab_size()
    if size == _GPT2_SIZE:
        return None
    return (
        f"{spec} has {size:,} pieces where GPT-2's tokenizer has {_GPT2_SIZE:,}: the scores are "
        "not comparable with published ones"
    )


def import_rouge_quickly() -> None:
    """Imports rouge_score without scipy.stats, a second's work; for programs that only score.

    nltk, of which rouge_score uses the stemmer, imports scipy.stats for one function about
    collocations and does without it where it is not installed.
    """
    if {"nltk", "scipy.stats"} & sys.modules.keys():
        return
    sys.modules["scipy.stats"] = None  # type: ignore[assignment]
    try:
        import nltk.stem.porter  # noqa: F401
    finally:
        del sys.modules["scipy.stats"]


@functools.lru_cache(maxsize=4)
def _tokenize(tokenizer: str | None) -> rouge.Tokenize:
    """Returns what gives tokens of English (None), or the pieces of a tokenizer."""
    return rouge.english().tokenize if tokenizer is None else _pieces(tokenizer)


def _score_chunk(tokenizer: str | None, keys: Sequence[Key]) -> list[tuple[float, float]]:
    """Returns ROUGE-L and exact match, 0..100, of each pair."""
    tokenize = _tokenize(tokenizer)
    found = []
    for (prediction, references), published in keys:
        best = max(metrics.rouge_l_of_one(prediction, text, tokenize) for text in references)
        exact = metrics.exact_match(prediction, references, published=published)
        found.append((100.0 * best, exact))
    return found


def wordless(references: Iterable[Reference], tokenizer: str | None = None) -> dict[str, list[str]]:
    """Returns, by metric, the references that it normalises to nothing.

    Args:
        references: instances.
        tokenizer: see `score_pairs`.
    """
    texts = [text for one in dict.fromkeys(references) for text in one.references]
    return {
        "rougeL": [text for text in texts if not _tokenize(tokenizer)(text)],
        "exact_match": [text for text in texts if not metrics.normalize_answer(text)],
    }


def score_pairs(
    pairs: Sequence[Pair],
    *,
    published: bool | Sequence[bool] = False,
    tokenizer: str | None = None,
    processes: int | None = None,
) -> np.ndarray:
    """Returns the scores of predictions, the best over the references of each.

    Args:
        pairs: predictions with their references.
        published: whether exact match is the published one, see `metrics`; of all, or of each.
        tokenizer: None for English, else a tokenizer for the cross-lingual track
            (`load_tokenizer`).
        processes: how many to use; as many as there are cores where there is enough to do.

    Returns:
        Array [pairs, 2]: ROUGE-L and exact match, 0..100, whatever the number of processes.

    Raises:
        ConfigError: a number of processes below 1.
    """
    each = [published] * len(pairs) if isinstance(published, bool) else published
    keys = list(zip(pairs, each, strict=True))
    distinct = list(dict.fromkeys(keys))
    chunks = [distinct[at : at + _CHUNK] for at in range(0, len(distinct), _CHUNK)]
    if processes is None:
        work = sum(len(references) for (_, references), _ in distinct)
        processes = 1 if work < _PAIRS_WORTH_PROCESSES else _cores()
    if processes < 1:
        raise ConfigError(f"--processes is a number above 0, not {quoted(processes)}")
    processes = min(processes, max(len(chunks), 1))
    score = functools.partial(_score_chunk, tokenizer)
    if processes == 1 or len(chunks) < 2:
        scored: Iterable[list[tuple[float, float]]] = map(score, chunks)
    else:
        context = _context(tokenizer)
        with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
            scored = list(pool.map(score, chunks))
    found = dict(zip(distinct, itertools.chain.from_iterable(scored), strict=True))
    return np.array([found[key] for key in keys]).reshape(-1, len(METRICS))


def _cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _context(tokenizer: str | None) -> Any:
    """Returns how processes are started: as copies of this one where that is safe.

    A copy has the library, whose import takes longer than its work, already; but of threads that
    may hold a lock, as those of JAX and TensorFlow do, a copy has the locks and not the threads.
    """
    threads = threading.active_count() > 1 or {"jax", "tensorflow", "torch"} & sys.modules.keys()
    if threads or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    _tokenize(tokenizer)
    return multiprocessing.get_context("fork")


# Groups


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How confidence intervals are made.

    Attributes:
        samples: number of bootstrap samples, up to 1,000,000; 0 for no intervals.
        seed: of the samples, 0 or above; equal seeds give equal intervals.
        level: share of the samples that an interval holds.
    """

    samples: int = 1000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 0 <= self.samples <= _MOST_SAMPLES:
            raise ConfigError(
                f"--bootstrap is a number of samples from 0 to {_MOST_SAMPLES:,}, not "
                f"{quoted(self.samples)}"
            )
        if self.seed < 0:
            raise ConfigError(f"--seed is a whole number from 0 on, not {quoted(self.seed)}")

    def intervals(self, sums_Tx2: np.ndarray, counts_T: np.ndarray) -> np.ndarray:
        """Returns the intervals of instance means over samples of tasks.

        Args:
            sums_Tx2: sum of each metric over the instances of each task.
            counts_T: number of instances of each task.

        Returns:
            Array [2, metrics]: lower and upper ends.
        """
        generator = np.random.Generator(np.random.PCG64(self.seed))
        tasks = len(counts_T)
        blocks = []
        for done in range(0, self.samples, _SAMPLES_TOGETHER):
            count = min(_SAMPLES_TOGETHER, self.samples - done)
            drawn_SxT = generator.integers(tasks, size=(count, tasks))
            blocks.append(sums_Tx2[drawn_SxT].sum(1) / counts_T[drawn_SxT].sum(1, keepdims=True))
        means_Sx2 = np.concatenate(blocks)
        tail = (1 - self.level) / 2
        return np.quantile(means_Sx2, [tail, 1 - tail], axis=0)


def group_scores(
    tasks: Sequence[str], scores_Nx2: np.ndarray, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Returns the scores of one group: means over instances, and intervals where it has tasks.

    Args:
        tasks: task of each instance.
        scores_Nx2: see `score_pairs`.
        bootstrap: how intervals are made; a group of one task has none.
    """
    count = len(tasks)
    found: dict[str, Any] = {
        name: math.fsum(scores_Nx2[:, i]) / count if count else 0.0
        for i, name in enumerate(METRICS)
    }
    found["n"] = count
    names, of_task_N = np.unique(np.asarray(tasks, dtype=object), return_inverse=True)
    if bootstrap.samples and len(names) > 1:
        sums_Tx2 = np.zeros((len(names), len(METRICS)))
        np.add.at(sums_Tx2, of_task_N, scores_Nx2)
        ends = bootstrap.intervals(sums_Tx2, np.bincount(of_task_N))
        for i, name in enumerate(METRICS):
            found[f"{name}_ci95"] = [float(end) for end in ends[:, i]]
    return found


def summarize(
    name: str,
    matched: Sequence[Matched],
    scores_Nx2: np.ndarray,
    bootstrap: Bootstrap,
    *,
    by_set: bool = False,
) -> dict[str, Any]:
    """Returns the content of metrics.json, unrounded, with what each category reports.

    Args:
        name: what was scored on; "mixture" of the results.
        matched: the prediction sets.
        scores_Nx2: scores of all their pairs, one set after the other.
        bootstrap: how intervals are made.
        by_set: whether each prediction set gets its own scores.
    """
    references = [reference for predictions in matched for reference, _ in predictions.pairs]
    tasks = [reference.task for reference in references]

    def scores_of(positions: Sequence[int]) -> dict[str, Any]:
        of_group = [tasks[position] for position in positions]
        return group_scores(of_group, scores_Nx2[list(positions)], bootstrap)

    categories = [reference.category for reference in references]
    summary = report.summary_of(name, None, tasks, categories, scores_of)
    by_category = summary["by_category"]
    summary["reported"] = {category: _reported(category, by_category) for category in by_category}
    if by_set:
        sets = [predictions.name for predictions in matched for _ in predictions.pairs]
        positions = report.positions_by(sets)
        summary["by_prediction_set"] = {
            predictions.name: scores_of(positions.get(predictions.name, []))
            for predictions in matched
        }
    return summary


def _reported(category: str, by_category: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the metric that a category reports, and its value."""
    metric = reported_metric(category)
    return {"metric": metric, "value": by_category[category][metric]}
