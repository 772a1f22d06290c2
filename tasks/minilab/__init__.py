"""MiniLab: small text tasks made by code from a seed, with nothing to download.

Every task is registered with SeqIO as `minilab_<name>` (prompts in ten wordings),
`minilab_<name>_input` (the input alone, no instruction) and, where it is trained on,
`minilab_<name>_defined` (its definitions as instructions, for training only) and
`minilab_<name>_new_wordings` (prompts in wordings that are never trained on). Mixtures are
`minilab_train` (each task in wordings and in definitions), its first n tasks
`minilab_train_<n>tasks`, and what is held out: `minilab_heldout_clusters`,
`minilab_heldout_tasks`, `minilab_compositions` and
`minilab_new_wordings`. `minilab_specialist` is what is related to the held-out compositions among
`minilab_train`, and `minilab_evaluation` is everything that is evaluated on. All but the new
wordings also exist as `..._input`. The same names with `minilab_demo_` or `minilab_tiny_` instead
of `minilab_` are the slices that the demo shows and that tests use.

* `lab`: what a task is, and how instances are drawn;
* `lexicon`, `forms`: the words, and forms of input that tasks share;
* one module a cluster;
* `structure`: what is trained on, held out, related;
* `nearest`: a baseline that learns nothing;
* `text`: the untasked text that the base model is pretrained on (`minilab_text`).
"""

import functools
import itertools
from collections.abc import Iterable

import seqio

from flan_jax.instructions import cards, mixtures, registration
from flan_jax.instructions.pipelines import Kind
from flan_jax.instructions.templates import Template
from tasks.minilab import lab, structure, text
from tasks.minilab.nearest import NearestWording

TASKS = structure.TASKS

__all__ = ["MIXTURES", "TASKS", "NearestWording"]


def _register_task(task: lab.MiniTask) -> None:
    fields = (*task.fields, "answer")
    variants: dict[str, tuple[Template, ...]] = {"input": (Template(task.layout, "{answer}"),)}
    if task.new_wordings:
        variants["new_wordings"] = task.new_wordings
    cards.remove_card(task.entry)  # of an earlier import of this module
    rows = functools.partial(lab.Instances, task)
    kinds: dict[str, Kind] = dict.fromkeys(fields, "string")
    version = lab.content_version(task)
    registration.register_templated_task(
        task.card(__name__),
        source=registration.rows_source(rows, kinds, lab.COUNTS),
        fields=fields,
        templates=task.templates,
        version=version,
        variants=variants,
    )
    if task.new_wordings:
        training = {"train": lab.COUNTS["train"]}
        registration.register_variant(
            task.entry,
            "defined",
            source=registration.rows_source(rows, kinds, training),
            fields=fields,
            templates=lab.definition_templates(task),
            version=version,
        )


def _mixtures() -> dict[str, tuple[str, ...]]:
    """Returns the SeqIO tasks of every mixture."""
    members: dict[str, tuple[str, ...]] = {}

    def add(name: str, tasks: Iterable[str]) -> None:
        for suffix in ("", "_input"):
            members[name + suffix] = tuple(f"minilab_{task}{suffix}" for task in tasks)

    def add_training(name: str, tasks: Iterable[str]) -> None:
        tasks = tuple(tasks)
        add(name, tasks)
        members[name] += tuple(f"minilab_{task}_defined" for task in tasks)

    for prefix, train, structures in structure.SIZES:
        worded = {name: tasks for name, tasks in structures.items() if name != "new_wordings"}
        add_training(f"{prefix}_train", train)
        for name, tasks in worded.items():
            add(f"{prefix}_{name}", tasks)
        new = tuple(f"minilab_{task}_new_wordings" for task in structures["new_wordings"])
        members[f"{prefix}_new_wordings"] = new
        related = structure.related(structures[structure.SPECIALIST_TARGET], train)
        add_training(f"{prefix}_specialist", related)
        everything = [*train, *itertools.chain(*worded.values())]
        add(f"{prefix}_evaluation", everything)
        members[f"{prefix}_evaluation"] += new
    for number in structure.NUMBERS_OF_TASKS:
        add_training(f"minilab_train_{number}tasks", structure.TRAIN[:number])
    return members


MIXTURES = _mixtures()


def _register() -> None:
    """Registers what is not registered yet: a module may be reloaded, the registry not."""
    for task in TASKS.values():
        if task.entry not in seqio.TaskRegistry.names():
            _register_task(task)
    for name, entries in MIXTURES.items():
        if name not in seqio.MixtureRegistry.names():
            mixtures.register_mixture(name, entries, rates="examples")
    if text.NAME not in seqio.TaskRegistry.names():
        text.register()


_register()
