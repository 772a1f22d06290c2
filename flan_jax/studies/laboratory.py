"""Scores of several arms of a laboratory study, by held-out structure and by cluster.

A laboratory is a family of mixtures with one prefix, such as `minilab_demo`: `<lab>_train` and, for
each way to hold something out, `<lab>_<structure>`; `<lab>_evaluation` is all of them together.
Each also exists as `..._input`, without instructions.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.instructions import cards, mixtures
from flan_jax.scoring import report
from flan_jax.scoring.predictions import Prediction

SEEN = "seen"
NEW_WORDINGS = "new_wordings"
# Ways to hold something out, nearest to training first, and what a reader is told of them.
STRUCTURES = {
    SEEN: "tasks and wordings trained on, new instances",
    NEW_WORDINGS: "tasks trained on, in wordings never seen",
    "compositions": "two skills trained on apart, asked for together",
    "heldout_tasks": "new tasks inside clusters that are trained on",
    "heldout_clusters": "clusters of which no task is trained on",
}
INPUT = "_input"
METRIC = "exact_match"


@dataclasses.dataclass(frozen=True)
class Scored:
    """One prediction with its scores.

    Attributes:
        structure: key of `STRUCTURES`.
        cluster: cluster of its task.
        prediction: the answer and what was asked.
        scores: by metric, 0..100.
    """

    structure: str
    cluster: str
    prediction: Prediction
    scores: Mapping[str, float]


def mixture_of(lab: str, structure: str) -> str:
    """Returns the mixture on whose test split a structure is evaluated."""
    return f"{lab}_{'train' if structure == SEEN else structure}"


def structure_of_task(lab: str) -> dict[str, str]:
    """Returns the structure of every SeqIO task that is evaluated on; see `STRUCTURES`."""
    found = {}
    for name in STRUCTURES:
        for task in mixtures.member_tasks(mixture_of(lab, name)):
            found[task.name] = name
            if name != NEW_WORDINGS:
                found[task.name + INPUT] = name
    return found


def score(lab: str, predictions: Iterable[Prediction]) -> list[Scored]:
    """Returns predictions on `<lab>_evaluation`, or `..._evaluation_input`, with their scores.

    Without instructions, new wordings are the same prompts as the seen tasks', so those stand for
    both.
    """
    structures = structure_of_task(lab)
    scored = []
    for one in predictions:
        structure = structures[one.task]
        cluster = cards.get_card(one.task).cluster
        scored.append(Scored(structure, cluster, one, report.score(one)))
        if structure == SEEN and one.task.endswith(INPUT):
            scored.append(dataclasses.replace(scored[-1], structure=NEW_WORDINGS))
    return scored


def counts(scored: Sequence[Scored]) -> dict[str, int]:
    """Returns the number of examples of every structure."""
    return {name: sum(s.structure == name for s in scored) for name in STRUCTURES}


def by_structure(scored: Sequence[Scored], metric: str = METRIC) -> dict[str, float]:
    """Returns the mean score of every structure, 0..100, in the order of `STRUCTURES`."""
    return {name: _mean([s for s in scored if s.structure == name], metric) for name in STRUCTURES}


def by_cluster(scored: Sequence[Scored], metric: str = METRIC) -> dict[str, dict[str, float]]:
    """Returns {structure: {cluster: mean score}}, clusters sorted by name."""
    table: dict[str, dict[str, float]] = {}
    for name in STRUCTURES:
        own = [s for s in scored if s.structure == name]
        clusters = sorted({s.cluster for s in own})
        table[name] = {c: _mean([s for s in own if s.cluster == c], metric) for c in clusters}
    return table


def better(first: Sequence[Scored], second: Sequence[Scored], metric: str = METRIC) -> list[Scored]:
    """Returns, structure by structure, the predictions with the higher mean score."""
    means = [by_structure(scored, metric) for scored in (first, second)]
    return [
        s
        for name in STRUCTURES
        for s in (second if means[1][name] > means[0][name] else first)
        if s.structure == name
    ]


def _mean(scored: Sequence[Scored], metric: str) -> float:
    return round(sum(s.scores[metric] for s in scored) / len(scored), 2) if scored else 0.0


def samples(
    arms: Mapping[str, Sequence[Scored]], leading: str, per_structure: int = 3
) -> list[tuple[Scored, dict[str, Scored]]]:
    """Returns examples worth looking at, each with what every arm said.

    From every structure, some that `leading` got right and some that it got wrong, where there
    are such; of each kind those on which the arms differ most, and from different tasks.

    Args:
        arms: predictions by arm, all on the same prompts.
        leading: the arm that the study is about.
        per_structure: number of examples of each structure.
    """
    keyed = {arm: {_key(s): s for s in scored} for arm, scored in arms.items()}

    def agreement(one: Scored) -> int:
        return -len({by_key[_key(one)].prediction.prediction for by_key in keyed.values()})

    chosen = []
    for name in STRUCTURES:
        own = sorted((s for s in arms[leading] if s.structure == name), key=agreement)
        right = [s for s in own if s.scores[METRIC] > 0]
        wrong = [s for s in own if s.scores[METRIC] <= 0]
        picked: dict[str, Scored] = {}
        for group, most in ((right, per_structure - 1), (wrong, per_structure), (right, 99)):
            for one in group:
                if len(picked) < min(most, per_structure):
                    picked.setdefault(one.prediction.task, one)
        for one in picked.values():
            chosen.append((one, {arm: by_key[_key(one)] for arm, by_key in keyed.items()}))
    return chosen


def _key(scored: Scored) -> tuple[str, str]:
    """With and without instructions, an example is the same."""
    return scored.structure, scored.prediction.id
