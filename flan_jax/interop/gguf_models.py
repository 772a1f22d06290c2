"""Models in GGUF files opened: of the decoder family, their tokenizers as folders of ours."""

import os

from etils import epath

from flan_jax import files, settings
from flan_jax.interop import gguf_decoders, gguf_tokenizer
from flan_jax.interop.gguf_files import GGUFTensors
from flan_jax.interop.published import Published

PREFIX = "gguf:"


def open_file(where: str) -> Published:
    """Opens a model in a GGUF file, or in several.

    Args:
        where: the file, or the first one, without "gguf:".

    Raises:
        CheckpointError: a file is damaged or missing, or of a model that is not known here.
        OutputError: its tokenizer cannot be written to the cache.
    """
    tensors = GGUFTensors(files.user_path(where))
    architecture = gguf_decoders.architecture_of(tensors.metadata, tensors.name)
    config = gguf_decoders.read_config(tensors.metadata, tensors)
    return Published(
        f"{PREFIX}{where}",
        config,
        gguf_decoders.table(config, architecture),
        tensors,
        _vocabularies(tensors),
        {os.path.basename(path): list(files.stamp(path)) for path in tensors.paths},
    )


def _vocabularies(tensors: GGUFTensors) -> tuple[str, ...]:
    """Returns the file's tokenizer as a folder in the cache, made where it is not there."""
    if gguf_tokenizer.TOKENS not in tensors.metadata:
        return ()
    name = f"{tensors.digest[:16]}-{gguf_tokenizer.FORM}"
    folder = epath.Path(settings.cache_root()) / "tokenizers" / name
    # Written last, so that the other is there as well.
    if not (folder / gguf_tokenizer.TOKENIZER).exists():
        gguf_tokenizer.write_tokenizer(tensors.metadata, folder, tensors.name)
    return (str(folder),)
