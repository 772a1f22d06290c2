"""What a selector has to beat: chance, everything, similarity of samples, and the truth.

Each returns a ranking, (task, score) in descending score and by name among equals, as the
selector's own rankings are; its first k are the choice.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from flan_jax import json_files
from flan_jax.errors import ConfigError, DataError, did_you_mean, quoted
from flan_jax.selector.transfer import scores_on

# Names of these ways of choosing, for `selection.Parameters.method`.
METHODS = ("random", "all", "samples", "oracle")
Ranking = list[tuple[str, float]]
# Texts to vectors of shape [texts, dimensions], in the same order.
Encode = Callable[[Sequence[str]], np.ndarray]


def ranking(scores: Mapping[str, float], k: int | None = None) -> Ranking:
    """Returns tasks in descending score, by name among equals.

    Args:
        scores: score by task.
        k: how many; None for all.

    Raises:
        ConfigError: k is not a whole number from 1 to the number of tasks.
    """
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise ConfigError(f"k must be a whole number above 0, not {k!r}")
    if k is not None and k > len(scores):
        raise ConfigError(f"k is {k}, but there are only {len(scores)} tasks to choose from")
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]


def random_tasks(tasks: Collection[str], k: int | None = None, seed: int = 0) -> Ranking:
    """Returns k tasks by chance.

    A task's score in [0, 1) depends on its name and the seed alone, so that a task more or less in
    the library leaves the others' order as it is.
    """
    return ranking({task: _draw(task, seed) for task in tasks}, k)


def all_tasks(tasks: Collection[str]) -> Ranking:
    """Returns every task, all with score 1."""
    return ranking(dict.fromkeys(tasks, 1.0))


def oracle(
    transfer: Mapping[str, Mapping[str, float]],
    target: str,
    tasks: Collection[str] | None = None,
    k: int | None = None,
) -> Ranking:
    """Returns the sources that bring most on a target, by a table of true transfer.

    Args:
        transfer: see `transfer.read_transfer`.
        target: what is chosen for.
        tasks: what may be chosen; all sources of the table if None.
        k: how many; None for all.

    Raises:
        DataError: the table has no such target, or lacks one of `tasks`.
    """
    known = scores_on(transfer, target)
    for task in tasks or ():
        if task not in known:
            hint = did_you_mean(task, known)
            raise DataError(f"the transfer table has no score of {task!r} on {target!r}{hint}")
    return ranking({task: known[task] for task in known if tasks is None or task in tasks}, k)


def by_samples(
    target: Sequence[str],
    samples: Mapping[str, Sequence[str]],
    encode: Encode,
    how: Literal["mean", "vote"] = "mean",
    k: int | None = None,
) -> Ranking:
    """Returns tasks whose inputs resemble those of a target, without any label.

    Args:
        target: inputs of the target, about 32 of them.
        samples: inputs by task.
        encode: gives their vectors; any length, cosines are taken.
        how: "mean" scores a task by the mean, over the target's inputs, of the cosine to the
            nearest input of the task; "vote" by the share of the target's inputs whose nearest
            input is the task's (as experts are retrieved by Jang et al. 2023), the mean above
            deciding between equals.
        k: how many; None for all.

    Raises:
        ConfigError: `how` is not known.
        DataError: the target or a task has no input.
    """
    if how not in ("mean", "vote"):
        raise ConfigError(f"how is {how!r}: 'mean' or 'vote'{did_you_mean(how, ('mean', 'vote'))}")
    empty = [name for name, texts in [("the target", target), *samples.items()] if not texts]
    if empty or not samples:
        raise DataError(f"no sample of {', '.join(empty) or 'any task'} to compare inputs with")
    names = sorted(samples)
    nearest = _nearest(target, [samples[name] for name in names], encode)
    means = nearest.mean(axis=0)
    if how == "mean":
        return ranking(dict(zip(names, means.tolist(), strict=True)), k)
    votes = np.bincount(nearest.argmax(axis=1), minlength=len(names)) / len(nearest)
    order = sorted(range(len(names)), key=lambda i: (-votes[i], -means[i], names[i]))
    ranking(dict.fromkeys(names, 0.0), k)  # checks k
    return [(names[i], float(votes[i])) for i in order[:k]]


def sample_scores(
    samples: Mapping[str, Sequence[str]],
    target: str,
    tasks: Collection[str],
    encode: Encode,
) -> dict[str, float]:
    """Returns the scores of tasks for a target by `by_samples`; those without samples have none.

    Args:
        samples: inputs by task, the target's own among them.
        target: name of the task that is chosen for.
        tasks: what may be chosen.
        encode: see `by_samples`.

    Raises:
        DataError: the target, or every task, has no samples.
    """
    if target not in samples:
        hint = did_you_mean(target, samples)
        raise DataError(f"the samples have no inputs of the target {target!r}{hint}")
    others = {name: samples[name] for name in tasks if name in samples and name != target}
    return dict(by_samples(samples[target], others, encode))


def read_samples(path: str) -> dict[str, list[str]]:
    """Returns inputs by task of a file of one `{"task": ..., "inputs": [...]}` a line.

    Raises:
        DataError: the file is not there or a line is not such an object; file and line are named.
    """
    samples: dict[str, list[str]] = {}
    for row in json_files.read_rows(path):
        task, inputs = row.name("task"), row.texts("inputs")
        if not all(text.strip() and json_files.encodable(text) for text in inputs):
            row.fail("inputs", "must be texts, at least one, none of them blank")
        if task in samples:
            row.fail("task", f"{quoted(task)} is there twice")
        samples[task] = list(inputs)
    return samples


def _draw(task: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\n{task}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _nearest(target: Sequence[str], samples: Iterable[Sequence[str]], encode: Encode) -> np.ndarray:
    """Cosine of each of the target's inputs to the nearest input of each task."""
    queries = _unit(encode(target))
    return np.stack([(queries @ _unit(encode(texts)).T).max(axis=1) for texts in samples], axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
