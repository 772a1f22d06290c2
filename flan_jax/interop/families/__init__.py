"""A published family a module: its `config.json`, both ways, and its table of tensors.

Each module has what `interop.published.PublishedFamily` asks for.
"""

from typing import Any

from flan_jax.interop.families import bart, decoder, t5, t5gemma

# Modules; a module is no instance of a Protocol that mypy would take for one.
FAMILIES: tuple[Any, ...] = (t5, decoder, t5gemma, bart)
