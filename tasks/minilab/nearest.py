"""A baseline that learns nothing: do what the seen task with the most similar wording does.

It compares wordings as bags of words (TF-IDF, cosine) and then carries out the task it found by
that task's own rule, without a mistake. So it has what a model must learn, the skills, and lacks
what instruction tuning is to give, an understanding of how wordings differ.
"""

import collections
import functools
import math
import re
from collections.abc import Mapping, Sequence

from flan_jax.instructions.cards import get_card
from flan_jax.instructions.templates import Template
from tasks.minilab.lab import instance
from tasks.minilab.structure import TASKS

_PLACEHOLDER = re.compile(r"\{\w+\}")
_WORD = re.compile(r"[a-z0-9]+")
Vector = Mapping[str, float]


def _words(template: Template) -> collections.Counter[str]:
    return collections.Counter(_WORD.findall(_PLACEHOLDER.sub(" ", template.inputs).lower()))


class NearestWording:
    """Answers by the rule of the seen task whose wording is lexically nearest."""

    def __init__(self, seen: Sequence[str]):
        """Args:
        seen: SeqIO tasks or entries that were trained on, as `minilab_swap_ends`.
        """
        self._wordings = [
            (name, _words(template))
            for name in dict.fromkeys(get_card(task).name for task in seen)
            for template in TASKS[name.removeprefix("minilab_")].templates
            if not template.reversed
        ]
        self._documents = collections.Counter(word for _, words in self._wordings for word in words)
        self._vectors = [(name, self._vector(words)) for name, words in self._wordings]
        self.nearest = functools.cache(self._nearest)

    def _vector(self, words: Mapping[str, int]) -> Vector:
        """Unit vector of term frequency times inverse document frequency, smoothed."""
        total = 1 + len(self._wordings)
        weights = {
            word: count * (1 + math.log(total / (1 + self._documents[word])))
            for word, count in words.items()
        }
        norm = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / norm for word, weight in weights.items()}

    def _nearest(self, template: Template) -> str:
        """Returns the entry of the seen task with the wording nearest to a template's."""
        own = self._vector(_words(template))

        def similarity(pair: tuple[str, Vector]) -> float:
            return sum(weight * pair[1].get(word, 0.0) for word, weight in own.items())

        return max(self._vectors, key=similarity)[0]

    def answer(self, task: str, template: str, example_id: str) -> tuple[str, str]:
        """Returns the answer to one rendered example, and the entry of the task it was taken for.

        Args:
            task: SeqIO task, such as `minilab_swap_ends_new_wordings`.
            template: id of its template, such as "t3".
            example_id: as the source wrote it, such as `minilab_swap_ends/test/17`.

        The answer is "" where the nearest task needs a field that the example does not have.
        """
        own = TASKS[get_card(task).name.removeprefix("minilab_")]
        wordings = own.new_wordings if task.endswith("_new_wordings") else own.templates
        found = self.nearest(wordings[int(template.removeprefix("t"))])
        _, split, index = example_id.rsplit("/", 2)
        fields = instance(own, split, int(index))
        other = TASKS[found.removeprefix("minilab_")]
        known = set(other.fields) <= set(fields)
        return (other.rule({name: fields[name] for name in other.fields}) if known else ""), found
