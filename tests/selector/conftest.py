"""What tests of the selector share."""

import pytest

from flan_jax import cli


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test finds, or leaves, embeddings elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def select(capsys):
    """Runs `flan-jax select` and returns what it said."""

    def run(*arguments):
        assert cli.run(["select", *map(str, arguments)]) == 0
        return capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def tiny_bert():
    """Writes a random BERT of two layers as a transformers folder, and returns it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    def make(folder, words, half=False):
        folder.mkdir(exist_ok=True)
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
        (folder / "vocab.txt").write_text("\n".join(vocabulary))
        transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
        config = transformers.BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
        )
        torch.manual_seed(0)
        model = transformers.BertModel(config)
        (model.half() if half else model).save_pretrained(folder)
        return str(folder)

    return make
