"""MiniLab: small text tasks made by code from a seed, with nothing to download.

Tasks are registered as `minilab_<name>` in clusters that share a skill. Two clusters train
(mixture `minilab_train`), two are held out (`minilab_heldout_clusters`), so that the effect of
instruction tuning on kinds of task never seen can be measured in minutes on a laptop.

* `lab`: what a task is, and how instances are drawn;
* `lexicon`: the words;
* one module a cluster: `string_edits`, `lookup`, `selection`, `classification`.
"""

import seqio

from flan_jax.instructions import cards, mixtures, registration
from tasks.minilab import classification, lab, lookup, selection, string_edits

TRAINING_CLUSTERS = (string_edits, lookup)
HELDOUT_CLUSTERS = (selection, classification)
TASKS = {
    task.name: task for cluster in (*TRAINING_CLUSTERS, *HELDOUT_CLUSTERS) for task in cluster.TASKS
}
MIXTURES = {
    "minilab_train": TRAINING_CLUSTERS,
    "minilab_heldout_clusters": HELDOUT_CLUSTERS,
}


def _register_task(task: lab.MiniTask) -> None:
    fields = (*task.fields, "answer")
    cards.remove_card(task.entry)  # of an earlier import of this module
    registration.register_templated_task(
        task.card(__name__),
        source=registration.rows_source(
            lambda split: lab.Instances(task, split), dict.fromkeys(fields, "string"), lab.COUNTS
        ),
        fields=fields,
        templates=task.templates,
        version=lab.content_version(task),
    )


def _register() -> None:
    """Registers what is not registered yet: a module may be reloaded, the registry not."""
    for task in TASKS.values():
        if task.entry not in seqio.TaskRegistry.names():
            _register_task(task)
    for name, clusters in MIXTURES.items():
        if name not in seqio.MixtureRegistry.names():
            entries = [task.entry for cluster in clusters for task in cluster.TASKS]
            mixtures.register_mixture(name, entries, rates="examples")


_register()
