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
