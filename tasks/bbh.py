"""BIG-Bench Hard (Suzgun et al. 2022): 23 tasks that were hard for the models of 2022.

Importing this module registers the folder that BBH_DIR names (gin macro or environment variable):
the benchmark's `<task>.json`, or a clone that holds them in `bbh`. A part of them will do. Where
`cot-prompts/<task>.txt` is there, the three exemplars of the paper come from it.

Every task has the split "test" alone. With T the name of a file, there are

* `bbh_T`: the instruction and the question; the options of the question (labels such as "(A)", or
  "Yes" and "No") are ranked, and where it has none, the answer is generated;
* `bbh_T_generate`: the same with a generated answer, where `bbh_T` ranks;
* `bbh_T_fewshot`: generated after three exemplars, as the paper's "answer only";
* `bbh_T_cot`: generated after three exemplars with their chains of thought, of which the answer
  is taken (`metrics.final_answer`); without a prompt file, after "Let's think step by step."

Mixtures `bbh`, `bbh_generate` (all as text), `bbh_fewshot` and `bbh_cot` have what there is of
each. The benchmark counts 23 tasks, and the 27 files have three sizes of two of them: such a file
has the rate 1/3 and all others 1, so that the rates of all files together are 23; and it has the
cluster of its task, so that tables by category have a row for each of the 23.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from flan_jax import files, json_files, metrics, settings
from flan_jax.errors import DataError, did_you_mean, quoted
from flan_jax.instructions import cards, long_prompts, protocols, registration, rendering
from flan_jax.instructions.file_index import FileIndex, KnownFile
from flan_jax.instructions.long_prompts import Draft, Texts
from flan_jax.instructions.rendering import Rendered
from flan_jax.instructions.suite import Suite

PREFIX = "bbh_"
# What is asked, in words of ours, by task of the 23.
INSTRUCTIONS: Mapping[str, str] = {
    "boolean_expressions": "Work out the truth value of the boolean expression.",
    "causal_judgement": "Say how a typical person would judge the cause in this story.",
    "date_understanding": "Find the date that the question asks for.",
    "disambiguation_qa": "Say whom the pronoun stands for, or that it is ambiguous.",
    "dyck_languages": "Close all brackets that are still open, in the right order.",
    "formal_fallacies": "Decide whether the conclusion follows from the premises by logic alone.",
    "geometric_shapes": "Name the shape that the SVG path draws.",
    "hyperbaton": "Choose the sentence whose adjectives stand in the usual order.",
    "logical_deduction": "Work out the order of the objects from the statements.",
    "movie_recommendation": "Choose the film that people who like these films would also like.",
    "multistep_arithmetic_two": "Compute the value of the arithmetic expression.",
    "navigate": "Decide whether the instructions lead back to where they began.",
    "object_counting": "Count the objects that the question asks for, and give the number.",
    "penguins_in_a_table": "Answer the question about the animals in the table.",
    "reasoning_about_colored_objects": "Answer the question about the colours of the objects.",
    "ruin_names": "Choose the change of the name that makes it funny.",
    "salient_translation_error_detection": "Say what kind of error the translation contains.",
    "snarks": "Choose the sentence that is meant sarcastically.",
    "sports_understanding": "Say whether the sentence about sports is plausible.",
    "temporal_sequences": "Find the time at which it could have happened.",
    "tracking_shuffled_objects": "Keep track of the swaps, and say who has what in the end.",
    "web_of_lies": "Decide whether the last person tells the truth.",
    "word_sorting": "Put the words into alphabetical order, with single spaces between them.",
}
_SIZES = ("three", "five", "seven")
# In each of the published prompts.
_EXEMPLARS = 3
# Files of tasks that come in several sizes.
_SIZED = {
    f"{task}_{size}_objects": task
    for task in ("logical_deduction", "tracking_shuffled_objects")
    for size in _SIZES
}
# The task of each file.
TASKS: Mapping[str, str] = {
    **{task: task for task in INSTRUCTIONS if task not in _SIZED.values()},
    **_SIZED,
}
# Answers of tasks that do not list them in the question.
_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "boolean_expressions": ("True", "False"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}
# Published targets that are no option, since names with commas were taken apart; whatever is said
# to these three questions is wrong, as it is in published scores.
DEFECTS: Mapping[str, frozenset[str]] = {
    "movie_recommendation": frozenset(["Monsters, Inc"]),
    "ruin_names": frozenset(["dearth, wind, & fire", "rita, sue and bob poo"]),
}
_OPTION = re.compile(r"(\([A-Z]\)) .*|- (.*\S)[ \t]*")
_HEADER = "Options:\n"
_COT = "Let's think step by step."
# Above it stands what keeps the benchmark out of training data.
_RULE = re.compile(r"^-{3,}\s*$", re.MULTILINE)
_EXEMPLAR = re.compile(r"\n\nQ: ")
_ANSWER = "\nA:"
_KEPT_FILES = 30
# Bumped by hand when the same files give other prompts.
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Example:
    """One question.

    Attributes:
        input: the question, with its options where it has any.
        target: the answer.
        options: what may be answered; nothing where that is any text.
    """

    input: str
    target: str
    options: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A prompt file: an instruction, and exemplars with their chains of thought.

    Attributes:
        text: all of it.
        instruction: what stands before the exemplars.
        exemplars: questions and answers, the chains left out.
        chains: the exemplars as they are.
    """

    text: str
    instruction: str
    exemplars: tuple[tuple[str, str], ...]
    chains: tuple[str, ...]

    def shown(self, variant: str, dropped: int) -> str:
        """Returns what stands before a question.

        Args:
            variant: "cot" for chains of thought, else answers only.
            dropped: so many exemplars are left out, the first ones.
        """
        if variant == "cot" and not dropped:
            return self.text
        blocks = self.chains if variant == "cot" else [_question(*one) for one in self.exemplars]
        return "\n\n".join([self.instruction, *blocks[dropped:]])


