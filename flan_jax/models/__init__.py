"""Models, one file a family, on shared layers, attention and decoding.

Import the family's own module (`from flan_jax.models import t5`): this package file imports
nothing, so tools that only look at configurations stay quick to start.
"""
