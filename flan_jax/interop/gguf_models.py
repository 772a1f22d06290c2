"""GGUF files opened: a model of the decoder family, and its tokenizer as a folder of ours."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from flan_jax import files, settings
from flan_jax.interop import gguf_decoders, gguf_tokenizer
from flan_jax.interop.gguf_files import GGUFTensors
from flan_jax.interop.published import Published

PREFIX = "gguf:"
_TOKENIZER = "tokenizer."


def open_file(where: str) -> Published:
    """Opens a GGUF file.

    Args:
        where: the file, without "gguf:".

    Raises:
        CheckpointError: it is damaged, or of a model that is not known here.
        OutputError: its tokenizer cannot be written to the cache.
    """
    path = files.user_path(where)
    tensors = GGUFTensors(path)
    architecture = gguf_decoders.architecture_of(tensors.metadata, tensors.name)
    config = gguf_decoders.read_config(tensors.metadata, tensors)
    return Published(
        f"{PREFIX}{where}",
        config,
        gguf_decoders.table(config, architecture),
        tensors,
        _vocabularies(tensors.metadata, tensors.name),
        {os.path.basename(path): list(files.stamp(path))},
    )


def _vocabularies(metadata: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Returns the file's tokenizer as a folder in the cache, made where it is not there."""
    own = {key: value for key, value in metadata.items() if key.startswith(_TOKENIZER)}
    if f"{_TOKENIZER}ggml.tokens" not in own:
        return ()
    digest = hashlib.sha256()
    for key in sorted(own):
        value = own[key]
        digest.update(f"{key}\0{value.tolist() if hasattr(value, 'tolist') else value}\n".encode())
    folder = epath.Path(settings.cache_root()) / "tokenizers" / digest.hexdigest()[:16]
    names = ("tokenizer.json", "tokenizer_config.json")
    if not all((folder / name).exists() for name in names):
        gguf_tokenizer.write_tokenizer(metadata, folder, where)
    return (str(folder),)
