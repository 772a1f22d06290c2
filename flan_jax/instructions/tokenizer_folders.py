"""Hugging Face tokenizer folders as SeqIO vocabularies.

A tokenizer finds the names of its special tokens in a text: `</s>` in what a user wrote would end
the prompt there. Here text is text. Special tokens are not looked for, and what a model's own
table of pieces makes of such a name (a Unigram model has `</s>` among its pieces) is spelled out
in smaller ones.
"""

# ruff: noqa: D102  (methods that seqio.Vocabulary documents)
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from etils import epath

from flan_jax import files
from flan_jax.errors import DataError, border, quoted
from flan_jax.json_files import read_json

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
# What special tokens are called where tokenizer_config.json does not say.
_USUAL: Mapping[str, Sequence[str]] = {
    "eos_token": ("</s>", "<|endoftext|>", "[SEP]"),
    "unk_token": ("<unk>", "[UNK]"),
    "pad_token": ("<pad>", "[PAD]"),
}
_NAMED = (*_USUAL, "bos_token", "sep_token", "cls_token", "mask_token")
# Whether texts begin with BOS, where that is said; else the file's post-processor says it.
_ADD_BOS = "add_bos_token"
# Where a model of this tokenizer says by which tokens it ends its answers: the first file there is.
GENERATION = "generation_config.json"
_SAYS_ENDS, _ENDS = (GENERATION, "config.json"), "eos_token_id"
# T5's names for spans that were taken out of a text.
SENTINEL = re.compile(r"▁?<extra_id_[0-9]+>")
# Pieces that stand for a byte of a character that the vocabulary lacks.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# A table of embeddings has a row for each number up to the largest.
_MOST_TOKENS = 1 << 24


class HuggingFaceVocabulary(seqio.Vocabulary):
    """A `tokenizer.json` folder as a SeqIO vocabulary (special tokens are left to SeqIO)."""

    def __init__(self, folder: str, sentinels: bool = False):
        """Args:
        folder: holds tokenizer.json and, where it names its special tokens,
            tokenizer_config.json.
        sentinels: whether texts may name special tokens, as a task module of ours that
            corrupts spans does.

        Raises:
            DataError: the package tokenizers is missing, a file is not what it should be, or the
                folder has no end of sequence.
        """
        super().__init__()
        self._folder, self._sentinels = folder, sentinels
        self._file = epath.Path(folder) / TOKENIZER
        self._tokenizer = _read_tokenizer(self._file)
        # What a file says about lengths is for batches of its author's.
        self._was_bounded = bool(self._tokenizer.truncation or self._tokenizer.padding)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._vocab: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self._size = max(self._vocab.values(), default=0) + 1
        if self._size > _MOST_TOKENS:
            raise DataError(f"{self._file}: a token has a number above {_MOST_TOKENS:,}")
        self._take_special(_read_config(epath.Path(folder) / CONFIG))
        self._ends = read_ends(folder)
        if any(number >= self._size for number in self._ends):
            raise DataError(
                f"{folder}: {_ENDS!r} must be tokens below {self._size}, found {quoted(self._ends)}"
            )

    def _adds_bos(self, config: Mapping[str, Any], bos: int | None) -> bool:
        """Whether a text begins with BOS when a model reads it."""
        if bos is None or isinstance(config[_ADD_BOS], bool):
            return bos is not None and config[_ADD_BOS]
        with border(f"{self._file}: post_processor"):
            return self._tokenizer.encode("a", add_special_tokens=True).ids[:1] == [bos]

    def _take_special(self, config: Mapping[str, Any]) -> None:
        """Finds the special tokens, and has all of them read as text."""
        named = {key: self._named(config, key) for key in _NAMED}
        self._eos, self._unk = named["eos_token"], named["unk_token"]
        if self._eos is None:
            raise DataError(f"vocabulary {self._folder!r} names no end-of-sequence token")
        # Some have one that their texts do not begin with.
        self._bos = named["bos_token"] if self._adds_bos(config, named["bos_token"]) else None
        # Where none is named, any will do: padding is told by lengths.
        self._pad = named["pad_token"] or 0
        listed = self._tokenizer.get_added_tokens_decoder()
        special = {number for number, token in listed.items() if token.special}
        special |= {number for number in named.values() if number is not None}
        special |= {self._vocab[text] for text in self._more_special(config) if text in self._vocab}
        self._special = frozenset(special)
        self._by_name = {key: number for key, number in named.items() if number is not None}
        self._control = frozenset(special - {self._unk}) | {self._eos}
        bytes_of = {number for text, number in self._vocab.items() if _BYTE.fullmatch(text)}
        self._reserved = self._control | bytes_of | ({self._unk} - {None})
        self._contents = {number: text for text, number in self._vocab.items()}
        self._spellings: dict[int, Sequence[int]] = {}
        if not self._sentinels:
            with border(f"{self._file}: special tokens"):
                self._tokenizer.add_special_tokens([self._contents[n] for n in sorted(special)])
                self._tokenizer.encode_special_tokens = True

    def _more_special(self, config: Mapping[str, Any]) -> Iterable[str]:
        yield from config.get("additional_special_tokens") or ()
        yield from (text for text in self._vocab if SENTINEL.fullmatch(text))

    def _named(self, config: Mapping[str, Any], key: str) -> int | None:
        name = config.get(key)
        usual = _USUAL.get(key, ())
        return next((self._vocab[t] for t in ([name] if name else usual) if t in self._vocab), None)

    @property
    def folder(self) -> str:
        """Where its files are."""
        return self._folder

    @property
    def special(self) -> Mapping[str, int]:
        """Special tokens by name, those that no text becomes."""
        return {self._contents[number]: number for number in self._special}

    @property
    def named(self) -> Mapping[str, str]:
        """Names of special tokens by what tokenizer_config.json calls them, such as bos_token."""
        return {key: self._contents[number] for key, number in self._by_name.items()}

    @property
    def content(self) -> bytes:
        """What shapes tokens: tokenizer.json, and what of the rest is not as in most folders."""
        usual = self._named({}, "eos_token")
        eos = b"" if self._eos == usual else f"/eos={self._eos}".encode()
        whole = b"/whole" if self._was_bounded else b""
        pad = f"/pad={self._pad}".encode() if self._pad else b""
        return files.read_bytes(self._file) + eos + whole + pad

    @property
    def pad_id(self) -> int:
        return self._pad

    @property
    def bos_id(self) -> int | None:
        return self._bos

    @property
    def eos_id(self) -> int | None:
        return self._eos

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Tokens beside EOS that end an answer."""
        return tuple(number for number in self._ends if number != self._eos)

    @property
    def unk_id(self) -> int | None:
        return self._unk

    @property
    def _base_vocab_size(self) -> int:
        return self._size

    def _encode(self, s: str) -> Sequence[int]:
        with border(f"vocabulary {self._folder!r}: a text"):
            encoding = self._tokenizer.encode(s, add_special_tokens=False)
        if self._sentinels or self._reserved.isdisjoint(encoding.ids):
            return encoding.ids
        ids: list[int] = []
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            ids += self._text_of(number, s[start:end]) if number in self._reserved else [number]
        return ids

    def _text_of(self, number: int, written: str) -> Sequence[int]:
        """Returns the tokens of what was taken for a special one."""
        if number in self._control and number != self._unk:
            return self._spelled(number)
        # What the vocabulary lacks has these numbers too, and rightly; several may be one token.
        times, rest = divmod(len(written), len(self._contents[number]))
        if not rest and written == self._contents[number] * times:
            return [*self._spelled(number)] * times
        return () if number in self._control else (number,)

    def _spelled(self, number: int) -> Sequence[int]:
        """Returns a special token's name in tokens that mean no more than their letters."""
        if number not in self._spellings:
            name = self._contents[number]
            ways = [
                self._pieces(name[:cut]) + self._pieces(name[cut:]) for cut in range(1, len(name))
            ]
            ways.append([n for one in name for n in self._pieces(one) if n not in self._control])
            plain = (ids for ids in ways if self._control.isdisjoint(ids))
            self._spellings[number] = min(plain, key=lambda ids: (ids.count(self._unk), len(ids)))
        return self._spellings[number]

    def _pieces(self, text: str) -> list[int]:
        try:
            return [token.id for token in self._tokenizer.model.tokenize(text)]
        except Exception:  # a model without a token for what it does not know
            return []

    def _decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
        def encode(text: Any) -> Any:
            # bytes inside tf.data, an array of rank 0 where TensorFlow runs eagerly
            text = text.item() if isinstance(text, np.ndarray) else text
            return np.asarray(self._encode(text.decode("utf-8", "replace")), np.int32)

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

    def __reduce__(self) -> tuple[Any, ...]:
        # A tokenizer's own copies forget that special tokens are text.
        return HuggingFaceVocabulary, (self._folder, self._sentinels)


