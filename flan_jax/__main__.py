"""`python -m flan_jax` is `flan-jax`."""

import os
import sys

# Before anything is imported that a file in the working directory could stand in for; `main` does
# it again for those who come another way, see `modules.working_directory_last`.
if sys.path and sys.path[0] in ("", os.getcwd()):
    sys.path.append(sys.path.pop(0))

from flan_jax.cli import main  # noqa: E402

main()
