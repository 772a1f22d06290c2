"""Settings that a gin macro or an environment variable may give.

SUPER_NI_DIR, VOCABULARY and PREPARED_DIR have to reach code that no gin binding calls: task
modules that are imported by name, also by T5X or by a notebook. Such a setting is looked up
where it is needed: the gin macro first, then the environment variable of the same name.
"""

import os
from typing import Any

from flan_jax import macros
from flan_jax.errors import DataError, quoted


def setting(name: str, default: Any = None) -> Any:
    """Returns the gin macro `name`, else the environment variable, else `default`.

    A macro that is None or empty counts as not given. What `flan_jax.macros` declares of the
    setting says how its text is read; a path comes with its `~` replaced.

    Raises:
        ConfigError: the setting cannot have this value.
    """
    import gin

    try:
        value = gin.query_parameter(f"{name}/gin.macro.value")
    except ValueError:
        value = None
    for given in (value, os.environ.get(name)):
        if given is not None and given != "":  # 0 and False are given
            return macros.read(name, given)
    return default


def folder_setting(name: str, what: str) -> str:
    """Returns the folder that a setting names.

    Args:
        name: the setting.
        what: what folder it is, for the error message.

    Raises:
        DataError: it is not set, or there is no such folder.
    """
    from etils import epath

    folder = setting(name)
    how = f"give {what} as --gin.{name}=FOLDER or in the environment variable {name}"
    if not folder:
        raise DataError(f"{name} is not set: {how}")
    if not epath.Path(folder).is_dir():
        raise DataError(f"{name} is {quoted(folder)}, which is not a folder: {how}")
    return str(folder)


def cache_root() -> str:
    """Returns the folder under which prepared records, indices and plans are kept.

    PREPARED_DIR, else `flan_jax` below the user's cache folder (XDG_CACHE_HOME or ~/.cache).
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return str(setting("PREPARED_DIR") or os.path.join(base, "flan_jax", "prepared"))
