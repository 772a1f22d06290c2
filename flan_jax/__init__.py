"""flan-jax: instruction tuning of language models in JAX, from task to table."""

__version__ = "0.1.0"
