"""Hugging Face tokenizer folders: text stays text, and damaged folders are one clear error."""

import copy
import json
import os
import pathlib
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import DataError
from flan_jax.instructions import vocabulary
from flan_jax.training import carried_vocabulary

tokenizers = pytest.importorskip("tokenizers")
CASE = pathlib.Path(__file__).resolve().parents[2].parent / "shared/data/cases/special_tokens_hf/hf"
LETTERS = "abcdefghijklmnopqrstuvwxyz<>/_0123456789"
NAMES = ["</s>", "<pad>", "<unk>", "<mask>", "<extra_id_0>", "<0x41>", "</s></s>", "<end>"]


def unigram():
    """As T5's: special tokens are pieces of the model, and those with the best scores."""
    pieces = [(name, 0.0) for name in ("<pad>", "</s>", "<unk>", "<mask>", "<0x41>")]
    pieces += [("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, 2, False))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.decoder = tokenizers.decoders.Metaspace()
    made.add_special_tokens(["<pad>", "</s>", "<unk>", "<extra_id_0>"])
    return made


def bytes_bpe():
    """As GPT-2's: one token begins, ends and is unknown."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["say <end> or <pad> " * 9], trainer)
    # No special ones by the file, and so found by their names in the other file.
    made.add_tokens([tokenizers.AddedToken("<mask>", normalized=False)])
    return made


def words():
    """Whole words, special tokens among them."""
    table = {name: i for i, name in enumerate(["<pad>", "</s>", "<unk>", "<mask>", "cat", "</"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, "<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return made


def save(folder, made, **config):
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    named = {"eos_token": "</s>", "pad_token": "<pad>", "mask_token": {"content": "<mask>"}}
    ends = {"eos_token": "<end>", "unk_token": "<end>", "mask_token": "<mask>"}
    folders = {
        "unigram": save(root / "unigram", unigram(), unk_token="<unk>", **named),
        "bytes": save(root / "bytes", bytes_bpe(), **ends),
        "words": save(root / "words", words(), **named),
    }
    return {name: vocabulary.load_vocabulary(folder) for name, folder in folders.items()}


def control(one):
    named = ("<pad>", "</s>", "<mask>", "<end>", "<extra_id_0>", "<0x41>")
    return {one._tokenizer.token_to_id(name) for name in named} - {None}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["unigram", "bytes", "words"]),
    st.lists(st.sampled_from([*NAMES, " ", "say ", "é"]) | st.text("abc </s>", max_size=9)).map(
        "".join
    ),
)
def test_no_text_becomes_a_special_token(loaded, kind, text):
    one = loaded[kind]
    ids = one.encode(text)
    assert not control(one) & set(ids)
    assert one.encode_tf(text).numpy().tolist() == list(ids)
    if kind == "bytes":
        assert one.decode(ids) == text
    if kind == "unigram" and "é" not in text:
        said = one.decode(ids)
        assert said == text.removeprefix(" ")
        assert one.decode(one.encode(said)) == said.removeprefix(" ")  # as of any other text


def test_what_is_unknown_stays_unknown(loaded):
    assert loaded["words"].encode("cat dog </s>") == [4, 2, 5, 2]
    unigram = loaded["unigram"]
    assert unigram.encode("é") == [5, 2] and unigram.decode(unigram.encode("a <unk>")) == "a <unk>"


@pytest.mark.skipif(not CASE.is_dir(), reason="no shared data")
def test_the_reported_folder():
    one = vocabulary.load_vocabulary(str(CASE))
    assert one.decode(one.encode("say </s> now")) == "say </s> now"
    assert one.eos_id not in one.encode("say </s> now")
    assert vocabulary.vocabulary_fingerprint(str(CASE)) == "89d3efc5f12bc88f"


def test_copies_read_text_alike(loaded):
    again = copy.deepcopy(loaded["unigram"])
    assert again == loaded["unigram"] and again.encode("a</s>") == loaded["unigram"].encode("a</s>")


def test_texts_are_read_whole_whatever_batches_its_author_made(loaded, tmp_path):
    made = unigram()
    made.enable_truncation(2)
    made.enable_padding(length=9)
    bounded = save(tmp_path / "bounded", made, eos_token="</s>")
    assert vocabulary.load_vocabulary(bounded).encode("a b c") == loaded["unigram"].encode("a b c")
    plain = save(tmp_path / "plain", unigram(), eos_token="</s>")
    other_end = save(tmp_path / "other", unigram(), eos_token="<mask>")
    prints = [vocabulary.vocabulary_fingerprint(folder) for folder in (bounded, plain, other_end)]
    assert len(set(prints)) == 3


PROCESSORS = tokenizers.processors
BEGINS = PROCESSORS.TemplateProcessing(
    single="<mask> $A", pair="<mask> $A $B", special_tokens=[("<mask>", 3)]
)
ENDS = PROCESSORS.TemplateProcessing(
    single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 1)]
)


@pytest.mark.parametrize(
    ("processor", "begins"),
    [
        (None, False),
        (BEGINS, True),
        (ENDS, False),
        (PROCESSORS.ByteLevel(), False),
        (PROCESSORS.Sequence([PROCESSORS.ByteLevel(), BEGINS]), True),
        (PROCESSORS.BertProcessing(("</s>", 1), ("<mask>", 3)), True),
        (PROCESSORS.RobertaProcessing(("</s>", 1), ("<pad>", 0)), False),
    ],
)
def test_texts_begin_with_bos_where_the_post_processor_begins_them(tmp_path, processor, begins):
    """As in transformers, whatever class it is of; unless tokenizer_config.json says otherwise."""
    transformers = pytest.importorskip("transformers")
    made = words()
    if processor:
        made.post_processor = processor

    def bos(name, **config):
        folder = save(tmp_path / name, made, eos_token="</s>", bos_token="<mask>", **config)
        return folder, vocabulary.load_vocabulary(folder).bos_id

    names = ("PreTrainedTokenizerFast", "LlamaTokenizer", "GemmaTokenizerFast", "GPT2Tokenizer")
    for name in names:
        folder, found = bos(name, tokenizer_class=name)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        assert (theirs("cat").input_ids[:1] == [theirs.bos_token_id]) == begins
        assert found == (3 if begins else None)
    assert bos("said", add_bos_token=not begins)[1] == (None if begins else 3)


def test_tokens_that_end_an_answer(tmp_path):
    """As generation_config.json says, or where that is not there config.json."""
    folder = save(tmp_path / "made", words(), eos_token="</s>")
    generation, config = (tmp_path / "made" / f"{n}config.json" for n in ("generation_", ""))

    def ends(file, value):
        file.write_text(json.dumps({"eos_token_id": value}))
        vocabulary.load_vocabulary.cache_clear()
        loaded = vocabulary.load_vocabulary(folder)
        assert loaded.eos_id == 1
        return loaded.end_ids

    assert ends(config, [1, 4, 4]) == (4,) and ends(config, 5) == (5,) and ends(config, None) == ()
    carried = carried_vocabulary.content(folder)
    assert "vocabulary/generation_config.json" not in carried
    assert ends(config, [1, 5]) == (5,)
    carried = carried_vocabulary.content(folder)["vocabulary/generation_config.json"]
    assert json.loads(carried) == {"eos_token_id": [1, 5]}
    assert ends(generation, [1, 4]) == (4,)
    for value, message in {
        400: "made: 'eos_token_id' must be tokens below 6, found .1, 400",
        -1: "generation_config.json: 'eos_token_id' must be a token or several, found .1, -1",
        "</s>": "must be a token or several, found .1, '</s>'",
    }.items():
        with pytest.raises(DataError, match=message):
            ends(generation, [1, value])


def test_a_token_of_a_huge_number_is_refused(tmp_path):
    model = {"type": "WordLevel", "vocab": {"</s>": 1, "<unk>": 1 << 31}, "unk_token": "<unk>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": model}))
    with pytest.raises(DataError, match="tokenizer.json: a token has a number above"):
        vocabulary.load_vocabulary(str(tmp_path))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "no", "[" * 100_000, '{"version": "1.0", "model": {"type": "BPE", "vocab": 3}}',
     '{"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 5}}'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_damaged_tokenizer(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(DataError, match="tokenizer.json is no tokenizer: "):
        vocabulary.load_vocabulary(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "tokenizer_config.json: not JSON"),
        ("[1]", "tokenizer_config.json must be an object"),
        ("[" * 100_000, "tokenizer_config.json: nested too deeply"),
        ('{"eos_token": ["</s>"]}', "tokenizer_config.json: 'eos_token' must be a token"),
        ('{"pad_token": {"content": 10}}', "tokenizer_config.json: 'pad_token' must be a token"),
        ('{"additional_special_tokens": "x"}', "'additional_special_tokens' must be a list"),
        ('{"eos_token": "<nowhere>"}', "names no end-of-sequence token"),
    ],
    ids=lambda text: text[:20],
)
def test_a_damaged_configuration(tmp_path, text, message):
    save(tmp_path, unigram())
    (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(DataError, match=message):
        vocabulary.load_vocabulary(str(tmp_path))


def test_a_fifo_is_no_tokenizer(tmp_path):
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(DataError, match="not a regular file"):
        vocabulary.load_vocabulary(str(tmp_path))
    os.mkfifo(tmp_path / "own.model")
    with pytest.raises(DataError, match="not a regular file"):
        vocabulary.load_vocabulary(str(tmp_path / "own.model"))


def test_a_tokenizer_that_fails_on_a_text_is_a_clear_error(tmp_path):
    table = {"<pad>": 0, "</s>": 1}
    folder = save(tmp_path, tokenizers.Tokenizer(tokenizers.models.WordLevel(table, "<none>")))
    with pytest.raises(DataError, match=f"vocabulary '{folder}': a text: "):
        vocabulary.load_vocabulary(folder).encode("cat")
    shutil.rmtree(folder)
