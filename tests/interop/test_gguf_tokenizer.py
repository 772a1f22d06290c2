"""Tokenizers of GGUF files against those that they were made of."""

import json
import random

import gguf_writing
import numpy as np
import pytest

from flan_jax.errors import CheckpointError
from flan_jax.instructions.tokenizer_folders import HuggingFaceVocabulary
from flan_jax.interop.gguf_models import open_file
from flan_jax.interop.gguf_tokenizer import write_tokenizer

tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("gguf")
LINES = [
    "", " ", "   ", "  two before", "a  1", "1234567 12 3.14", "½ ² ٣ Ⅷ", "don't I'LL THEY'RE",
    "नमस्ते", "tab\tand\n\n\nlines \r\n  end  ", "\n\n", "日本語 テキスト",
    "👩‍👩‍👧 🇩🇪", "é e\u0301 ﬁ Å",
    "def f(x):\n    return x ** 2  # {}\n", "https://a.b/c?d=e&f", "▁▁ x▁y", "\x00\x01",
    "\u00a0\u3000.", "<b>bold</b> <|x|>", "(1 + 2) * 3 = 9; $5 < 6^2 | ~7", "x" * 60,
    "q" * 7 + " " * 40 + "z",
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(shared_data):
    """Lines of real instructions and inputs."""
    lines = []
    for path in sorted((shared_data / "super_ni" / "tasks").glob("*.json"))[::40]:
        task = json.loads(path.read_text())
        lines += [line for i in task["Instances"][:8] for line in i["input"].splitlines()]
        lines += task["Definition"]
    return [line[:300] for line in lines if line.strip()][:1500]


@pytest.fixture(scope="module")
def lines(corpus):
    """Odd lines, real ones, and what chance makes of both."""
    rng = random.Random(0)
    letters = "".join(LINES) + "    \n"
    mixed = ["".join(rng.choices(letters, k=rng.randrange(40))) for _ in range(150)]
    return LINES + corpus[::8] + mixed


def ids_of(metadata, folder, lines):
    write_tokenizer(metadata, folder, "x.gguf")
    made = HuggingFaceVocabulary(str(folder))
    return [list(made.encode(line)) for line in lines]


@pytest.fixture(scope="module", params=[True, False], ids=["prefix", "no prefix"])
def sentencepiece(request, corpus, tmp_path_factory):
    """A model of SentencePiece, and the metadata that llama.cpp's converter writes of it."""
    spm = pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp("spm")
    (folder / "corpus").write_text("\n".join(corpus))
    named = ["<b>", "</b>", "\n", "\n\n"] + ([] if request.param else ["▁▁", "▁▁▁", "▁▁▁▁"])
    spm.SentencePieceTrainer.train(
        input=str(folder / "corpus"), model_prefix=str(folder / "m"), model_type="bpe",
        vocab_size=900, byte_fallback=True, normalization_rule_name="identity",
        add_dummy_prefix=request.param, remove_extra_whitespaces=False,
        user_defined_symbols=named, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    theirs = spm.SentencePieceProcessor(model_file=str(folder / "m.model"))
    pieces = [theirs.id_to_piece(i) for i in range(theirs.vocab_size())]
    kinds = [1] * len(pieces)
    for i, piece in enumerate(pieces):
        if theirs.is_unknown(i) or theirs.is_control(i):
            kinds[i] = 2 if theirs.is_unknown(i) else 3
        elif theirs.is_byte(i):
            kinds[i] = 6
        elif piece in named:
            kinds[i], pieces[i] = 4, piece.replace("▁", " ")
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": np.array([theirs.get_score(i) for i in range(len(pieces))]),
        "tokenizer.ggml.token_type": np.array(kinds),
        "tokenizer.ggml.add_space_prefix": request.param,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 3,
    }
    return theirs, metadata


def test_sentencepiece(sentencepiece, lines, tmp_path):
    theirs, metadata = sentencepiece
    # What SentencePiece does about a prefix behind the tokens that a text names is its own.
    plain = [line for line in lines if "\0" not in line]
    if metadata["tokenizer.ggml.add_space_prefix"]:
        plain = [line for line in plain if "<b>" not in line and "</b>" not in line]
        plain = [line for line in plain if "\n" not in line]
    found = ids_of(metadata, tmp_path, plain)
    assert found == [theirs.encode(line) for line in plain]
    made = HuggingFaceVocabulary(str(tmp_path))
    assert (made.pad_id, made.eos_id, made.bos_id, made.unk_id) == (0, 1, 2, 3)
    assert [made.decode(ids) for ids in found[:30]] == [theirs.decode(ids) for ids in found[:30]]
    # The name of a special token is text: none of these is it.
    assert not {0, 1, 2, 3} & set(made.encode("a </s> <pad><s>"))
    whole = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert whole.encode("a</s>").ids[0] == 2 and whole.encode("a</s>").ids[-1] == 1


@pytest.fixture(scope="module")
def byte_level(corpus):
    """Tokens and merges, learnt of words as SmolLM2 finds them."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    parts = tokenizers.pre_tokenizers
    made.pre_tokenizer = parts.Sequence([parts.Digits(True), parts.ByteLevel(False)])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<|end|>", "<|x|>"], show_progress=False,
        initial_alphabet=parts.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(corpus, trainer)
    model = json.loads(made.to_str())["model"]
    vocabulary = model["vocab"]
    return sorted(vocabulary, key=vocabulary.get), [tuple(pair) for pair in model["merges"]]


def described(byte_level, pre, more=()):
    """Metadata of it, with tokens added behind."""
    tokens, merges = byte_level
    tokens = [*tokens, *more]
    kinds = [3, 3] + [1] * (len(tokens) - 2)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.token_type": np.array(kinds),
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.chat_template": "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}",
    }


def published(byte_level, words):
    """As models publish it: with the library's own parts."""
    tokens, merges = byte_level
    vocabulary = {token: i for i, token in enumerate(tokens)}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(words)
    return made


def test_words_of_smollm_gpt2_and_falcon(byte_level, lines, tmp_path):
    parts = tokenizers.pre_tokenizers
    words = {
        "smollm": [parts.Digits(True), parts.ByteLevel(False)],
        "gpt-2": [parts.ByteLevel(False)],
    }
    for pre, expected in words.items():
        theirs = published(byte_level, expected)
        found = ids_of(described(byte_level, pre), tmp_path / pre, lines)
        assert found == [theirs.encode(line).ids for line in lines], pre
    ids_of(described(byte_level, "default"), tmp_path / "default", lines)
    cut = tokenizers.Tokenizer.from_file(str(tmp_path / "default" / "tokenizer.json"))
    words = [word for word, _ in cut.pre_tokenizer.pre_tokenize_str("a=b? 12345 don't")]
    assert words == ["a", "=", "b", "?", "Ġ", "123", "45", "Ġdon", "'", "t"]


def keys_of(metadata):
    """For `gguf_writing.write`."""
    methods = {str: "string", list: "array", int: "uint32"}
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in metadata.items()}
    return [(key, value, methods[type(value)]) for key, value in plain.items()]


