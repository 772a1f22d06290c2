"""Choosing what to train on from instructions alone (Lee et al. 2024, arXiv 2404.16418).

* `library`: tasks as the selector sees them: a name, instructions, cluster and sources.
* `sources`: libraries from cards, JSONL files, Super-NI folders and promptsource folders.
* `encoders`, `embedding_cache`: texts become vectors, each of them once.
* `scoring`, `selection`: vectors become scores, scores become a choice.
* `manifest`: the choice as a JSON file, and as one SeqIO mixture.

No part of it reads an instance, and none needs a model that was trained here.
"""

from flan_jax.selector.manifest import register_mixture

__all__ = ["register_mixture"]
