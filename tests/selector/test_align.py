"""Alignment: which pairs are made, what never enters, and that a stopped run goes on alike."""

import dataclasses
import importlib.util
import json
import os
import pathlib

import gin
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from flan_jax import files
from flan_jax.errors import CheckpointError, ConfigError, DataError
from flan_jax.selector import align as alignment
from flan_jax.selector import pairs
from flan_jax.selector.library import Library, LibraryTask
from flan_jax.selector.pairs import AlignConfig, Corpus

VERBS = ["sort", "count", "translate", "reverse", "summarise", "classify"]
FRAMES = ["Please {} what follows.", "{} it.", "Now {} the words", "Your task: {}", "Do {} this"]


def library(**change):
    tasks = [
        LibraryTask(verb, tuple(f.format(verb) for f in FRAMES), f"cluster{i % 3}", (f"set{i}",))
        for i, verb in enumerate(VERBS)
    ]
    return Library.of([change.get(task.name, task) for task in tasks], "verbs")


class Tiny(torch.nn.Module):
    """What `align` uses of a sentence-transformers model: means of letters' vectors."""

    def __init__(self, folder=None):
        super().__init__()
        torch.manual_seed(0)
        self.letters = torch.nn.Embedding(128, 8)
        self.dropout = torch.nn.Dropout(0.1)
        self.project = torch.nn.Linear(8, 8)
        self.register_buffer("tied", torch.ones(2), persistent=True)
        if folder and folder != "base":
            self.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"))

    def preprocess(self, texts):
        ids = [[ord(c) % 127 + 1 for c in text[:60]] for text in texts]
        longest = max(map(len, ids))
        return {"input_ids": torch.tensor([row + [0] * (longest - len(row)) for row in ids])}

    def forward(self, features):
        mask = (features["input_ids"] > 0).unsqueeze(-1)
        mean = (self.letters(features["input_ids"]) * mask).sum(1) / mask.sum(1)
        return features | {"sentence_embedding": self.project(self.dropout(mean))}

    def save_pretrained(self, path, create_model_card=True):
        assert not create_model_card
        save_file(self.state_dict(), pathlib.Path(path) / "model.safetensors")


FAST = AlignConfig(epochs=3, batch_size=8, learning_rate=0.01, negative_below=0.99)


def run(out, config=FAST, held_out=(), tasks=None):
    return alignment.align(tasks or library(), "base", str(out), held_out, config, load=Tiny)


def same_weights(one, other):
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def unit(rng, count, width=6):
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=7).filter(lambda sizes: max(sizes) > 1),
    st.integers(0, 99),
    st.sampled_from([0, 2]),
)
def test_pairs_keep_their_rules(sizes, seed, hard):
    tasks = [
        LibraryTask(f"t{i}", tuple(f"{i} {j}" for j in range(n)), f"c{i % 2}", (f"s{i // 2}",))
        for i, n in enumerate(sizes)
    ]
    corpus = Corpus.of(Library.of(tasks, "drawn"))
    vectors = unit(np.random.default_rng(seed), len(corpus.texts))
    config = AlignConfig(seed=seed, hard_negatives=hard, cluster_label=0.5)
    made = pairs.labelled_pairs(corpus, vectors, config)
    again = pairs.labelled_pairs(corpus, vectors, config)
    assert np.array_equal(made.first, again.first) and np.array_equal(made.second, again.second)
    first, second = corpus.tasks[made.first], corpus.tasks[made.second]
    assert not (made.first == made.second).any()
    assert ((first == second) == (made.label == 1)).all()
    negative = made.label == 0
    assert not corpus.related[first, second][negative].any()
    graded = made.label == 0.5
    assert (corpus.clusters[first] == corpus.clusters[second])[graded].all()
    cosines = (vectors[made.first] * vectors[made.second]).sum(axis=1)
    used = np.bincount(made.second[negative], minlength=1)
    if hard:
        assert (corpus.clusters[first] != corpus.clusters[second])[negative].all()
    else:
        assert (cosines[negative] < config.negative_below).all()
        assert used.max() <= config.negative_reuse
        assert negative.sum() + made.without_negative == len(corpus.texts)
    wanted = [max(1, round(0.4 * n * (n - 1) / 2)) for n in sizes if n > 1]
    assert (made.label == 1).sum() == sum(wanted)


