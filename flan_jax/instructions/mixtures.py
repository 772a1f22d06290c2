"""Mixtures: which tasks are trained on together, and how often each is drawn."""

import functools
from collections.abc import Container, Mapping, Sequence
from typing import Literal

import seqio

from flan_jax import registry
from flan_jax.errors import DataError, did_you_mean

# FLAN's cap: no dataset counts for more than 3,000 examples (Wei et al. 2022, section 2.4).
FLAN_CAP = 3000


def is_taken(name: str) -> bool:
    """Whether there is a task or mixture of that name."""
    return name in seqio.TaskRegistry.names() or name in seqio.MixtureRegistry.names()


def check_free(name: str) -> None:
    """Refuses a name that a task or mixture has.

    Raises:
        DataError: it is taken.
    """
    if is_taken(name):
        raise DataError(f"a task or mixture named {name!r} is registered already")


def register_mixture(
    name: str,
    tasks: Sequence[str],
    *,
    rates: Literal["examples", "uniform"] | Mapping[str, float] = "examples",
    cap: int | None = None,
) -> seqio.Mixture:
    """Registers a SeqIO mixture.

    Args:
        name: name in the SeqIO registry.
        tasks: names of registered tasks.
        rates: "examples": a task is drawn in proportion to its number of training examples, at
            most `cap` (Raffel et al. 2020, section 3.5.2); "uniform": all tasks alike; or the rate
            of each.
        cap: upper bound on the number of examples that counts, None for none.

    Raises:
        DataError: no tasks, a task is unknown or named twice, or the name is taken.
    """
    check_free(name)
    known = seqio.TaskRegistry.names()
    if not tasks:
        raise DataError(f"mixture {name!r} has no tasks")
    for task in tasks:
        if task not in known:
            raise DataError(f"mixture {name!r}: no task {task!r}" + did_you_mean(task, known))
    if len(set(tasks)) != len(tasks):
        raise DataError(f"mixture {name!r} names a task twice")
    if isinstance(rates, Mapping):
        return seqio.MixtureRegistry.add(name, [(task, float(rates[task])) for task in tasks])
    rate = 1.0 if rates == "uniform" else seqio.mixing_rate_num_examples
    if cap is not None and rates == "examples":
        rate = functools.partial(seqio.mixing_rate_num_examples, maximum=cap)
    return seqio.MixtureRegistry.add(name, [(task, rate) for task in tasks])


def resolve(name: str) -> seqio.Task | seqio.Mixture:
    """Returns the task or mixture of that name, or the one that `selected:MANIFEST` stands for.

    Raises:
        DataError: there is none; the nearest names are offered.
    """
    if made := registry.by_prefix(registry.MIXTURES, name):
        return made[0](name)
    tasks, mixtures = seqio.TaskRegistry.names(), seqio.MixtureRegistry.names()
    if name not in set(tasks) | set(mixtures):
        hint = did_you_mean(name, [*mixtures, *tasks])
        if not tasks:
            hint = "; no task module was imported (MIXTURE_OR_TASK_MODULE, or --module)"
        raise DataError(f"no task or mixture named {name!r}{hint}")
    return seqio.get_mixture_or_task(name)


# By task, the tasks that train in its place in rows of a layout (`models.layouts`).
_TRAINED_AS: dict[str, Mapping[str, str]] = {}


def train_as(task: str, by_layout: Mapping[str, str]) -> None:
    """Says of a task that examples to train on are others than those to answer.

    Args:
        task: name of the task that is evaluated.
        by_layout: by the layout of a model's rows, name of the task that it trains on instead.
    """
    _TRAINED_AS[task] = dict(by_layout)


def _trained_as(task: str, layout: str | None) -> str:
    return task if layout is None else _TRAINED_AS.get(task, {}).get(layout, task)


def member_tasks(name: str, layout: str | None = None) -> list[seqio.Task]:
    """Returns the tasks of a mixture, or the one task, sorted by name.

    Args:
        name: of the mixture or task.
        layout: of a model that trains on them, see `train_as`; None where they are answered.
    """
    provider = resolve(name)
    tasks = list(provider.tasks) if isinstance(provider, seqio.Mixture) else [provider]
    names = {_trained_as(task.name, layout) for task in tasks}
    return [seqio.TaskRegistry.get(one) for one in sorted(names)]


def task_rates(
    name: str, members: Container[str] | None = None, layout: str | None = None
) -> dict[str, float]:
    """Returns the mixing rate of every member task, or of some; 1 for a single task.

    A task that trains in the place of another has that one's rate.

    Args:
        name: see `member_tasks`, like `layout`.
        members: names of the tasks that are asked for; all where None.
        layout: see `member_tasks`.
    """
    provider = resolve(name)
    if not isinstance(provider, seqio.Mixture):
        return {_trained_as(provider.name, layout): 1.0}
    rates: dict[str, float] = {}
    for task in provider.tasks:
        trained = _trained_as(task.name, layout)
        if members is None or trained in members:
            rates[trained] = rates.get(trained, 0.0) + float(provider.get_rate(task))
    return rates
