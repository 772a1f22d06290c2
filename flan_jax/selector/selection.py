"""From a target and a library to the tasks to train on.

library = load_library("tasks.minilab")
embedder = Embedder(get_encoder("lexical", all_instructions(library)))
choice = Selector(library, embedder).select([Target.of_text("Add the numbers.")], Parameters(k=5))
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import ConfigError, DataError
from flan_jax.selector import diversity, scoring
from flan_jax.selector.encoders import Embedder
from flan_jax.selector.library import Library, LibraryTask, refine_all, source_key
from flan_jax.selector.parameters import Parameters
from flan_jax.selector.vectors import Transformer, cosines

# Other tasks that stand in as targets when scores are compared with chance.
_MOST_NULL_TARGETS = 256
_LEAST_NULL_TARGETS = 8
# Diversity and stability look at this many of the best tasks.
_POOL = 1000


@dataclasses.dataclass(frozen=True)
class Target:
    """What tasks are chosen for.

    Attributes:
        label: the text as it was given, or the name of the task.
        task: its instructions, sources and cluster.
        own: the name of the library's task that it is, which then is no candidate.
    """

    label: str
    task: LibraryTask
    own: str | None = None

    @classmethod
    def of_text(cls, *texts: str, sources: Sequence[str] = ()) -> "Target":
        """Returns the target that one or several instructions state.

        Raises:
            DataError: refinement leaves nothing of the texts.
        """
        kept, _ = refine_all(texts)
        if not kept:
            raise DataError(
                f"the target {texts[0] if texts else ''!r} has no instruction in it: it is empty "
                "once template code and placeholders are removed"
            )
        return cls(texts[0], LibraryTask("(target)", kept, None, tuple(sources)))

    @classmethod
    def of_task(cls, task: LibraryTask, sources: Sequence[str] = ()) -> "Target":
        """Returns a task as a target, which is left out of the candidates."""
        more = dataclasses.replace(task, sources=(*task.sources, *sources))
        return cls(task.name, more, task.name)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A chosen task, and why.

    Attributes:
        task: its name.
        score: its score.
        instruction: its instruction in the nearest pair.
        target_instruction: the target's.
        cosine: the cosine of that pair.
        target: label of the target of that pair.
        cluster: its cluster.
        percentile: share of the candidates that score lower, in percent.
        z: score in standard deviations above chance, where that was computed.
        stability: share of resamplings in which it is among as many best tasks, None without.
    """

    task: str
    score: float
    instruction: str
    target_instruction: str
    cosine: float
    target: str
    cluster: str | None
    percentile: float
    z: float | None
    stability: float | None


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        targets: what for.
        selected: the tasks, in descending score.
        scores: of all candidates, in descending score.
        blocked: why tasks of the library were no candidates, or were passed over.
        parameters: how.
        margin: score of the last chosen task minus that of the best one that was not.
        notes: what the reader should know.
    """

    targets: tuple[Target, ...]
    selected: tuple[Chosen, ...]
    scores: Mapping[str, float]
    blocked: Mapping[str, str]
    parameters: Parameters
    margin: float | None
    notes: tuple[str, ...] = ()


def all_instructions(library: Library) -> list[str]:
    """Returns the instructions of all tasks, task by task."""
    return [text for task in library.tasks for text in task.instructions]


class Selector:
    """A library whose instructions are embedded, ready for any number of targets."""

    def __init__(self, library: Library, embedder: Embedder):
        """Embeds what is not embedded yet."""
        self.library = library
        self.embedder = embedder
        self._raw = embedder.embed(all_instructions(library))
        self._starts = scoring.starts_of([len(task.instructions) for task in library.tasks])
        self._transformed: dict[str, tuple[Transformer | None, np.ndarray]] = {}

    def select(
        self,
        targets: Sequence[Target],
        parameters: Parameters,
        given: Sequence[Mapping[str, float]] | None = None,
    ) -> Choice:
        """Returns the tasks for one target or several.

        Args:
            targets: what for.
            parameters: how.
            given: of each target the scores by task, where a baseline gives them; tasks without
                one are no candidates.

        Raises:
            ConfigError: k is larger than the number of candidates, or a parameter is wrong.
            DataError: an excluded task is unknown, or no candidate is left.
        """
        return _Selection(self, tuple(targets), parameters, given).choose()

    def scores(self, target: Target, parameters: Parameters) -> dict[str, float]:
        """Returns the score of every task of the library but the target itself, by instructions."""
        run = _Selection(self, (target,), dataclasses.replace(parameters, share_sources=True))
        return dict(zip(run.names, map(float, run.scores), strict=True))

    def transformed(self, how: str) -> tuple[Transformer | None, np.ndarray]:
        """Returns the transform that the library's instructions give, and them transformed."""
        if how not in self._transformed:
            transformer = Transformer.fit(how, self._raw, self._starts)
            moved = self._raw if transformer is None else transformer(self._raw)
            self._transformed[how] = transformer, moved
        return self._transformed[how]

    def pairs(self, target: LibraryTask, how: str, tasks: Sequence[int]) -> scoring.Pairs:
        """Returns the instructions of a target beside those of some tasks of the library."""
        transformer, sources = self.transformed(how)
        vectors = self.embedder.embed(target.instructions)
        counts = [len(self.library.tasks[i].instructions) for i in tasks]
        if len(tasks) < len(self.library.tasks):
            rows = [
                np.arange(self._starts[i], self._starts[i] + n)
                for i, n in zip(tasks, counts, strict=True)
            ]
            sources = sources[np.concatenate(rows)]
        moved = vectors if transformer is None else transformer(vectors)
        return scoring.Pairs(moved, sources, scoring.starts_of(counts))


