"""What is learnt from a conversation: the assistant's turns, in tokens.

A model reads the rendering of all messages before a turn, up to where the template has an answer
begin, and learns the turn up to the token that ends it. So a turn is what the next message adds to
a rendering, which has to begin with the one before: a template that is append-only.

* `last_turn`: everything before the last turn, and that turn, which is what an evaluation asks;
* `turns`: the same of every turn, an example each, for encoder-decoders;
* `whole`: one example, in which every turn counts and nothing else does, for models that read
  prompt and answer in one sequence.
"""

import dataclasses
from collections.abc import Callable, Sequence

from flan_jax.errors import DataError
from flan_jax.instructions.budgets import Budget, Fit
from flan_jax.instructions.chat import ChatTemplate, Conversation, Message, as_prompt
from flan_jax.instructions.long_prompts import Draft, Texts, both_ends, fit_within

USER, ASSISTANT = "user", "assistant"
# Bump by hand whenever the code here or in `chat` makes other tokens of the same conversation.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Answered:
    """A prompt and its answer.

    Attributes:
        inputs: tokens of the prompt, without BOS.
        targets: tokens of the answer, which end in EOS.
        prompt: the prompt as the template writes it.
        target: the answer as the template writes it.
        reference: the answer as it was written.
        turn: number of the assistant's (last) turn, from 1.
        counted: of each target 1 where it counts, else 0; None where all do.
    """

    inputs: Sequence[int]
    targets: Sequence[int]
    prompt: str
    target: str
    reference: str
    turn: int
    counted: Sequence[int] | None = None


def last_turn(template: ChatTemplate, messages: Sequence[Message]) -> list[Answered]:
    """Returns the assistant's last turn after all that precedes it, alone in a list.

    Raises:
        DataError: the template cannot be run, refuses the messages, or an answer does not begin
            where it says; or no message is the assistant's.
    """
    return turns(template, messages)[-1:]


def turns(template: ChatTemplate, messages: Sequence[Message]) -> list[Answered]:
    """Returns each of the assistant's turns after all that precedes it; see `last_turn`."""
    conversation = template.conversation(messages)
    found = []
    for number, position in enumerate(_positions(messages), start=1):
        asked, said = _asked_and_said(conversation, position)
        prompt = conversation.tokens(asked)
        answer = _extended(conversation, prompt, asked, said)[len(prompt) :]
        found.append(
            Answered(
                as_prompt(template.vocabulary, prompt),
                _with_eos(template, answer[: _length(template, answer)]),
                conversation.words(asked),
                conversation.words(said[len(asked) :]),
                messages[position]["content"],
                number,
            )
        )
    return found


def whole(template: ChatTemplate, messages: Sequence[Message]) -> list[Answered]:
    """Returns a conversation up to the assistant's last turn, all its turns to be learnt.

    Raises:
        DataError: see `last_turn`; or the template is not append-only, or ends a turn with no
            special token, so that nothing would tell a model to stop there.
    """
    conversation = template.conversation(messages)
    positions = _positions(messages)
    tokens: list[int] = []
    spans: list[tuple[int, int]] = []  # of the turns, in tokens
    first, text = "", ""
    for position in positions:
        asked, said = _asked_and_said(conversation, position)
        if not asked.startswith(text):
            raise DataError(
                "its chat template is not append-only: it writes messages otherwise once others "
                f"follow (those before message {position + 1}), so its turns are no parts of one "
                "sequence"
            )
        tokens = _extended(conversation, tokens, text, asked)
        start = len(tokens)
        tokens = _extended(conversation, tokens, asked, said)
        length = _length(template, tokens[start:])
        if length is None:
            raise DataError(
                f"its chat template ends the assistant's turns with no special token (message "
                f"{position + 1}), so a model would not learn where to stop"
            )
        spans.append((start, start + length))
        first, text = first or asked, said
    begin, end = spans[0][0], spans[-1][1]
    targets = _with_eos(template, tokens[begin:end])
    counted = [0] * len(targets)
    # An EOS that is added is the last turn's.
    for start, stop in [*spans, (end, begin + len(targets))]:
        counted[start - begin : stop - begin] = [1] * (stop - start)
    return [
        Answered(
            as_prompt(template.vocabulary, tokens[:begin]),
            targets,
            conversation.words(first),
            conversation.words(text[len(first) :]),
            messages[positions[-1]]["content"],
            len(positions),
            counted,
        )
    ]


