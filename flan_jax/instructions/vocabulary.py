"""One vocabulary object for every task, resolved at first use.

Tasks are registered long before it is known which model will read them, so all of them share
`VOCABULARY`, which looks at the VOCABULARY macro or environment variable when a token is first
asked for. A specification is one of

* `default`: the small SentencePiece model that ships with the package;
* `byte`: bytes, no file;
* a path to a SentencePiece model (`*.model`), also on gs://;
* a folder that holds a Hugging Face `tokenizer.json`.

Whatever the vocabulary, a text that names a special token (`</s>`, `<extra_id_0>`) is that text and
no more: what a user wrote neither ends a prompt nor stands for a span. The one task of ours that
means its sentinels takes `SENTINEL_VOCABULARY`.
"""

# ruff: noqa: D102  (methods that seqio.Vocabulary documents)
import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import gin
import seqio
import tensorflow as tf
import tensorflow_text
from etils import epath

from flan_jax import files, settings
from flan_jax.errors import ConfigError, DataError, border, quoted
from flan_jax.instructions.tokenizer_folders import SENTINEL, TOKENIZER, HuggingFaceVocabulary

DEFAULT_MODEL = pathlib.Path(__file__).parent / "vocabularies" / "default.model"
SETTING = "VOCABULARY"
# T5's sentinels for span corruption; kept in every SentencePiece vocabulary, as T5 does, but for
# those that have some in their file.
SENTINELS = 100
# Embedding tables are padded to a multiple of this, which every matrix unit likes.
VOCABULARY_MULTIPLE = 128


class TextVocabulary(seqio.SentencePieceVocabulary):
    """A SentencePiece model that reads text as text: `<extra_id_0>` in one is no sentinel.

    SeqIO adds the sentinels as pieces that a text may name. Here texts are encoded by the model
    as it is in its file; ids are those of SeqIO's vocabulary, which decodes them.
    """

    def _encode(self, s: str) -> Sequence[int]:
        return _plain_model(self.sentencepiece_model_file).processor.EncodeAsIds(s)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        model = _plain_model(self.sentencepiece_model_file).serialized
        return tensorflow_text.SentencepieceTokenizer(model=model).tokenize(s)


class _PlainModel(NamedTuple):
    """A SentencePiece model none of whose sentinels a text may name.

    Attributes:
        processor: the model for Python.
        serialized: the model for TensorFlow.
        sentinels: how many are in its file, as mT5's are.
    """

    processor: Any
    serialized: bytes
    sentinels: int


@functools.lru_cache(maxsize=8)
def _plain_model(file: str) -> _PlainModel:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(files.read_bytes(file))
    sentinels = [piece for piece in proto.pieces if SENTINEL.fullmatch(piece.piece)]
    for piece in sentinels:
        piece.type = piece.CONTROL  # which no text becomes
    serialized = proto.SerializeToString()
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(serialized)
    return _PlainModel(processor, serialized, len(sentinels))


@functools.lru_cache(maxsize=8)
def load_vocabulary(spec: str, sentinels: bool = False) -> seqio.Vocabulary:
    """Returns the vocabulary that a specification (see the module) stands for.

    Args:
        spec: the specification.
        sentinels: whether texts may name sentinels and other special tokens; what a user wrote
            must not.

    Raises:
        DataError: there is no such file or folder, or it holds no vocabulary.
    """
    if spec == "byte":
        return seqio.ByteVocabulary(extra_ids=SENTINELS)
    path = DEFAULT_MODEL if spec == "default" else epath.Path(files.user_path(spec))
    if path.is_dir() and (path / TOKENIZER).exists():
        return HuggingFaceVocabulary(str(path), sentinels)
    if not path.exists():
        raise DataError(
            f"vocabulary {spec!r} does not exist; {SETTING} is 'default', 'byte', a SentencePiece "
            f"*.model file or a folder with a {TOKENIZER}"
        )
    if path.is_dir():
        raise DataError(f"vocabulary folder {spec!r} holds no {TOKENIZER}")
    kind = seqio.SentencePieceVocabulary if sentinels else TextVocabulary
    with border(f"vocabulary {spec!r} is not a SentencePiece model"):
        has_its_own = _plain_model(str(path)).sentinels > 0
        vocabulary = kind(str(path), extra_ids=0 if has_its_own else SENTINELS)
        vocabulary.load_model()
    if vocabulary.eos_id < 0:
        raise DataError(f"vocabulary {spec!r} has no end-of-sequence token")
    return vocabulary


@functools.lru_cache(maxsize=8)
def vocabulary_fingerprint(spec: str) -> str:
    """Returns a hash of what the vocabulary is, not of where it lies (16 hex digits).

    It is of what becomes of text; that no text becomes a special token does not enter it.
    """
    if spec == "byte":
        content = b"byte"
    else:
        vocabulary = load_vocabulary(spec)
        if isinstance(vocabulary, HuggingFaceVocabulary):
            content = vocabulary.content
        else:
            content = files.read_bytes(vocabulary.sentencepiece_model_file)
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
        bos_id = self.resolved.bos_id
        return None if bos_id is None or bos_id < 0 else bos_id  # SentencePiece's "none" is -1

    @property
    def eos_id(self) -> int:
        eos_id = self.resolved.eos_id
        if eos_id is None:
            raise DataError(f"vocabulary {self.spec!r} has no end of sequence")
        return eos_id

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens beside EOS that end an answer, where a tokenizer folder names any."""
        return getattr(self.resolved, "end_ids", ())

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


class _SentinelVocabulary(LateVocabulary):
    """`VOCABULARY` for texts that a task module of ours wrote with sentinels in them."""

    @property
    def spec(self) -> str:
        return VOCABULARY.spec

    @property
    def resolved(self) -> seqio.Vocabulary:
        return load_vocabulary(self.spec, sentinels=True)


SENTINEL_VOCABULARY = _SentinelVocabulary()


@gin.configurable
def padded_vocab_size(multiple: int = VOCABULARY_MULTIPLE) -> int:
    """Returns the size of the shared vocabulary, rounded up to a multiple."""
    return -(-VOCABULARY.vocab_size // multiple) * multiple


def check_vocabulary(rows: int) -> None:
    """Refuses a table that has no row for a token of the vocabulary in use.

    Looking such a token up gives NaN, which would be noticed as a loss that is none. Sentinels are
    not counted, as no text becomes one: published tables have fewer rows than all of them need.

    Args:
        rows: of the table of tokens.

    Raises:
        ConfigError: names the vocabulary, both sizes, and what would fit.
    """
    tokens = VOCABULARY.vocab_size - VOCABULARY.extra_ids
    if tokens > rows:
        raise ConfigError(
            f"VOCABULARY {quoted(VOCABULARY.spec)} has {tokens:,} tokens, and the model's table "
            f"only {rows:,} rows (VOCAB_SIZE={rows}): VOCAB_SIZE={padded_vocab_size()} would fit, "
            "or set VOCABULARY to the one that the model is for"
        )


def late_vocabulary() -> LateVocabulary:
    """Returns the shared vocabulary; what T5X's gin files bind.

    Raises:
        ConfigError: it pads with another token than 0, which T5X takes for padding.
    """
    if VOCABULARY.pad_id:
        raise ConfigError(
            f"VOCABULARY {quoted(VOCABULARY.spec)} pads with token {VOCABULARY.pad_id}; T5X takes "
            "token 0 for padding, and no other"
        )
    return VOCABULARY
