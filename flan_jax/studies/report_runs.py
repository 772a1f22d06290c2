"""One column of a report: what a run says of itself, its scores, its answers and its curves."""

import collections
import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flan_jax.errors import DataError, quoted
from flan_jax.scoring import report
from flan_jax.scoring.references import task_key

Points = list[tuple[float, float]]
# The same examples asked in another form: published answers say the task alone.
_BBH_FORM = re.compile(r"(bbh_.+)_(?:cot|fewshot|generate)", re.DOTALL)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a run said to one example.

    Attributes:
        task: its task, by the name that the run gives it.
        id: its id within the task.
        text: the answer as it is scored.
        targets: all acceptable answers.
        prompt: what was asked, as far as the run says.
        template: id of the prompt's template, empty where there is none.
        published: whether exact match is as Natural Instructions publishes it.
        credit: where options were ranked, how much of the answer is right, 0..1.
    """

    task: str
    id: str
    text: str
    targets: tuple[str, ...]
    prompt: str = ""
    template: str = ""
    published: bool = False
    credit: float | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """One column of a report.

    Attributes:
        name: what it is called.
        places: where it was read.
        scores: by task, what its metrics.json says; values are numbers, counts included.
        by_category: by category, the same.
        answers: its predictions.
        categories: category of its tasks, as far as they are known.
        curves: by metric, (step, value) while it was trained.
        facts: what it says of itself, by dotted field.
        notes: what a reader has to know.
    """

    name: str
    places: tuple[str, ...] = ()
    scores: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    by_category: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    categories: Mapping[str, str] = dataclasses.field(default_factory=dict)
    curves: Mapping[str, Points] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def asked(self) -> bool:
        """Whether it was evaluated."""
        return bool(self.scores or self.answers)

    @property
    def tasks(self) -> list[str]:
        """Its tasks, by its own names."""
        return list(dict.fromkeys([*self.scores, *(answer.task for answer in self.answers)]))

    @functools.cached_property
    def keys(self) -> dict[str, str]:
        """By its tasks, the names under which they stand beside those of other runs.

        A task of Natural Instructions has its number, and one of BIG-Bench Hard its name without
        the form of the prompt; where two of the run's would be one, both keep their own.
        """
        found = {task: common_name(task) for task in self.tasks}
        times = collections.Counter(found.values())
        return {task: task if times[key] > 1 else key for task, key in found.items()}


def common_name(task: str) -> str:
    """Returns what a task is called whoever evaluated it."""
    form = _BBH_FORM.fullmatch(task)
    return form[1] if form else task_key(task.removeprefix("ni_v1_"))


def joined(runs: Iterable[Run]) -> list[Run]:
    """Returns runs of one name as one.

    Raises:
        DataError: two evaluations of one name say different things of a task.
    """
    found: dict[str, Run] = {}
    for run in runs:
        found[run.name] = _together(found[run.name], run) if run.name in found else run
    return list(found.values())


def _together(first: Run, second: Run) -> Run:
    """Returns two parts of a run as one; what both have, as mixtures that overlap do, is one."""
    both = set(first.tasks) & set(second.tasks)
    _check_alike(first, second, both)
    return Run(
        first.name,
        tuple(dict.fromkeys((*first.places, *second.places))),
        {**first.scores, **second.scores},
        _categories(first, second, bool(both)),
        first.answers + tuple(one for one in second.answers if one.task not in both),
        {**first.categories, **second.categories},
        {**first.curves, **second.curves},
        {**second.facts, **first.facts, **_listed(first, second)},
        tuple(dict.fromkeys(first.notes + second.notes)),
    )


def _check_alike(first: Run, second: Run, tasks: set[str]) -> None:
    def content(run: Run, task: str) -> object:
        said = sorted((one.id, one.text) for one in run.answers if one.task == task)
        return run.scores.get(task), said

    for task in sorted(tasks):
        if content(first, task) != content(second, task):
            places = " and ".join(dict.fromkeys((*first.places, *second.places)))
            raise DataError(
                f"{quoted(first.name)} is two evaluations of {quoted(task)} ({places}): give each "
                "a name of its own, NAME=RUN"
            )


def _categories(first: Run, second: Run, overlap: bool) -> dict[str, Mapping[str, Any]]:
    """Returns the scores by category of two parts, without what would count a task twice."""
    found = {**first.by_category, **second.by_category}
    for name in first.by_category.keys() & second.by_category.keys():
        one, other = first.by_category[name], second.by_category[name]
        if not overlap:
            found[name] = report.together([one, other])
        elif one != other:
            del found[name]
    return found


def _listed(first: Run, second: Run) -> dict[str, Any]:
    """Returns what two parts of a run say differently, both of it."""
    shared = first.facts.keys() & second.facts.keys()
    return {
        name: f"{first.facts[name]}, {second.facts[name]}"
        for name in shared
        if first.facts[name] != second.facts[name]
    }
