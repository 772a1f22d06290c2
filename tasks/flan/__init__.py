"""FLAN (Wei et al. 2022): 62 datasets as 70 entries, ten templates each, and every mixture.

Importing this module registers, for every dataset D, the tasks `flan_D...` that
`flan_jax.instructions.datasets` lists, and the mixtures of `tasks.flan.mixtures`. It reads no
data and touches no network; data comes from TFDS when a task is first used.

FLAN_TEMPLATES (gin macro or environment variable) names a folder of YAML files with templates of
your own, see `flan_jax.instructions.template_files`.
"""

import importlib

from flan_jax import settings
from flan_jax.instructions.datasets import Dataset, register_dataset
from flan_jax.instructions.template_files import with_template_files
from tasks.flan import mixtures
from tasks.flan.common import with_attributes

# A module each, in the order of the paper's figure 3 and with its 'misc' last.
CLUSTERS = (
    "nli", "commonsense", "sentiment", "paraphrase", "closed_book_qa", "struct_to_text",
    "translation", "reading_comprehension", "reading_comprehension_with_commonsense",
    "coreference", "summarization", "math", "conversational_qa", "word_sense",
    "linguistic_acceptability", "question_classification", "text_formatting",
)  # fmt: skip


def _declared() -> tuple[Dataset, ...]:
    modules = (importlib.import_module(f"{__name__}.{cluster}") for cluster in CLUSTERS)
    return tuple(with_attributes(dataset) for module in modules for dataset in module.DATASETS)


DATASETS = _declared()
if _folder := settings.setting("FLAN_TEMPLATES"):
    DATASETS = with_template_files(DATASETS, str(_folder))
for _dataset in DATASETS:
    register_dataset(
        _dataset, prefix="flan_", module=__name__, template_counts=mixtures.TEMPLATE_COUNTS
    )
mixtures.register(DATASETS)