def parse_task(content: bytes, where: str, task: str) -> list[Example]:
    """Returns the questions of a task file.

    Args:
        content: JSON, an object with a list "examples" of objects with "input" and "target".
        where: the file, for messages.
        task: name of the file.

    Raises:
        DataError: it is no such file, or a target is none of the options; names the example.
    """
    rows = json_files.Fields(where, json_files.loads(content, where)).items("examples")
    if not rows:
        raise DataError(f"{where}: 'examples' is empty")
    return [_example(f"{where}: examples[{i}]", row, task) for i, row in enumerate(rows)]


def _example(where: str, row: Any, task: str) -> Example:
    fields = json_files.Fields(where, row)
    asked, target = fields.name("input").strip(), fields.name("target").strip()
    options = _ANSWERS.get(task) or find_options(asked)
    if options and target not in (*options, *DEFECTS.get(task, ())):
        fields.fail("target", f"is {quoted(target)}, which is none of the options {list(options)}")
    return Example(asked, target, options)


def find_options(question: str) -> tuple[str, ...]:
    """Returns the options that a question lists at its end: labels where it has labels."""
    _, header, listed = question.rpartition(_HEADER)
    matches = [_OPTION.fullmatch(line) for line in listed.splitlines()] if header else []
    found = [match[1] or match[2] for match in matches if match]
    return tuple(found) if len(found) == len(matches) else ()


def _split(question: str) -> tuple[str, str]:
    """Returns a question without its options, and these, with what parts the two."""
    if not find_options(question):
        return question, ""
    asked, header, listed = question.rpartition(_HEADER)
    text = asked.rstrip()
    return text, f"{asked[len(text) :]}{header}{listed}"


def parse_prompt(text: str, where: str) -> Prompt:
    """Returns the content of a prompt file.

    Raises:
        DataError: it has no exemplars.
    """
    body = _RULE.split(text.strip(), maxsplit=1)[-1].strip()
    instruction, *blocks = _EXEMPLAR.split(f"\n\n{body}")
    exemplars = []
    for block in blocks:
        asked, separator, said = block.partition(_ANSWER)
        if not separator:
            raise DataError(f"{where}: the exemplar {quoted(block)} has no line that begins 'A:'")
        exemplars.append((asked.strip(), metrics.final_answer(said)))
    if not exemplars:
        raise DataError(f"{where}: no exemplars, which begin with 'Q: ' behind an empty line")
    chains = tuple(f"Q: {block}" for block in blocks)
    return Prompt(body, instruction.strip(), tuple(exemplars), chains)