class _Selection:
    """One call of `Selector.select`."""

    def __init__(
        self,
        selector: Selector,
        targets: tuple[Target, ...],
        parameters: Parameters,
        given: Sequence[Mapping[str, float]] | None = None,
    ):
        if not targets:
            raise ConfigError("there is no target to choose tasks for")
        self.selector, self.targets, self.parameters = selector, targets, parameters
        self.given = given
        self.library = selector.library
        self.notes: list[str] = []
        self.blocked = self._block()
        tasks = self.library.tasks
        self.candidates = [i for i, task in enumerate(tasks) if task.name not in self.blocked]
        self.names = [tasks[i].name for i in self.candidates]
        if not self.names:
            raise DataError(
                f"library {self.library.origin} has no task left to choose: all {len(tasks)} are "
                "the target, excluded, or share a source with it"
            )
        self.pairs = [
            selector.pairs(target.task, parameters.transform, self.candidates) for target in targets
        ]
        if given is None:
            self._warn_of_unknown_words()
            self.scores = self._combined(self._each(self.pairs))
        else:
            self.scores = self._combined(
                np.array([[scores[name] for name in self.names] for scores in given], float)
            )

    def choose(self) -> Choice:
        """Chooses."""
        order = self._chosen()
        ranked = sorted(order, key=lambda i: (-self.scores[i], self.names[i]))
        z = self.z
        stability = self._stability(len(ranked))
        selected = tuple(self._explain(i, z, stability) for i in ranked)
        by_score = [*diversity.by_score(self.scores)]
        return Choice(
            self.targets,
            selected,
            {self.names[i]: float(self.scores[i]) for i in by_score},
            self.blocked,
            self.parameters,
            self._margin(ranked),
            tuple(self.notes),
        )

    def _block(self) -> dict[str, str]:
        """Returns the tasks that are no candidates, and why."""
        found: dict[str, str] = {}
        for name in self.parameters.exclude:
            found[self.library.get(name).name] = "excluded"
        sources = {
            source_key(source): target.label
            for target in self.targets
            for source in target.task.sources
        }
        for task in self.library.tasks:
            shared = [source for source in task.sources if source_key(source) in sources]
            if shared and not self.parameters.share_sources:
                found.setdefault(task.name, f"shares the source {shared[0]!r} with the target")
        for target in self.targets:
            if target.own in self.library.by_name:
                found[str(target.own)] = "is the target"
        for scores in self.given or ():
            for task in self.library.tasks:
                if task.name not in scores:
                    found.setdefault(task.name, f"has no score by method {self.parameters.method}")
        return found

    def _warn_of_unknown_words(self) -> None:
        for target, pairs in zip(self.targets, self.pairs, strict=True):
            if not pairs.targets.any():
                self.notes.append(
                    f"the encoder knows no word of the target {target.label!r}: its scores are "
                    "all the same and say nothing"
                )

    def _combined(self, scores: np.ndarray) -> np.ndarray:
        """Returns the score [N] of every candidate over all targets from those [targets, N]."""
        if len(scores) == 1:
            return scores[0]
        if self.parameters.combine == "turns":
            return scoring.places(scoring.take_turns(scores))
        return scores.max(axis=0) if self.parameters.combine == "max" else scores.mean(axis=0)

    def _each(self, pairs: Sequence[scoring.Pairs]) -> np.ndarray:
        """Returns the scores [targets, N] of every candidate for each target."""
        how, top_p = self.parameters.aggregation, self.parameters.top_p
        return np.stack([scoring.aggregate(each, how, top_p=top_p) for each in pairs])

    def _chosen(self) -> list[int]:
        """Returns the candidates that are chosen, in the order in which they were."""
        limit, parameters = self._limit(), self.parameters
        z = self.z if parameters.z is not None else None
        chosen: list[int] = []
        clusters: Counter[str | None] = Counter()
        tokens = 0
        for i in self._order(lambda: chosen):
            if len(chosen) == limit:
                break
            task = self.library.tasks[self.candidates[i]]
            if reason := self._too_far(i, z, len(chosen)):
                self._pass_over(task.name, reason)
                continue
            full = parameters.per_cluster is not None and task.cluster is not None
            if full and clusters[task.cluster] >= (parameters.per_cluster or 0):
                self._pass_over(task.name, f"cluster {task.cluster!r} has its most tasks")
                continue
            if parameters.budget is not None:
                if tokens + self._tokens(task) > parameters.budget:
                    self._pass_over(task.name, "does not fit the budget")
                    continue
                tokens += self._tokens(task)
            chosen.append(i)
            clusters[task.cluster] += 1
        if parameters.k is not None and len(chosen) < parameters.k:
            self.notes.append(f"{len(chosen)} tasks, not {parameters.k}: no other one is allowed")
        if not chosen:
            raise DataError("no task can be chosen: the budget is smaller than every task")
        return chosen

    def _limit(self) -> int:
        """Returns the most tasks that may be chosen.

        Raises:
            ConfigError: more are asked for than there are.
        """
        k, available = self.parameters.k, len(self.names)
        if k is not None and k > available:
            out = f" ({len(self.blocked)} are no candidates)" if self.blocked else ""
            raise ConfigError(
                f"k = {k}, but library {self.library.origin} has {available} tasks to choose "
                f"from{out}; ask for at most {available}"
            )
        return k or self.parameters.most or available

    def _order(self, accepted: Any) -> Any:
        """Yields candidates, best first."""
        parameters = self.parameters
        if parameters.diversity == "none":
            yield from diversity.by_score(self.scores)
            return
        # Stable, so the pool's own order breaks ties as names do.
        pool = np.sort(np.argsort(-self.scores, kind="stable")[:_POOL])
        place = {int(candidate): i for i, candidate in enumerate(pool)}
        middles = scoring.centroids(self.pairs[0].sources, self.pairs[0].starts)[pool]
        walk = diversity.by_mmr if parameters.diversity == "mmr" else diversity.by_facility
        chosen = lambda: [place[i] for i in accepted()]  # noqa: E731
        similarity = cosines(middles, middles)
        for i in walk(self.scores[pool], similarity, parameters.weight, chosen):
            yield int(pool[i])

    def _too_far(self, i: int, z: np.ndarray | None, chosen: int) -> str:
        """Returns why a candidate is not near enough, or nothing."""
        parameters = self.parameters
        if chosen < parameters.least:
            return ""
        if parameters.threshold is not None and self.scores[i] < parameters.threshold:
            return "below the threshold"
        if z is not None and parameters.z is not None and not z[i] >= parameters.z:
            return "not far enough above chance"
        return ""

    def _pass_over(self, name: str, reason: str) -> None:
        # Those below a threshold are nearly all; their scores say so already.
        if "chance" not in reason and "threshold" not in reason:
            self.blocked[name] = reason

    def _tokens(self, task: LibraryTask) -> int:
        if task.tokens is None:
            raise DataError(
                f"a budget in tokens needs the tokens of every task, and task {task.name!r} has "
                'none: "tokens" in the library\'s JSONL, or --sizes=FILE.csv'
            )
        return task.tokens

    @functools.cached_property
    def z(self) -> np.ndarray | None:
        """The candidates' scores in standard deviations above chance, where asked for.

        Raises:
            ConfigError: there are too few other tasks.
        """
        if self.parameters.z is None:
            return None
        tasks = self.library.tasks
        own = {target.own for target in self.targets}
        others = [task for task in tasks if task.name not in own]
        if len(others) < _LEAST_NULL_TARGETS:
            raise ConfigError(
                f"z compares with other tasks as targets and needs {_LEAST_NULL_TARGETS} of them; "
                f"library {self.library.origin} has {len(others)}"
            )
        if len(others) > _MOST_NULL_TARGETS:
            generator = np.random.default_rng(self.parameters.seed)
            drawn = generator.choice(len(others), _MOST_NULL_TARGETS, replace=False)
            others = [others[i] for i in sorted(drawn)]
        how = self.parameters.transform
        null = np.stack(
            [self._each([self.selector.pairs(o, how, self.candidates)])[0] for o in others]
        )
        related = np.array(
            [[_related(other, tasks[i]) for i in self.candidates] for other in others]
        )
        of_target = [scoring.z_scores(scores, null, related) for scores in self._each(self.pairs)]
        return (
            np.mean(of_target, axis=0)
            if self.parameters.combine == "mean"
            else np.max(of_target, axis=0)
        )

    def _stability(self, k: int) -> dict[int, float]:
        """Returns how often each of the best candidates is among the first k of a resampling.

        Instructions of targets and tasks are drawn with replacement; this says how much the
        choice hangs on their wordings.
        """
        counts = [len(target.task.instructions) for target in self.targets]
        counts += [int(self.pairs[0].counts.max())]
        nothing_to_draw = self.given is not None or max(counts) == 1
        if not self.parameters.bootstrap or nothing_to_draw:
            return {}
        pool = np.sort(np.argsort(-self.scores, kind="stable")[:_POOL])
        tasks = [self.candidates[i] for i in pool]
        how = self.parameters.transform
        pairs = self.pairs
        if len(pool) < len(self.candidates):
            pairs = [self.selector.pairs(target.task, how, tasks) for target in self.targets]
        generator = np.random.default_rng(self.parameters.seed)
        found: Counter[int] = Counter()
        for _ in range(self.parameters.bootstrap):
            scores = self._combined(self._each([each.resampled(generator) for each in pairs]))
            found.update(int(pool[i]) for i in np.argsort(-scores, kind="stable")[:k])
        return {int(i): found[int(i)] / self.parameters.bootstrap for i in pool}

    def _explain(self, i: int, z: np.ndarray | None, stability: Mapping[int, float]) -> Chosen:
        task = self.library.tasks[self.candidates[i]]
        nearest = [pairs.nearest(i) for pairs in self.pairs]
        best = max(range(len(nearest)), key=lambda t: nearest[t][2])
        row, column, cosine = nearest[best]
        return Chosen(
            task=task.name,
            score=float(self.scores[i]),
            instruction=task.instructions[column],
            target_instruction=self.targets[best].task.instructions[row],
            cosine=cosine,
            target=self.targets[best].label,
            cluster=task.cluster,
            percentile=100.0 * float((self.scores < self.scores[i]).mean()),
            z=None if z is None or np.isnan(z[i]) else float(z[i]),
            stability=stability.get(i),
        )

    def _margin(self, chosen: Sequence[int]) -> float | None:
        left: np.ndarray = np.delete(self.scores, chosen)
        return float(self.scores[chosen].min() - left.max()) if left.size else None


def _related(a: LibraryTask, b: LibraryTask) -> bool:
    """Whether two tasks are one, or share cluster or source."""
    same_cluster = a.cluster is not None and a.cluster == b.cluster
    sources = {source_key(source) for source in a.sources}
    return a.name == b.name or same_cluster or any(source_key(s) in sources for s in b.sources)
