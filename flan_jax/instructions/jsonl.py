"""Tasks of JSON lines that anybody has: conversations, instructions, prompts and completions.

`--module=jsonl:FILE` registers the lines of a file under the file's name; `register_jsonl` does it
in a task module, under any name and with other splits. A file has lines of one form:

* `{"messages": [{"role": ..., "content": ...}, ...]}`: what the vocabulary's chat template makes of
  it, the assistant's turns to be learnt (see `conversations`);
* `{"instruction": ..., "input": ..., "output": ...}`: texts as they are, instruction and input with
  an empty line between them; the input may be missing or empty;
* `{"prompt": ..., "completion": ...}`: texts as they are.

A line's split follows from a hash of what it says: it stays where it is whatever happens to other
lines, and lines that say the same are never apart.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax import files, json_files, terminal
from flan_jax.errors import DataError, did_you_mean, quoted, within
from flan_jax.instructions import cards, chat, checks, conversations, long_prompts, mixtures
from flan_jax.instructions.conversations import Answered
from flan_jax.instructions.long_prompts import Draft, Texts, prompt_budget
from flan_jax.instructions.pipelines import Kind, Row
from flan_jax.instructions.registration import (
    register_task,
    register_tokenized_task,
    rows_source,
)
from flan_jax.instructions.rendering import COUNTED, FIT, Rendered, fits
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.kinds import Number, require

# Shares of lines that are not trained on.
VALIDATION = TEST = 0.05
SPLITS = ("train", "validation", "test")
# By the field that tells a form: the fields that a line of it has to have.
FORMS: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "instruction": ("instruction", "output"),
    "prompt": ("prompt", "completion"),
}
# Between an instruction and its input.
BETWEEN = "\n\n"
_WORDS = {"messages": "conversations", "instruction": "instructions", "prompt": "prompts"}
_STATED = {
    "messages": "Answer as the assistant of the conversation.",
    "instruction": "Do what the instruction says.",
    "prompt": "Go on where the prompt ends.",
}
# By what is added to a task's name: how a conversation becomes examples.
_VIEWS: Mapping[str, Callable[..., list[Answered]]] = {
    "": conversations.last_turn,
    "_turns": conversations.turns,
    "_whole": conversations.whole,
}


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """A file of JSON lines, read and checked.

    Attributes:
        path: the file.
        form: key of `FORMS`.
        rows: by split, one a line: "id", and texts "inputs", its end "input" and "targets", or
            "messages" (JSON).
        digest: hash over the rows.
    """

    path: str
    form: str
    rows: Mapping[str, Sequence[Row]]
    digest: str

    def __str__(self) -> str:
        parts = ", ".join(f"{split} {len(rows):,}" for split, rows in self.rows.items())
        return f"{sum(map(len, self.rows.values())):,} {_WORDS[self.form]} ({parts})"


# What was registered, by the name it was given.
_REGISTERED: dict[str, JsonLines] = {}


def find_registered(name: str) -> JsonLines | None:
    """Returns the lines that a task was made of, None where it is none of theirs."""
    return _REGISTERED.get(name)


def register_jsonl(
    name: str, path: str, *, validation: float = VALIDATION, test: float = TEST
) -> JsonLines:
    """Registers a file of JSON lines as a SeqIO task, with its card.

    Conversations also become `<name>_turns` and `<name>_whole`, on which models of the two layouts
    train where `name`, which asks for the last turn, is what they are to train on.

    Args:
        name: of the task.
        path: the file.
        validation: share of the lines that lie in the split "validation", 0 to 1.
        test: the same of "test"; the rest lie in "train".

    Returns:
        What was read.

    Raises:
        DataError: the file cannot be read, a line is of no form or of another than the others
            (file and line are named), shares are none, or the name is taken.
    """
    lines = read_jsonl(path, validation, test)
    names = [name + suffix for suffix in (_VIEWS if lines.form == "messages" else ("",))]
    for one in names:
        mixtures.check_free(one)
    facts = {"jsonl": lines.digest, "form": lines.form}
    counts = {split: len(rows) for split, rows in lines.rows.items()}
    if lines.form == "messages":
        source = rows_source(lines.rows.__getitem__, {"messages": "string"}, counts)
        for suffix in _VIEWS:
            register_tokenized_task(
                name + suffix,
                source=source,
                encoder=functools.partial(_encoder, name, suffix),
                facts={**facts, "conversations": conversations.FORMAT},
                more_facts=functools.partial(_template_facts, path),
                counted=suffix == "_whole",
            )
        mixtures.train_as(name, {"decoder": f"{name}_whole", "encoder_decoder": f"{name}_turns"})
    else:
        fields: dict[str, Kind] = dict.fromkeys(("inputs", "input", "targets"), "string")
        source = rows_source(lines.rows.__getitem__, fields, counts)
        register_task(name, source=source, render=_render, facts=facts)
    cards.register_card(
        cards.Card(
            name=name,
            cluster=name,
            kind="generation",
            instructions=(_STATED[lines.form],),
            sources=(os.path.basename(path),),
            version=lines.digest,
            variants=tuple(names),
            module=_module_of(path),
        )
    )
    checks.declare(
        name,
        functools.partial(problems, name),
        functools.partial(texts, name),
        functools.partial(_fits, name),
    )
    _REGISTERED[name] = lines
    return lines


def _module_of(path: str) -> str:
    return f"jsonl:{os.path.abspath(files.user_path(path))}"


def import_file(path: str) -> types.ModuleType:
    """Registers a file under its own name, once, and says so: what `--module=jsonl:FILE` means.

    Args:
        path: the file.

    Returns:
        A module without content, whose name is that on the file's card.

    Raises:
        DataError: see `register_jsonl`.
    """
    return import_as("jsonl", path, register_jsonl)


def import_as(prefix: str, path: str, register: Callable[[str, str], Any]) -> types.ModuleType:
    """Registers a file of tasks under its own name, once, and says so.

    Args:
        prefix: what stands before the colon, where a module is named by this file.
        path: the file.
        register: takes a task's name and the file, and returns what it read, in words by `str`.

    Returns:
        See `import_file`.
    """
    import multiprocessing

    module = types.ModuleType(f"{prefix}:{os.path.abspath(files.user_path(path))}")
    if module.__name__ in sys.modules:
        return sys.modules[module.__name__]
    name = task_name(path)
    with within(module.__name__):
        found = register(name, path)
    if multiprocessing.parent_process() is None:  # workers need not repeat it
        terminal.say_aside(f"{path}: task {name!r}, {found}")
    sys.modules[module.__name__] = module
    return module


def task_name(path: str) -> str:
    """Returns the name of the task of a file: `my-chats.v2.jsonl` is `my_chats_v2`."""
    stem = os.path.basename(path).removesuffix(".jsonl").removesuffix(".json")
    return re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_") or "jsonl"


def read_jsonl(path: str, validation: float = VALIDATION, test: float = TEST) -> JsonLines:
    """Reads a file of JSON lines; see `register_jsonl`."""
    for share_name, share in (("validation", validation), ("test", test)):
        require(share_name, share, Number(0, 1), error=DataError)
    if validation + test > 1:
        raise DataError(f"validation {validation} and test {test} are together more than 1")
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    form, digest = "", hashlib.sha256()
    for row in json_files.read_rows(files.user_path(path)):
        here, content, more = _content(row)
        if form not in ("", here):
            raise DataError(
                f"{row.where}: the lines of a file have one form; this one has {here!r}, and those "
                f"before it have {form!r}"
            )
        form = here
        text = json_files.dumps(content)
        number = row.where.rpartition(" ")[2]
        split = _split(text, validation, test)
        rows[split].append({"id": f"line/{number}", **content, **more})
        digest.update(f"{number} {split} {text}\n".encode())
    if not form:
        raise DataError(f"{path}: no lines")
    there = {split: found for split, found in rows.items() if found}
    return JsonLines(str(path), form, there, digest.hexdigest()[:16])


def _split(text: str, validation: float, test: float) -> str:
    drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
    if drawn < test:
        return "test"
    return "validation" if drawn < test + validation else "train"


def _content(row: json_files.Fields) -> tuple[str, dict[str, str], dict[str, str]]:
    """Returns a line's form, what it says, and what of that is its input.

    Raises:
        DataError: it has no form or several, or a field is none of the kind that it should be.
    """
    forms = [form for form in FORMS if form in row.object]
    if len(forms) != 1:
        known = [field for fields in FORMS.values() for field in fields]
        hints = [did_you_mean(field, known) for field in map(str, row.object)]
        raise DataError(
            f"{row.where}: a line has 'messages'; or 'instruction', 'output' and maybe 'input'; or "
            f"'prompt' and 'completion'; this one has {json_files.some_fields(row.object)}"
            + ("" if forms else next(filter(None, hints), ""))
        )
    form = forms[0]
    if form == "messages":
        return form, {"messages": json_files.dumps(_messages(row))}, {}
    inputs, targets = (_text(row, field) for field in FORMS[form])
    more = _text(row, "input") if form == "instruction" and row.object.get("input") else ""
    content = {"inputs": f"{inputs}{BETWEEN}{more}" if more else inputs, "targets": targets}
    return form, content, {"input": more}


def _text(row: json_files.Fields, field: str) -> str:
    text = row.text(field)
    if not json_files.encodable(text):
        row.fail(field, "holds half of a surrogate pair, which is no text")
    return text


def _messages(row: json_files.Fields) -> list[chat.Message]:
    """Returns the conversation of a line.

    Raises:
        DataError: it is none, or nobody answers; or it says what no template is told of, and so
            would be lost.
    """
    if row.object.get("tools"):
        row.fail("tools", "is not supported, templates are told of messages alone")
    messages = chat.check_messages(row.get("messages"), row.where)
    roles = [message["role"] for message in messages]
    for number, message in enumerate(messages, start=1):
        inside = json_files.Fields(f"{row.where}: message {number}", message)
        for field in message:
            if field not in ("role", "content"):
                inside.fail(field, "is not supported; a message has 'role' and 'content'")
            _text(inside, field)
    if conversations.ASSISTANT not in roles:
        raise DataError(
            f"{row.where}: no message has the role {conversations.ASSISTANT!r}, from which a model "
            f"could learn; there are {quoted(sorted(set(roles)))}"
        )
    return messages


def _render(row: Mapping[str, Any], draws: Any) -> Rendered:
    del draws  # a line has one wording
    targets = row["targets"]
    return Rendered(row["inputs"], targets, "plain", draft=plain_draft(row, [targets]))


def plain_draft(row: Mapping[str, Any], answers: Sequence[str]) -> Draft:
    """Returns how the prompt of an instruction and its input is written anew, if it is too long.

    Args:
        row: "inputs" is the prompt, and "input" what stands at its end beside the instruction.
        answers: texts that are not shortened.
    """
    inputs, more = row["inputs"], row["input"]
    texts = {"prompt": inputs}
    if more:
        texts = {"instruction": inputs.removesuffix(more).removesuffix(BETWEEN), "input": more}

    def write(shorter: Texts, dropped: int) -> str:
        return BETWEEN.join({**texts, **shorter}.values())

    free = {name: text for name, text in texts.items() if text not in answers}
    return Draft(lambda: free, write, cut=long_prompts.both_ends)


def _template(where: str) -> chat.ChatTemplate:
    """Returns the chat template of the vocabulary in use.

    Raises:
        DataError: it brings none.
    """
    vocabulary = VOCABULARY.resolved
    text = chat.template_of(vocabulary)
    if text is None:
        raise DataError(
            f"{where} holds conversations, and VOCABULARY {quoted(VOCABULARY.spec)} brings no chat "
            f"template: set VOCABULARY to a tokenizer folder with a {chat.TEMPLATE_FILE}, put one "
            "into its folder, or write lines of 'prompt' and 'completion'"
        )
    return chat.ChatTemplate(vocabulary, text)


def _template_facts(path: str) -> dict[str, Any]:
    template = _template(path)
    return {"chat_template": template.text, "special": dict(template.vocabulary.named)}


def _encoder(name: str, suffix: str) -> Callable[[Row], list[Row]]:
    """Returns what makes examples in tokens of a line, by the vocabulary that is in use now."""
    lines, view = _REGISTERED[name], _VIEWS[suffix]
    template, budget = _template(lines.path), prompt_budget()

    def encode(row: Row) -> list[Row]:
        messages = json_files.loads(row["messages"], row["id"])
        with within(_where(lines, row["id"])):
            try:
                found = view(template, messages)
                fitted = [
                    conversations.within_budget(template, messages, view, one, budget)
                    for one in found
                ]
            except DataError as error:
                raise DataError(f"{error}{_way_out(name, suffix)}") from None
        return [{**_columns(row["id"], one, suffix), FIT: int(fit)} for one, fit in fitted]

    return encode


def _where(lines: JsonLines, example_id: str) -> str:
    return f"VOCABULARY {quoted(VOCABULARY.spec)}, {lines.path}, {example_id.replace('/', ' ')}"


def _way_out(name: str, suffix: str) -> str:
    return f"; {name}_turns has each turn alone" if suffix == "_whole" else ""


def _columns(example_id: str, one: Answered, suffix: str) -> Row:
    row: Row = {
        "inputs": one.inputs,
        "targets": one.targets,
        "inputs_pretokenized": one.prompt,
        "targets_pretokenized": one.target,
        "id": f"{example_id}#{one.turn}" if suffix == "_turns" else example_id,
        "template": "chat",
        "form": "",
        "options": [],
        "references": [one.reference],
    }
    return row if one.counted is None else {**row, COUNTED: one.counted}


def problems(name: str) -> list[str]:
    """Returns what is wrong with a file's lines for the vocabulary in use, for people.

    Every conversation is rendered in all three ways.
    """
    lines = _REGISTERED[name]
    found = []
    for split, rows in lines.rows.items():
        texts = [text for row in rows for key, text in row.items() if key in ("inputs", "targets")]
        if blank := sum(not text.strip() for text in texts):
            found.append(f"{split}: {blank:,} prompts or answers are blank")
    said = [text for rows in lines.rows.values() for text in _said(rows)]
    if repeated := len(said) - len(set(said)):
        found.append(f"{repeated:,} lines say what others say")
    return [*found, *_refusals(name)] if lines.form == "messages" else found


def _said(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        yield json_files.dumps({key: text for key, text in row.items() if key != "id"})


def _refusals(name: str) -> Iterator[str]:
    """Yields of each way to render conversations the first one that cannot be."""
    rows = [row for some in _REGISTERED[name].rows.values() for row in some]
    try:
        for suffix in _VIEWS:
            encode = _encoder(name, suffix)
            for row in rows:
                encode(row)
    except DataError as error:
        yield str(error)


def _fits(name: str) -> Iterator[int]:
    lines = _REGISTERED[name]
    rows = [row for some in lines.rows.values() for row in some]
    if lines.form == "messages":
        encode = _encoder(name, "")
        with contextlib.suppress(DataError):  # which is a problem of its own
            yield from [one[FIT] for row in rows for one in encode(row)]
    else:
        yield from fits(_render(row, None) for row in rows)


def texts(name: str) -> Iterator[str]:
    """Yields what a model is to read and to say."""
    for rows in _REGISTERED[name].rows.values():
        for row in rows:
            if "messages" in row:
                yield from (one["content"] for one in json_files.loads(row["messages"], name))
            else:
                yield from (row["inputs"], row["targets"])
