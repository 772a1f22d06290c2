"""What a task module registers of a folder: once a process, whole or not at all; can be undone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import seqio

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
        self._asked: tuple[Any, ...] | None = None

    def register(self, asked: tuple[Any, ...], fill: Callable[[], None]) -> None:
        """Registers what `fill` adds, unless it is there.

        Args:
            asked: folder and settings that it depends on.
            fill: calls `add_task`, `add_card` and `add_mixture`.

        Raises:
            DataError: something else of this suite is registered in this process, a name is taken,
                or `fill` raised it; nothing of the suite is registered then.
        """
        if self._asked is not None and self._is_there():
            if asked != self._asked:
                told = [" with ".join(map(str, one)) for one in (self._asked, asked)]
                raise DataError(
                    f"{self.title} is registered already from {told[0]}, so not from {told[1]}; "
                    "one process reads one folder in one way (`unregister` undoes it)"
                )
            return
        self.unregister()  # cards, say, that stayed when the registry was emptied by hand
        self._asked = asked
        try:
            fill()
        except Exception:
            self.unregister()
            raise

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
    ) -> None:
        """Registers a card, and what `flan-jax tasks check` asks of it; see `checks.declare`."""
        cards.register_card(card)
        self._cards.append(card.name)
        checks.declare(card.name, problems, texts)

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
