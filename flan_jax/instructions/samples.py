"""Sample rows: a few raw rows of our own beside a collection, in the shape of its source.

They are shown where the real data is absent, checked by `flan-jax tasks check`, and tested. A
folder `samples` beside a task module holds one YAML file a cluster: a list of rows by dataset.
"""

import functools
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.errors import DataError


@functools.lru_cache(maxsize=64)
def _read(path: pathlib.Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    import yaml

    with path.open(encoding="utf-8") as file:
        return yaml.safe_load(file) or {}


def sample_rows(module: str, cluster: str, dataset: str) -> list[dict[str, Any]]:
    """Returns the sample rows of a dataset.

    Args:
        module: task module of the collection, a package.
        cluster: cluster of the dataset, which names the file.
        dataset: short name of the dataset.

    Raises:
        DataError: there are none.
    """
    spec = importlib.util.find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = pathlib.Path(folder) / "samples" / f"{cluster}.yaml"
        if path.exists() and (rows := _read(path).get(dataset)):
            return [dict(row) for row in rows]
    raise DataError(f"{module} has no sample rows of {dataset!r}")
