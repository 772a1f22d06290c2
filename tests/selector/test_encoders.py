"""Encoders and the cache: the same vectors however texts are batched, and each made once."""

import json
import os
import resource
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import ConfigError, DataError, OutputError
from flan_jax.selector import vectors
from flan_jax.selector.embedding_cache import EmbeddingCache
from flan_jax.selector.encoders import Embedder, get_encoder
from flan_jax.selector.lexical import LexicalEncoder
from flan_jax.selector.sentence_models import hash_folder

TEXTS = [
    "Add the numbers.",
    "Sum all of the given numbers.",
    "Translate the sentence into French.",
    "Is the review positive or negative?",
    "Summarize the article in one sentence.",
    "Write the words in reverse order.",
]


def unit(rows, width, seed=0):
    return vectors.to_grid(np.random.default_rng(seed).standard_normal((rows, width)))


def test_the_grid_makes_products_exact():
    a, b = unit(37, 48), unit(301, 48, 1)
    whole = vectors.cosines(a, b)
    one_by_one = [[float(np.sum(x.astype(float) * y)) for y in b] for x in a]
    assert (whole == np.array(one_by_one)).all()
    permuted = np.random.default_rng(2).permutation(48)
    assert (vectors.cosines(a[:, permuted], b[:, permuted]) == whole).all()
    assert (vectors.cosines(a[5:6], b[7:200]) == whole[5:6, 7:200]).all()
    raw = np.random.default_rng(0).standard_normal((37, 48))
    true = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(true @ b.T - whole).max() < 1e-5


def test_zero_and_broken_vectors():
    assert (vectors.to_grid(np.zeros((2, 3))) == 0).all()
    with pytest.raises(DataError, match="NaN"):
        vectors.to_grid(np.array([[np.nan, 1.0]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 1000))
def test_top_k_is_exact_with_ties_in_order(rows, width, seed):
    # Few distinct rows, so that there are many ties.
    matrix = unit(7, width, seed)[np.random.default_rng(seed).integers(7, size=rows)]
    query = unit(1, width, seed + 1)[0]
    scores = vectors.cosines(query[None], matrix)[0]
    for k in {1, rows, (rows + 1) // 2}:
        found, cosine = vectors.top_k(matrix, query, k)
        expected = sorted(range(rows), key=lambda i: (-scores[i], i))[:k]
        assert list(found) == expected
        assert (cosine == scores[expected]).all()
    with pytest.raises(ConfigError, match="between 1 and"):
        vectors.top_k(matrix, query, rows + 1)


@pytest.mark.parametrize("how", ["center", "whiten", "within"])
def test_transforms_look_at_one_text_at_a_time(how):
    raw = unit(40, 8)
    transform = vectors.Transformer.fit(how, raw, np.arange(0, 40, 4))
    moved = transform(raw)
    assert (moved[3:4] == transform(raw[3:4])).all()
    assert np.abs(moved.mean(axis=0)).max() < 0.1


def test_the_lexical_encoder_is_the_same_however_it_is_batched():
    encoder = LexicalEncoder(TEXTS)
    whole = encoder.encode(TEXTS)
    assert whole.shape == (6, encoder.width) == (6, 6)
    for i, text in enumerate(TEXTS):
        assert (encoder.encode([text]) == whole[i]).all()
    again = LexicalEncoder(reversed(TEXTS))
    assert again.hash == encoder.hash
    assert (again.encode(TEXTS) == whole).all()
    assert LexicalEncoder(TEXTS[:-1]).hash != encoder.hash
    assert not encoder.encode(["qqqq zzzz"]).any()
    cosine = vectors.cosines(*2 * [vectors.to_grid(whole)])
    assert cosine[0, 1] == np.sort(cosine[0])[-2]  # the two about numbers


# Words of the corpora below and others, so that texts share much, little or nothing.
PHRASES = st.lists(
    st.sampled_from(["sort", "Sort!", "the", "list", "naïve", "don't", "42", "?", "  ", "zzz"])
    | st.text(max_size=6),
    max_size=8,
).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(PHRASES, max_size=12), st.lists(PHRASES, min_size=1, max_size=12), st.data())
def test_lexical_vectors_depend_on_their_text_only(corpus, texts, data):
    encoder = LexicalEncoder(corpus, width=data.draw(st.integers(1, 14)))
    whole = encoder.encode(texts)
    assert whole.shape == (len(texts), encoder.width) and np.isfinite(whole).all()
    order = data.draw(st.permutations(range(len(texts))))
    cut = data.draw(st.integers(0, len(texts)))
    parts = [encoder.encode([texts[i] for i in part]) for part in (order[:cut], order[cut:])]
    assert (np.concatenate(parts) == whole[order]).all()
    again = LexicalEncoder(data.draw(st.permutations(corpus)), width=encoder._width)
    assert again.hash == encoder.hash and (again.encode(texts) == whole).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "corpus", [[], ["?!"], ["One."], ["One.", "Two."], ["Same.", "same", "SAME"]]
)
def test_small_corpora(corpus):
    encoder = LexicalEncoder(corpus)
    assert encoder.encode(["One two.", "One"]).shape == (2, encoder.width)
    assert encoder.encode([]).shape == (0, encoder.width)
    assert not encoder.encode(["", "?!", "qqqq zzzz"]).any()
    # What is in the corpus keeps its length; with all directions kept so do the angles.
    lengths = np.linalg.norm(encoder.encode(corpus), axis=1) if corpus else np.ones(0)
    assert lengths == pytest.approx([0 if text == "?!" else 1 for text in corpus])


