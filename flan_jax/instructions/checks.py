"""What `flan-jax tasks check` asks of an entry; whoever registers the entry says it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from flan_jax.instructions.rendering import Rendered


class Check(NamedTuple):
    """What can be asked of an entry.

    Attributes:
        problems: returns what is wrong with its templates or rows, a line each.
        texts: yields what models are to read and to say, to see what a vocabulary loses of it.
        fits: yields what PROMPT_BUDGET makes of prompts, see `budgets.Fit`.
    """

    problems: Callable[[], Sequence[str]]
    texts: Callable[[], Iterable[str]]
    fits: Callable[[], Iterable[int]] = tuple


_CHECKS: dict[str, Check] = {}


def declare(
    entry: str,
    problems: Callable[[], Sequence[str]],
    texts: Callable[[], Iterable[str]],
    fits: Callable[[], Iterable[int]] = tuple,
) -> None:
    """Says how an entry is checked; once more replaces what was said. See `Check`."""
    _CHECKS[entry] = Check(problems, texts, fits)


def texts_of(examples: Iterable[Rendered]) -> Iterator[str]:
    """Yields prompts and answers."""
    for one in examples:
        yield from (one.inputs, one.targets)


def find(entry: str) -> Check | None:
    """Returns how an entry is checked, None where nobody said it."""
    return _CHECKS.get(entry)
