"""What T0 trained and was tested on (Sanh et al. 2022): datasets, their sizes, the mixing rule."""

import dataclasses
from typing import Literal

# A dataset of more training examples counts for so many, shared by its templates.
CAP = 500_000
# Those of T0, those that T0+ adds (of GPT-3's evaluation), and those that T0++ adds (SuperGLUE).
Group = Literal["base", "gpt", "superglue"]
MIXTURES: dict[str, tuple[Group, ...]] = {
    "t0_train": ("base",),
    "t0_plus_train": ("base", "gpt"),
    "t0_pp_train": ("base", "gpt", "superglue"),
}
EVAL_MIXTURE = "t0_eval"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset of T0.

    Attributes:
        task: the kind of task that T0 counts it to.
        size: number of its training examples; 0 where it is not trained on.
        group: of the mixtures that train on it; None where none does.
        held_out: whether T0 is tested on it.
    """

    task: str
    size: int = 0
    group: Group | None = None
    held_out: bool = False


def rate(size: int, templates: int) -> int:
    """Returns how often one template of a dataset is drawn, in proportion to others.

    Args:
        size: training examples of the dataset.
        templates: templates that it has.
    """
    return size if size <= CAP else CAP // templates


def _group(group: Group, task: str, **sizes: int) -> dict[str, Dataset]:
    return {name: Dataset(task, size, group) for name, size in sizes.items()}


# By the slug of dataset and configuration. Sizes are those that T0 was mixed by.
DATASETS: dict[str, Dataset] = {
    **_group("base", "paraphrase", glue_mrpc=3668, glue_qqp=363846, paws_labeled_final=49401),
    **_group("base", "closed-book QA", kilt_tasks_hotpotqa=88869, wiki_qa=20360),
    **_group(
        "base", "extractive QA",
        adversarial_qa_dbidaf=10000, adversarial_qa_dbert=10000, adversarial_qa_droberta=10000,
        duorc_SelfRC=60721, duorc_ParaphraseRC=69524, ropes=10924, quoref=19399,
    ),
    **_group(
        "base", "multiple-choice QA",
        cos_e_v1_11=9741, cosmos_qa=25262, dream=6116, qasc=8134, quail=10246, quarel=1941,
        quartz=2696, sciq=11679, social_i_qa=33410, wiki_hop_original=43738, wiqa=29808,
    ),
    **_group(
        "base", "sentiment",
        amazon_polarity=3600000, app_reviews=288065, imdb=25000, rotten_tomatoes=8530,
        yelp_review_full=650000,
    ),
    **_group("base", "structure to text", common_gen=67389, wiki_bio=582659),
    **_group(
        "base", "summarization",
        cnn_dailymail_3_0_0=287113, gigaword=3803957, multi_news=44972, samsum=14732, xsum=204045,
    ),
    **_group("base", "topic classification", ag_news=120000, dbpedia_14=560000, trec=5452),
    **_group(
        "gpt", "closed-book QA",
        ai2_arc_ARC_Challenge=1119, ai2_arc_ARC_Easy=2251, trivia_qa_unfiltered=87622,
        web_questions=3778,
    ),
    **_group("gpt", "extractive QA", squad_v2=130319),
    **_group(
        "gpt", "multiple-choice QA",
        openbookqa_main=4957, race_high=62445, race_middle=25421, piqa=16113,
    ),
    **_group("superglue", "extractive QA", super_glue_record=100730),
    **_group("superglue", "multiple-choice QA", super_glue_boolq=9427, super_glue_multirc=27243),
    # Held out by T0, and trained on by T0+ or T0++.
    "hellaswag": Dataset("sentence completion", 39905, "gpt", True),
    "super_glue_copa": Dataset("sentence completion", 400, "superglue", True),
    "super_glue_wsc_fixed": Dataset("coreference", 554, "superglue", True),
    "super_glue_wic": Dataset("word sense", 5428, "superglue", True),
    "super_glue_cb": Dataset("NLI", held_out=True),
    "super_glue_rte": Dataset("NLI", held_out=True),
    **{f"anli_r{number}": Dataset("NLI", held_out=True) for number in (1, 2, 3)},
    "winogrande_winogrande_xl": Dataset("coreference", held_out=True),
    "story_cloze_2016": Dataset("sentence completion", held_out=True),
}  # fmt: skip