def test_no_more_than_the_width_of_a_larger_corpus():
    generator = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    # Each text twice but for its marks, so that half of the directions are nothing.
    texts = [" ".join(generator.choice(words, 6)) for _ in range(40)]
    corpus = [text + mark for text in texts for mark in "?!"]
    few, half, all_ = (LexicalEncoder(corpus, width=width) for width in (10, 60, 80))
    assert [encoder.width for encoder in (few, half, all_)] == [10, 60, 80]
    narrow, wide, full = (encoder.encode(corpus) for encoder in (few, half, all_))
    assert (narrow == LexicalEncoder(corpus, width=10).encode(corpus)).all()
    assert np.allclose(wide[:, :10], narrow) and np.allclose(full[:, :60], wide, atol=1e-9)
    assert not wide[:, 40:].any() and (np.abs(wide[:, :40]).max(axis=0) > 1e-3).all()
    assert np.allclose(full @ full.T, wide @ wide.T)


class Counting:
    name, hash, width = "counting", "c" * 64, 3

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        return np.array([[len(text), text.count("a"), 1.0] for text in texts])


def test_nothing_is_embedded_twice(tmp_path):
    encoder = Counting()
    first = Embedder(encoder, root=str(tmp_path))
    a = first.embed(["a", "bb", "a"])
    assert encoder.seen == ["a", "bb"]
    assert (a[0] == a[2]).all()
    later = Embedder(encoder, root=str(tmp_path))
    b = later.embed(["bb", "ccc", "a"])
    assert encoder.seen == ["a", "bb", "ccc"]
    assert (first.encoded, later.encoded) == (2, 1)
    assert (b[[2, 0]] == a[:2]).all()
    assert len(Embedder(encoder, root=str(tmp_path)).cache) == 3
    with pytest.raises(DataError, match="empty"):
        first.embed(["a", " "])


def test_two_writers_share_a_cache(tmp_path):
    one = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    two = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    one.add(["a", "b"], unit(2, 3))
    two.add(["b", "c"], unit(2, 3, 1))
    assert len(EmbeddingCache("e" * 64, 3, root=str(tmp_path))) == 3
    assert (two.read(two.rows(["a", "b"])) == unit(2, 3)).all()


def test_a_killed_writer_leaves_nothing_wrong(tmp_path):
    cache = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    cache.add(["a"], unit(1, 3))
    for name in ("vectors.f32", "texts.bin"):
        with open(cache.folder / name, "ab") as file:
            file.write(b"half")
    cache = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    cache.add(["b"], unit(1, 3, 1))
    cache = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    assert (cache.read(cache.rows(["a", "b"])) == np.concatenate([unit(1, 3), unit(1, 3, 1)])).all()


@pytest.mark.parametrize("how", ["vector", "short", "facts", "other"])
def test_a_corrupt_cache_is_said(tmp_path, how):
    cache = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    cache.add(["a", "b"], unit(2, 3))
    file = cache.folder / ("facts.json" if how in ("facts", "other") else "vectors.f32")
    data = bytearray(file.read_bytes())
    data[1] ^= 255
    if how == "short":
        data = data[:4]
    if how == "other":
        data = json.dumps({"format": 99}).encode()
    file.write_bytes(data)
    with pytest.raises(DataError, match=r"corrupt: .*remove that folder"):
        later = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
        later.read(later.rows(["a", "b"]))


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write .*directory; EMBEDDINGS_DIR names another"):
        EmbeddingCache("e" * 64, 3, root=str(tmp_path / "file"))
    for name in ("lock", "vectors.f32", "texts.bin"):
        folder = tmp_path / name / ("e" * 32)
        folder.mkdir(parents=True)
        os.mkfifo(folder / name)
        with pytest.raises(OutputError, match=f"cannot write .*{name}"):
            EmbeddingCache("e" * 64, 3, root=str(tmp_path / name)).add(["a"], unit(1, 3))
    with pytest.raises(ConfigError, match="local folder"):
        EmbeddingCache("e" * 64, 3, root="gs://bucket/x")


