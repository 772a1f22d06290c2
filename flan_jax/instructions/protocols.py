"""How tasks are asked in an evaluation: in which templates, and after how many exemplars.

Whoever registers a task that draws a template for each example says which tasks are the same one,
each in one template alone (`declare_templates`). So an evaluation can ask in all of them, which
shows how much an answer depends on the wording (Sanh et al. 2022, section 6.1), or choose the one
that is best on the development split (Wei et al. 2022, section 3).
"""

from collections.abc import Iterable, Sequence

import seqio

from flan_jax.errors import DataError
from flan_jax.instructions import mixtures

# What the name of a task adds that has exemplars before each query.
FEWSHOT = "_fewshot"
_TEMPLATES: dict[str, tuple[str, ...]] = {}
_SET_OF: dict[str, str] = {}
_FIXED_SHOTS: dict[str, int] = {}


def declare_templates(name: str, tasks: Sequence[str]) -> None:
    """Says that tasks are one task, each in one template.

    Args:
        name: of the task that draws among them; it need not be registered.
        tasks: at least one.
    """
    _TEMPLATES[name] = tuple(tasks)
    _SET_OF.update(dict.fromkeys(tasks, name))


def declare_shots(task: str, count: int) -> None:
    """Says that a few-shot task has always so many exemplars, whatever is asked for."""
    _FIXED_SHOTS[task] = count


def template_sets(tasks: Iterable[str]) -> dict[str, list[str]]:
    """Returns, of tasks, those that are one task in several templates, by the name of that."""
    sets: dict[str, list[str]] = {}
    for task in tasks:
        if task in _SET_OF:
            sets.setdefault(_SET_OF[task], []).append(task)
    return {name: sorted(found) for name, found in sorted(sets.items()) if len(found) > 1}


def in_all_templates(name: str) -> str:
    """Returns the mixture of a mixture's tasks in each of their templates, registered if need be.

    A task that has no templates of its own, or is one in one template, stays as it is.

    Raises:
        DataError: no task of it has several.
    """
    tasks = [task.name for task in mixtures.member_tasks(name)]
    found = dict.fromkeys(one for task in tasks for one in _TEMPLATES.get(task, (task,)))
    if not template_sets(found):
        shown = ", ".join(tasks[:3]) + (", ..." if len(tasks) > 3 else "")
        raise DataError(f"{name}: no task has templates to compare, as flan_rte has ({shown})")
    return mixture_of(f"{name}_templates", list(found), name)


def with_shots(name: str, count: int) -> str:
    """Returns the mixture of a mixture's tasks with exemplars, or without, registered if needed.

    How many there are is FEWSHOT_EXEMPLARS, for whoever renders to look up.

    Args:
        name: a task or mixture.
        count: of exemplars.

    Raises:
        DataError: a task has no variant with exemplars, or always another number of them.
    """
    tasks = [task.name for task in mixtures.member_tasks(name)]
    found = [_shots_of(task, count) for task in tasks]
    if found == tasks:
        return name
    end = FEWSHOT if count else "_zeroshot"
    return mixture_of(f"{name}{end}", found, name)


def _shots_of(task: str, count: int) -> str:
    plain = task.removesuffix(FEWSHOT)
    wanted = plain + FEWSHOT if count else plain
    if wanted not in seqio.TaskRegistry.names():
        raise DataError(
            f"task {task!r} has no variant {wanted!r} to be asked with {count} exemplars; tasks of "
            "Natural Instructions have those of their encoding (SUPER_NI_ENCODING=def_pos2)"
        )
    if count and _FIXED_SHOTS.get(wanted, count) != count:
        raise DataError(f"task {wanted!r} has always {_FIXED_SHOTS[wanted]} exemplars, not {count}")
    return wanted


def mixture_of(wanted: str, tasks: Sequence[str], before: str) -> str:
    """Returns the name of a mixture of tasks, which is registered where there is none of them.

    Args:
        wanted: its name, unless that is another's.
        tasks: its tasks.
        before: a mixture or task that it may be already.
    """
    if len(tasks) == 1:
        return tasks[0]
    number, name = 1, before
    while mixtures.is_taken(name):
        if sorted(task.name for task in mixtures.member_tasks(name)) == sorted(tasks):
            return name
        name = wanted if number == 1 else f"{wanted}_{number}"
        number += 1
    mixtures.register_mixture(name, tasks, rates="uniform")
    return name