@settings(deadline=None)
@given(st.integers(0, 50), st.sampled_from([0, 3]), st.sampled_from([0.9, None]))
def test_guard_against_false_negatives(seed, hard, guard):
    corpus = Corpus.of(library())
    vectors = unit(np.random.default_rng(seed), len(corpus.texts))
    config = AlignConfig(loss="ranking", hard_negatives=hard, guard=guard)
    rows = pairs.ranked_rows(corpus, vectors, config, 0)
    assert len(rows.anchor) == 30 and rows.hard.shape == (30, hard)
    assert (corpus.tasks[rows.anchor] == corpus.tasks[rows.positive]).all()
    allowed = pairs.may_be_negatives(corpus, vectors, config, rows, rows.positive)
    own = (vectors[rows.anchor] * vectors[rows.positive]).sum(axis=1)
    limits = np.full(30, np.inf) if guard is None else guard * own
    if guard is None:
        apart = corpus.tasks[rows.anchor][:, None] != corpus.tasks[rows.positive]
        assert np.array_equal(allowed, apart) and (rows.hard >= 0).all()
    for i, anchor in enumerate(rows.anchor):
        for j in np.flatnonzero(allowed[i]):
            assert corpus.tasks[anchor] != corpus.tasks[rows.positive[j]]
            assert vectors[anchor] @ vectors[rows.positive[j]] < limits[i] + 1e-6
        nearest = [vectors[anchor] @ vectors[h] for h in rows.hard[i] if h >= 0]
        assert nearest == sorted(nearest, reverse=True)
        assert all(value < limits[i] + 1e-6 for value in nearest)
    other = pairs.ranked_rows(corpus, vectors, config, 1)
    assert not np.array_equal(rows.positive, other.positive)


def test_held_out_tasks_and_their_texts_never_enter(tmp_path):
    copy = LibraryTask("copy", ("please Sort what follows", "Put in order."), "cluster9")
    tasks = Library.of([*library().tasks, copy], "verbs")
    corpus = Corpus.of(tasks, ["sort", "cluster1"])
    assert corpus.held_out == ("count", "sort", "summarise")
    assert corpus.names == ("classify", "copy", "reverse", "translate")
    assert corpus.shared == 1
    assert not [
        t for t in corpus.texts if any(v in t.lower() for v in ("sort", "count", "summarise"))
    ]
    result = run(tmp_path / "out", held_out=["sort", "cluster1"], tasks=tasks)
    assert result.record["held_out"] == ["count", "sort", "summarise"]
    assert "Held out: count, sort, summarise." in (tmp_path / "out/README.md").read_text()
    with pytest.raises(DataError, match="held-out 'sorted'.*did you mean 'sort'"):
        Corpus.of(tasks, "sorted")
    with pytest.raises(DataError, match="alignment needs two tasks"):
        Corpus.of(tasks, [*VERBS])


def test_tasks_that_share_a_source_or_text_are_related():
    changed = LibraryTask("count", ("Count.", FRAMES[1].format("reverse")), None, ("set0",))
    corpus = Corpus.of(library(count=changed))
    names = {name: i for i, name in enumerate(corpus.names)}
    assert corpus.related[names["count"], names["sort"]]
    assert corpus.related[names["count"], names["reverse"]]
    assert not corpus.related[names["count"], names["classify"]]
    assert corpus.clusters[names["count"]] == -1


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"hard_negatives": 2},
        {"cluster_label": 0.5},
        {"loss": "ranking"},
        {"loss": "ranking", "hard_negatives": 2, "cluster_label": 0.5},
    ],
    ids=str,
)
def test_alignment_learns_and_is_saved(tmp_path, change):
    config = dataclasses.replace(FAST, epochs=30, **change)
    result = run(tmp_path / "out", config)
    assert np.mean(result.losses[-8:]) < np.mean(result.losses[:8])
    assert result.found_after > result.found_before
    saved = Tiny(tmp_path / "out")
    corpus = Corpus.of(library())
    assert pairs.found_share(corpus, alignment.embed(saved, corpus.texts)) == result.found_after
    record = json.loads((tmp_path / "out/alignment.json").read_text())
    assert record["losses"] == list(result.losses) and record["parameters"]["epochs"] == 30
    assert not (tmp_path / "out" / alignment.STATE).exists()
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    assert all(verb in card for verb in VERBS)