@pytest.mark.parametrize("room", [4, 20, 40, 100])
def test_a_full_disk_loses_nothing_that_was_there(tmp_path, room):
    cache = EmbeddingCache("e" * 64, 3, root=str(tmp_path))
    cache.add(["a"], unit(1, 3))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (36 + room, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot write .*: File too large; EMBEDDINGS_DIR"):
            cache.add([str(i) for i in range(20)], unit(20, 3, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for again in (cache, EmbeddingCache("e" * 64, 3, root=str(tmp_path))):
        assert (again.read(again.rows(["a"])) == unit(1, 3)).all()
    again.add(["b"], unit(1, 3, 2))
    assert (again.read(again.rows(["a", "b"])) == np.concatenate([unit(1, 3), unit(1, 3, 2)])).all()


def test_an_encoder_that_is_not_reachable_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("flan_jax.hub.answers", lambda url: False)
    with pytest.raises(ConfigError, match="encoder lexical"):
        get_encoder("no-such-model")
    with pytest.raises(ConfigError, match="no such folder"):
        get_encoder("/no/such/folder")


def test_lexical_is_the_default_where_nothing_else_is(monkeypatch):
    monkeypatch.setattr("flan_jax.selector.sentence_models.default_folder", lambda: None)
    assert get_encoder(None, TEXTS).name == "lexical"


def test_a_model_is_hashed_by_its_files(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = hash_folder(str(tmp_path))
    (tmp_path / "README.md").write_text("prose")
    (tmp_path / ".lock").write_text("whose alignment it is")
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_text("weights")
    assert hash_folder(str(tmp_path)) == before
    (tmp_path / "config.json").write_text("{ }")
    assert hash_folder(str(tmp_path)) != before


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A sentence-transformers folder with random weights."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    import torch
    import transformers
    from sentence_transformers import models

    folder = tmp_path_factory.mktemp("model")
    letters = [chr(c) for c in range(97, 123)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *["##" + c for c in letters]]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "hf")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=256,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder / "hf")
    modules = [models.Transformer(str(folder / "hf")), models.Pooling(32)]
    sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(
        str(folder / "st")
    )
    return str(folder / "st")


def test_a_sentence_transformers_folder(tiny_model, tmp_path):
    encoder = get_encoder(tiny_model)
    whole = encoder.encode(TEXTS)
    assert whole.shape == (len(TEXTS), encoder.width) == (6, 32)
    for i in reversed(range(len(TEXTS))):
        assert (encoder.encode(TEXTS[i : i + 1]) == whole[i]).all()
    assert encoder.describe()["kind"] == "sentence-transformers"
    first = Embedder(encoder, root=str(tmp_path))
    second = Embedder(get_encoder(tiny_model), root=str(tmp_path))
    assert (first.embed(TEXTS) == second.embed(TEXTS)).all()
    assert (first.encoded, second.encoded) == (6, 0)


def test_a_broken_model_folder(tmp_path):
    pytest.importorskip("sentence_transformers")
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(ConfigError, match="cannot be loaded.*encoder lexical"):
        _ = get_encoder(str(tmp_path)).width
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="model.safetensors is not a regular file"):
        _ = get_encoder(str(tmp_path)).width


def test_a_model_folder_runs_no_code_of_its_own(tiny_model, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    own = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nclass Own: pass\n"
    (folder / "own.py").write_text(own)
    monkeypatch.syspath_prepend(str(folder))
    modules = json.loads((folder / "modules.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    for name, content in [
        ("modules.json", [{**modules[0], "type": "own.Own"}, *modules[1:]]),
        ("config.json", {**config, "model_type": "own", "auto_map": {"AutoModel": "own.Own"}}),
    ]:
        before = (folder / name).read_text()
        (folder / name).write_text(json.dumps(content))
        with pytest.raises(ConfigError, match="cannot be loaded"):
            _ = get_encoder(str(folder)).width
        (folder / name).write_text(before)
    assert get_encoder(str(folder)).width == 32 and not (tmp_path / "ran").exists()
