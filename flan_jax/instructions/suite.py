"""What a task module registers of a folder: once a process, whole or not at all; can be undone."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import seqio

from flan_jax import files
from flan_jax.errors import DataError
from flan_jax.instructions import cards, checks, mixtures, registration


class Suite:
    """The tasks, mixtures and cards of one folder.

    Attributes:
        title: of the suite, for messages.
        tasks: names of its SeqIO tasks, in the order in which they were registered.
        mixtures: names of its mixtures.
    """

    def __init__(self, title: str):
        self.title = title
        self.tasks: list[str] = []
        self.mixtures: list[str] = []
        self._cards: list[str] = []
        self._asked: tuple[str | None, ...] | None = None

    def register(self, fill: Callable[..., None], *folders: str | None) -> "Suite":
        """Registers what `fill` adds, unless it is there.

        Args:
            fill: calls `add_task`, `add_card` and `add_mixture`; takes the folders.
            *folders: that it reads, in the order in which it takes them; links are followed.

        Raises:
            DataError: other folders are registered in this process, a name is taken, or `fill`
                raised it; nothing of the suite is registered then.
        """
        asked = tuple(folder and _real(folder) for folder in folders)
        if self._asked is not None and self._is_there():
            if asked != self._asked:
                there, wanted = (" and ".join(filter(None, one)) for one in (self._asked, asked))
                raise DataError(
                    f"{self.title} is registered already from {there}, so not from {wanted}; one "
                    "process reads one folder (`unregister` undoes it)"
                )
            return self
        self.unregister()  # cards, say, that stayed when the registry was emptied by hand
        self._asked = asked
        try:
            fill(*asked)
        except Exception:
            self.unregister()
            raise
        return self

    def _is_there(self) -> bool:
        """Whether the registry still has what was registered; tests and notebooks empty it."""
        known = set(seqio.TaskRegistry.names())
        return all(task in known for task in self.tasks)

    def add_task(self, name: str, **facts: Any) -> None:
        """Registers a task; see `registration.register_task`."""
        registration.register_task(name, **facts)
        self.tasks.append(name)

    def add_card(
        self,
        card: cards.Card,
        problems: Callable[[], Sequence[str]],
        texts: Callable[[], Iterable[str]],
        fits: Callable[[], Iterable[int]],
    ) -> None:
        """Registers a card, and what `flan-jax tasks check` asks of it; see `checks.declare`."""
        cards.register_card(card)
        self._cards.append(card.name)
        checks.declare(card.name, problems, texts, fits)

    def add_mixture(self, name: str, rates: Mapping[str, float]) -> None:
        """Registers a mixture of registered tasks; none where it has no members."""
        if rates:
            mixtures.register_mixture(name, list(rates), rates=rates)
            self.mixtures.append(name)

    def unregister(self) -> None:
        """Removes everything, so that another folder can be registered."""
        for name in self.mixtures:
            seqio.MixtureRegistry.remove(name)
        for name in self.tasks:
            seqio.TaskRegistry.remove(name)
        for name in self._cards:
            cards.remove_card(name)
        self.tasks, self.mixtures, self._cards, self._asked = [], [], [], None


def _real(folder: str) -> str:
    return folder if files.is_remote(folder) else os.path.realpath(folder)
