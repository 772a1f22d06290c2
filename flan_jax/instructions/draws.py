"""Stateless rendering: a prompt is a function of four keys and of nothing else.

The keys are (render seed, task, example id, rendering number). Whatever a rendering has to
choose (a template, the order of options, exemplars, one of several references) is drawn from a
hash of these keys and the name of the choice, so it is the same in any process, in any order and
with any number of workers, and adding a choice does not disturb the others.

The render seed and the rendering number are the same for a whole pipeline, so they are held in a
context that SeqIO's preprocessors read when a dataset is built. Whoever builds a dataset outside
`rendering_context` (plain SeqIO, T5X) gets seed 0 and rendering 0.
"""

import contextlib
import contextvars
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class RenderingKey:
    """What all renderings of one pipeline share: the render seed and the rendering number."""

    seed: int = 0
    number: int = 0


_PLAIN = RenderingKey()
_CURRENT: contextvars.ContextVar[RenderingKey] = contextvars.ContextVar("rendering", default=_PLAIN)


def current_rendering() -> RenderingKey:
    """Returns the key in force; `RenderingKey(0, 0)` outside any `rendering_context`."""
    return _CURRENT.get()


@contextlib.contextmanager
def rendering_context(seed: int, number: int) -> Iterator[RenderingKey]:
    """Datasets built inside render with this seed and number."""
    key = RenderingKey(seed, number)
    token = _CURRENT.set(key)
    try:
        yield key
    finally:
        _CURRENT.reset(token)


class Draws:
    """The choices of one rendering of one example.

    Every method takes `what`, the name of the choice, which makes it independent of all others.
    """

    def __init__(self, key: RenderingKey, task: str, example_id: str):
        """Args:
        key: render seed and rendering number.
        task: name of the task, which keeps tasks with equal ids apart.
        example_id: the id that the source wrote.
        """
        self._prefix = "\x1f".join((str(key.seed), task, example_id, str(key.number)))

    def within(self, what: str) -> "Draws":
        """Returns choices of their own, for a part of the example."""
        part = Draws.__new__(Draws)
        part._prefix = f"{self._prefix}\x1e{what}"
        return part

    def integer(self, what: str, n: int) -> int:
        """Returns an integer in [0, n), uniform over 2**64 hash values."""
        if n < 1:
            raise ValueError(f"cannot draw {what!r} from {n} possibilities")
        digest = hashlib.blake2b(f"{self._prefix}\x1f{what}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % n

    def choice(self, what: str, items: Sequence[T]) -> T:
        """Returns one of `items`."""
        return items[self.integer(what, len(items))]

    def permutation(self, what: str, n: int) -> list[int]:
        """Returns the integers below n in a drawn order (Fisher-Yates)."""
        order = list(range(n))
        for i in range(n - 1, 0, -1):
            j = self.integer(f"{what}/{i}", i + 1)
            order[i], order[j] = order[j], order[i]
        return order
