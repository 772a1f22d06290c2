"""Conversations as a model's chat template renders them, in tokens.

A template is somebody else's Jinja text: it runs in Jinja's sandbox for immutable data, and sees
the messages, the names of the special tokens and nothing else. What it writes may name special
tokens; what people wrote is text and no more, also where it names one. For that a character that
nobody used is put into such names before the template sees them, and taken out of its result
afterwards, so that templates may trim and join what people wrote as they like.
"""

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
    """Returns a conversation: objects of a "role" and a "content", both texts.

    Raises:
        DataError: it is none; names the message and the field.
    """
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: 'messages' must be a list of messages, not {quoted(value)}")
    for number, message in enumerate(value, start=1):
        for field in ("role", "content"):
            if not isinstance(message, dict) or not isinstance(message.get(field), str):
                raise DataError(f"{where}: message {number} has no text {field!r}")
    return value


def encode(vocabulary: Any, messages: Sequence[Message]) -> list[int]:
    """Returns the tokens of a conversation up to where the model's answer begins.

    Args:
        vocabulary: one that brings a chat template.
        messages: see `check_messages`.

    Raises:
        DataError: there is no template, or it cannot be run or refuses the conversation.
    """
    template = template_of(vocabulary)
    if template is None:
        raise DataError(
            "this model brings no chat template: give 'inputs', a text, instead of 'messages'"
        )
    special = vocabulary.special
    written = "".join(text for message in messages for text in message.values())
    mark = next((mark for mark in _MARKS if mark not in written + template), None)
    if mark is None:
        raise DataError("a conversation uses the whole private use area of Unicode")
    broken = [
        {k: _broken(v, special, mark) if k == "content" else v for k, v in message.items()}
        for message in messages
    ]
    text = _render(template, broken, vocabulary.named)
    return _tokens(vocabulary, text, special, mark)


def _pattern(special: Mapping[str, int]) -> re.Pattern[str]:
    longest_first = sorted(special, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _broken(text: str, special: Mapping[str, int], mark: str) -> str:
    """Puts a mark into every name of a special token."""
    return _pattern(special).sub(lambda found: found[0][:1] + mark + found[0][1:], text)


def _render(template: str, messages: Sequence[Message], named: Mapping[str, str]) -> str:
    from jinja2 import exceptions
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise exceptions.TemplateError(message)

    def to_json(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    # As transformers sets it up, whose templates these are.
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    pieces, length = [], 0
    try:
        run = environment.from_string(template)
        for piece in run.generate(messages=messages, add_generation_prompt=True, **named):
            pieces.append(piece)
            length += len(piece)
            if length > _MOST_RENDERED:
                raise DataError(f"its chat template writes over {_MOST_RENDERED:,} characters")
    except DataError:
        raise
    except Exception as error:  # of a template that is somebody else's, anything
        raise DataError(f"its chat template: {first_line(error)}") from None
    return "".join(pieces)


def _tokens(vocabulary: Any, text: str, special: Mapping[str, int], mark: str) -> list[int]:
    """Encodes what stands between special tokens as text, marks taken out."""
    found: list[int] = []
    last = 0
    for match in _pattern(special).finditer(text):
        found += _encoded(vocabulary, text[last : match.start()], mark)
        found.append(special[match[0]])
        last = match.end()
    return found + _encoded(vocabulary, text[last:], mark)


def _encoded(vocabulary: Any, text: str, mark: str) -> list[int]:
    text = text.replace(mark, "")
    return list(vocabulary.encode(text)) if text else []
