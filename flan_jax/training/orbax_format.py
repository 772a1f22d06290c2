"""What Orbax is told to do by a checkpoint, looked at before Orbax reads it.

Arrays are kept together in one store, whose keys are names and lead nowhere else. Orbax also knows
a form in which each array is a folder, named by the checkpoint; it would follow such a name out of
the checkpoint, and this package never writes it.
"""

from etils import epath

from flan_jax import json_files
from flan_jax.errors import CheckpointError, DataError, quoted
from flan_jax.json_files import Fields

FILE = "_METADATA"
_MOST_BYTES = 1 << 24


def check(folder: epath.Path) -> None:
    """Refuses arrays that are kept in another form, or whose names could be paths elsewhere.

    Args:
        folder: of the parameters, or of the optimizer's state.

    Raises:
        CheckpointError: that is so, or the file that says it is damaged.
    """
    where = f"{folder.name}/{FILE}"
    try:
        said = Fields(where, json_files.read_json(folder / FILE, _MOST_BYTES, CheckpointError))
        if said.object.get("use_ocdbt") is not True:
            raise CheckpointError(f"{where}: the arrays are not kept in one store")
        for entry in said.inner("tree_metadata").object.values():
            keys = Fields(where, entry).get("key_metadata")
            if not isinstance(keys, list):
                raise CheckpointError(f"{where}: 'key_metadata' must be a list")
            for key in keys:
                _check_name(str(Fields(where, key).get("key")), where)
    except DataError as error:
        raise CheckpointError(str(error)) from None


def _check_name(name: str, where: str) -> None:
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise CheckpointError(f"{where}: {quoted(name)} is no name of an array")