@pytest.mark.parametrize("pre", ["llama-bpe", "qwen2"])
def test_words_of_llama_and_qwen(pre, byte_level, lines, tmp_path):
    """Against transformers, of the same file."""
    transformers = pytest.importorskip("transformers")
    metadata = described(byte_level, pre)
    architecture = {"llama-bpe": "llama", "qwen2": "qwen2"}[pre]
    gguf_writing.write(
        tmp_path / "x.gguf", architecture, {"t": np.zeros(2)}, keys=keys_of(metadata)
    )
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path), gguf_file="x.gguf")
    # There letters are not joined with their accents.
    texts = [line for line in lines if "\u0301" not in line and "<|" not in line]
    found = ids_of(metadata, tmp_path / "ours", texts)
    assert found == [theirs.encode(text, add_special_tokens=False) for text in texts]
    made = HuggingFaceVocabulary(str(tmp_path / "ours"))
    composed = made.encode("e\u0301") == made.encode("é")
    assert composed == (pre == "qwen2")
    assert made.bos_id == (1 if pre == "llama-bpe" else None)
    again = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "ours"))
    assert again("ab").input_ids == ([1] if pre == "llama-bpe" else []) + list(made.encode("ab"))
    chat = again.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False)
    assert chat == "ab<|end|>" and again.eos_token == "<|end|>"