# One of the three above.
View = Callable[[ChatTemplate, Sequence[Message]], list[Answered]]


def within_budget(
    template: ChatTemplate,
    messages: Sequence[Message],
    view: View,
    one: Answered,
    budget: int | None,
) -> tuple[Answered, Fit]:
    """Returns a prompt and its answer, the user's turns before it shortened where it is too long.

    They lose their middle, the longest first (see `long_prompts`): a document may stand in any of
    them, and what is asked of it at either end. Turns stay in number and order, since templates
    look at both, and what the assistant or the system says stays whole.

    Args:
        template: the template.
        messages: of the conversation.
        view: how it becomes examples.
        one: of these examples.
        budget: most tokens of a prompt with BOS or EOS; None for any number.

    Raises:
        DataError: see `last_turn`.
    """
    if budget is None or len(one.inputs) < budget:
        return one, Fit.WHOLE
    asked = _positions(messages)[0 if one.counted is not None else one.turn - 1]
    # Of several turns each is an example of its own, which those that follow are not asked of.
    there = messages if one.counted is not None else messages[: asked + 1]
    conversation = template.conversation(there)
    told = {i: m["content"] for i, m in enumerate(there[:asked]) if m["role"] == USER}
    written: dict[str, Sequence[Message]] = {}

    def write(texts: Texts, dropped: int) -> str:
        shorter = [{**m, "content": texts.get(i, m["content"])} for i, m in enumerate(there)]
        text = conversation.of(shorter).text(asked, answering=True)
        written[text] = shorter
        return text

    def tokenize(text: str) -> list[int]:
        return as_prompt(template.vocabulary, conversation.tokens(text))

    within = Budget(budget - 1, tokenize, template.vocabulary.decode, "keep_query", 1)
    prompt, fit = fit_within(write({}, 0), Draft(lambda: told, write, cut=both_ends), within)
    return view(template, written[prompt])[-1], fit


def _positions(messages: Sequence[Message]) -> list[int]:
    found = [i for i, message in enumerate(messages) if message["role"] == ASSISTANT]
    if not found:
        raise DataError(f"no message has the role {ASSISTANT!r}, from which a model could learn")
    return found


def _asked_and_said(conversation: Conversation, position: int) -> tuple[str, str]:
    """Returns what a model reads before the message at a position, and the same with it."""
    asked = conversation.text(position, answering=True)
    said = conversation.text(position + 1, answering=False)
    if not said.startswith(asked):
        raise DataError(
            f"its chat template has an answer begin otherwise than message {position + 1}, the "
            "assistant's, does once it is there, so a model would learn what it is never asked"
        )
    return asked, said


def _extended(conversation: Conversation, tokens: list[int], before: str, text: str) -> list[int]:
    """Returns the tokens of a text that begins with another one, of which tokens are given.

    They begin with those, which a model will have read: where no token of the text reaches over
    the border, they are the text's own.
    """
    found = conversation.tokens(text)
    if found[: len(tokens)] == tokens:
        return found
    return tokens + conversation.tokens(text[len(before) :])


def _length(template: ChatTemplate, tokens: Sequence[int]) -> int | None:
    """Returns how many tokens of a turn there are up to the special token that ends it.

    Nothing but white space stands behind that one; None where there is none.
    """
    vocabulary = template.vocabulary
    special = {*template.special.values()} - {vocabulary.unk_id}
    end = next((i for i in range(len(tokens), 0, -1) if tokens[i - 1] in special), None)
    if end is None or vocabulary.decode(tokens[end:]).strip():
        return None
    return end


def _with_eos(template: ChatTemplate, tokens: Sequence[int]) -> list[int]:
    """Returns an answer's tokens with EOS at their end, by which decoding stops."""
    eos_id = template.eos_id
    return [*tokens] if [*tokens[-1:]] == [eos_id] else [*tokens, eos_id]