def _question(asked: str, said: str = "") -> str:
    return f"Q: {asked}{_ANSWER}{' ' * bool(said)}{said}"


# The folder


def _read_entry(path: epath.Path) -> dict[str, Any]:
    """Returns what the index keeps of a task file or of a prompt file."""
    content = files.read_bytes(path)
    where = f"{path.parent.name}/{path.name}"
    kept: dict[str, Any] = {"sha256": hashlib.sha256(content).hexdigest()}
    if path.suffix == ".txt":
        parse_prompt(files.read_text(path), where)
        return kept
    task = path.name.removesuffix(".json")
    if task not in TASKS:
        raise DataError(f"{where}: no task of BIG-Bench Hard{did_you_mean(task, TASKS)}")
    examples = parse_task(content, where, task)
    return kept | {
        "count": len(examples),
        "ranked": all(example.options for example in examples),
        "options": list(dict.fromkeys(option for one in examples for option in one.options)),
    }


_INDEX = FileIndex("bbh", _FORMAT, _read_entry)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A task file, and its prompt file where there is one.

    Attributes:
        name: name of the file.
        file: the file.
        count: number of its examples.
        ranked: whether all of them have options.
        options: all that may be answered, nothing where it is generated.
        prompt: its prompt file.
    """

    name: str
    file: KnownFile
    count: int
    ranked: bool
    options: tuple[str, ...]
    prompt: KnownFile | None

    @property
    def instruction(self) -> str:
        """What is asked, in words of ours."""
        return INSTRUCTIONS[TASKS[self.name]]


@functools.lru_cache(maxsize=_KEPT_FILES)
def _examples(file: KnownFile, task: str) -> list[Example]:
    return parse_task(file.read(), file.path, task)


@functools.lru_cache(maxsize=_KEPT_FILES)
def _prompt(file: KnownFile) -> Prompt:
    return parse_prompt(file.read().decode("utf-8-sig"), file.path)


def _rows(entry: Entry, split: str) -> list[dict[str, Any]]:
    del split  # there is one
    return [
        {"id": f"{entry.name}/{position}", **dataclasses.asdict(example)}
        for position, example in enumerate(_examples(entry.file, entry.name))
    ]


def read_folder(folder: str) -> list[Entry]:
    """Returns the entries of all task files of a folder, sorted by name.

    Raises:
        DataError: there are none, or files are wrong.
    """
    root = epath.Path(folder)
    inner = root / "bbh"
    tasks = _files(inner if inner.is_dir() else root, ".json")
    if not tasks:
        raise DataError(f"{folder} holds no task files *.json, nor does a folder 'bbh' in it")
    prompts = _files(root / "cot-prompts", ".txt")
    kept = _INDEX.build(folder, {path.name: path for path in (*tasks.values(), *prompts.values())})

    def file(path: epath.Path | None) -> KnownFile | None:
        return path and KnownFile(str(path), kept[path.name]["sha256"])

    entries = []
    for name, path in tasks.items():
        facts, own = kept[path.name], file(path)
        assert own is not None
        ranked, options = facts["ranked"], tuple(facts["options"] if facts["ranked"] else ())
        entries.append(Entry(name, own, facts["count"], ranked, options, file(prompts.get(name))))
    return entries


def _files(folder: epath.Path, ending: str) -> dict[str, epath.Path]:
    found = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    return {p.name.removesuffix(ending): p for p in found if not p.name.startswith(".")}


# Registering

_SUITE = Suite("BIG-Bench Hard")
unregister = _SUITE.unregister


def register(folder: str) -> Suite:
    """Registers the tasks and mixtures of a folder; a second time it does nothing.

    Raises:
        DataError: the folder is not as it should be, or another is registered in this process.
    """
    return _SUITE.register(_fill, folder)


def _fill(folder: str) -> None:
    members: dict[str, dict[str, float]] = {"": {}, "generate": {}, "fewshot": {}, "cot": {}}
    for entry in read_folder(folder):
        rate = 1 / len(_SIZES) if entry.name in _SIZED else 1.0
        for variant, name in _register_entry(entry).items():
            members[variant][name] = rate
    for variant, rates in members.items():
        _SUITE.add_mixture("_".join(filter(None, ("bbh", variant))), rates)


def _register_entry(entry: Entry) -> dict[str, str]:
    """Registers the tasks of a file and their card; returns the tasks by mixture."""
    whole = PREFIX + entry.name
    names = {"": whole, "generate": f"{whole}_generate" if entry.ranked else whole}
    if entry.prompt:
        names["fewshot"] = f"{whole}_fewshot"
        protocols.declare_shots(names["fewshot"], _EXEMPLARS)
    names["cot"] = f"{whole}_cot"
    source = registration.rows_source(
        functools.partial(_rows, entry),
        {"input": "string", "target": "string", "options": "strings"},
        {"test": entry.count},
    )
    for variant, name in names.items():
        if name in _SUITE.tasks:
            continue
        ranked = entry.ranked and not variant
        _SUITE.add_task(
            name,
            source=source,
            render=functools.partial(_render, entry, variant),
            facts=_facts(entry, variant),
            metric_fns=None if ranked else [metrics.final_answer_metric],
            ranked=ranked,
        )
    variants = tuple(dict.fromkeys(names.values()))
    _SUITE.add_card(
        _card(entry, variants),
        functools.partial(_problems, entry),
        functools.partial(_texts, entry),
        functools.partial(_fits, entry, list(names)),
    )
    return names


def _facts(entry: Entry, variant: str) -> dict[str, Any]:
    facts = {"sha256": entry.file.sha256, "variant": variant, "format": _FORMAT}
    if variant in ("fewshot", "cot"):
        return facts | {"prompt": entry.prompt.sha256 if entry.prompt else None}
    return facts | {"instruction": entry.instruction}


def _card(entry: Entry, variants: tuple[str, ...]) -> cards.Card:
    return cards.Card(
        name=variants[0],
        cluster=TASKS[entry.name],
        kind="classification" if entry.ranked else "generation",
        instructions=(entry.instruction,),
        sources=(f"bigbench/{TASKS[entry.name]}",),
        licence="MIT",
        version=entry.file.sha256[:16],
        options=entry.options,
        variants=variants,
        module=__name__,
        attributes={"suite": "bbh", "exemplars": entry.prompt is not None},
    )


def _render(
    entry: Entry, variant: str, example: Mapping[str, Any], draws: Any
) -> Rendered | Sequence[Rendered]:
    del draws  # an example has one wording
    prompt = _prompt(entry.prompt) if entry.prompt and variant in ("fewshot", "cot") else None
    target, options = example["target"], example["options"]
    question, listed = _split(example["input"])

    def write(texts: Texts, dropped: int) -> str:
        before = prompt.shown(variant, dropped) if prompt else entry.instruction
        asked = texts.get("question", question) + listed
        return f"{before}\n\n{_question(asked, _COT if variant == 'cot' else '')}"

    draft = Draft(
        lambda: {"question": question},
        write,
        exemplars=len(prompt.exemplars) if prompt else 0,
        cut=long_prompts.both_ends,
    )
    inputs = write({}, 0)
    rendered = Rendered(inputs, target, variant or "plain", options, (target,), draft=draft)
    if entry.ranked and not variant:
        return rendering.rank_answers(rendered, options, (target,))
    return rendered


# What `flan-jax tasks check` asks


def _problems(entry: Entry) -> list[str]:
    examples = _examples(entry.file, entry.name)
    odd = sum(bool(one.options) and one.target not in one.options for one in examples)
    repeated = len(examples) - len({one.input for one in examples})
    found = {
        f"{odd} targets are none of the options; no answer to them counts as right": odd,
        f"{repeated} questions repeat others": repeated,
    }
    return [problem for problem, count in found.items() if count]


def _texts(entry: Entry) -> Iterator[str]:
    for example in _examples(entry.file, entry.name):
        yield from (example.input, example.target)
    if entry.prompt:
        yield _prompt(entry.prompt).text


def _fits(entry: Entry, variants: Sequence[str]) -> Iterator[int]:
    rows = _rows(entry, "test")
    return rendering.fits(
        _render(entry, variant, row, None) for variant in variants for row in rows
    )


register(
    settings.folder_setting(
        "BBH_DIR", "the folder of BIG-Bench Hard's <task>.json, or of a clone that has them in bbh/"
    )
)