def _read_tokenizer(file: epath.Path) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise DataError(
            f"vocabulary {str(file.parent)!r} is a Hugging Face tokenizer: pip install tokenizers"
        ) from None
    text = files.read_text(file)
    with border(f"{file} is no tokenizer"):
        tokenizer = tokenizers.Tokenizer.from_str(text)
    if not hasattr(tokenizer, "encode_special_tokens"):
        raise DataError(f"{file}: the package tokenizers is too old: pip install -U tokenizers")
    return tokenizer


def _read_config(file: epath.Path) -> dict[str, Any]:
    """Returns the texts of special tokens in tokenizer_config.json, by field."""
    content = read_json(file) if file.exists() else {}
    if not isinstance(content, dict):
        raise DataError(f"{file} must be an object, found {quoted(content)}")
    found: dict[str, Any] = {key: _text(content.get(key), file, key) for key in _NAMED}
    key = "additional_special_tokens"
    several = content.get(key) or []
    if not isinstance(several, list):
        raise DataError(f"{file}: {key!r} must be a list of tokens, found {quoted(several)}")
    texts = [_text(value, file, key) for value in several]
    return found | {key: texts, _ADD_BOS: content.get(_ADD_BOS)}


def read_ends(folder: epath.PathLike) -> tuple[int, ...]:
    """Returns the tokens by which the model of a folder ends its answers; none where it says none.

    Raises:
        DataError: they are no tokens; names the file and the field.
    """
    file = next((f for name in _SAYS_ENDS if (f := epath.Path(folder) / name).exists()), None)
    content = read_json(file) if file else None
    ends = content.get(_ENDS) if isinstance(content, dict) else None
    ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
    if not all(type(number) is int and number >= 0 for number in ends):
        raise DataError(f"{file}: {_ENDS!r} must be a token or several, found {quoted(ends)}")
    return tuple(dict.fromkeys(ends))


def _text(value: Any, file: epath.Path, key: str) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    if text is not None and not isinstance(text, str):
        raise DataError(f"{file}: {key!r} must be a token, found {quoted(value)}")
    return text
