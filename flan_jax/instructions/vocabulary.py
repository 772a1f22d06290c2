"""One vocabulary object for every task, resolved at first use.

Tasks are registered long before it is known which model will read them, so all of them share
`VOCABULARY`, which looks at the VOCABULARY macro or environment variable when a token is first
asked for. A specification is one of

* `default`: the small SentencePiece model that ships with the package;
* `byte`: bytes, no file;
* a path to a SentencePiece model (`*.model`), also on gs://;
* a folder that holds a Hugging Face `tokenizer.json`.
"""

# ruff: noqa: D102  (methods that seqio.Vocabulary documents)
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import gin
import numpy as np
import seqio
import tensorflow as tf
from etils import epath

from flan_jax import settings
from flan_jax.errors import DataError

DEFAULT_MODEL = pathlib.Path(__file__).parent / "vocabularies" / "default.model"
SETTING = "VOCABULARY"
# T5's sentinels for span corruption; kept in every SentencePiece vocabulary, as T5 does.
SENTINELS = 100
# Embedding tables are padded to a multiple of this, which every matrix unit likes.
VOCABULARY_MULTIPLE = 128


class HuggingFaceVocabulary(seqio.Vocabulary):
    """A `tokenizer.json` folder as a SeqIO vocabulary (special tokens are left to SeqIO)."""

    def __init__(self, folder: str):
        """Args:
        folder: holds tokenizer.json and, where it names its special tokens,
            tokenizer_config.json.

        Raises:
            DataError: the package tokenizers is missing, or the folder has no end of sequence.
        """
        super().__init__()
        try:
            import tokenizers
        except ImportError:
            raise DataError(
                f"vocabulary {folder!r} is a Hugging Face tokenizer: pip install tokenizers"
            ) from None
        self._folder = folder
        self._tokenizer = tokenizers.Tokenizer.from_str(
            (epath.Path(folder) / "tokenizer.json").read_text()
        )
        config_file = epath.Path(folder) / "tokenizer_config.json"
        config = json.loads(config_file.read_text()) if config_file.exists() else {}
        self._eos = self._special(config, "eos_token", ["</s>", "<|endoftext|>", "[SEP]"])
        if self._eos is None:
            raise DataError(f"vocabulary {folder!r} names no end-of-sequence token")
        self._unk = self._special(config, "unk_token", ["<unk>", "[UNK]"])
        # SeqIO, T5X and our models all read token 0 as padding.
        if pad := self._special(config, "pad_token", ["<pad>", "[PAD]"]):
            raise DataError(f"vocabulary {folder!r} pads with token {pad}; it has to be token 0")

    def _special(self, config: dict[str, Any], key: str, usual: Sequence[str]) -> int | None:
        named = config.get(key)
        named = named.get("content") if isinstance(named, dict) else named
        for token in [named] if named else usual:
            if (token_id := self._tokenizer.token_to_id(token)) is not None:
                return token_id
        return None

    @property
    def eos_id(self) -> int | None:
        return self._eos

    @property
    def unk_id(self) -> int | None:
        return self._unk

    @property
    def _base_vocab_size(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def _encode(self, s: str) -> Sequence[int]:
        return self._tokenizer.encode(s, add_special_tokens=False).ids

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        def encode(text: Any) -> Any:
            # bytes inside tf.data, an array of rank 0 where TensorFlow runs eagerly
            text = text.item() if isinstance(text, np.ndarray) else text
            return np.asarray(self._encode(text.decode("utf-8")), np.int32)

        ids = tf.numpy_function(encode, [tf.convert_to_tensor(s)], tf.int32, stateful=False)
        ids.set_shape([None])
        return ids

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        decode = lambda x: self.decode(x.tolist()).encode("utf-8")  # noqa: E731
        return tf.numpy_function(decode, [ids], tf.string, stateful=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HuggingFaceVocabulary) and self._folder == other._folder

    def __hash__(self) -> int:
        return hash(self._folder)


@functools.lru_cache(maxsize=8)
def load_vocabulary(spec: str) -> seqio.Vocabulary:
    """Returns the vocabulary that a specification (see the module) stands for.

    Raises:
        DataError: there is no such file or folder, or it holds no vocabulary.
    """
    if spec == "default":
        spec = str(DEFAULT_MODEL)
    if spec == "byte":
        return seqio.ByteVocabulary(extra_ids=SENTINELS)
    path = epath.Path(spec)
    if path.is_dir() and (path / "tokenizer.json").exists():
        return HuggingFaceVocabulary(spec)
    if not path.exists():
        raise DataError(
            f"vocabulary {spec!r} does not exist; {SETTING} is 'default', 'byte', a SentencePiece "
            "*.model file or a folder with a tokenizer.json"
        )
    if path.is_dir():
        raise DataError(f"vocabulary folder {spec!r} holds no tokenizer.json")
    vocabulary = seqio.SentencePieceVocabulary(spec, extra_ids=SENTINELS)
    try:
        vocabulary.load_model()
    except Exception as error:
        raise DataError(f"vocabulary {spec!r} is not a SentencePiece model: {error}") from error
    return vocabulary


@functools.lru_cache(maxsize=8)
def vocabulary_fingerprint(spec: str) -> str:
    """Returns a hash of what the vocabulary is, not of where it lies (16 hex digits)."""
    if spec == "byte":
        content = b"byte"
    elif spec == "default":
        content = DEFAULT_MODEL.read_bytes()
    elif epath.Path(spec).is_dir():
        content = (epath.Path(spec) / "tokenizer.json").read_bytes()
    else:
        load_vocabulary(spec)  # for its error message
        content = epath.Path(spec).read_bytes()
    return hashlib.sha256(content + f"/{SENTINELS}".encode()).hexdigest()[:16]


class LateVocabulary(seqio.Vocabulary):
    """Stands for whatever the VOCABULARY setting names when it is first used.

    All instances are equal: SeqIO demands equal vocabularies within a mixture. `use` pins a
    specification, which our own binaries do once their configuration is parsed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pinned: str | None = None

    @property
    def spec(self) -> str:
        """The specification in force."""
        return self._pinned or str(settings.setting(SETTING, "default"))

    def use(self, spec: str | None) -> None:
        """Pins a specification for this process and its children; None unpins."""
        if spec is not None:
            load_vocabulary(spec)
            os.environ[SETTING] = spec
        self._pinned = spec

    @property
    def resolved(self) -> seqio.Vocabulary:
        """The vocabulary that the specification stands for."""
        return load_vocabulary(self.spec)

    @property
    def fingerprint(self) -> str:
        """See `vocabulary_fingerprint`."""
        return vocabulary_fingerprint(self.spec)

    @property
    def pad_id(self) -> int:
        return self.resolved.pad_id

    @property
    def bos_id(self) -> int | None:
        return self.resolved.bos_id

    @property
    def eos_id(self) -> int:
        eos_id = self.resolved.eos_id
        if eos_id is None:
            raise DataError(f"vocabulary {self.spec!r} has no end of sequence")
        return eos_id

    @property
    def unk_id(self) -> int | None:
        return self.resolved.unk_id

    @property
    def extra_ids(self) -> int:
        return self.resolved.extra_ids

    @property
    def vocab_size(self) -> int:
        return self.resolved.vocab_size

    @property
    def _base_vocab_size(self) -> int:
        return self.resolved._base_vocab_size

    def _encode(self, s: str) -> Sequence[int]:
        return self.resolved._encode(s)

    def _decode(self, ids: Sequence[int]) -> str:
        return self.resolved._decode(ids)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        return self.resolved._encode_tf(s)

    def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
        return self.resolved._decode_tf(ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LateVocabulary) or self.resolved == other

    def __hash__(self) -> int:
        return hash(LateVocabulary)

    def __repr__(self) -> str:
        return f"LateVocabulary({self.spec!r})"


VOCABULARY = LateVocabulary()


@gin.configurable
def padded_vocab_size(multiple: int = VOCABULARY_MULTIPLE) -> int:
    """Returns the size of the shared vocabulary, rounded up to a multiple."""
    return -(-VOCABULARY.vocab_size // multiple) * multiple


def late_vocabulary() -> LateVocabulary:
    """Returns the shared vocabulary; what T5X's gin files bind."""
    return VOCABULARY
