"""Folders as transformers writes and reads them: config.json, safetensors, a tokenizer.

    config.json                    the model
    model.safetensors              its tensors; or several files and model.safetensors.index.json
    pytorch_model.bin              older ones, read by torch with weights_only
    tokenizer.json, spiece.model   its tokenizer, in one of its forms

Tensors are read one by one, and of each what a device holds, so a model is never twice in memory.
Everything is somebody else's data: files are regular ones in the folder itself, and nothing is
unpickled but by torch's reader of weights.
"""

import collections
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files, hub, json_files
from flan_jax.errors import CheckpointError, ConfigError, DataError, border, did_you_mean, quoted
from flan_jax.interop import tables
from flan_jax.interop.families import FAMILIES
from flan_jax.interop.fields import Fields
from flan_jax.interop.published import Published, PublishedFamily
from flan_jax.interop.tables import Shapes, Slices
from flan_jax.models.framing import Framing

PREFIX = "hf:"
CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
INDEX = ".index.json"
# Of a tokenizer: what is read of one, what else is handed on with it.
TOKENIZER, SENTENCEPIECE = "tokenizer.json", "spiece.model"
TOKENIZER_FILES = (
    TOKENIZER, SENTENCEPIECE, "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json",
    "merges.txt",
)  # fmt: skip
_SIDE_FILES = (CONFIG, "generation_config.json", *TOKENIZER_FILES)
# Downloaded of a hub's model: safetensors where it has any, else torch's.
DOWNLOADED = (
    ("*.safetensors", f"{SAFETENSORS}{INDEX}", *_SIDE_FILES),
    ("pytorch_model*", *_SIDE_FILES),
)
_MOST_BYTES = 1 << 26
# What classes with an output head call the rest of the model.
_MODEL = "model."
# transformers' own; a file is one part of a model that is read as one.
SHARD_BYTES = 5 * 10**9


class SafetensorsFolder:
    """The tensors of a folder's safetensors files, as `tables.TensorFiles`."""

    def __init__(self, folder: epath.Path, name: str = SAFETENSORS):
        """Args:
        folder: holds the file, or its index and parts.
        name: of the file.

        Raises:
            CheckpointError: a file is missing, damaged, or not in the folder.
        """
        self.name = str(folder)
        self._folder = folder
        self._handles: dict[str, Any] = {}
        self._file_of = {
            tensor: file for file in _weight_files(folder, name) for tensor in self._names(file)
        }

    def _open(self, file: str) -> Any:
        import safetensors

        path = _inside(self._folder, file, self._folder)
        if file not in self._handles:
            with border(f"{path} is no whole safetensors file", CheckpointError):
                _check_regular(path)
                self._handles[file] = safetensors.safe_open(os.fspath(path), framework="numpy")
        return self._handles[file]

    def _names(self, file: str) -> Iterable[str]:
        return self._open(file).keys()

    @functools.cached_property
    def shapes(self) -> Shapes:
        """Shape of every tensor by name."""
        return {
            name: tuple(self._open(file).get_slice(name).get_shape())
            for name, file in self._file_of.items()
        }

    def read(self, name: str, index: Slices) -> np.ndarray:
        """See `tables.TensorFiles.read`."""
        with border(f"{self.name}: tensor {quoted(name)}", CheckpointError):
            found = self._open(self._file_of[name]).get_slice(name)
            return np.asarray(found[index] if index else found[...])


class TorchFiles:
    """The tensors of a folder's PyTorch files, which are mapped to memory and never unpickled.

    torch's reader of weights (weights_only) makes tensors and nothing else of a pickle.
    """

    def __init__(self, folder: epath.Path):
        """Args:
        folder: holds pytorch_model.bin, or its index and parts.

        Raises:
            CheckpointError: a file is missing, damaged, not in the folder, or asks for more than
                tensors; or torch is missing.
        """
        self.name = str(folder)
        self._tensors: dict[str, Any] = {}
        for file in _weight_files(folder, TORCH):
            path = _inside(folder, file, folder)
            self._tensors |= _torch_tensors(path)

    @functools.cached_property
    def shapes(self) -> Shapes:
        """Shape of every tensor by name."""
        return {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}

    def read(self, name: str, index: Slices) -> np.ndarray:
        """See `tables.TensorFiles.read`."""
        import torch

        tensor = self._tensors[name][index]
        if tensor.dtype == torch.bfloat16:  # of which NumPy knows nothing
            tensor = tensor.float()
        return tensor.numpy()