def test_a_stopped_run_goes_on_alike(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    update, calls = alignment._update, []

    def stops(*args):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        return update(*args)

    monkeypatch.setattr(alignment, "_update", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    assert (tmp_path / "parts" / alignment.STATE).exists()
    monkeypatch.setattr(alignment, "_update", update)
    with pytest.raises(ConfigError, match="another library, base, held-out list"):
        run(tmp_path / "parts", held_out=["sort"])
    parts = run(tmp_path / "parts")
    assert len(calls) > 6 and parts.losses == whole.losses
    same_weights(tmp_path / "whole", tmp_path / "parts")
    before = (tmp_path / "whole/model.safetensors").stat().st_mtime_ns
    again = run(tmp_path / "whole")
    assert again.record == whole.record and again.losses == whole.losses
    assert (tmp_path / "whole/model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another library"):
        run(tmp_path / "whole", AlignConfig())


def test_stopped_while_it_is_saved(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    save = Tiny.save_pretrained

    def stops(self, path, create_model_card=True):
        (pathlib.Path(path) / "model.safetensors").write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(Tiny, "save_pretrained", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    monkeypatch.setattr(Tiny, "save_pretrained", save)
    assert run(tmp_path / "parts").record == whole.record
    same_weights(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts" / alignment.STATE).write_bytes(b"left behind")
    run(tmp_path / "parts")
    assert not (tmp_path / "parts" / alignment.STATE).exists()


def test_the_callers_chance_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = Tiny()
    torch.manual_seed(5)
    alignment.align(library(), "base", str(tmp_path / "out"), (), FAST, load=lambda _: model)
    assert torch.equal(torch.rand(3), expected)
    other = dataclasses.replace(FAST, seed=43)
    assert run(tmp_path / "other", other).losses != run(tmp_path / "out").losses


def test_folders_that_are_something_else(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no alignment"):
        run(tmp_path / "other")
    with pytest.raises(ConfigError, match="is a file"):
        run(tmp_path / "other/thesis.txt")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / alignment.STATE).write_bytes(b"not it")
    with pytest.raises(DataError, match="is corrupt"):
        run(tmp_path / "bad")
    os.remove(tmp_path / "bad" / alignment.STATE)
    os.mkfifo(tmp_path / "bad" / alignment.STATE)
    with pytest.raises(DataError, match="is corrupt .*not a regular file"):
        run(tmp_path / "bad")
    (tmp_path / "bad" / alignment.RECORD).write_text("{")
    with pytest.raises(DataError, match="alignment.json: not JSON"):
        run(tmp_path / "bad")


def test_two_alignments_do_not_share_a_folder(tmp_path):
    with (
        files.lock_folder(tmp_path / "out"),
        pytest.raises(CheckpointError, match=f"out is in use by process {os.getpid()} on"),
    ):
        run(tmp_path / "out")
    run(tmp_path / "out")  # a lock that was left behind is no obstacle
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        run(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_a_state_or_record_that_is_wrong_within(tmp_path, monkeypatch):
    done = run(tmp_path / "out")
    record = dict(done.record)
    for field, value in [("losses", [1, "x"]), ("losses", 3), ("found_after", 10**400)]:
        text = json.dumps(record | {field: value})
        (tmp_path / "out" / alignment.RECORD).write_text(text)
        with pytest.raises(DataError, match=f"alignment.json.*{field}"):
            run(tmp_path / "out")
    folder = tmp_path / "parts"

    def stops(self, path, create_model_card=True):
        raise KeyboardInterrupt

    monkeypatch.setattr(Tiny, "save_pretrained", stops)
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    state = load_file(folder / alignment.STATE)
    for tensors, losses in [
        ({"model.nothing": torch.zeros(1)}, "[1.0]"),
        (state | {"optimizer.99.step": torch.zeros(1)}, "[1.0]"),
        (state | {"optimizer.x": torch.zeros(1)}, "[1.0]"),
        (state, "[NaN]"),
        (state, "{}"),
        (state, "1" * 5000),
    ]:
        meta = {"fingerprint": record["fingerprint"], "losses": losses}
        save_file(tensors, folder / alignment.STATE, meta)
        with pytest.raises(DataError, match="losses|is corrupt"):
            run(folder)


def test_a_loss_that_is_not_finite_stops(tmp_path):
    with pytest.raises(ConfigError, match="epoch 1, step 1; AlignConfig.learning_rate"):

        class Broken(Tiny):
            def forward(self, features):
                found = super().forward(features)
                found["sentence_embedding"] = found["sentence_embedding"] * float("nan")
                return found

        alignment.align(
            library(), "base", str(tmp_path / "out"), (), AlignConfig(loss="ranking"), load=Broken
        )


def test_the_rate_rises_and_falls():
    config = AlignConfig(epochs=2, learning_rate=1.0, warmup=0.5)
    rates = [alignment.learning_rate(step, 10, config) for step in range(20)]
    assert rates.index(max(rates)) == 5 and max(rates) == 1
    assert rates[:5] == sorted(rates[:5]) and rates[5:] == sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"loss": "ranked"}, "did you mean 'ranking'"),
        ({"student": "statics"}, "did you mean 'static'"),
        ({"student": ["static"]}, "student"),
        ({"epochs": 0}, "epochs must be a whole number from 1, not 0"),
        ({"epochs": 2.0}, "epochs must be a whole number"),
        ({"student_width": None}, "student_width must be a whole number from 1, not None"),
        ({"guard": 1.5}, "guard must be a number from 0 to 1 or None, not 1.5"),
        ({"cluster_label": -1}, "cluster_label must be a number from 0"),
        ({"scale": 0}, "scale must be a number from 1e-09, not 0"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm must be a number"),
        ({"weight_decay": float("nan")}, "weight_decay must be a number from 0"),
        ({"seed": -1}, "seed must be a whole number from 0"),
    ],
)
def test_wrong_parameters(wrong, says):
    with pytest.raises(ConfigError, match=says):
        AlignConfig(**wrong)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AlignConfig)])
