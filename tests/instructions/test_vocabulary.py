"""Vocabularies: training one, the default one, and the late one that tasks share."""

import argparse
import hashlib
import pathlib
import random
import shutil

import pytest
import seqio
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tasks.minilab  # noqa: F401  (registers tasks)
from flan_jax import cli
from flan_jax.commands import vocab
from flan_jax.errors import ConfigError, DataError
from flan_jax.instructions import draws, train_vocabulary, vocabulary

TEXTS = [
    "a\n\n  b\tc é 你",
    "",
    " ",
    "\n",
    "  two  leading, two trailing  ",
    "\nx\r\ny\n",
    "2024-11-20: 3.1415",
    "no\u00a0break e\u0301 ﬁ 😀",
    "</s> <unk> <pad> <0x41>",
    "\x01\x7f",
]


def some_texts(count=300):
    """Lines of made-up words, some after a newline."""
    drawn = random.Random(0)
    words = ["".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(2, 7))) for _ in range(300)]
    return [
        " ".join(drawn.choices(words, k=12)) + "\nAnswer: " + drawn.choice(words)
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("vocabulary") / "small.model"
    train_vocabulary.train_vocabulary(some_texts(), str(out), size=500)
    return out


@pytest.fixture(params=["trained", "default"])
def any_vocabulary(request, trained):
    return vocabulary.load_vocabulary(str(trained) if request.param == "trained" else "default")


def test_ids_are_laid_out_as_t5s(any_vocabulary):
    processor = any_vocabulary.tokenizer
    ids = (any_vocabulary.pad_id, any_vocabulary.eos_id, any_vocabulary.unk_id)
    assert ids == (0, 1, 2) and processor.bos_id() == -1
    assert [processor.id_to_piece(i) for i in range(5)] == [
        "<pad>", "</s>", "<unk>", "\n", "<0x00>",
    ]  # fmt: skip
    assert processor.piece_to_id("▁<extra_id_0>") == any_vocabulary.vocab_size - 1


def test_sizes(trained):
    assert vocabulary.load_vocabulary(str(trained)).vocab_size == 500 + vocabulary.SENTINELS
    assert vocabulary.load_vocabulary("default").vocab_size == 4096 + vocabulary.SENTINELS


@pytest.mark.parametrize("text", TEXTS)
def test_round_trips_and_tensorflow_agrees(any_vocabulary, text):
    ids = any_vocabulary.encode(text)
    assert any_vocabulary.decode(ids) == text
    assert any_vocabulary.unk_id not in ids
    assert any_vocabulary.encode_tf(text).numpy().tolist() == ids


SPECIAL = ["</s>", "<pad>", "<unk>", "<extra_id_0>", " <extra_id_99>", "<0x41>", "<s>"]
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\u2581\0"))


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_TEXT | st.sampled_from(SPECIAL)).map("".join))
def test_the_default_vocabulary_gives_any_text_back(text):
    loaded = vocabulary.load_vocabulary("default")
    ids = loaded.encode(text)
    assert loaded.decode(ids) == text
    assert not {0, 1, 2} & set(ids) and max(ids, default=0) < 4096  # no sentinel either
    assert loaded.encode_tf(text).numpy().tolist() == ids


def test_text_without_special_names_has_the_tokens_it_always_had(any_vocabulary):
    before = seqio.SentencePieceVocabulary(
        any_vocabulary.sentencepiece_model_file, extra_ids=vocabulary.SENTINELS
    )
    texts = [*TEXTS, *some_texts(20), pathlib.Path(__file__).read_text().replace("extra_id", "")]
    for text in texts:
        assert any_vocabulary.encode(text) == before.encode(text)
        assert any_vocabulary.encode_tf(text).numpy().tolist() == before.encode(text)
    assert vocabulary.vocabulary_fingerprint("default") == "1fe88c7cd39e703f"


