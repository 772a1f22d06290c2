"""A vocabulary as the files of a tokenizer that transformers loads.

A SentencePiece model gets a tokenizer.json beside it, made of its pieces and its own rules: the
classes that transformers has for such models assume what T5's or Llama's file is like.
"""

import json
from typing import Any

from etils import epath

from flan_jax import files
from flan_jax.errors import DataError
from flan_jax.instructions.vocabulary import (
    DEFAULT_MODEL,
    SENTINELS,
    load_vocabulary,
)
from flan_jax.interop.hf_files import SENTENCEPIECE, TOKENIZER, TOKENIZER_FILES
from flan_jax.models.framing import Framing

_CONFIG = "tokenizer_config.json"
_UNIGRAM, _BPE = 1, 2  # sentencepiece_model.proto, TrainerSpec.ModelType
_SPACE = "▁"


def content(spec: str, framing: Framing) -> dict[str, bytes]:
    """Returns the files of a tokenizer by name.

    Args:
        spec: of a vocabulary, see `flan_jax.instructions.vocabulary`.
        framing: says whether texts end in EOS.

    Raises:
        DataError: there is no such vocabulary.
    """
    if spec == "byte":
        config = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": SENTINELS}
        return {_CONFIG: json.dumps(config).encode()}
    path = epath.Path(DEFAULT_MODEL if spec == "default" else spec)
    if path.is_dir():
        found = [name for name in TOKENIZER_FILES if (path / name).exists()]
        return {name: files.read_bytes(path / name) for name in found}
    vocabulary = load_vocabulary(spec)
    serialized = files.read_bytes(path)
    pieces = _pieces(serialized, vocabulary.vocab_size)
    named = {
        "eos_token": pieces[vocabulary.eos_id],
        "pad_token": pieces[vocabulary.pad_id],
        "unk_token": pieces[vocabulary.unk_id],
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    config["model_max_length"] = 10**30  # transformers' way to say that there is no bound
    return {
        SENTENCEPIECE: serialized,
        TOKENIZER: _tokenizer(serialized, pieces, named, framing.prompt_eos).encode(),
        _CONFIG: json.dumps(config, indent=2).encode(),
    }


def _model(serialized: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto.FromString(serialized)


def _pieces(serialized: bytes, size: int) -> list[str]:
    """Texts of all tokens; after the file's come T5's sentinels, the last one first."""
    pieces = [piece.piece for piece in _model(serialized).pieces]
    return pieces + [f"<extra_id_{size - 1 - number}>" for number in range(len(pieces), size)]


def _tokenizer(
    serialized: bytes, pieces: list[str], named: dict[str, str], appends_eos: bool
) -> str:
    """Returns a tokenizer.json that splits texts as a SentencePiece model does."""
    import tokenizers
    from tokenizers import decoders, normalizers, processors

    proto = _model(serialized)
    if proto.trainer_spec.model_type != _UNIGRAM:
        raise DataError(
            "a SentencePiece model of type BPE cannot be written as tokenizer.json: give "
            "VOCABULARY the tokenizer folder that its model was published with"
        )
    scored = [(piece.piece, piece.score) for piece in proto.pieces]
    scored += [(piece, 0.0) for piece in pieces[len(scored) :]]
    model = tokenizers.models.Unigram(
        scored, unk_id=proto.trainer_spec.unk_id, byte_fallback=proto.trainer_spec.byte_fallback
    )
    made = tokenizers.Tokenizer(model)
    rules = proto.normalizer_spec
    steps: list[Any] = []
    if rules.precompiled_charsmap:
        steps.append(normalizers.Precompiled(rules.precompiled_charsmap))
    if rules.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    if rules.add_dummy_prefix:
        steps.append(normalizers.Prepend(_SPACE))
    made.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _SPACE)])
    spaces = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    prefix = [decoders.Strip(" ", 1, 0)] if rules.add_dummy_prefix else []
    made.decoder = decoders.Sequence([*spaces, *prefix])
    made.add_special_tokens([*named.values(), *pieces[len(proto.pieces) :]])
    if appends_eos:
        eos = named["eos_token"]
        made.post_processor = processors.TemplateProcessing(
            single=f"$A {eos}",
            pair=f"$A {eos} $B {eos}",
            special_tokens=[(eos, pieces.index(eos))],
        )
    return str(made.to_str())
