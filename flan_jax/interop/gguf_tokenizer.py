"""Tokenizers in the metadata of GGUF files, as folders of the library tokenizers.

A file has the tokens, what each is (an ordinary one, a special one, one that a text may name) and
which of two ways texts are cut: byte-level BPE, whose merges are listed and whose words a regular
expression finds ("gpt2"), or SentencePiece's BPE, where a merge is as good as the score of what it
makes ("llama"). The regular expressions are those that the models' own tokenizers were published
with; a file names them, in `tokenizer.ggml.pre`, without saying what they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import CheckpointError, border, quoted
from flan_jax.interop.fields import Fields

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
GENERATION = "generation_config.json"
# Counted up when folders are written otherwise, so that those of before are not used.
FORM = 3
_KEY = "tokenizer.ggml."
TOKENS = f"{_KEY}tokens"
_BYTE_LEVEL, _SENTENCEPIECE = "gpt2", "llama"
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_SPACE = "▁"
_NAMED = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}
# Tokens that end an answer: a text, a turn in a conversation, a message; and a list of them.
_ENDS, _ENDS_LIST = ("eos_token_id", "eot_token_id", "eom_token_id"), "eos_token_ids"


class _Words(NamedTuple):
    """How a byte-level tokenizer finds words.

    Attributes:
        splits: regular expressions, each of which parts further what those before it left whole.
        composed: whether letters are joined with their accents first (Unicode's NFC).
        whole: whether a word that is a token is taken as it is, whatever the merges make of it.
        bos: whether texts begin with BOS where the file does not say.
    """

    splits: Sequence[str]
    composed: bool = False
    whole: bool = False
    bos: bool = False


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGITS_ALONE = _Words((r"\p{N}", _GPT2))
_LLAMA3 = _Words((_ENDINGS + r"\p{N}{1,3}" + _REST,), whole=True, bos=True)
_QWEN2 = _Words((_ENDINGS + r"\p{N}" + _REST,), composed=True)
# By what `tokenizer.ggml.pre` says.
_WORDS: Mapping[str, _Words] = {
    "gpt-2": _Words((_GPT2,)),
    "olmo": _Words((_GPT2,)),
    "smollm": _DIGITS_ALONE,
    "starcoder": _DIGITS_ALONE,
    "refact": _DIGITS_ALONE,
    "command-r": _DIGITS_ALONE,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama-bpe": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "default": _Words((r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}


class _Listed(NamedTuple):
    """Tokens of a file.

    Attributes:
        texts: by number.
        kinds: what each is, see the numbers above.
        scores: of merges that make them, greatest first; None where merges are listed.
        special: texts of the special tokens that have a name, by transformers' name.
        where: the file.
    """

    texts: list[str]
    kinds: Sequence[int]
    scores: Sequence[float] | None
    special: Mapping[str, str]
    where: str

    def of_kind(self, *kinds: int) -> list[int]:
        """Returns the numbers of tokens of some kinds."""
        return [i for i, kind in enumerate(self.kinds) if kind in kinds]

    @property
    def vocabulary(self) -> dict[str, int]:
        """Numbers by text."""
        return {text: i for i, text in enumerate(self.texts)}


def write_tokenizer(metadata: Mapping[str, Any], folder: epath.PathLike, where: str) -> None:
    """Writes tokenizer.json, tokenizer_config.json and what names ends, each whole or not at all.

    Args:
        metadata: of a GGUF file.
        folder: for the files; made where it is not there.
        where: the GGUF file, for errors.

    Raises:
        CheckpointError: it has no tokenizer, a damaged one, or one of a kind that is not known
            here; or the package tokenizers is missing.
        OutputError: the files cannot be written.
    """
    texts = tokenizer_texts(metadata, where)
    to = files.make_folder(folder)
    files.replace_texts({to / name: text for name, text in texts.items()})


def tokenizer_texts(metadata: Mapping[str, Any], where: str) -> Mapping[str, str]:
    """Returns the content of the files by name; see `write_tokenizer`."""
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        raise CheckpointError(f"{where} brings a tokenizer: pip install tokenizers") from None
    fields = Fields(metadata, where)
    listed = _listed(fields, metadata)
    with border(f"{where}: its tokenizer", CheckpointError):
        if fields.text(f"{_KEY}model", (_BYTE_LEVEL, _SENTENCEPIECE)) == _BYTE_LEVEL:
            words = _WORDS[fields.text(f"{_KEY}pre", tuple(_WORDS))]
            config = _config(fields, listed, bos=words.bos)
            tokenizer = _byte_level(fields, listed, words)
        else:
            config = _config(fields, listed, bos=True)
            tokenizer = _sentencepiece(fields, listed)
        _frame(tokenizer, config, listed)
        texts = {CONFIG: json_files.dumps(config, 1) + "\n", TOKENIZER: tokenizer.to_str()}
        ends = _ends(metadata, len(listed.texts), where)
        # A model that ends its turns by another token than EOS says so in a file of its own.
        more = {GENERATION: json_files.dumps({"eos_token_id": ends}) + "\n"}
        return {**texts, **(more if len(ends) > 1 else {})}


def _listed(fields: Fields, metadata: Mapping[str, Any]) -> _Listed:
    texts = list(fields.texts(TOKENS))
    _refuse_twice(texts, fields.where)
    kinds = _array(metadata, "token_type", len(texts), fields.where)
    return _Listed(
        texts,
        [_NORMAL] * len(texts) if kinds is None else kinds,
        _array(metadata, "scores", len(texts), fields.where),
        {
            name: texts[number]
            for name, key in _NAMED.items()
            if (number := _number(metadata, key, len(texts), fields.where)) is not None
        },
        fields.where,
    )


def _refuse_twice(texts: Sequence[str], where: str) -> None:
    numbers = {text: i for i, text in enumerate(texts)}
    if len(numbers) < len(texts):
        twice = next(text for i, text in enumerate(texts) if numbers[text] != i)
        raise CheckpointError(f"{where}: the token {quoted(twice)} is there twice")


def _array(metadata: Mapping[str, Any], name: str, size: int, where: str) -> list[Any] | None:
    """Returns an array of numbers, one a token; None where there is none."""
    value = metadata.get(_KEY + name)
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or len(value) != size:
        raise CheckpointError(
            f"{where}: {_KEY + name!r} must be {size:,} numbers, one a token, not {quoted(value)}"
        )
    return value.tolist()


def _number(metadata: Mapping[str, Any], key: str, size: int, where: str) -> int | None:
    """Returns the number of a special token; None where the file names none."""
    number = metadata.get(_KEY + key)
    return None if number is None else _token(number, key, size, where)


def _token(number: Any, key: str, size: int, where: str) -> int:
    if not (type(number) is int and 0 <= number < size):
        raise CheckpointError(
            f"{where}: {_KEY + key!r} is {quoted(number)}, which is none of {size:,} tokens"
        )
    return number


def _ends(metadata: Mapping[str, Any], size: int, where: str) -> list[int]:
    """Returns the numbers of the tokens that end an answer, EOS first."""
    named = [_number(metadata, key, size, where) for key in _ENDS]
    several = metadata.get(_KEY + _ENDS_LIST, ())
    if isinstance(several, np.ndarray):
        several = several.tolist()
    elif several:
        raise CheckpointError(
            f"{where}: {_KEY + _ENDS_LIST!r} must be tokens, not {quoted(several)}"
        )
    named += [_token(number, _ENDS_LIST, size, where) for number in several]
    return list(dict.fromkeys(number for number in named if number is not None))


def _config(fields: Fields, listed: _Listed, *, bos: bool) -> dict[str, Any]:
    """Returns the content of tokenizer_config.json.

    Args:
        fields: of the metadata.
        listed: the tokens.
        bos: whether texts begin with BOS where the file does not say.
    """
    special = listed.special
    config = {
        **special,
        "add_bos_token": fields.flag(f"{_KEY}add_bos_token", bos) and "bos_token" in special,
        "add_eos_token": fields.flag(f"{_KEY}add_eos_token", False) and "eos_token" in special,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    template = fields.text("tokenizer.chat_template", default=None)
    return config if template is None else {**config, "chat_template": template}


def _byte_level(fields: Fields, listed: _Listed, words: _Words) -> Any:
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    merges = [_pair(merge, fields.where) for merge in fields.texts(f"{_KEY}merges")]
    model = models.BPE(listed.vocabulary, merges, ignore_merges=words.whole)
    made = tokenizers.Tokenizer(model)
    if words.composed:
        made.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(tokenizers.Regex(one), "isolated") for one in words.splits]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([*splits, to_bytes])
    made.decoder = decoders.ByteLevel()
    _add(made, listed, normalized=False)
    return made


def _pair(merge: str, where: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    if not left or not right or " " in right:
        raise CheckpointError(f"{where}: the merge {quoted(merge)} is not of two tokens")
    return left, right


def _sentencepiece(fields: Fields, listed: _Listed) -> Any:
    import tokenizers
    from tokenizers import decoders, models, normalizers

    fields.refuse(f"{_KEY}remove_extra_whitespaces", False)
    prefix = fields.flag(f"{_KEY}add_space_prefix", True)
    normalizer: Any = normalizers.Replace(" ", _SPACE)
    end = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), normalizer])
        end.append(decoders.Strip(" ", 1, 0))
    else:
        listed = _spelled(listed)
    model = models.BPE(
        listed.vocabulary,
        _merges(listed),
        unk_token=listed.special.get("unk_token"),
        fuse_unk=True,
        byte_fallback=True,
    )
    made = tokenizers.Tokenizer(model)
    made.normalizer, made.decoder = normalizer, decoders.Sequence(end)
    # SentencePiece looks for them in texts whose spaces are spelled. What the library does to a
    # text it does to these tokens, so where a space is put before it they are found as they stand.
    _add(made, listed, normalized=not prefix)
    return made


def _spelled(listed: _Listed) -> _Listed:
    """Returns tokens as SentencePiece has them: in those that a text may name, llama.cpp keeps
    spaces as they are.
    """
    named = set(listed.of_kind(_USER_DEFINED))
    texts = [t.replace(" ", _SPACE) if i in named else t for i, t in enumerate(listed.texts)]
    _refuse_twice(texts, listed.where)
    return listed._replace(texts=texts)


def _merges(listed: _Listed) -> list[tuple[str, str]]:
    """Returns every pair of ordinary tokens that make another, that of the best score first."""
    if listed.scores is None:
        raise CheckpointError(f"{listed.where} has no '{_KEY}scores'")
    normal, scores = listed.of_kind(_NORMAL), listed.scores
    known = {listed.texts[i] for i in normal}
    texts = (listed.texts[i] for i in sorted(normal, key=lambda i: -scores[i]))
    return [
        (text[:cut], text[cut:])
        for text in texts
        for cut in range(len(text) - 1, 0, -1)
        if text[:cut] in known and text[cut:] in known
    ]


def _add(tokenizer: Any, listed: _Listed, *, normalized: bool) -> None:
    """Declares the tokens that are no parts of words: special ones, and those that a text may name.

    Args:
        tokenizer: to add them to.
        listed: the tokens.
        normalized: whether those that a text may name are looked for in what it is normalised to.
    """
    from tokenizers import AddedToken

    special = [listed.texts[i] for i in listed.of_kind(_UNKNOWN, _CONTROL)]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    named = [listed.texts[i] for i in listed.of_kind(_USER_DEFINED)]
    tokenizer.add_tokens([AddedToken(text, normalized=normalized) for text in named])


def _frame(tokenizer: Any, config: Mapping[str, Any], listed: _Listed) -> None:
    """Has texts begin with BOS and end with EOS, where that is asked for."""
    from tokenizers import processors

    bos = [config["bos_token"]] if config["add_bos_token"] else []
    eos = [config["eos_token"]] if config["add_eos_token"] else []
    if bos or eos:
        numbers = listed.vocabulary
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*bos, "$A", *eos],
            pair=[*bos, "$A", *eos, *(f"{one}:1" for one in bos), "$B:1", *(f"{e}:1" for e in eos)],
            special_tokens=[(text, numbers[text]) for text in dict.fromkeys([*bos, *eos])],
        )