def test_a_word_that_is_a_token(byte_level, tmp_path):
    """Llama 3 takes it whole though no merges lead to it."""
    for pre, whole in (("llama-bpe", True), ("gpt-2", False)):
        metadata = described(byte_level, pre, more=["zqzqzq"])
        found = ids_of(metadata, tmp_path / pre, ["zqzqzq"])[0]
        assert (found == [len(byte_level[0])]) == whole


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model", "t5", "ggml.model' is 't5', which is not supported"),
        ("pre", "qwen3", "ggml.pre' is 'qwen3'.*did you mean 'qwen2'"),
        ("pre", None, "ggml.pre' is None"),
        ("tokens", None, "ggml.tokens' must be a list of texts"),
        ("tokens", ["a", "b", "a"], "the token 'a' is there twice"),
        ("token_type", np.zeros(3), "token_type' must be 1,... numbers, one a token"),
        ("eos_token_id", 10**6, "eos_token_id' is 1000000, which is none of 1,... tokens"),
        ("eot_token_id", -1, "eot_token_id' is -1, which is none of"),
        ("eos_token_ids", np.array([0, 10**6]), "eos_token_ids' is 1000000, which is none of"),
        ("eos_token_ids", ["a"], "eos_token_ids' must be tokens, not .'a'"),
        ("merges", ["a"], "the merge 'a' is not of two tokens"),
        ("merges", ["\x1b! b"], r"x.gguf: its tokenizer: .*\\x1b"),
        ("merges", None, "ggml.merges' must be a list of texts"),
    ],
)
def test_tokenizers_that_are_not_whole(key, value, message, byte_level, tmp_path):
    metadata = {**described(byte_level, "smollm"), f"tokenizer.ggml.{key}": value}
    with pytest.raises(CheckpointError, match=message) as raised:
        write_tokenizer(metadata, tmp_path / "out", "x.gguf")
    assert str(raised.value).startswith("x.gguf") and not (tmp_path / "out").exists()


def test_tokens_that_end_an_answer(byte_level, tmp_path):
    """EOS, and what else a file names: the ends of a turn and of a message, or a list."""
    named = {
        "eot_token_id": {"eot_token_id": 7, "eom_token_id": 8},
        "eos_token_ids": {"eos_token_ids": np.array([0, 7, 9])},
        "eos_token_id": {},
    }
    for folder, more in named.items():
        keys = {f"tokenizer.ggml.{key}": value for key, value in more.items()}
        write_tokenizer({**described(byte_level, "smollm"), **keys}, tmp_path / folder, "x.gguf")
    ends = [HuggingFaceVocabulary(str(tmp_path / folder)).end_ids for folder in named]
    assert ends == [(7, 8), (7, 9), ()]


def test_scores_are_needed(sentencepiece, tmp_path):
    metadata = {**sentencepiece[1], "tokenizer.ggml.scores": None}
    with pytest.raises(CheckpointError, match="x.gguf has no 'tokenizer.ggml.scores'"):
        write_tokenizer(metadata, tmp_path, "x.gguf")


def test_a_file_opens_with_its_tokenizer(byte_level, tmp_path, monkeypatch):
    """Which is written once, and again for another header."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "caches"))
    size = len(byte_level[0])
    config = transformers.Qwen3Config(
        vocab_size=size, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    path = tmp_path / "m.gguf"
    keys = keys_of(described(byte_level, "qwen2"))
    gguf_writing.of_transformers(path, model, "qwen3", general=keys)
    first, again = open_file(str(path)), open_file(str(path))
    assert first.vocabularies == again.vocabularies and list(first.content) == ["m.gguf"]
    folder = first.vocabularies[0]
    assert folder.startswith(str(tmp_path / "caches"))
    assert HuggingFaceVocabulary(folder).vocab_size == size
    keys = keys_of(described(byte_level, "llama-bpe"))
    gguf_writing.of_transformers(path, model, "qwen3", general=keys)
    assert open_file(str(path)).vocabularies[0] != folder
