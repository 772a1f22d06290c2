"""The static student: its table, that it learns, and that others load it."""

import dataclasses
import json

import numpy as np
import pytest

from flan_jax.errors import ConfigError
from flan_jax.selector import align as alignment
from flan_jax.selector import encoders, pairs, student
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.pairs import AlignConfig, Corpus

sentence_transformers = pytest.importorskip("sentence_transformers")

VERBS = ["sort", "count", "translate", "reverse", "summarise", "classify"]
FRAMES = ["Please {} what follows.", "{} it.", "Now {} the words", "Your task: {}", "Do {} this"]
LIBRARY = Library.of(
    [LibraryTask(verb, tuple(frame.format(verb) for frame in FRAMES)) for verb in VERBS], "verbs"
)
FAST = AlignConfig(
    loss="ranking", epochs=3, batch_size=8, guard=None, student="static", student_width=6
)


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_bert):
    """A base that knows no "reverse"."""
    words = {word for frame in FRAMES for word in frame.lower().split()} | set(VERBS)
    known = [".", "##s", *sorted(words - {"reverse"})]
    return tiny_bert(tmp_path_factory.mktemp("base"), known)


def table(model):
    return model[0].embedding.weight.detach().numpy()


def test_tokens_are_what_the_teacher_makes_of_them_alone(base):
    teacher = alignment.load_model(base)
    tokenizer = teacher.tokenizer.backend_tokenizer
    words = ["sort", "count", "."]
    ids = np.array([tokenizer.token_to_id(word) for word in [*words, "##s"]])
    found = student.token_vectors(teacher, tokenizer, ids)
    alone = teacher.encode(words)
    np.testing.assert_allclose(found[:3], alone, atol=1e-6)
    assert all(not np.allclose(found[3], row, atol=1e-3) for row in found[:3])


def test_a_student_is_small_and_the_same_each_time(base):
    teacher = alignment.load_model(base)
    corpus = Corpus.of(LIBRARY)
    one, two = (student.static_student(teacher, corpus.texts, 6) for _ in range(2))
    assert np.array_equal(table(one), table(two)) and table(one).dtype == np.float32
    assert table(one).shape == (len(teacher.tokenizer), 6)
    assert not table(one)[teacher.tokenizer.all_special_ids].any()
    assert table(student.static_student(teacher, corpus.texts, 99)).shape[1] == 16
    units = alignment.embed(one, corpus.texts)
    known = np.linalg.norm(units, axis=1) > 0
    np.testing.assert_allclose(np.linalg.norm(units[known], axis=1), 1, atol=1e-5)


def test_a_student_does_not_cut_long_texts_and_leaves_its_teacher_alone(base):
    teacher = alignment.load_model(base)
    teacher.max_seq_length = 4
    before = teacher.encode(["Please sort it.", "count"])
    made = student.static_student(teacher, Corpus.of(LIBRARY).texts, 6)
    np.testing.assert_array_equal(teacher.encode(["Please sort it.", "count"]), before)
    long = "it " * 50
    assert not np.allclose(made.encode([long + "sort"]), made.encode([long + "count"]), atol=1e-6)


def test_rare_tokens_count_more(base):
    found = student.rarity(np.array([6, 3, 1, 0]))
    np.testing.assert_allclose(found, 0.01 / (0.01 + np.array([0.6, 0.3, 0.1, 0])))
    assert found[3] == 1 and np.array_equal(student.rarity(np.zeros(2)), [1, 1])
    teacher = alignment.load_model(base)
    seen, unseen = (table(student.static_student(teacher, texts, 6)) for texts in (["Sort"], [""]))
    place = teacher.tokenizer.backend_tokenizer.token_to_id("sort")
    np.testing.assert_allclose(seen[place], unseen[place] * 0.01 / 1.01, rtol=1e-5)


@pytest.mark.parametrize("loss", pairs.LOSSES)
def test_a_student_learns_and_is_loaded_by_others(base, tmp_path, loss):
    config = dataclasses.replace(FAST, loss=loss, epochs=12, learning_rate=0.03)
    out = str(tmp_path / "out")
    result = alignment.align(LIBRARY, base, out, ["count"], config, "cpu")
    assert result.losses[-1] < result.losses[0]
    record = json.loads((tmp_path / "out/alignment.json").read_text())
    assert record["found_after"] > record["found_by_student_before"]
    model = sentence_transformers.SentenceTransformer(out)
    assert [type(module).__name__ for module in model] == ["StaticEmbedding"]
    assert record["weights"] == table(model).size
    text = "Please sort what follows."
    ours = alignment.embed(model, [text])
    other = encoders.Embedder(encoders.SentenceEncoder(out), keep=False)
    assert other.encoder.width == 6
    np.testing.assert_allclose(other.embed([text]), ours, atol=1e-5)
    card = (tmp_path / "out/README.md").read_text()
    assert f"A static student of `{base}`" in card and "by the student before alignment" in card


def test_a_stopped_student_goes_on_alike(base, tmp_path, monkeypatch):
    whole = alignment.align(LIBRARY, base, str(tmp_path / "whole"), (), FAST, "cpu")
    save, calls = alignment._save, []

    def stops(*args):
        calls.append(save(*args))
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(alignment, "_save", stops)
    with pytest.raises(KeyboardInterrupt):
        alignment.align(LIBRARY, base, str(tmp_path / "parts"), (), FAST, "cpu")
    parts = alignment.align(LIBRARY, base, str(tmp_path / "parts"), (), FAST, "cpu")
    assert len(calls) == 3 and parts.record == whole.record
    models = [sentence_transformers.SentenceTransformer(a.folder) for a in (whole, parts)]
    assert np.array_equal(table(models[0]), table(models[1]))


def test_negatives_go_by_the_teacher(base, tmp_path, monkeypatch):
    seen, make = [], pairs.ranked_rows
    monkeypatch.setattr(
        pairs, "ranked_rows", lambda *args: seen.append(args[1].shape[1]) or make(*args)
    )
    alignment.align(LIBRARY, base, str(tmp_path / "out"), (), FAST, "cpu")
    assert set(seen) == {16}


def test_the_rate_depends_on_what_is_trained():
    assert AlignConfig().rate == 1e-6 and FAST.rate == pairs.STUDENT_RATE
    assert AlignConfig(student="static", learning_rate=0.5).rate == 0.5


def test_a_student_of_a_student_is_refused(base, tmp_path):
    result = alignment.align(LIBRARY, base, str(tmp_path / "out"), (), FAST, "cpu")
    with pytest.raises(ConfigError, match="needs a base with a fast tokenizer"):
        alignment.align(LIBRARY, result.folder, str(tmp_path / "again"), (), FAST, "cpu")
