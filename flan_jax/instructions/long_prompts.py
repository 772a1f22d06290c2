"""Prompts that are too long give up text, and keep instruction, question and OPTIONS.

PROMPT_BUDGET (gin macro or environment variable) is the most tokens of a prompt, with the token
that ends or begins it. Where it is not given, prompts stay as they are, and a model's framing cuts
what does not fit at its end, where most templates have the question and OPTIONS.

What gives way, for as long as the prompt is too long:

1. exemplars, whole, the farthest from the query first;
2. texts of more than `SHORT` characters: the longest first, once it is as long as the next both of
   them, and so on, so that of two long texts neither is lost;
3. where nothing is left of these, all others in the same way.

Texts are fields of the row that the template writes. One that the answer is made of, that is an
option, or that a dataset declares to be kept never gives way. A question stays since it is short.
A text loses its end; one that may hold both material and question, such as a line of JSON, loses
its middle. A prompt that fits stays as it is, byte for byte. One that is too long without any of
its texts keeps them, and is counted: see `budgets.Fit`.
"""

import collections
import dataclasses
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flan_jax import settings
from flan_jax.instructions import budgets
from flan_jax.instructions.budgets import Budget, Fit, Fitter

SETTING = "PROMPT_BUDGET"
# Most characters of a text that gives way after all longer ones; questions are hardly longer.
SHORT = 200
# Bump by hand whenever the same budget leaves something else of a prompt.
FORMAT = 1
_JOINER = "\u200d"  # of emoji

# Texts by a name of any kind.
Texts = Mapping[Any, str]
Cut = Callable[[str, int], str]


def prompt_budget() -> int | None:
    """Returns what PROMPT_BUDGET says; None where it is not given.

    Raises:
        ConfigError: it is no number of tokens.
    """
    found: int | None = settings.setting(SETTING)
    return found


def facts() -> dict[str, Any]:
    """Returns what a recipe says of the budget; nothing where there is none."""
    tokens = prompt_budget()
    return {} if tokens is None else {"prompt_budget": tokens, "long_prompts": FORMAT}


def kept_facts(kept: Sequence[str]) -> dict[str, Any]:
    """Returns what a recipe says of fields that are kept; nothing where there is no budget."""
    return {} if prompt_budget() is None else {"kept": list(kept)}


def beginning(text: str, size: int) -> str:
    """Returns at most the first `size` characters, up to a word's end where one is near.

    No letter is parted from its accents.
    """
    if size >= len(text):
        return text
    while size and _belongs(text, size):
        size -= 1
    return budgets.head(text, size)


def _belongs(text: str, at: int) -> bool:
    """Whether a character is a part of the one before it."""
    joined = _JOINER in text[at - 1 : at + 1]
    return joined or unicodedata.category(text[at]).startswith("M")


def both_ends(text: str, size: int) -> str:
    """Returns about `size` characters, half of them from each end."""
    return budgets.ends(text, size) if size else ""


@dataclasses.dataclass(frozen=True)
class Draft:
    """How a prompt is written anew.

    Attributes:
        texts: returns what may be shortened; called where a prompt is too long.
        write: returns the prompt with other texts, those that it is given, and without so many
            exemplars, the farthest; None where it cannot be written of these.
        exemplars: how many it has.
        cut: what is left of a text for a number of characters.
    """

    texts: Callable[[], Texts]
    write: Callable[[Texts, int], str | None]
    exemplars: int = 0
    cut: Cut = beginning


def fit(prompt: str, draft: Draft | None, tokens: int) -> tuple[str, Fit]:
    """Returns what of a prompt fits into so many tokens of the vocabulary; see the module.

    Args:
        prompt: the prompt.
        draft: how it is written anew; None where nobody knows.
        tokens: most tokens of the prompt with the one that ends or begins it.
    """
    # Here, for the selector reads templates without SeqIO.
    from flan_jax.instructions.vocabulary import VOCABULARY

    return fit_within(prompt, draft, Budget.of_prompts(VOCABULARY, tokens, "keep_query"))


def fit_within(prompt: str, draft: Draft | None, within: Budget) -> tuple[str, Fit]:
    """Does what `fit` does, for a budget with a tokenizer of its own."""
    fitter = Fitter(within)
    if fitter.holds(prompt):
        return prompt, Fit.WHOLE
    if draft is None:
        return prompt, Fit.TOO_LONG
    count = draft.exemplars
    if count:
        fewer = fitter.longest(lambda kept: draft.write({}, count - kept) or prompt, count)
        if fewer is not None:
            return fewer, Fit.WHOLE
    # Some templates of others ask nothing of a row in which a text is empty.
    texts = draft.texts()
    tried = (_shortened(prompt, draft, texts, fitter, least) for least in (0, 1))
    shorter = next(filter(None, tried), None)
    if shorter is None:
        return (draft.write({}, count) or prompt) if count else prompt, Fit.TOO_LONG
    return shorter, Fit.SHORTENED


def _shortened(prompt: str, draft: Draft, texts: Texts, fitter: Fitter, least: int) -> str | None:
    """Returns the prompt with as much of its texts as fits; None where it would not without them.

    One number says how much there is of all texts: it lets the short ones grow, then the long ones.

    Args:
        prompt: as it was.
        draft: how it is written anew.
        texts: what may be shortened.
        fitter: of the budget.
        least: characters that are left of each text.
    """

    def write(size: int) -> str:
        cut = {
            name: draft.cut(text, max(least, size - SHORT if len(text) > SHORT else size))
            for name, text in texts.items()
        }
        written = draft.write(cut, draft.exemplars)
        return prompt if written is None else written  # which does not fit

    return fitter.longest(write, SHORT + max(map(len, texts.values()), default=0))


# Counts

# Of each task, how often each of these was what became of a prompt.
Counts = Mapping[str, Mapping[Fit, int]]


def count(fits: Iterable[int]) -> dict[Fit, int]:
    """Returns how many prompts were shortened, and how many are too long."""
    found = collections.Counter(fits)
    return {one: found[one] for one in (Fit.SHORTENED, Fit.TOO_LONG)}


def describe(counts: Counts) -> list[str]:
    """Returns a sentence on the prompts that were shortened, and one on those that do not fit.

    Args:
        counts: by task.
    """
    words = {
        Fit.SHORTENED: "prompts have shortened texts",
        Fit.TOO_LONG: "prompts are too long whatever is shortened, and stay as they are",
    }
    found = []
    for one, text in words.items():
        tasks = {task: of[one] for task, of in counts.items() if of[one]}
        if tasks:
            most = sorted(tasks, key=lambda task: -tasks[task])[:3]
            shown = ", ".join(f"{task}: {tasks[task]:,}" for task in most)
            more = f", and {len(tasks) - 3} more tasks" if len(tasks) > 3 else ""
            found.append(
                f"{SETTING}={prompt_budget()}: {sum(tasks.values()):,} {text} ({shown}{more})"
            )
    return found