def test_a_model_with_sentinels_of_its_own_reads_none_from_a_text(trained, tmp_path):
    """mT5's are in its file."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(trained.read_bytes())
    kind = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
    proto.pieces.add(piece="▁<extra_id_0>", score=0.0, type=kind)
    (tmp_path / "own.model").write_bytes(proto.SerializeToString())
    loaded = vocabulary.load_vocabulary(str(tmp_path / "own.model"))
    text = "a <extra_id_0> b"
    assert loaded.encode(text) == vocabulary.load_vocabulary(str(trained)).encode(text)
    assert loaded.decode(loaded.encode(text)) == text
    assert loaded.vocab_size == 501 and loaded.decode([500]) == "<extra_id_0>"


def test_a_task_that_corrupts_spans_means_its_sentinels():
    """The released base was trained so."""
    late = seqio.TaskRegistry.get("minilab_text").output_features["inputs"].vocabulary
    assert late == vocabulary.VOCABULARY
    assert late.encode("a <extra_id_0>")[-1] == late.vocab_size - 1
    assert late.encode_tf("a <extra_id_0>").numpy()[-1] == late.vocab_size - 1
    assert late.vocab_size - 1 not in vocabulary.VOCABULARY.encode("a <extra_id_0>")


def test_digits_are_pieces_of_their_own(any_vocabulary):
    assert len(any_vocabulary.encode("x 1234 5")) - len(any_vocabulary.encode("x ")) >= 5


def test_training_twice_gives_equal_bytes(trained, tmp_path):
    again = tmp_path / "elsewhere" / "other_name.model"
    train_vocabulary.train_vocabulary(iter(some_texts()), str(again), size=500)
    assert again.read_bytes() == trained.read_bytes()
    assert str(trained.parent).encode() not in trained.read_bytes()


def test_long_texts_count_in_full(tmp_path):
    """SentencePiece by itself skips a sentence above some length and says nothing."""
    joined = tmp_path / "joined.model"
    train_vocabulary.train_vocabulary([" ".join(some_texts())], str(joined), size=500)
    assert joined.exists()
    text = "word " * 5000 + "x" * 9000
    assert " ".join(train_vocabulary._sentences([text])).replace(" ", "") == text.replace(" ", "")
    assert max(map(len, train_vocabulary._sentences([text]))) <= 1000


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [
        (some_texts(), 50_000, r"at most \d+ pieces, not 50000: add texts or lower the size"),
        (["hi"], 500, r"at most \d+ pieces, not 500"),
        ([], 500, "there are no texts"),
        ([""], 500, "there are no texts"),
        (some_texts(), 100, r"take \d+ pieces: raise the size"),
    ],
)
def test_a_size_that_does_not_fit_is_one_clear_error(texts, size, message, tmp_path):
    out = tmp_path / "x.model"
    with pytest.raises(DataError, match=f"no vocabulary for .*x.model.*: .*{message}"):
        train_vocabulary.train_vocabulary(texts, str(out), size=size)
    assert not out.exists()


def test_texts_of_a_mixture_are_prompts_and_targets_of_every_task(monkeypatch):
    # No vocabulary is needed to train one.
    monkeypatch.setattr(vocabulary.VOCABULARY, "_pinned", "/nowhere/at/all.model")
    texts = list(train_vocabulary.mixture_texts("minilab_tiny_train", max_examples=23))
    assert len(texts) == 2 * 23 and all(isinstance(text, str) for text in texts)
    assert texts == list(train_vocabulary.mixture_texts("minilab_tiny_train", max_examples=23))
    with draws.rendering_context(seed=0, number=1):
        assert texts != list(train_vocabulary.mixture_texts("minilab_tiny_train", max_examples=23))
    whole = list(train_vocabulary.mixture_texts("minilab_who_has", split="test"))
    assert len(whole) == 2 * 50


def test_texts_of_an_unknown_mixture_or_split():
    with pytest.raises(DataError, match="did you mean 'minilab_train'"):
        list(train_vocabulary.mixture_texts("minilab_trian"))
    with pytest.raises(DataError, match="no task of 'minilab_train' has a split 'dev'"):
        list(train_vocabulary.mixture_texts("minilab_train", split="dev"))


def arguments(*given):
    parser = argparse.ArgumentParser()
    vocab.add_arguments(parser)
    return parser.parse_args(["--mixture=minilab_train", "--module=tasks.minilab", *given])


def test_the_verb(tmp_path, capsys):
    out = tmp_path / "lab.model"
    assert vocab.run(arguments("--size=800", f"--out={out}", "--max_examples=400")) == 0
    fingerprint = vocabulary.vocabulary_fingerprint(str(out))
    assert f"{out}: 800 pieces, {fingerprint}" in capsys.readouterr().out
    loaded = vocabulary.load_vocabulary(str(out))
    text = "Swap first and last word.\n\nOPTIONS:\n- yes"
    assert loaded.decode(loaded.encode(text)) == text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--size=800", "--out=lab.bin"], "ends in .model"),
        (["--size=0", "--out=x.model"], "--size: must be a whole number above 0, not '0'"),
        (["--size=800", "--out=x.model", "--max_examples=-1"], "--max_examples: must be .*'-1'"),
        (["--size=800", "--out=x.model", "--module=tasks.minilob"], "did you mean 'tasks.minilab'"),
    ],
)
def test_the_verb_names_wrong_arguments(given, message):
    with pytest.raises(ConfigError, match=message):
        cli.run(["vocab", "--mixture=minilab_train", "--module=tasks.minilab", *given])


def test_specifications(trained, tmp_path):
    assert isinstance(vocabulary.load_vocabulary("byte"), seqio.ByteVocabulary)
    for spec, message in [
        ("/nowhere/x.model", "does not exist"),
        (str(tmp_path), "holds no tokenizer.json"),
        (__file__, "is not a SentencePiece model"),
    ]:
        with pytest.raises(DataError, match=message):
            vocabulary.load_vocabulary(spec)


def test_a_fingerprint_is_of_content_not_of_place(trained, tmp_path):
    copy = tmp_path / "copy.model"
    shutil.copy(trained, copy)
    prints = [vocabulary.vocabulary_fingerprint(str(path)) for path in (trained, copy)]
    assert prints[0] == prints[1] != vocabulary.vocabulary_fingerprint("default")
    assert prints[0] != vocabulary.vocabulary_fingerprint("byte")


def test_the_late_vocabulary_resolves_when_used(trained, monkeypatch):
    monkeypatch.delenv(vocabulary.SETTING, raising=False)
    late = vocabulary.LateVocabulary()
    assert late == vocabulary.VOCABULARY and hash(late) == hash(vocabulary.VOCABULARY)
    assert late.spec == "default"
    monkeypatch.setenv(vocabulary.SETTING, "byte")
    assert late.encode("ab") == [ord("a") + 3, ord("b") + 3]
    late.use(str(trained))
    assert late.vocab_size == 500 + vocabulary.SENTINELS
    assert late.decode(late.encode("a  b\n")) == "a  b\n"
    late.use(None)
    with pytest.raises(DataError, match="does not exist"):
        late.use("/nowhere/x.model")


def save_tokenizer(folder, tokens):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({token: i for i, token in enumerate(tokens)}, "<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<unk>", "</s>", "<pad>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_hugging_face_folder(tmp_path):
    loaded = vocabulary.load_vocabulary(save_tokenizer(tmp_path, ["<pad>", "</s>", "<unk>", "cat"]))
    assert (loaded.pad_id, loaded.eos_id, loaded.unk_id) == (0, 1, 2)
    assert loaded.encode("cat dog") == [3, 2]
    assert loaded.encode_tf("cat dog").numpy().tolist() == [3, 2]
    mapped = tf.data.Dataset.from_tensors("dog cat").map(loaded.encode_tf)
    assert [ids.tolist() for ids in mapped.as_numpy_iterator()] == [[2, 3]]
    assert loaded.decode([3, 1]) == "cat"


def test_a_tokenizer_may_pad_with_any_token_but_on_t5x(tmp_path):
    folder = save_tokenizer(tmp_path, ["<unk>", "</s>", "<pad>", "cat"])
    loaded = vocabulary.load_vocabulary(folder)
    assert (loaded.pad_id, loaded.eos_id, loaded.bos_id) == (2, 1, None)
    assert loaded.encode("cat </s> <pad>")[0] == 3 and loaded.decode([3, 1, 2, 2]) == "cat"
    vocabulary.VOCABULARY.use(folder)
    assert vocabulary.VOCABULARY.pad_id == 2
    with pytest.raises(ConfigError, match="pads with token 2; T5X takes token 0"):
        vocabulary.late_vocabulary()


def test_the_default_model_is_the_one_named_here():
    """Prepared records and checkpoints refer to it: a new one is worth a line in the log."""
    digest = hashlib.sha256(vocabulary.DEFAULT_MODEL.read_bytes()).hexdigest()
    assert digest == "51d1ea0493176d9f09225f062c218b4187d6cb5c2b40dcd09165630d7baaa2a0"
