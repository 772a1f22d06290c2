"""Pairs of instructions that an encoder is aligned on: which are alike, and which are not.

Only texts, task names, clusters and sources are looked at. Indices are those of `Corpus.texts`.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import gin
import numpy as np

from flan_jax.errors import ConfigError, DataError, did_you_mean
from flan_jax.selector.library import Library, LibraryTask, source_key
from flan_jax.selector.student import KINDS

LOSSES = ("cosine", "ranking")
PAPER_RATE = 1e-6
# A table's vectors move one by one, so they need far longer steps than a network. Of 0.001 to 0.05
# this found the most wordings of held-out folds with either loss, on MiniLab and the P3 templates.
STUDENT_RATE = 3e-3
_NUMBERS: dict[str, tuple[type, float, float]] = {
    "epochs": (int, 1, math.inf),
    "batch_size": (int, 1, math.inf),
    "learning_rate": (float, 0, 1),
    "warmup": (float, 0, 1),
    "weight_decay": (float, 0, math.inf),
    "max_grad_norm": (float, 1e-9, math.inf),
    "positive_share": (float, 0, 1),
    "negative_below": (float, -1, 1),
    "negative_reuse": (int, 1, math.inf),
    "hard_negatives": (int, 0, math.inf),
    "guard": (float, 0, 1),
    "scale": (float, 1e-9, math.inf),
    "cluster_label": (float, 0, 1),
    "student_width": (int, 1, math.inf),
    "seed": (int, 0, 2**32 - 1),
}
_MAY_BE_NONE = ("learning_rate", "guard", "cluster_label")
_BLOCK = 256  # rows of a matrix of similarities that are held at once


@gin.configurable
@dataclasses.dataclass(frozen=True)
class AlignConfig:
    """How an encoder is aligned; the defaults are the paper's (Lee et al. 2024, section 3.3).

    Attributes:
        loss: "cosine", the squared error of the cosine of labelled pairs, or "ranking", where an
            instruction has to find another one of its task among those of the batch
            (multiple-negatives ranking, Henderson et al. 2017).
        epochs: passes over the pairs.
        batch_size: pairs of a step.
        learning_rate: peak, after the warm-up; it falls linearly to 0. None: 1e-6, the paper's,
            or 3e-3 for a student, see `rate`.
        warmup: part of the first epoch over which it rises.
        weight_decay: of AdamW, on matrices only.
        max_grad_norm: gradients are scaled down to this norm.
        positive_share: cosine: part of a task's pairs that is used, at least one pair.
        negative_below: cosine: base similarity under which a pair may be a negative.
        negative_reuse: cosine: how often an instruction may be another one's negative.
        hard_negatives: negatives an instruction has by base similarity, nearest first. With the
            cosine loss they replace those by chance.
        guard: hard and in-batch negatives are less similar to an instruction, by the base, than
            this times what its own positive is: nearer ones may well state the same task. None
            lets all unrelated instructions be negatives: for a library whose tasks are known to
            differ, and a base that goes by how they are worded. On MiniLab, where MiniLM has "the
            first word" nearer to "the last word" than to another wording, 0.95 leaves out the
            nearest unrelated instruction of 96 in 100, the very ones that teach the difference.
        scale: ranking: factor of cosines before the softmax.
        cluster_label: label of a pair of two tasks of one cluster, one pair an instruction; with
            the ranking loss any value keeps such pairs from being negatives. None: clusters are
            not looked at.
        student: what is trained: the base itself (None), or "static", a small student made of
            it, see `student.static_student`. Negatives go by the base's similarities even then.
        student_width: components of a student's vectors, at most as many as the base has.
        seed: of pairs, order and dropout.
    """

    loss: str = "cosine"
    epochs: int = 5
    batch_size: int = 16
    learning_rate: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    positive_share: float = 0.4
    negative_below: float = 0.3
    negative_reuse: int = 4
    hard_negatives: int = 0
    guard: float | None = 0.95
    scale: float = 20.0
    cluster_label: float | None = None
    student: str | None = None
    student_width: int = 256
    seed: int = 42

    def __post_init__(self) -> None:
        for field, names in (("loss", LOSSES), ("student", (None, *KINDS))):
            value = getattr(self, field)
            if value not in names:
                hint = did_you_mean(str(value), [name for name in names if name])
                raise ConfigError(f"AlignConfig.{field} {value!r} is not one of {names}{hint}")
        for field, (kind, low, high) in _NUMBERS.items():
            value = getattr(self, field)
            if not (value is None and field in _MAY_BE_NONE or _fits(value, kind, low, high)):
                raise ConfigError(
                    f"AlignConfig.{field} must be a {'whole ' * (kind is int)}number from {low:g}"
                    f"{f' to {high:g}' * (high < math.inf)}{' or None' * (field in _MAY_BE_NONE)}, "
                    f"not {value!r}"
                )

    @property
    def rate(self) -> float:
        """The peak of the learning rate, of what is trained where none was given."""
        default = PAPER_RATE if self.student is None else STUDENT_RATE
        return default if self.learning_rate is None else self.learning_rate


def _fits(value: Any, kind: type, low: float, high: float) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return type(value) in kinds and math.isfinite(value) and low <= value <= high


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The instructions that alignment may see.

    Attributes:
        texts: instructions, those of one task together.
        tasks: index into `names` of each, int[texts].
        names: names of the tasks.
        clusters: index of each task's cluster, -1 where there is none, int[tasks].
        related: whether two tasks are one, share a source or share an instruction,
            bool[tasks, tasks]; their instructions are never each other's negatives.
        held_out: names of the tasks that were left out.
        shared: instructions left out since a held-out task has them too.
    """

    texts: tuple[str, ...]
    tasks: np.ndarray
    names: tuple[str, ...]
    clusters: np.ndarray
    related: np.ndarray
    held_out: tuple[str, ...] = ()
    shared: int = 0

    @classmethod
    def of(cls, library: Library, held_out: Collection[str] = ()) -> "Corpus":
        """Returns what a library has for alignment.

        Args:
            library: the library.
            held_out: tasks or clusters that must not enter, nor any instruction they have.

        Raises:
            DataError: one of `held_out` is not in the library, or too little remains.
        """
        out = _held_out(library, held_out)
        taboo = {_same(t) for task in library.tasks if task.name in out for t in task.instructions}
        tasks, shared = [], 0
        for task in library.tasks:
            if task.name in out:
                continue
            kept = tuple(text for text in task.instructions if _same(text) not in taboo)
            shared += len(task.instructions) - len(kept)
            tasks += [dataclasses.replace(task, instructions=kept)] if kept else []
        _check(tasks, library.origin)
        clusters = {
            name: i for i, name in enumerate(sorted({t.cluster or "" for t in tasks} - {""}))
        }
        return cls(
            texts=tuple(text for task in tasks for text in task.instructions),
            tasks=np.repeat(np.arange(len(tasks)), [len(task.instructions) for task in tasks]),
            names=tuple(task.name for task in tasks),
            clusters=np.array([clusters.get(task.cluster or "", -1) for task in tasks]),
            related=_related(tasks),
            held_out=tuple(sorted(out)),
            shared=shared,
        )

    def apart(self, index: int, clusters: bool = False) -> np.ndarray:
        """Returns which instructions may be negatives of one, bool[texts].

        Args:
            index: the instruction.
            clusters: whether those of its cluster may not.
        """
        task = self.tasks[index]
        apart = ~self.related[task]
        if clusters and self.clusters[task] >= 0:
            apart = apart & (self.clusters != self.clusters[task])
        return apart[self.tasks]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Pairs for the cosine loss.

    Attributes:
        first: one instruction of each pair, int[pairs].
        second: the other one.
        label: what their cosine should be, float32[pairs].
        without_negative: instructions for which no negative was found.
    """

    first: np.ndarray
    second: np.ndarray
    label: np.ndarray
    without_negative: int

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.first)

    def of(self, batch: np.ndarray) -> "Labelled":
        """Returns some of the pairs."""
        return dataclasses.replace(
            self, first=self.first[batch], second=self.second[batch], label=self.label[batch]
        )

    def counts(self) -> dict[str, int]:
        """Returns numbers for the card."""
        positive = int((self.label == 1).sum())
        negative = int((self.label == 0).sum())
        return {
            "positive": positive,
            "negative": negative,
            "graded": len(self.label) - positive - negative,
            "without_negative": self.without_negative,
        }


@dataclasses.dataclass(frozen=True)
class Ranked:
    """Rows for the ranking loss.

    Attributes:
        anchor: the instruction that searches, int[rows].
        positive: another one of its task, int[rows].
        hard: hard negatives, -1 where there are fewer, int[rows, hard_negatives].
    """

    anchor: np.ndarray
    positive: np.ndarray
    hard: np.ndarray

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self.anchor)

    def of(self, batch: np.ndarray) -> "Ranked":
        """Returns some of the rows."""
        return Ranked(self.anchor[batch], self.positive[batch], self.hard[batch])

    def counts(self) -> dict[str, int]:
        """Returns numbers for the card."""
        return {"rows": len(self.anchor), "hard_negatives": int((self.hard >= 0).sum())}


def labelled_pairs(corpus: Corpus, vectors: np.ndarray, config: AlignConfig) -> Labelled:
    """Returns the paper's pairs.

    A task's unordered pairs are positives, a share of them taken by chance. Each instruction has
    one negative by chance, of an unrelated task, less similar to it than `negative_below` and not
    yet used `negative_reuse` times; or its hard negatives.

    Args:
        corpus: the instructions.
        vectors: their base embeddings, unit length, float[texts, width].
        config: see `AlignConfig`.
    """
    rng = np.random.default_rng([config.seed, 0])
    pairs = [(a, b, 1.0) for a, b in _positives(corpus, config.positive_share, rng)]
    negatives, without = _negatives(corpus, vectors, config, rng)
    pairs += [(a, b, 0.0) for a, b in negatives]
    if config.cluster_label is not None:
        pairs += [(a, b, config.cluster_label) for a, b in _neighbours(corpus, rng)]
    columns = list(zip(*pairs, strict=True))
    first, second = (np.array(column, np.int64) for column in columns[:2])
    return Labelled(first, second, np.array(columns[2], np.float32), without)


def ranked_rows(corpus: Corpus, vectors: np.ndarray, config: AlignConfig, epoch: int) -> Ranked:
    """Returns the rows of one epoch: each instruction that has another one of its task.

    Args:
        corpus: the instructions.
        vectors: their base embeddings, unit length, float[texts, width].
        config: see `AlignConfig`.
        epoch: from 0; positives are drawn anew in each.
    """
    rng = np.random.default_rng([config.seed, 1, epoch])
    anchors, positives, hard = [], [], []
    for index, similar in _similarities(vectors, range(len(corpus.texts))):
        same = _others_of_task(corpus, index)
        if len(same):
            other = int(rng.choice(same))
            anchors.append(index)
            positives.append(other)
            limit = _limit(config, similar[other])
            hard.append(_hard(corpus, similar, config, index, float(limit)))
    width = config.hard_negatives
    return Ranked(
        np.array(anchors),
        np.array(positives),
        np.array(hard, np.int64).reshape(len(anchors), width),
    )


def may_be_negatives(
    corpus: Corpus, vectors: np.ndarray, config: AlignConfig, rows: Ranked, others: np.ndarray
) -> np.ndarray:
    """Returns which instructions count as negatives of each row, bool[rows, others].

    Args:
        corpus: the instructions.
        vectors: their base embeddings.
        config: see `AlignConfig`.
        rows: those of a batch.
        others: all instructions of the batch, int[others].
    """
    clusters = config.cluster_label is not None
    apart = np.stack([corpus.apart(index, clusters)[others] for index in rows.anchor])
    own = (vectors[rows.anchor] * vectors[rows.positive]).sum(axis=1, keepdims=True)
    return apart & (vectors[rows.anchor] @ vectors[others].T < _limit(config, own))


def found_share(corpus: Corpus, vectors: np.ndarray) -> float:
    """Returns the share of instructions whose nearest other one is of a related task.

    Only instructions of tasks that have two are asked; NaN where there are none. Equal texts of
    two tasks make the tasks related.
    """
    sizes = np.bincount(corpus.tasks)
    asked = np.flatnonzero(sizes[corpus.tasks] > 1)
    if not len(asked):
        return float("nan")
    found = 0
    for block in np.array_split(asked, -(-len(asked) // _BLOCK)):
        cosines = vectors[block] @ vectors.T
        cosines[np.arange(len(block)), block] = -np.inf
        nearest = cosines.argmax(axis=1)
        found += corpus.related[corpus.tasks[block], corpus.tasks[nearest]].sum()
    return float(found / len(asked))


def _held_out(library: Library, held_out: Collection[str]) -> set[str]:
    held_out = {held_out} if isinstance(held_out, str) else set(held_out)
    clusters = {task.cluster for task in library.tasks if task.cluster}
    known = set(library.by_name) | clusters
    for name in held_out:
        if name not in known:
            raise DataError(
                f"held-out {name!r} is neither a task nor a cluster of library "
                f"{library.origin}{did_you_mean(name, known)}"
            )
    return {t.name for t in library.tasks if t.name in held_out or t.cluster in held_out}


def _same(text: str) -> str:
    """What two texts that are one instruction have in common: case and the end do not matter."""
    return text.casefold().rstrip(" .:!?") or text


def _check(tasks: Sequence[LibraryTask], origin: str) -> None:
    several = sum(len(task.instructions) > 1 for task in tasks)
    if len(tasks) < 2 or not several:
        raise DataError(
            f"library {origin}: alignment needs two tasks, one of them with two instructions, "
            f"and has {len(tasks)}, {several} of them with two; add wordings or hold out less"
        )


def _related(tasks: Sequence[LibraryTask]) -> np.ndarray:
    related: np.ndarray = np.eye(len(tasks), dtype=bool)
    members: dict[tuple[str, str], list[int]] = {}
    for index, task in enumerate(tasks):
        sources = [("source", source_key(s)) for s in task.sources]
        for key in sources + [("text", _same(text)) for text in task.instructions]:
            members.setdefault(key, []).append(index)
    for group in members.values():
        related[np.ix_(group, group)] = True
    return related


def _positives(corpus: Corpus, share: float, rng: np.random.Generator) -> list[tuple[int, int]]:
    chosen: list[tuple[int, int]] = []
    for task in range(len(corpus.names)):
        pairs = list(itertools.combinations(np.flatnonzero(corpus.tasks == task).tolist(), 2))
        if pairs:
            count = max(1, round(share * len(pairs)))
            chosen += [pairs[i] for i in sorted(rng.permutation(len(pairs))[:count])]
    return chosen


def _negatives(
    corpus: Corpus, vectors: np.ndarray, config: AlignConfig, rng: np.random.Generator
) -> tuple[list[tuple[int, int]], int]:
    """Pairs of unrelated instructions, and for how many instructions there was none."""
    used: np.ndarray = np.zeros(len(corpus.texts), np.int64)
    chosen: list[tuple[int, int]] = []
    without = 0
    for index, similar in _similarities(vectors, rng.permutation(len(corpus.texts)).tolist()):
        if config.hard_negatives:
            own = similar[_others_of_task(corpus, index)]
            limit = _limit(config, own.max() if len(own) else 1.0)
            found = [i for i in _hard(corpus, similar, config, index, float(limit)) if i >= 0]
        else:
            free = corpus.apart(index) & (used < config.negative_reuse)
            free &= similar < config.negative_below
            found = [int(rng.choice(np.flatnonzero(free)))] if free.any() else []
        used[found] += 1
        without += not found
        chosen += [(index, other) for other in found]
    return chosen, without


def _neighbours(corpus: Corpus, rng: np.random.Generator) -> list[tuple[int, int]]:
    """For each instruction one by chance of another task of its cluster, where there is one."""
    pairs = []
    for index in range(len(corpus.texts)):
        task = corpus.tasks[index]
        near = corpus.apart(index) & (corpus.clusters == corpus.clusters[task])[corpus.tasks]
        if corpus.clusters[task] >= 0 and near.any():
            pairs.append((index, int(rng.choice(np.flatnonzero(near)))))
    return pairs


def _others_of_task(corpus: Corpus, index: int) -> np.ndarray:
    same = np.flatnonzero(corpus.tasks == corpus.tasks[index])
    return same[same != index]


def _similarities(vectors: np.ndarray, order: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Each index with its base similarity to all texts; blocks, for one by one is slow."""
    for start in range(0, len(order), _BLOCK):
        block = list(order[start : start + _BLOCK])
        yield from zip(block, vectors[block] @ vectors.T, strict=True)


def _limit(config: AlignConfig, own: Any) -> Any:
    """The similarity that negatives stay under, of that of an instruction's positive."""
    return np.inf if config.guard is None else config.guard * own


def _hard(
    corpus: Corpus, similar: np.ndarray, config: AlignConfig, index: int, limit: float
) -> list[int]:
    """The nearest unrelated instructions under a similarity; -1 where there are no more."""
    count = config.hard_negatives
    if not count:
        return []
    allowed = corpus.apart(index, config.cluster_label is not None) & (similar < limit)
    places = np.flatnonzero(allowed)
    order = places[np.argsort(-similar[places], kind="stable")][:count].tolist()
    return order + [-1] * (count - len(order))
