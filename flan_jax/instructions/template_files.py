"""Templates from YAML files: your own set for a dataset, or a published one, used verbatim.

A file is named after its dataset, `rte.yaml`, and holds

    mode: replace            # or extend: added after the dataset's own
    templates:
    - inputs: |-
        {premise}
        Does it follow that {hypothesis}?
        {options_}
      targets: "{answer}"
      reversed: false        # true: asks for something else than the answer; for training only

Placeholders are the dataset's fields (`flan-jax tasks list --json` names them in its templates),
`{answer}`, and `{options_}` for the OPTIONS block. Nothing in a file is executed.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from flan_jax.errors import DataError, did_you_mean
from flan_jax.instructions.datasets import Dataset
from flan_jax.instructions.templates import Template, check_templates

_KEYS = ("mode", "templates")
_MODES = ("replace", "extend")
_TEMPLATE_KEYS = ("inputs", "targets", "reversed")


def with_template_files(datasets: Sequence[Dataset], folder: str) -> tuple[Dataset, ...]:
    """Returns the datasets with the templates that a folder has for them.

    Raises:
        DataError: there is no such folder, a file is not as it should be or is for no dataset;
            names the file, and the template and field where there is one.
    """
    root = epath.Path(folder)
    if not root.is_dir():
        raise DataError(f"there is no folder of templates {folder!r}")
    files = {p.stem: p for p in sorted(root.iterdir()) if p.suffix in (".yaml", ".yml")}
    if not files:
        raise DataError(f"folder {folder} holds no .yaml files")
    names = [dataset.name for dataset in datasets]
    for stem, path in files.items():
        if stem not in names:
            raise DataError(f"{path}: no dataset {stem!r}" + did_you_mean(stem, names))
    return tuple(
        _changed(dataset, files[dataset.name]) if dataset.name in files else dataset
        for dataset in datasets
    )


def _changed(dataset: Dataset, path: Any) -> Dataset:
    mode, templates = read_template_file(path)
    if mode == "extend":
        templates = (*dataset.templates, *templates)
    check_templates(f"{dataset.name} ({path})", templates, dataset.known_fields)
    if templates[0].reversed:
        raise DataError(f"{path}: the first template is reversed; put one that states the task")
    for index, template in enumerate(templates):
        if template.has_options and not dataset.classification:
            raise DataError(f"{path}: template {index} shows options; {dataset.name} has none")
    return dataclasses.replace(dataset, templates=templates)


def read_template_file(path: epath.PathLike) -> tuple[str, tuple[Template, ...]]:
    """Returns mode and templates of a file.

    Raises:
        DataError: the file is not as the module describes it.
    """
    import yaml

    try:
        content = yaml.safe_load(epath.Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: {error}") from None
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: holds no mapping with 'templates'")
    _check_keys(str(path), content, _KEYS)
    mode = content.get("mode", "replace")
    if mode not in _MODES:
        raise DataError(f"{path}: mode is one of {', '.join(_MODES)}, not {mode!r}")
    entries = content.get("templates")
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path}: 'templates' has to be a list with at least one template")
    return mode, tuple(_template(f"{path}, template {i}", e) for i, e in enumerate(entries))


def _template(where: str, entry: Any) -> Template:
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: has to be a mapping with 'inputs' and 'targets'")
    _check_keys(where, entry, _TEMPLATE_KEYS)
    for key in ("inputs", "targets"):
        if not isinstance(entry.get(key), str):
            raise DataError(f"{where}: {key!r} has to be text, not {entry.get(key)!r}")
    if not isinstance(entry.get("reversed", False), bool):
        raise DataError(f"{where}: 'reversed' is true or false, not {entry['reversed']!r}")
    try:
        return Template(entry["inputs"], entry["targets"], entry.get("reversed", False))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _check_keys(where: str, mapping: Mapping[Any, Any], known: Sequence[str]) -> None:
    for key in mapping:
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}" + did_you_mean(str(key), known))
