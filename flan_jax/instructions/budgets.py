"""Budgets of tokens, and what of a prompt fits into one."""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from typing import Any, Literal

from flan_jax.errors import ConfigError
from flan_jax.texts import most_bytes

Overflow = Literal["original", "keep_query"]

# Stands where the middle of an input was cut out.
ELLIPSIS = " ... "
# Tokens that a tokenizer may add to what the bytes of a text can yield (a dummy prefix).
_EXTRA_TOKENS = 2
# A cut moves back to the nearest blank if it is at most so many characters away, so that words
# stay whole where a language writes blanks.
_WORD_REACH = 24


class Fit(enum.IntEnum):
    """What became of a prompt on the way into a budget."""

    WHOLE = 0
    SHORTENED = 1
    TOO_LONG = 2


@dataclasses.dataclass(frozen=True)
class Budget:
    """How many tokens a prompt may have, how they are counted, and what gives way.

    Attributes:
        tokens: most tokens of a prompt; leave room for an end-of-sequence token.
        tokenize: a text's tokens, without special tokens.
        detokenize: the text of tokens, used to cut a prompt as the original does.
        overflow: what to do where a prompt exceeds the budget. "original": keep its first tokens.
            "keep_query": shorten the instructions from their end, then the middle of the input;
            what ends the query always stays, and the prompt never exceeds the budget.
        max_tokens_per_byte: a bound on how many tokens the tokenizer makes of one UTF-8 byte (1
            for byte-level, byte-fallback and WordPiece vocabularies). Where given, texts that
            cannot exceed the budget are not tokenized at all, which is most of them.
    """

    tokens: int
    tokenize: Callable[[str], Sequence[Any]]
    detokenize: Callable[[Sequence[Any]], str]
    overflow: Overflow = "original"
    max_tokens_per_byte: int | None = None

    @classmethod
    def of_prompts(cls, vocabulary: Any, tokens: int, overflow: Overflow) -> "Budget":
        """Returns a budget for prompts that an end-of-sequence token closes.

        Args:
            vocabulary: a SeqIO vocabulary that makes at most as many tokens of a text as it has
                bytes, as all do that VOCABULARY takes.
            tokens: most tokens of a prompt with the one that closes it.
            overflow: see above.
        """
        return cls(tokens - 1, vocabulary.encode, vocabulary.decode, overflow, 1)

    def cut(self, text: str) -> str:
        """Returns the text of the first tokens."""
        return self.detokenize(self.tokenize(text)[: self.tokens])


@dataclasses.dataclass(frozen=True)
class Fitter:
    """What of one prompt fits into a budget; no text is counted twice."""

    budget: Budget
    _held: dict[str, bool] = dataclasses.field(default_factory=dict)

    def holds(self, text: str) -> bool:
        """Whether the budget holds a text."""
        if text not in self._held:
            count = self.budget.tokenize
            self._held[text] = self._surely_holds(text) or len(count(text)) <= self.budget.tokens
        return self._held[text]

    def _surely_holds(self, text: str) -> bool:
        """Whether a text has too few bytes to exceed the budget."""
        if self.budget.max_tokens_per_byte is None:
            return False
        most = self.budget.max_tokens_per_byte * most_bytes(text) + _EXTRA_TOKENS
        return most <= self.budget.tokens

    def longest(self, build: Callable[[int], str], size: int) -> str | None:
        """Returns `build(n)` for the largest n up to `size` that fits, or None where none does.

        Gallops up from 0 and then halves, so no text much longer than the answer is tokenized. The
        number of tokens is nearly, not exactly, monotone in n: whatever is returned was counted.
        """
        best = build(0)
        if not self.holds(best):
            return None
        low, step = 0, max(1, self.budget.tokens)
        while low < size:
            middle = min(low + step, size)
            candidate = build(middle)
            if not self.holds(candidate):
                size = middle - 1
                break
            low, best, step = middle, candidate, 2 * step
        while low < size:
            middle = (low + size + 1) // 2
            candidate = build(middle)
            if self.holds(candidate):
                low, best = middle, candidate
            else:
                size = middle - 1
        return best


def shortened_query(query: Callable[[str], str], source: str, tail: str, fitter: Fitter) -> str:
    """Returns a query with the middle of its input cut out, or still less of it.

    Args:
        query: returns the query of an input.
        source: the input.
        tail: what ends every query, and stays.
        fitter: of the budget.

    Raises:
        ConfigError: the budget does not even hold the tail.
    """
    prompt = fitter.longest(lambda size: query(ends(source, size)), len(source))
    if prompt is None:
        bare = query("")
        spare = len(bare) - len(tail)
        prompt = fitter.longest(lambda size: bare[spare - size :], spare)
    if prompt is None:
        raise ConfigError(f"a budget of {fitter.budget.tokens} tokens does not even hold {tail!r}")
    return prompt


def head(text: str, size: int) -> str:
    """Returns at most the first `size` characters, ending at a word's end where one is near."""
    if size < len(text) and not text[size].isspace():
        near = range(max(0, size - _WORD_REACH), size)
        size = max((at for at in near if text[at].isspace()), default=size)
    return text[:size].rstrip()


def ends(text: str, size: int) -> str:
    """Returns about `size` characters of a text, half from its start and half from its end."""
    if size >= len(text):
        return text
    tail = head(text[::-1], size // 2)[::-1]
    return head(text, size - size // 2) + ELLIPSIS + tail
