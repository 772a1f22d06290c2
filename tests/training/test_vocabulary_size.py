"""A vocabulary that is larger than the model's table is refused before any work."""

import pytest

from flan_jax.cli import run
from flan_jax.errors import ConfigError
from flan_jax.instructions import vocabulary
from flan_jax.instructions.vocabulary import VOCABULARY

# The byte vocabulary has 259 tokens, and 100 sentinels that no text becomes.
TOO_SMALL = (
    "VOCABULARY 'byte' has 259 tokens, and the model's table only 258 rows .VOCAB_SIZE=258.: "
    "VOCAB_SIZE=384 would fit"
)


@pytest.fixture
def toy(tmp_path):
    """Runs a verb on the toy task with settings."""

    def run_verb(verb, *overrides):
        gin = [f"MODEL_DIR={tmp_path}/run", f"PREPARED_DIR={tmp_path}/prepared", *overrides]
        options = ["--gin_file=gin_configs/test/toy.gin", *(f"--gin.{text}" for text in gin)]
        return run([verb, *options])

    return run_verb


@pytest.mark.parametrize("verb", ["train", "prepare", "model-info"])
def test_a_verb_that_knows_the_model_refuses(verb, toy, tmp_path):
    with pytest.raises(ConfigError, match=TOO_SMALL):
        toy(verb, "VOCAB_SIZE=258")
    assert not (tmp_path / "prepared").exists()
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_an_evaluation_refuses(tmp_path):
    from flan_jax.commands import common

    common.import_tensorflow()
    from flan_jax.evaluation.evaluate import EvalConfig, evaluate
    from flan_jax.models.t5 import T5Config

    VOCABULARY.use("byte")
    lengths = {"inputs": 8, "targets": 8}
    config = EvalConfig(T5Config(vocab_size=258, emb_dim=8), "toy_train", lengths)
    with pytest.raises(ConfigError, match=TOO_SMALL):
        evaluate(config, None, str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.json*"))


def test_sentinels_need_no_rows():
    """Published tables, such as mT5's of 250,112 rows, have none for ours."""
    VOCABULARY.use("byte")
    vocabulary.check_vocabulary(259)
    vocabulary.check_vocabulary(vocabulary.padded_vocab_size())
    with pytest.raises(ConfigError, match=TOO_SMALL):
        vocabulary.check_vocabulary(258)