@pytest.mark.parametrize("value", ["1", True, [1], float("nan")])
def test_every_field_is_checked(field, value):
    with pytest.raises(ConfigError, match=f"AlignConfig.{field} "):
        AlignConfig(**{field: value})


def test_gin_gives_the_parameters(tmp_path):
    with gin.unlock_config():
        gin.bind_parameter("AlignConfig.epochs", 1)
    try:
        result = alignment.align(library(), "base", str(tmp_path / "out"), load=Tiny)
    finally:
        gin.clear_config()
    assert len(result.losses) == 1 and result.record["parameters"]["learning_rate"] == 1e-6


@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is not None, reason="it is installed"
)
def test_without_sentence_transformers_it_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"pip install flan-jax\[selector\]"):
        alignment.align(library(), "base", str(tmp_path / "out"))


def words_of_the_library():
    words = {word for frame in FRAMES for word in frame.lower().split()} | set(VERBS)
    return [".", ":", *sorted(words)]


def test_a_real_sentence_transformers_folder(tmp_path, tiny_bert):
    """Loaded, aligned, saved, loaded again; in full precision though it was saved in half."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    base = tiny_bert(tmp_path / "base", words_of_the_library(), half=True)
    result = alignment.align(library(), base, str(tmp_path / "out"), ["sort"], FAST, "cpu")
    model = sentence_transformers.SentenceTransformer(str(tmp_path / "out"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(p.numel() for p in model.parameters()) == result.record["weights"]
    found = model.encode(["Please count what follows."], normalize_embeddings=True)
    ours = alignment.embed(model, ["Please count what follows."])
    np.testing.assert_allclose(found, ours, atol=1e-5)
    assert len(result.losses) == 3
    with pytest.raises(ConfigError, match="device 'abacus' cannot be used"):
        alignment.align(library(), base, str(tmp_path / "no"), (), FAST, "abacus")


def test_bases_that_cannot_be_had(tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers")
    import huggingface_hub

    # Nothing listens there.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    for base, says in (
        (str(tmp_path / "none"), "there is no such folder"),
        ("lexical", "has no weights to align"),
        ("someone/a-model", "is not on this machine, and http://127.0.0.1:9 does not answer"),
        (str(tmp_path), "cannot be loaded"),
    ):
        with pytest.raises(ConfigError, match=says):
            alignment.load_model(base)


def test_the_default_base_is_taken_from_this_machine(monkeypatch):
    from flan_jax.selector import sentence_models

    if not sentence_models.is_installed() or not sentence_models.packaged_folder():
        pytest.skip("its weights are not installed")
    for name in (sentence_models.DEFAULT_MODEL, "all-MiniLM-L6-v2"):
        assert sentence_models.find(name) == sentence_models.packaged_folder()
