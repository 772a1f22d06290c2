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
from collections.abc import Sequence
from typing import Any

from etils import epath

from flan_jax.errors import DataError, did_you_mean, quoted, within
from flan_jax.instructions.datasets import Dataset
from flan_jax.instructions.templates import Template, check_templates
from flan_jax.json_files import Fields
from flan_jax.yaml_files import read_yaml

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
    files: dict[str, epath.Path] = {}
    for path in sorted(root.iterdir()):
        if path.suffix in (".yaml", ".yml") and files.setdefault(path.stem, path) is not path:
            raise DataError(f"{path}: {files[path.stem].name} is there for that dataset already")
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
    content = Fields(str(path), read_yaml(path))
    _check_keys(content, _KEYS)
    mode = content.name("mode", "replace")
    if mode not in _MODES:
        content.fail("mode", f"is one of {', '.join(_MODES)}, not {quoted(mode)}")
    entries = content.get("templates")
    if not isinstance(entries, list) or not entries:
        content.fail("templates", "has to be a list with at least one template")
    return mode, tuple(_template(Fields(f"{path}, template {i}", e)) for i, e in enumerate(entries))


def _template(entry: Fields) -> Template:
    _check_keys(entry, _TEMPLATE_KEYS)
    texts = entry.text("inputs"), entry.text("targets")
    is_reversed = entry.flag("reversed", False)
    with within(entry.where):
        return Template(*texts, bool(is_reversed))


def _check_keys(fields: Fields, known: Sequence[str]) -> None:
    for key in fields.object:
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise DataError(f"{fields.where}: unknown key {quoted(key)}{hint}")
