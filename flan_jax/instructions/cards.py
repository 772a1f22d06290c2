"""Cards: what a task is, in words and without one instance.

The selector reads instructions from cards, splits read clusters and sources, reports read
categories. A card stands for an *entry* (a dataset, a task file); the SeqIO tasks made from it
are its variants.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from flan_jax.errors import DataError, did_you_mean

Kind = Literal["classification", "generation"]


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of one task entry.

    Attributes:
        name: name of the entry; also that of its first SeqIO task.
        cluster: cluster or category by which entries are held out together.
        kind: whether answers come from a list or are free text.
        instructions: every text that states the task, most complete first.
        sources: names of the datasets the instances come from; entries that share one are
            related even where their clusters differ.
        licence: SPDX id where there is one, else the source's own words.
        language: ISO 639-1 code or name of the language of the inputs.
        version: version of the source data.
        options: the answers of a classification where they are the same for every example.
        templates: patterns of the prompts (`templates.Template` as a mapping), where it has any.
        variants: names of the SeqIO tasks made from this entry.
        module: task module that registered it.
        attributes: whatever a collection says beyond that (paper cluster, domain, ...).
    """

    name: str
    cluster: str
    kind: Kind
    instructions: tuple[str, ...]
    sources: tuple[str, ...] = ()
    licence: str = "unknown"
    language: str = "en"
    version: str = "1"
    options: tuple[str, ...] = ()
    templates: tuple[Mapping[str, Any], ...] = ()
    variants: tuple[str, ...] = ()
    module: str = ""
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.instructions or not all(text.strip() for text in self.instructions):
            raise DataError(f"card {self.name!r} needs at least one instruction, none of it blank")
        if self.kind not in ("classification", "generation"):
            raise DataError(f"card {self.name!r}: kind {self.kind!r} is not known")

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `flan-jax tasks list --json` prints."""
        fields = {
            "name": self.name,
            "cluster": self.cluster,
            "kind": self.kind,
            "instructions": list(self.instructions),
            "templates": [dict(template) for template in self.templates],
            "options": list(self.options),
            "source": list(self.sources),
            "licence": self.licence,
            "language": self.language,
            "version": self.version,
            "variants": list(self.variants),
            "module": self.module,
        }
        return fields | {k: v for k, v in self.attributes.items() if k not in fields}


_CARDS: dict[str, Card] = {}
_ENTRY_OF_VARIANT: dict[str, str] = {}


def register_card(card: Card) -> Card:
    """Adds a card.

    Raises:
        DataError: another entry of that name, or with one of its variants, is registered.
    """
    if card.name in _CARDS:
        raise DataError(f"a card named {card.name!r} is registered already")
    for variant in card.variants:
        if variant in _ENTRY_OF_VARIANT:
            raise DataError(f"task {variant!r} belongs to {_ENTRY_OF_VARIANT[variant]!r} already")
    _CARDS[card.name] = card
    _ENTRY_OF_VARIANT.update(dict.fromkeys(card.variants, card.name))
    return card


def remove_card(name: str) -> None:
    """Removes a card and its variants, as `seqio.TaskRegistry.remove` removes a task."""
    card = _CARDS.pop(name, None)
    for variant in card.variants if card else ():
        _ENTRY_OF_VARIANT.pop(variant, None)


def add_variant(entry: str, variant: str) -> Card:
    """Adds the name of a SeqIO task to a card, and returns the card as it is then.

    Raises:
        DataError: there is no such entry, or the task belongs to one.
    """
    card = get_card(entry)
    if variant in _ENTRY_OF_VARIANT:
        raise DataError(f"task {variant!r} belongs to {_ENTRY_OF_VARIANT[variant]!r} already")
    _CARDS[card.name] = dataclasses.replace(card, variants=(*card.variants, variant))
    _ENTRY_OF_VARIANT[variant] = card.name
    return _CARDS[card.name]


def find_card(task: str) -> Card | None:
    """Returns the card of an entry or of the SeqIO task made from it, or None."""
    return _CARDS.get(_ENTRY_OF_VARIANT.get(task, task))


def get_card(task: str) -> Card:
    """Returns the card of an entry or of one of its SeqIO tasks.

    Raises:
        DataError: there is none; the nearest names are offered.
    """
    card = find_card(task)
    if card is None:
        raise DataError(f"no task named {task!r}" + did_you_mean(task, card_names()))
    return card


def card_names() -> list[str]:
    """Returns the names of all entries, sorted."""
    return sorted(_CARDS)


def cards(modules: Iterable[str] = ()) -> list[Card]:
    """Returns all cards sorted by name, or those registered by `modules` or below them."""
    prefixes = tuple(modules)
    return [
        _CARDS[name]
        for name in card_names()
        if not prefixes
        or any((_CARDS[name].module + ".").startswith(prefix + ".") for prefix in prefixes)
    ]
