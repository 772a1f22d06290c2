"""FLAN's mixtures: what is trained on, what is held out.

Training mixtures draw a dataset in proportion to its training examples, at most 3,000 (Wei et al.
2022, section 2.4); evaluation mixtures have every dataset alike. FORM is one of "", "_fewshot",
"_notemplate", "_name" (the variants of the same name).

* `flan_all`FORM, `flan_except_<cluster>`FORM, `flan_<cluster>_eval`FORM;
* `flan_<cluster>_eval_rank`, `_eval_rank_fewshot`: its classifications, by rank classification;
* `flan_<cluster>_eval_templates`, `_eval_rank_templates`, `_eval_rank_templates_fewshot`: one task
  a template that states the task, for the mean over templates and for the best one on the
  validation split (section 3);
* `flan_all_<k>templates`, `flan_except_<cluster>_<k>templates`: the first k of ten templates;
* `flan_train_<n>clusters`: the first n clusters in the order of figure 6;
* `flan_train_<n>per_cluster_<k>templates`: n datasets of each of these seven clusters (appendix
  B.1), in the order in which the cluster's file lists them;
* `flan_except_superglue`FORM, `flan_superglue_eval`FORM: SuperGLUE's eight datasets held out;
* `flan_one_per_cluster_<i>_train`, `_eval`: one dataset of each cluster held out, ten draws.
"""

import hashlib
from collections.abc import Iterable, Sequence

from flan_jax.instructions.datasets import Dataset
from flan_jax.instructions.mixtures import FLAN_CAP, register_mixture

FORMS = ("", "_fewshot", "_notemplate", "_name")
TEMPLATE_COUNTS = (1, 2, 4, 7)
# What else is not trained on where a cluster is held out (section 2.2): reading comprehension
# with commonsense is of two kinds, and paraphrase is inference in both directions.
JOINTLY_HELD_OUT = {
    "reading_comprehension": ("reading_comprehension_with_commonsense",),
    "commonsense": ("reading_comprehension_with_commonsense",),
    "reading_comprehension_with_commonsense": ("reading_comprehension", "commonsense"),
    "paraphrase": ("nli",),
    "nli": ("paraphrase",),
}
# In the order in which figure 6 adds them; inference, closed-book QA and commonsense are tested.
ADDED_CLUSTERS = (
    "summarization", "translation", "reading_comprehension", "sentiment", "struct_to_text",
    "coreference", "conversational_qa",
)  # fmt: skip
SUPERGLUE = ("bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")
ONE_PER_CLUSTER_DRAWS = 10


def excluded(cluster: str) -> frozenset[str]:
    """Returns the clusters that are not trained on where `cluster` is held out."""
    return frozenset((cluster, *JOINTLY_HELD_OUT.get(cluster, ())))


def held_out_families(datasets: Sequence[Dataset], draw: int) -> frozenset[str]:
    """Returns one family a cluster: in draw i, the i-th in an order that hashes give."""
    chosen = set()
    for cluster in dict.fromkeys(dataset.cluster for dataset in datasets):
        families = {d.attributes["family"] for d in datasets if d.cluster == cluster}
        order = sorted(families, key=lambda f: hashlib.blake2b(f.encode()).digest())
        chosen.add(order[draw % len(order)])
    return frozenset(chosen)


def register(datasets: Sequence[Dataset]) -> None:
    """Registers all mixtures over the registered datasets."""
    training = [dataset for dataset in datasets if "train" in dataset.splits]
    clusters = list(dict.fromkeys(dataset.cluster for dataset in datasets))
    subsets = [(f"_{count}templates") for count in TEMPLATE_COUNTS]
    for form in (*FORMS, *subsets):
        _train(f"flan_all{form}", training, form)
        for cluster in clusters:
            kept = [d for d in training if d.cluster not in excluded(cluster)]
            _train(f"flan_except_{cluster}{form}", kept, form)
    for cluster in clusters:
        _evaluations(f"flan_{cluster}_eval", [d for d in datasets if d.cluster == cluster])
    _added_clusters(training)
    for form in FORMS:
        kept = [d for d in training if d.name not in SUPERGLUE]
        _train(f"flan_except_superglue{form}", kept, form)
    _evaluations("flan_superglue_eval", [d for d in datasets if d.name in SUPERGLUE])
    for draw in range(ONE_PER_CLUSTER_DRAWS):
        held = held_out_families(training, draw)
        name = f"flan_one_per_cluster_{draw}"
        _train(f"{name}_train", [d for d in training if d.attributes["family"] not in held])
        _uniform(f"{name}_eval", (d.name for d in training if d.attributes["family"] in held))


def _added_clusters(training: Sequence[Dataset]) -> None:
    """The paper's curves over clusters, datasets a cluster, and templates."""
    for count in range(1, len(ADDED_CLUSTERS) + 1):
        kept = [d for d in training if d.cluster in ADDED_CLUSTERS[:count]]
        _train(f"flan_train_{count}clusters", kept)
    for count in range(1, 5):
        kept = []
        for cluster in ADDED_CLUSTERS:
            kept += [d for d in training if d.cluster == cluster][:count]
        for templates in (1, 4, 10):
            form = f"_{templates}templates" if templates < 10 else ""
            name = f"flan_train_{count}per_cluster_{templates}templates"
            _train(name, kept, form)


def _train(name: str, datasets: Iterable[Dataset], form: str = "") -> None:
    tasks = [f"flan_{dataset.name}{form}" for dataset in datasets]
    register_mixture(name, tasks, cap=FLAN_CAP)


def _uniform(name: str, names: Iterable[str]) -> None:
    tasks = [f"flan_{n}" for n in names]
    register_mixture(name, tasks, rates="uniform")


def _evaluations(name: str, datasets: Sequence[Dataset]) -> None:
    for form in FORMS:
        having = [d for d in datasets if "fewshot" not in form or "train" in d.splits]
        _uniform(name + form, (d.name + form for d in having))
    _in_each_template(name, datasets, "")
    ranked = [d for d in datasets if d.classification]
    if ranked:
        _uniform(f"{name}_rank", (f"{d.name}_rank" for d in ranked))
        having = [d for d in ranked if "train" in d.splits]
        _uniform(f"{name}_rank_fewshot", (f"{d.name}_rank_fewshot" for d in having))
        _in_each_template(f"{name}_rank", ranked, "_rank")
        _in_each_template(f"{name}_rank", having, "_rank", "_fewshot")


def _in_each_template(
    name: str, datasets: Sequence[Dataset], ranked: str, fewshot: str = ""
) -> None:
    """Registers one task a template that states the task."""
    straight = (
        f"{d.name}_{template_id}{ranked}{fewshot}"
        for d in datasets
        for template_id, template in d.named_templates.items()
        if not template.reversed
    )
    _uniform(f"{name}_templates{fewshot}", straight)
