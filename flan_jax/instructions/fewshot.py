"""Exemplars before the query: few-shot prompts without state.

The exemplars of an example are drawn from the training split alone, never the example itself,
each rendered with a template of its own. At most sixteen, and at most 960 tokens with the query
(Wei et al. 2022, section 4.4 and appendix B.3); one that does not fit is passed over, so that a
long one does not shut out all that were drawn after it.

FEWSHOT_EXEMPLARS (gin macro or environment variable) asks for fewer, FEWSHOT_TOKENS for another
budget. Where PROMPT_BUDGET holds fewer of them, the farthest from the query are left out.
"""

import collections
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flan_jax import settings
from flan_jax.errors import DataError
from flan_jax.instructions.draws import Draws
from flan_jax.instructions.long_prompts import Texts
from flan_jax.instructions.rendering import Rendered
from flan_jax.instructions.vocabulary import VOCABULARY

MOST_EXEMPLARS = 16
MOST_TOKENS = 960
# Between the input and the answer of an exemplar, and between exemplars. Words, not blank lines:
# vocabularies that fold white space keep them.
ANSWER = "\nANSWER: "
NEXT = "\n###\n"
# Exemplars come from the first so many training rows, which TFDS has shuffled when it wrote them.
POOL = 2000
# Draws an exemplar, so that long ones and the query itself can be passed over.
_DRAWS = 3
_KEPT_POOLS = 8

MakeExemplar = Callable[[Mapping[str, Any], Draws], tuple[str, str]]


class Exemplars:
    """Training rows to draw exemplars from, read when the first is needed."""

    _pools: "collections.OrderedDict[str, Exemplars]" = collections.OrderedDict()
    _lock = threading.Lock()

    def __init__(self, rows: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]):
        """Args:
        rows: returns id and fields of training rows.
        """
        self._make = rows
        self._rows: list[tuple[str, Mapping[str, Any]]] | None = None
        self._reading = threading.Lock()

    @classmethod
    def of(
        cls,
        key: str,
        rows: Callable[[], Iterable[tuple[str, Mapping[str, Any]]]],
    ) -> "Exemplars":
        """Returns the pool of that key, which all variants of a dataset share."""
        with cls._lock:
            pool = cls._pools.pop(key, None) or cls(rows)
            cls._pools[key] = pool
            while len(cls._pools) > _KEPT_POOLS:
                cls._pools.popitem(last=False)
            return pool

    @classmethod
    def forget(cls) -> None:
        """Drops all pools: what they were read from has changed."""
        with cls._lock:
            cls._pools.clear()

    @property
    def rows(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Id and fields of each."""
        with self._reading:
            if self._rows is None:
                self._rows = list(itertools.islice(self._make(), POOL))
            return self._rows


@dataclasses.dataclass(frozen=True)
class FewShot:
    """Puts exemplars before a query.

    Attributes:
        pool: where they come from.
        count: at most so many.
        tokens: most tokens of the prompt, exemplars and query together.
    """

    pool: Exemplars
    count: int = MOST_EXEMPLARS
    tokens: int = MOST_TOKENS

    @classmethod
    def from_settings(cls, pool: Exemplars) -> "FewShot":
        """Returns what FEWSHOT_EXEMPLARS and FEWSHOT_TOKENS say; reads the pool.

        Raises:
            ConfigError: one of them is no number, or more than sixteen exemplars are asked for.
            DataError: there is no training row.
        """
        facts = cls.facts()
        if not pool.rows:
            raise DataError("there are no training rows to draw exemplars from")
        return cls(pool, facts["exemplars"], facts["exemplar_tokens"])

    @staticmethod
    def facts() -> dict[str, int]:
        """Returns what a recipe says of the settings.

        Raises:
            ConfigError: see `from_settings`.
        """
        return {
            "exemplars": settings.setting("FEWSHOT_EXEMPLARS", MOST_EXEMPLARS),
            "exemplar_tokens": settings.setting("FEWSHOT_TOKENS", MOST_TOKENS),
        }

    def prompt(
        self, query: Rendered, example_id: str, draws: Draws, make: MakeExemplar
    ) -> Rendered:
        """Returns a query with exemplars before it.

        Args:
            query: the example without exemplars.
            example_id: of the query, which is never its own exemplar.
            draws: choices of this rendering.
            make: renders an exemplar: fields and its own choices to (input, answer).
        """
        parts = self._exemplars(query.inputs, example_id, draws, make)

        def after(dropped: int, inputs: str) -> str:
            return "".join([*parts[dropped:], inputs, ANSWER.rstrip()])

        def write(texts: Texts, dropped: int) -> str | None:
            assert query.draft is not None
            inputs = query.draft.write(texts, 0)
            return None if inputs is None else after(dropped, inputs)

        draft = query.draft and dataclasses.replace(query.draft, write=write, exemplars=len(parts))
        return dataclasses.replace(query, inputs=after(0, query.inputs), draft=draft)

    def _exemplars(
        self, query: str, example_id: str, draws: Draws, make: MakeExemplar
    ) -> list[str]:
        """Returns the exemplars of a query, in the order in which they stand before it."""
        room = self.tokens - _length(query + ANSWER.rstrip())
        rows, used = self.pool.rows, {example_id}
        parts: list[str] = []
        for number in range(_DRAWS * self.count):
            if len(parts) == self.count or room <= 0:
                break
            own = draws.within(f"exemplar/{number}")
            exemplar_id, fields = rows[own.integer("row", len(rows))]
            if exemplar_id in used:
                continue
            inputs, answer = make(fields, own)
            text = f"{inputs}{ANSWER}{answer}{NEXT}"
            if (length := _length(text)) <= room:
                parts.append(text)
                used.add(exemplar_id)
                room -= length
        return parts


def _length(text: str) -> int:
    return len(VOCABULARY.encode(text))
