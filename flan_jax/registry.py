"""What is made by the name a person gives it, where the room that reads the name must not know.

A mixture may be chosen by the selector, and an encoder of the selector may be a model of ours; the
rooms that such things come from build on those that ask for them. So they are declared here, by
what precedes a colon in the name, and imported when they are asked for. Nothing else in the package
imports by a name in a table; tests/test_import_rules.py says so.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

# By prefix: module and function. A mixture is made from the whole name.
MIXTURES: Mapping[str, tuple[str, str]] = {"selected": ("flan_jax.selector.manifest", "resolve")}
# A task module that is no code: what follows the colon is a file, and what it says becomes tasks.
MODULES: Mapping[str, tuple[str, str]] = {
    "jsonl": ("flan_jax.instructions.jsonl", "import_file"),
    "data": ("flan_jax.instructions.test_sets", "import_file"),
}
# An encoder of instructions (`selector.encoders.Encoder`) is made from what follows the colon.
ENCODERS: Mapping[str, tuple[str, str]] = {
    "t5": ("flan_jax.evaluation.embedding", "CheckpointEncoder")
}
# Config classes of model families that ship with the package (`models.families.Family`).
FAMILIES: Mapping[str, tuple[str, str]] = {
    "T5Config": ("flan_jax.models.t5", "T5Config"),
    "DecoderConfig": ("flan_jax.models.decoder", "DecoderConfig"),
    "T5GemmaConfig": ("flan_jax.models.t5gemma", "T5GemmaConfig"),
    "BartConfig": ("flan_jax.models.bart", "BartConfig"),
    "TunedConfig": ("flan_jax.adapters.tuned", "TunedConfig"),
}

# What opens a published model (`interop.published.Published`), made from what follows the colon.
PUBLISHED: Mapping[str, tuple[str, str]] = {
    "hf": ("flan_jax.interop.hf_files", "open_folder"),
    "gguf": ("flan_jax.interop.gguf_models", "open_file"),
    "t5x": ("flan_jax.interop.t5x", "open_folder"),
}
# What opens a published adapter, from what follows the colon, the configuration of the model that
# it adapts, and the vocabularies of that.
ADAPTERS: Mapping[str, tuple[str, str]] = {"peft": ("flan_jax.interop.peft_files", "open_folder")}


def find(table: Mapping[str, tuple[str, str]], name: str) -> Callable[..., Any] | None:
    """Returns what a table declares under a name, imported; None where there is nothing."""
    if name not in table:
        return None
    module, made = table[name]
    return getattr(importlib.import_module(module), made)


def by_prefix(
    table: Mapping[str, tuple[str, str]], name: str
) -> tuple[Callable[..., Any], str] | None:
    """Returns what makes `prefix:rest`, and the rest; None where no such prefix is declared."""
    prefix, colon, rest = name.partition(":")
    found = find(table, prefix) if colon else None
    return (found, rest) if found else None
