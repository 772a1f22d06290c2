"""Encoders: instructions become unit vectors.

An encoder has a hash over all that shapes its vectors, so that embeddings can be kept. It encodes
texts one by one unless told otherwise: in a batch a vector's last digits depend on what it is
batched with.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from flan_jax import files, registry
from flan_jax.errors import DataError
from flan_jax.selector import sentence_models, vectors
from flan_jax.selector.embedding_cache import EmbeddingCache
from flan_jax.terminal import Progress

LEXICAL = "lexical"
# Texts between two writes to the cache.
_CHUNK = 256


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
        name = LEXICAL
        if sentence_models.default_folder() is not None:
            name = sentence_models.DEFAULT_MODEL
    if name == LEXICAL:
        return LexicalEncoder(corpus)
    if made := registry.by_prefix(registry.ENCODERS, name):
        return made[0](files.user_path(made[1]))
    return SentenceEncoder(name)


class SentenceEncoder:
    """A sentence-transformers model (Reimers and Gurevych 2019), loaded when first needed."""

    def __init__(self, name: str, *, batch_size: int = 1):
        """Finds the model's folder and hashes it.

        Args:
            name: name on the hub, or a folder.
            batch_size: texts encoded together; above 1 the last digits of a vector depend on
                what it is batched with.

        Raises:
            ConfigError: the package or the model is not reachable.
        """
        self.name = name
        self._batch_size = batch_size
        self._folder = sentence_models.find(name)
        self.hash = sentence_models.hash_folder(self._folder)

    @functools.cached_property
    def _model(self) -> Any:
        return sentence_models.load(self._folder)

    @functools.cached_property
    def width(self) -> int:
        """Components of a vector."""
        return int(self._model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors [n, width]."""
        return self._model.encode(list(texts), batch_size=self._batch_size, show_progress_bar=False)

    def describe(self) -> dict[str, Any]:
        """Returns what a manifest says of it."""
        return {
            "name": self.name,
            "kind": "sentence-transformers",
            "hash": self.hash,
            "width": self.width,
        }
