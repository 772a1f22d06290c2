"""`python -m flan_jax` is `flan-jax`."""

from flan_jax.cli import main

main()
