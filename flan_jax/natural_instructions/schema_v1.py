"""The schema of the first release of Natural Instructions, read strictly.

One JSON object states a subtask (Mishra et al. 2022, section 3.1): title, prompt, definition,
things to avoid, emphasis and caution, examples, and instances with their references. A text that
a subtask does not have is written "-", in some files "- ", and so is a whole list of examples.

Instances have no ids. What is published with the release (predictions, the choice of instances
to test on) names them by their position in the file, so the order of the file is kept.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from flan_jax import json_files
from flan_jax.natural_instructions import schema

# The texts of a subtask by their keys, in the order of the files.
TEXTS = ("Title", "Prompt", "Definition", "Things to Avoid", "Emphasis & Caution")
FIELDS = (*TEXTS, "Instances", "Examples")
SIGNS = ("Positive Examples", "Negative Examples")
# What stands for a text, or in place of an example, that a subtask does not have.
MISSING = "-"
_POSITIVE_FIELDS = ("input", "output", "reason")
_EXAMPLE_FIELDS = {"Positive Examples": _POSITIVE_FIELDS,
                   "Negative Examples": (*_POSITIVE_FIELDS, "suggestion")}  # fmt: skip
_INSTANCE_FIELDS = ("input", "output")


def is_missing(text: str) -> bool:
    """Whether a text says that the subtask has none."""
    return text.strip() == MISSING


class Example(NamedTuple):
    """A worked example; only negative ones have a suggestion, a single blank where it is none."""

    input: str
    output: str
    reason: str
    suggestion: str | None = None

    def to_object(self) -> dict[str, str]:
        """Returns the JSON object of this example."""
        return {key: value for key, value in self._asdict().items() if value is not None}


class Instance(NamedTuple):
    """One instance: its position in the file, an input and all of its acceptable outputs."""

    position: int
    input: str
    references: tuple[str, ...]

    def to_object(self) -> dict[str, Any]:
        """Returns the JSON object of this instance, which does not say its position."""
        return {"input": self.input, "output": list(self.references)}


@dataclasses.dataclass(frozen=True)
class Subtask:
    """One subtask of the first release.

    Attributes:
        name: the file's name without `.json`.
        texts: every text of `TEXTS` by its key, as it is in the file; see `is_missing`.
        positive_examples: examples of right answers.
        negative_examples: examples of wrong answers.
        instances: the data, in the order of the file.
    """

    name: str
    texts: dict[str, str]
    positive_examples: tuple[Example, ...]
    negative_examples: tuple[Example, ...]
    instances: tuple[Instance, ...]

    def text(self, key: str) -> str | None:
        """Returns one of the texts without blanks around it, None where the subtask has none."""
        text = self.texts[key]
        return None if is_missing(text) else text.strip()

    def prompt_object(self, instances: int = 0) -> dict[str, Any]:
        """Returns the part of the JSON object that `encodings_v1.encode` reads.

        Args:
            instances: keep so many, for prompts that show instances as further examples.
        """
        examples = zip(SIGNS, (self.positive_examples, self.negative_examples), strict=True)
        return {
            **self.texts,
            "Instances": [instance.to_object() for instance in self.instances[:instances]],
            "Examples": {sign: [one.to_object() for one in found] for sign, found in examples},
        }


def parse_subtask(text_or_obj: Any, *, file: str) -> Subtask:
    """Returns the subtask that a JSON text, or an object made from one, states.

    Args:
        text_or_obj: JSON as str or UTF-8 bytes, or the object itself.
        file: name of the file, for messages; the subtask is named after it.

    Raises:
        DataError: the first thing that is wrong, with file and field path.

    Source: Mishra et al. 2022, section 3.1; shapes as measured on published files.
    """
    if isinstance(text_or_obj, str | bytes):
        text_or_obj = json_files.loads(text_or_obj, file, strict=True)
    return _Reader(file).subtask(text_or_obj)


class _Reader(schema._Reader):
    """Reads one subtask; every method raises a DataError that opens with the file's name."""

    def subtask(self, obj: Any) -> Subtask:
        """Reads the whole object."""
        self.check_object(obj, FIELDS, FIELDS)
        self.check_object(obj["Examples"], SIGNS, SIGNS, "Examples")
        positive, negative = (self.signed_examples(obj["Examples"][sign], sign) for sign in SIGNS)
        return Subtask(
            name=self.name,
            texts={key: self.name_text(obj[key], key) for key in TEXTS},
            positive_examples=positive,
            negative_examples=negative,
            instances=self.all_instances(obj["Instances"]),
        )

    def signed_examples(self, value: Any, sign: str) -> tuple[Example, ...]:
        """Reads the examples of one sign, of which a lone "-" says that there are none."""
        path = ("Examples.", sign)
        items = self.check_list(value, "objects", *path)
        if len(items) == 1 and isinstance(items[0], str) and is_missing(items[0]):
            return ()
        fields = _EXAMPLE_FIELDS[sign]
        return tuple(self.example(item, fields, *path, "[", i, "]") for i, item in enumerate(items))

    def example(self, value: Any, fields: Sequence[str], *path: object) -> Example:
        """Reads one example."""
        self.check_object(value, fields, fields, *path)
        return Example(**{key: self.text(value[key], *path, ".", key) for key in fields})

    def all_instances(self, value: Any) -> tuple[Instance, ...]:
        """Reads all instances."""
        if not self.check_list(value, "objects", "Instances"):
            self.fail(["Instances"], "must not be empty")
        return tuple(self.numbered_instance(item, i) for i, item in enumerate(value))

    def numbered_instance(self, value: Any, i: int) -> Instance:
        """Reads one instance; each of its references may be blank."""
        self.check_object(value, _INSTANCE_FIELDS, _INSTANCE_FIELDS, "Instances[", i, "]")
        references = self.words(value["output"], "Instances[", i, "].output")
        if not references:
            self.fail(["Instances[", i, "].output"], "must not be empty")
        return Instance(i, self.text(value["input"], "Instances[", i, "].input"), references)
