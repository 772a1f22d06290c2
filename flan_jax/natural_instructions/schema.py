"""The declarative task schema of Super-NaturalInstructions, read strictly.

One JSON object states a task (Wang et al. 2022, section 3): a definition, positive and negative
examples with explanations, instances with their references, and what is known of its sources.
`parse_task` turns one into a `SchemaTask` that holds exactly what the file holds. Whatever does
not have the expected shape is one `DataError` that names file and field, for a prompt made of
the wrong field trains without complaint.

Snapshots differ, so four things are accepted beside today's form: a definition that is a plain
string, instances without id, a plain string as an instance's output, and a missing
"Instance License".
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from flan_jax import json_files
from flan_jax.errors import DataError, did_you_mean, quoted
from flan_jax.json_files import encodable, kind

REQUIRED_FIELDS = (
    "Source",
    "Categories",
    "Definition",
    "Input_language",
    "Output_language",
    "Positive Examples",
    "Negative Examples",
    "Instances",
)
OPTIONAL_FIELDS = (
    "Contributors",
    "URL",
    "Reasoning",
    "Instruction_language",
    "Domains",
    "Instance License",
)
FIELDS = (*REQUIRED_FIELDS, *OPTIONAL_FIELDS)
_EXAMPLE_FIELDS = ("input", "output", "explanation")
_INSTANCE_FIELDS = ("id", "input", "output")


class Example(NamedTuple):
    """A worked example of the task; `explanation` is None where the file gives none."""

    input: str
    output: str
    explanation: str | None = None

    def to_object(self) -> dict[str, str]:
        """Returns the JSON object of this example."""
        return {key: value for key, value in self._asdict().items() if value is not None}


class Instance(NamedTuple):
    """One instance: an input and all of its acceptable outputs, at least one."""

    id: str
    input: str
    references: tuple[str, ...]

    def to_object(self) -> dict[str, Any]:
        """Returns the JSON object of this instance."""
        return {"id": self.id, "input": self.input, "output": list(self.references)}


@dataclasses.dataclass(frozen=True)
class SchemaTask:
    """One task of the declarative schema.

    Attributes:
        name: the file's name without `.json`.
        definitions: texts that state the task; the first one is used.
        positive_examples: examples of right answers.
        negative_examples: examples of wrong answers.
        instances: the data.
        categories: kinds of task; the first one decides what is held out together.
        sources: names of the datasets that the instances come from.
        input_languages: languages of the inputs, in English words.
        output_languages: languages of the outputs.
        instruction_languages: languages of definition and examples.
        domains: what the texts are about.
        licences: licences of the instances.
        reasoning: kinds of reasoning the task needs.
        urls: where the data is from.
        contributors: who wrote the task.
    """

    name: str
    definitions: tuple[str, ...]
    positive_examples: tuple[Example, ...]
    negative_examples: tuple[Example, ...]
    instances: tuple[Instance, ...]
    categories: tuple[str, ...]
    sources: tuple[str, ...]
    input_languages: tuple[str, ...]
    output_languages: tuple[str, ...]
    instruction_languages: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """The definition that prompts use."""
        return self.definitions[0]

    def prompt_object(self) -> dict[str, Any]:
        """Returns the part of the JSON object that `encodings.encode_prompt` reads."""
        return {
            "Task": self.name,
            "Definition": list(self.definitions),
            "Positive Examples": [example.to_object() for example in self.positive_examples],
            "Negative Examples": [example.to_object() for example in self.negative_examples],
        }


def parse_task(text_or_obj: Any, *, file: str) -> SchemaTask:
    """Returns the task that a JSON text, or an object made from one, states.

    Args:
        text_or_obj: JSON as str or UTF-8 bytes, or the object itself.
        file: name of the file, for messages; the task is named after it.

    Raises:
        DataError: the first thing that is wrong, with file and field path.

    Source: Wang et al. 2022, section 3; shapes as measured on 1,461 published files.
    """
    # A file's name may hold bytes that are not UTF-8, which no message could print.
    file = file.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(text_or_obj, str | bytes):
        text_or_obj = json_files.loads(text_or_obj, file, strict=True)
    return _Reader(file).task(text_or_obj)


class _Reader:
    """Reads one task; every method raises a DataError that opens with the file's name.

    Paths of fields are passed in pieces and joined for a message only, for there are millions of
    instances and hardly ever a message.
    """

    def __init__(self, file: str):
        self.file = file
        self.name = pathlib.PurePosixPath(file.replace("\\", "/")).name.removesuffix(".json")

    def fail(self, path: Sequence[object], wrong: str) -> NoReturn:
        """Raises the error; `path` is in pieces that make the field's path when joined."""
        raise DataError(f"{self.file}: {''.join(map(str, path)) or 'the task'} {wrong}")

    def task(self, obj: Any) -> SchemaTask:
        """Reads the whole object."""
        if not self.name.strip():
            raise DataError(f"{self.file!r} is no name of a task file: it names no task")
        self.check_object(obj, FIELDS, REQUIRED_FIELDS)
        return SchemaTask(
            name=self.name,
            definitions=self.definitions(obj["Definition"]),
            positive_examples=self.examples(obj["Positive Examples"], "Positive Examples"),
            negative_examples=self.examples(obj["Negative Examples"], "Negative Examples"),
            instances=self.instances(obj["Instances"]),
            categories=self.names(obj["Categories"], "Categories"),
            sources=self.words(obj["Source"], "Source"),
            input_languages=self.names(obj["Input_language"], "Input_language"),
            output_languages=self.names(obj["Output_language"], "Output_language"),
            instruction_languages=self.optional(obj, "Instruction_language"),
            domains=self.optional(obj, "Domains"),
            licences=self.optional(obj, "Instance License"),
            reasoning=self.optional(obj, "Reasoning"),
            urls=self.optional(obj, "URL"),
            contributors=self.optional(obj, "Contributors"),
        )

    def check_object(
        self, value: Any, known: Sequence[str], required: Sequence[str], *path: object
    ) -> None:
        """Checks that a value is an object with known keys only and all required ones."""
        if not isinstance(value, dict):
            self.fail(path, f"must be an object, found {kind(value)}")
        for key in value:
            if key not in known:
                hint = did_you_mean(str(key), known)
                self.fail(path, f"has an unknown field {quoted(key)}{hint}")
        for key in required:
            if key not in value:
                self.fail((*path, "." if path else "", key), "is missing")

    def text(self, value: Any, *path: object) -> str:
        """Checks one string; a lone surrogate could not be written as UTF-8 later."""
        if not isinstance(value, str):
            self.fail(path, f"must be a string, found {kind(value)}")
        if not encodable(value):
            self.fail(path, "holds half a surrogate pair, which is no character")
        return value

    def name_text(self, value: Any, *path: object) -> str:
        """Checks one string that must not be blank."""
        if not self.text(value, *path).strip():
            self.fail(path, "must not be blank")
        return value

    def check_list(self, value: Any, of: str, *path: object) -> list[Any]:
        """Checks that a value is a list."""
        if not isinstance(value, list):
            self.fail(path, f"must be a list of {of}, found {kind(value)}")
        return value

    def words(self, value: Any, *path: object) -> tuple[str, ...]:
        """Reads a list of strings."""
        items = self.check_list(value, "strings", *path)
        return tuple(self.text(item, *path, "[", i, "]") for i, item in enumerate(items))

    def names(self, value: Any, *path: object) -> tuple[str, ...]:
        """Reads a list of at least one string, none of them blank."""
        items = self.check_list(value, "strings", *path)
        if not items:
            self.fail(path, "must not be empty")
        return tuple(self.name_text(item, *path, "[", i, "]") for i, item in enumerate(items))

    def optional(self, obj: Mapping[str, Any], key: str) -> tuple[str, ...]:
        """Reads a list of strings that may be absent."""
        return self.words(obj.get(key, []), key)

    def definitions(self, value: Any) -> tuple[str, ...]:
        """Reads the definition, a plain string in older snapshots."""
        if isinstance(value, str):
            return (self.name_text(value, "Definition"),)
        return self.names(value, "Definition")

    def examples(self, value: Any, key: str) -> tuple[Example, ...]:
        """Reads the positive or the negative examples."""
        found = []
        for i, item in enumerate(self.check_list(value, "objects", key)):
            self.check_object(item, _EXAMPLE_FIELDS, _EXAMPLE_FIELDS[:2], key, "[", i, "]")
            texts = {name: self.text(item[name], key, "[", i, "].", name) for name in item}
            found.append(Example(**texts))
        return tuple(found)

    def instances(self, value: Any) -> tuple[Instance, ...]:
        """Reads all instances, which have distinct ids."""
        if not self.check_list(value, "objects", "Instances"):
            self.fail(["Instances"], "must not be empty")
        positions: dict[str, int] = {}
        instances = []
        for i, item in enumerate(value):
            instance = self.instance(item, i)
            first = positions.setdefault(instance.id, i)
            if first != i:
                wrong = f"is {quoted(instance.id)}, which Instances[{first}] has already"
                self.fail(("Instances[", i, "].id"), wrong)
            instances.append(instance)
        return tuple(instances)

    def instance(self, value: Any, i: int) -> Instance:
        """Reads one instance; where it has no id, its position makes one."""
        self.check_object(value, _INSTANCE_FIELDS, _INSTANCE_FIELDS[1:], "Instances[", i, "]")
        return Instance(
            self.name_text(value.get("id", f"{self.name}-{i}"), "Instances[", i, "].id"),
            self.text(value["input"], "Instances[", i, "].input"),
            self.references(value["output"], "Instances[", i, "].output"),
        )

    def references(self, value: Any, *path: object) -> tuple[str, ...]:
        """Reads the acceptable outputs, a plain string in older snapshots; each may be blank."""
        if isinstance(value, str):
            return (self.text(value, *path),)
        references = self.words(value, *path)
        if not references:
            self.fail(path, "must not be empty")
        return references
