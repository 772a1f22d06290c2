"""A family that the package has never heard of: one file, tests/toy/third_family.py, is all of it.

It is a decoder-only model with BOS whose tokenizer pads with a token that is not 0.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import third_family
import tokenizers
from published import Example

from flan_jax.cli import run
from flan_jax.evaluation.embedding import CheckpointEncoder
from flan_jax.instructions.vocabulary import VOCABULARY
from flan_jax.models.beam_search import beam_search
from flan_jax.models.decoding import greedy_decode, score_answers
from flan_jax.models.families import Model
from flan_jax.models.framing import Framing, pad

GIN = """
import third_family
MODEL_CONFIG = @ToyConfig()
ToyConfig.vocab_size = @padded_vocab_size()

MIXTURE_OR_TASK_NAME = 'toy_train'
MIXTURE_OR_TASK_MODULE = 'toy_tasks'
TASK_FEATURE_LENGTHS = {'inputs': 64, 'targets': 16}
BATCH_SIZE = 8
CHECKPOINT_PERIOD = 2
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> str:
    """A folder of a tokenizer of letters that pads with token 2 and begins with token 3."""
    folder = tmp_path_factory.mktemp("tokenizer")
    special = ["<unk>", "</s>", "<pad>", "<s>"]
    letters = [chr(code) for code in range(32, 127)]
    vocab = {token: number for number, token in enumerate(special + letters)}
    model = tokenizers.models.WordLevel(vocab, "<unk>")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    made.decoder = tokenizers.decoders.Fuse()
    made.add_special_tokens(special)
    made.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "</s>", "pad_token": "<pad>", "bos_token": "<s>", "unk_token": "<unk>"}
    names["add_bos_token"] = True
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return str(folder)


@pytest.fixture(scope="module")
def gin_file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("gin") / "third.gin"
    path.write_text(GIN)
    return str(path)


@pytest.fixture(scope="module")
def command(tmp_path_factory, prepared_dir, tokenizer, gin_file):
    folder = tmp_path_factory.mktemp("third")

    def make(*more):
        return [
            "train", f"--gin_file={gin_file}",
            f"--gin.MODEL_DIR={folder / 'run'}", f"--gin.PREPARED_DIR={prepared_dir}",
            f"--gin.VOCABULARY={tokenizer}", "--gin.TRAIN_STEPS=2", *more,
        ]  # fmt: skip

    return folder / "run", make


@pytest.fixture(scope="module")
def trained(command) -> pathlib.Path:
    folder, make = command
    assert run(make()) == 0
    return folder


def test_trains_packed_and_resumes(command, trained, capsys):
    assert run(command[1]("--gin.TRAIN_STEPS=4")) == 0
    said = capsys.readouterr().out
    assert "resuming at step 2" in said and "saved step 4" in said


def evaluate(trained, out, mixture, gin_file, *more):
    arguments = [f"--checkpoint={trained}@2", f"--mixture={mixture}", f"--out={out}"]
    assert run(["eval", *arguments, f"--gin_file={gin_file}", *more]) == 0
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.parametrize("decoding", ["greedy", "sample", "beam"])
def test_generates(trained, tmp_path, gin_file, decoding):
    found = evaluate(trained, tmp_path, "toy_train", gin_file, f"--gin.DECODING={decoding}")
    assert found["overall"]["n"] == 12 and found["step"] == 2


def test_ranks(trained, tmp_path, gin_file):
    import toy_ranked  # noqa: F401  (registers toy_choice_rank)

    found = evaluate(trained, tmp_path, "toy_choice_rank", gin_file, "--module=toy_ranked")
    assert 0 <= found["by_task"]["toy_choice_rank"]["accuracy"] <= 100
    assert found["overall"]["n"] == 6


def test_embeds(trained, tokenizer):
    VOCABULARY.use(tokenizer)
    vectors = CheckpointEncoder(str(trained)).encode(["add the numbers", "add"])
    assert vectors.shape == (2, 16) and np.isfinite(vectors).all()
    assert not np.allclose(vectors[0], vectors[1])


def test_model_info(gin_file, capsys):
    arguments = [f"--gin_file={gin_file}", "--devices=8", "--gin.SHARDING=fsdp"]
    assert run(["model-info", *arguments]) == 0
    said = capsys.readouterr().out
    assert "embed/embedding" in said and "mix/kernel" in said and "parameters:" in said


@pytest.fixture(scope="module")
def toy():
    model = Model(third_family.ToyConfig(vocab_size=30))
    return model.bind(model.init(jax.random.key(1)))


FRAMING = Framing(pad_id=7, eos_id=1, bos_id=2, prompt_eos=False)
ROWS = [np.array([2, 9, 7, 4]), np.array([2]), np.array([2, 7, 7, 7, 7, 11])]


def test_decoding_and_scoring_are_the_whole_model_on_whole_sequences(toy):
    """With token 7 among real ones: only lengths say what is padding."""
    prompts = jax.tree.map(jnp.asarray, pad(ROWS, 4, 6, FRAMING.pad_id))
    answers = greedy_decode(toy, prompts, framing=FRAMING, max_length=5)
    beams, _ = beam_search(toy, prompts, framing=FRAMING, num_beams=1, max_length=5)
    np.testing.assert_array_equal(answers, beams[:, 0])
    assert (np.asarray(answers[3]) == FRAMING.pad_id).all()  # filler
    layout = third_family.ToyConfig.row_layout(FRAMING)
    lengths = [list(row).index(1) + 1 if 1 in row else 5 for row in np.asarray(answers[:3])]
    said = [np.asarray(row)[:end] for row, end in zip(answers, lengths, strict=False)]
    given = jax.tree.map(jnp.asarray, pad(said, 3, 5, 7))
    scored, greedy = score_answers(toy, prompts, jnp.arange(3), given, FRAMING)
    assert greedy.all()
    for row, (prompt, answer) in enumerate(zip(ROWS, said, strict=True)):
        example = Example(prompt[1:], answer)
        batch = jax.tree.map(jnp.asarray, layout.rows([[example]], 8, 8, packed=False))
        log_probs = jax.nn.log_softmax(toy.output_head()(toy.hidden_states(batch)))[0]
        at = np.flatnonzero(batch["decoder_loss_weights"][0])
        assert np.asarray(batch["decoder_target_tokens"][0])[at].tolist() == answer.tolist()
        assert log_probs[at].argmax(axis=-1).tolist() == answer.tolist()
        np.testing.assert_allclose(
            scored[row, : len(answer)], log_probs[at, answer], rtol=1e-4, atol=1e-5
        )


def test_packed_examples_do_not_see_each_other(toy):
    layout = third_family.ToyConfig.row_layout(FRAMING)
    examples = [Example(row[1:], np.array([5 + i, 7, 1])) for i, row in enumerate(ROWS)]
    packed = layout.rows([examples], 12, 12, packed=True)
    hidden = np.asarray(toy.hidden_states(jax.tree.map(jnp.asarray, packed))[0])
    for segment, example in enumerate(examples, start=1):
        alone = layout.rows([[example]], 12, 12, packed=False)
        expected = np.asarray(toy.hidden_states(jax.tree.map(jnp.asarray, alone))[0])
        here = packed["decoder_segment_ids"][0] == segment
        assert packed["decoder_input_tokens"][0][here][0] == FRAMING.bos_id
        assert packed["decoder_positions"][0][here].tolist() == list(range(here.sum()))
        np.testing.assert_allclose(hidden[here], expected[: here.sum()], rtol=1e-4)