def _torch_tensors(path: epath.Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise CheckpointError(
            f"{path} is a PyTorch file: pip install torch, or convert it to safetensors"
        ) from None
    _check_regular(path)
    try:
        content = torch.load(os.fspath(path), map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whose advice is to read the file without weights_only
        raise CheckpointError(
            f"{path} is no PyTorch file of weights: it is damaged, or of before PyTorch 1.6, or "
            "asks for more than tensors"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no tensors by name")
    found = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if len(found) < len(content) or not all(isinstance(name, str) for name in content):
        raise CheckpointError(f"{path} holds something other than tensors by name")
    return found


def _inside(folder: epath.Path, name: object, what: epath.Path) -> epath.Path:
    try:
        return files.inside(folder, name, str(what))
    except DataError as error:
        raise CheckpointError(str(error)) from None


def _check_regular(path: epath.Path) -> None:
    if not path.exists():
        raise CheckpointError(f"{path} is missing")
    if not os.path.isfile(path):
        raise CheckpointError(f"{path} is not a regular file")


def _weight_files(folder: epath.Path, name: str) -> list[str]:
    """Returns the names of the files with weights: one, or those that an index names."""
    if (folder / name).exists():
        return [name]
    index = folder / f"{name}{INDEX}"
    content = json_files.read_json(index, _MOST_BYTES, CheckpointError)
    by_tensor = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(by_tensor, dict) or not by_tensor:
        raise CheckpointError(f"{index} has no object 'weight_map'")
    names = list(dict.fromkeys(by_tensor.values()))
    for file in names:
        _check_regular(_inside(folder, file, index))
        if "/" in file:
            raise CheckpointError(f"{index} names {quoted(file)}, which is not in its folder")
    return names


def open_folder(where: str) -> Published:
    """Opens a folder of transformers, or a model of the hub by name.

    Args:
        where: the folder or the name, without "hf:".

    Raises:
        CheckpointError: there is none, its family or configuration is not known here, or its
            tensors are not those that the configuration asks for; names file and field.
    """
    folder = _folder(where)
    fields = _config_of(folder)
    family = family_of(fields)
    config = family.read_config(fields)
    table = family.table(config)
    tensors = tensors_of(folder)
    if any(entry.theirs.startswith(_MODEL) for entry in table.entries):
        tensors = tables.with_prefix(tensors, _MODEL)
    return Published(
        f"{PREFIX}{where}",
        config,
        table,
        tensors,
        vocabularies(folder, fields),
        _content(folder),
    )


def _folder(where: str) -> epath.Path:
    path = epath.Path(files.user_path(where))
    if path.is_dir() or files.is_remote(where):
        return path
    if where.startswith((".", "/", "~")) or where.count("/") > 1 or not where:
        raise CheckpointError(f"{PREFIX}{where}: there is no such folder")
    return epath.Path(hub.folder(where, DOWNLOADED))


def _config_of(folder: epath.Path) -> Fields:
    path = folder / CONFIG
    if not path.exists():
        raise CheckpointError(f"{folder} has no {CONFIG}: it is no folder of transformers")
    content = json_files.read_json(path, _MOST_BYTES, CheckpointError)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no object")
    return Fields(content, str(path))


def family_of(fields: Fields) -> PublishedFamily:
    """Returns the family that a config.json is of.

    Raises:
        CheckpointError: it is not among ours; the nearest is offered.
    """
    name = fields.text("model_type")
    known = {model_type: family for family in FAMILIES for model_type in family.MODEL_TYPES}
    if name not in known:
        raise CheckpointError(
            f"{fields.where}: 'model_type' is {quoted(name)}{did_you_mean(name, known)}; those "
            f"that can be read are {', '.join(known)}"
        )
    return known[name]


def family_for(config: Any) -> PublishedFamily:
    """Returns what writes one of our configurations.

    Raises:
        ConfigError: transformers has no such family.
    """
    for family in FAMILIES:
        if isinstance(config, family.CONFIG):
            return family
    raise ConfigError(f"transformers has no models of {type(config).__name__}")


def tensors_of(folder: epath.Path) -> Any:
    """Returns the tensors of a folder, safetensors before PyTorch files.

    Raises:
        CheckpointError: it has neither, or they are damaged.
    """
    for name, kind in ((SAFETENSORS, SafetensorsFolder), (TORCH, TorchFiles)):
        if (folder / name).exists() or (folder / f"{name}{INDEX}").exists():
            return kind(folder)
    raise CheckpointError(f"{folder} has no weights: neither {SAFETENSORS} nor {TORCH}")


def vocabularies(folder: epath.Path, fields: Fields | None = None) -> tuple[str, ...]:
    """Returns the tokenizers of a folder as specifications of VOCABULARY, the fastest first."""
    found = [str(folder / SENTENCEPIECE)] if (folder / SENTENCEPIECE).exists() else []
    if (folder / TOKENIZER).exists():
        found.append(str(folder))
    if not found and (folder / "tokenizer.model").exists():
        found.append(str(folder / "tokenizer.model"))
    config = folder / "tokenizer_config.json"
    if not found and config.exists():
        content = json_files.read_json(config, _MOST_BYTES, CheckpointError)
        if isinstance(content, dict) and content.get("tokenizer_class") == "ByT5Tokenizer":
            found.append("byte")
    return tuple(found)


def _content(folder: epath.Path) -> dict[str, Any]:
    """Sizes and times of what a model is read from."""
    wanted = (CONFIG, SAFETENSORS, TORCH, *TOKENIZER_FILES)
    paths = [path for path in folder.iterdir() if path.name.endswith((".safetensors", ".bin"))]
    paths += [folder / name for name in wanted if (folder / name).exists()]
    return {path.name: list(files.stamp(path)) for path in sorted(set(paths), key=str)}


def write_folder(
    folder: epath.Path,
    config: Any,
    read: Callable[[str], np.ndarray],
    framing: Framing,
    *,
    dtype: Any = None,
    tokenizer: Mapping[str, bytes] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model as a folder that transformers loads as it stands.

    Args:
        folder: to fill; there, and empty.
        config: of one of our families.
        read: returns one of our parameters by name.
        framing: names the special tokens.
        dtype: of the tensors; None keeps that of the parameters.
        tokenizer: its files by name.
        shard_bytes: most bytes of one file of tensors.

    Raises:
        ConfigError: transformers has no such model.
        OutputError: the folder cannot be written.
    """
    family = family_for(config)
    content = {**family.write_config(config), **_token_ids(framing)}
    content["dtype"] = np.dtype(dtype or config.param_dtype).name
    table = family.table(config)
    with files.writing(folder):
        for name, data in (tokenizer or {}).items():
            (folder / name).write_bytes(data)
        _write_tensors(folder, tables.unload(table, read, dtype), shard_bytes)
        json_files.write_json(folder / "generation_config.json", _token_ids(framing), indent=2)
        json_files.write_json(folder / CONFIG, content, indent=2)


def _token_ids(framing: Framing) -> dict[str, Any]:
    """Special tokens as transformers' configurations name them."""
    named = {
        "pad_token_id": framing.pad_id,
        "eos_token_id": list(framing.ends) if framing.end_ids else framing.eos_id,
        "bos_token_id": framing.bos_id,
        "decoder_start_token_id": framing.start_id,
    }
    return {name: token for name, token in named.items() if token is not None}


def _write_tensors(
    folder: epath.Path, tensors: Iterator[tuple[str, np.ndarray]], most: int
) -> None:
    """Writes tensors to as many files as it takes, one file's in memory at a time."""
    from safetensors.numpy import save_file

    parts: list[list[str]] = []
    total = 0
    pending: dict[str, np.ndarray] = {}

    def flush() -> None:
        save_file(pending, os.fspath(folder / f"part-{len(parts)}"), metadata={"format": "pt"})
        parts.append(list(pending))
        pending.clear()

    for name, value in tensors:
        if pending and sum(one.nbytes for one in pending.values()) + value.nbytes > most:
            flush()
        pending[name] = value
        total += value.nbytes
    flush()
    if len(parts) == 1:
        (folder / "part-0").rename(folder / SAFETENSORS)
        return
    by_tensor = collections.OrderedDict()
    for number, names in enumerate(parts):
        file = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        (folder / f"part-{number}").rename(folder / file)
        by_tensor.update(dict.fromkeys(names, file))
    index = {"metadata": {"total_size": total}, "weight_map": by_tensor}
    json_files.write_json(folder / f"{SAFETENSORS}{INDEX}", index, indent=2)
