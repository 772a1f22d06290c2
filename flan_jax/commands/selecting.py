"""What choosing and the other actions of `flan-jax select` have in common: library and encoder."""

import argparse
from typing import Any

from flan_jax import terminal
from flan_jax.commands import common


def load_library(args: argparse.Namespace, configured: bool = False) -> tuple[Any, Any]:
    """Returns the library that was named, and what `--among` leaves of it.

    Args:
        args: the options of the verb.
        configured: whether `--gin.` options were taken by a run file already.

    Raises:
        FlanJaxError: it was not named, or cannot be read.
    """
    from flan_jax import config
    from flan_jax.errors import ConfigError
    from flan_jax.selector import sources

    if not args.library:
        raise ConfigError("which library? --library=tasks.minilab, say, or FILE.jsonl")
    if not configured:
        common.apply_settings(args.gin_overrides)
    if args.module:
        config.import_modules(args.module)
    whole = sources.load_library(args.library)
    if lost := whole.counts.lost():
        terminal.warn(f"library {args.library}: left out {lost}")
    return whole, whole.only(_among(args.among, whole), args.among) if args.among else whole


def _among(names: list[str], library: Any) -> set[str]:
    """Returns the library's tasks that names of mixtures, clusters and tasks stand for.

    Raises:
        DataError: a name is none of these.
    """
    import seqio

    from flan_jax.errors import DataError, did_you_mean
    from flan_jax.instructions import cards, mixtures

    clusters = {task.cluster for task in library.tasks if task.cluster}
    found: set[str] = set()
    for name in names:
        if name in library.by_name:
            found.add(name)
        elif name in clusters:
            found |= {task.name for task in library.tasks if task.cluster == name}
        elif name in seqio.MixtureRegistry.names():
            for task in mixtures.member_tasks(name):
                card = cards.find_card(task.name)
                found.add(card.name if card else task.name)
        else:
            known = [*library.by_name, *clusters, *seqio.MixtureRegistry.names()]
            raise DataError(
                f"--among={name}: neither a task nor a cluster of library {library.origin} nor a "
                f"mixture{did_you_mean(name, known)}"
            )
    return found & set(library.by_name)


def make_selector(args: argparse.Namespace, library: Any) -> Any:
    """Returns the selector of a library, with the encoder that was asked for."""
    from flan_jax.selector.encoders import Embedder, get_encoder
    from flan_jax.selector.selection import Selector, all_instructions

    encoder = get_encoder(args.encoder, all_instructions(library))
    if args.encoder is None:
        terminal.warn(f"encoder: {encoder.name} (--encoder names another)")
    return Selector(library, Embedder(encoder))
