"""Conversations as a model's chat template renders them, in tokens.

A template is somebody else's Jinja text: it runs in Jinja's sandbox for immutable data, and sees
the messages, the names of the special tokens and nothing else. What it writes may name special
tokens; what people wrote is text and no more, also where it names one. For that a character that
nobody used is put into such names before the template sees them, and taken out of its result
afterwards, so that templates may trim and join what people wrote as they like.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, first_line, quoted
from flan_jax.instructions.tokenizer_folders import CONFIG, HuggingFaceVocabulary
from flan_jax.json_files import read_json

TEMPLATE_FILE = "chat_template.jinja"
_MOST_TEMPLATE = 1 << 20
_MOST_RENDERED = 1 << 24
# Of the private use area, one of which is in no text of a conversation.
_MARKS = [chr(code) for code in range(0xE000, 0xE100)]

Message = Mapping[str, str]


def template_of(vocabulary: Any) -> str | None:
    """Returns the chat template that a vocabulary brings, None where it brings none.

    Raises:
        DataError: it is no text.
    """
    if not isinstance(vocabulary, HuggingFaceVocabulary):
        return None
    folder = epath.Path(vocabulary.folder)
    if (folder / TEMPLATE_FILE).exists():
        return files.read_text(folder / TEMPLATE_FILE, _MOST_TEMPLATE)
    if not (folder / CONFIG).exists():
        return None
    content = read_json(folder / CONFIG)
    found = content.get("chat_template") if isinstance(content, dict) else None
    if isinstance(found, list):  # several by name
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    if found is not None and (not isinstance(found, str) or len(found) > _MOST_TEMPLATE):
        raise DataError(f"{folder / CONFIG}: 'chat_template' must be a text")
    return found


def check_messages(value: Any, where: str) -> list[Message]:
    """Returns a conversation: objects of a "role" and a "content", and whatever else, all texts.

    Raises:
        DataError: it is none; names the message and the field.
    """
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: 'messages' must be a list of messages, not {quoted(value)}")
    for number, message in enumerate(value, start=1):
        fields = message if isinstance(message, dict) else {}
        for field in ("role", "content", *fields):
            if not isinstance(fields.get(field), str):
                raise DataError(f"{where}: message {number} has no text {quoted(field)}")
    return value


def encode(vocabulary: Any, messages: Sequence[Message]) -> list[int]:
    """Returns the tokens of a conversation up to where the model's answer begins.

    Args:
        vocabulary: one that brings a chat template.
        messages: see `check_messages`.

    Raises:
        DataError: there is no template, or it cannot be run or refuses the conversation.
    """
    text = template_of(vocabulary)
    if text is None:
        raise DataError(
            "this model brings no chat template: give 'inputs', a text, instead of 'messages'"
        )
    conversation = ChatTemplate(vocabulary, text).conversation(messages)
    return conversation.tokens(conversation.text(len(messages), answering=True))


def as_prompt(vocabulary: Any, tokens: Sequence[int]) -> list[int]:
    """Returns rendered tokens as prepared prompts are, of which framing makes what a model reads.

    Templates write BOS themselves, and so does framing; and an EOS at a prompt's end, which framing
    takes away from models that want none there, is a turn's here and has to stay.
    """
    bos_id, eos_id = vocabulary.bos_id, vocabulary.eos_id
    found = list(tokens[1:] if bos_id is not None and [*tokens[:1]] == [bos_id] else tokens)
    return [*found, eos_id] if found[-1:] == [eos_id] else found


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """A chat template and the vocabulary that brings it.

    Attributes:
        vocabulary: what makes tokens of text.
        text: the template, Jinja.
    """

    vocabulary: HuggingFaceVocabulary
    text: str

    @property
    def eos_id(self) -> int:
        """Ends a sequence; a folder without one is no vocabulary."""
        eos_id = self.vocabulary.eos_id
        assert eos_id is not None
        return eos_id

    @functools.cached_property
    def special(self) -> Mapping[str, int]:
        """Special tokens by name."""
        return self.vocabulary.special

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """The name of a special token, the longest that there is."""
        longest_first = sorted(self.special, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @functools.cached_property
    def _compiled(self) -> Any:
        return _environment().from_string(self.text)

    def conversation(self, messages: Sequence[Message]) -> "Conversation":
        """Returns a conversation to be rendered.

        Raises:
            DataError: no character is left to keep what people wrote apart.
        """
        written = "".join(text for message in messages for text in message.values())
        mark = next((mark for mark in _MARKS if mark not in written + self.text), None)
        if mark is None:
            raise DataError("a conversation uses the whole private use area of Unicode")
        return Conversation(self, messages, mark)

    def render(self, messages: Sequence[Message], answering: bool) -> str:
        """Returns what the template makes of messages.

        Raises:
            DataError: it cannot be run, refuses them, or writes without end.
        """
        pieces, length = [], 0
        try:
            for piece in self._compiled.generate(
                messages=messages,
                add_generation_prompt=answering,
                tools=None,
                documents=None,
                **self.vocabulary.named,
            ):
                pieces.append(piece)
                length += len(piece)
                if length > _MOST_RENDERED:
                    raise DataError(f"its chat template writes over {_MOST_RENDERED:,} characters")
        except DataError:
            raise
        except Exception as error:  # of a template that is somebody else's, anything
            raise DataError(f"its chat template: {first_line(error)}") from None
        return "".join(pieces)


class Conversation:
    """A conversation in the words of a chat template, whole or as far as it went."""

    def __init__(self, template: ChatTemplate, messages: Sequence[Message], mark: str):
        """Args:
        template: the template.
        messages: see `check_messages`.
        mark: a character that neither has.
        """
        self.template, self._mark = template, mark
        self.messages = messages
        self._broken = [
            {k: self._break(v) if k == "content" else v for k, v in message.items()}
            for message in messages
        ]

    def of(self, messages: Sequence[Message]) -> "Conversation":
        """Returns a conversation of other messages, whose texts `tokens` understands.

        Args:
            messages: that hold no mark, as parts of those do that this one is of.
        """
        return Conversation(self.template, messages, self._mark)

    def _break(self, text: str) -> str:
        """Puts a mark into every name of a special token."""
        return self.template.pattern.sub(
            lambda found: found[0][:1] + self._mark + found[0][1:], text
        )

    def text(self, count: int, answering: bool) -> str:
        """Returns the first messages as the template writes them, what people wrote marked.

        Args:
            count: number of messages.
            answering: whether an answer is to begin where the text ends.

        Raises:
            DataError: see `ChatTemplate.render`.
        """
        return self.template.render(self._broken[:count], answering)

    def words(self, text: str) -> str:
        """Returns a text without marks, for people."""
        return text.replace(self._mark, "")

    def tokens(self, text: str) -> list[int]:
        """Returns the tokens of a text that `text` returned, or of a part of one."""
        found: list[int] = []
        last = 0
        for match in self.template.pattern.finditer(text):
            found += self._encoded(text[last : match.start()])
            found.append(self.template.special[match[0]])
            last = match.end()
        return found + self._encoded(text[last:])

    def _encoded(self, text: str) -> list[int]:
        text = self.words(text)
        return list(self.template.vocabulary.encode(text)) if text else []


@functools.cache
def _environment() -> Any:
    """The sandbox, set up as transformers does, whose templates these are.

    A template may ask for the date there; it is told of none here, so that tomorrow's tokens are
    today's.
    """
    from jinja2 import exceptions, ext, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(ext.Extension):
        """Marks what an assistant says, for trainers that do not find it themselves."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def refuse(message: str) -> None:
        raise exceptions.TemplateError(message)

    def to_json(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = refuse
    return made
