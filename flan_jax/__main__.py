"""`python -m flan_jax` is `flan-jax`."""

# Before anything else is imported, which a file here could stand in for.
from flan_jax.modules import working_directory_last  # isort: skip

working_directory_last()

from flan_jax.cli import main  # noqa: E402

main()
