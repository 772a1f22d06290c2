"""Vectors of texts from the encoder of a checkpoint: means of its last hidden states.

A text is tokenized as an example's input is, EOS appended, and its vector is the mean over all of
its tokens, EOS included and padding not, without dropout; the means of a T5's encoder states carry
more of a sentence than its first state does (Sentence-T5, Ni et al. 2022). Every text is a batch
of its own, padded to a power of two, so that its vector depends on nothing else.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.instructions.vocabulary import (
    VOCABULARY,
    check_vocabulary,
)
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Sequences
from flan_jax.training import checkpoints, restore

PREFIX = "t5:"
MAX_TOKENS = 512
KIND = "mean of T5 encoder states"
SMALLEST_BUCKET = 16


class CheckpointEncoder:
    """The encoder of an encoder-decoder checkpoint, as a `flan_jax.selector.encoders.Encoder`.

    The checkpoint says what model it is; nothing comes from gin but the vocabulary, which has to
    be the checkpoint's. States are computed in float32, whatever the run computed in.

    Attributes:
        name: "t5:" and the checkpoint as it was asked for.
        hash: SHA-256 over the weights' recorded checksums, the model, the vocabulary and
            max_tokens. Copies and exports of one checkpoint share it; weights saved anew get
            another one, even where they are equal.
        step: training steps behind the weights.
    """

    def __init__(self, checkpoint: str, *, max_tokens: int = MAX_TOKENS):
        """Finds the checkpoint and proves it whole; weights are restored when first needed.

        Args:
            checkpoint: MODEL_DIR (its newest), MODEL_DIR@best, MODEL_DIR@1200 or the directory
                of one checkpoint, see `checkpoints.require`.
            max_tokens: tokens that a text is cut to, EOS included.

        Raises:
            CheckpointError: there is none, or it is damaged, has no encoder, or was trained with
                another vocabulary than the one in use.
            ConfigError: `max_tokens` leaves no room for a token beside EOS.
        """
        if max_tokens < 2:
            raise ConfigError(f"max_tokens={max_tokens}: a text needs a token and EOS, 2 at least")
        self.name = f"{PREFIX}{checkpoint}"
        self._max_tokens = max_tokens
        try:
            found, self._model = _open(checkpoint)
            restore.check_vocabulary(found)
            check_vocabulary(self._model.config.vocab_size)
        except CheckpointError as error:
            raise CheckpointError(f"encoder {self.name!r}: {error}") from None
        self.step = found.step
        self._found = found
        # Those in use now, whatever the setting says by the time that a text is encoded.
        self._vocabulary, self._layout = VOCABULARY.resolved, self._model.layout(VOCABULARY)
        self.hash = _hash(found, max_tokens)

    @property
    def width(self) -> int:
        """Components of a vector."""
        return int(self._model.config.emb_dim)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Returns vectors [n, width] in float32.

        Raises:
            CheckpointError: the weights cannot be restored.
        """
        vectors: np.ndarray = np.empty((len(texts), self.width), np.float32)
        mean = _compiled_mean(self._model)
        for row, text in enumerate(texts):
            vectors[row] = mean(self._params, self._prompt(text))
        return vectors

    def describe(self) -> dict[str, Any]:
        """Returns what a manifest says of it."""
        return {
            "name": self.name,
            "kind": KIND,
            "hash": self.hash,
            "width": self.width,
            "step": self.step,
        }

    def _prompt(self, text: str) -> Sequences:
        """Returns a text as the only prompt of a batch, padded to a power of two."""
        framing = self._layout.framing
        tokens: np.ndarray = np.array([*self._vocabulary.encode(text), framing.eos_id], np.int32)
        prompt = framing.prompt(tokens, self._max_tokens)
        length = max(SMALLEST_BUCKET, 1 << (len(prompt) - 1).bit_length())
        return self._layout.prompts([prompt], 1, length)

    @functools.cached_property
    def _params(self) -> Params:
        """What the encoder needs of the weights, on one device."""
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        part = self._model.config.prompt_parameters
        params = restore.weights(self._found, self._model, device, part)
        self._found.release()
        return params


@functools.lru_cache(maxsize=4)
def _compiled_mean(model: Model) -> Callable[[Params, Sequences], jax.Array]:
    """Kept between encoders, so that one program that compares checkpoints compiles once."""

    def mean(params: Params, prompt: Sequences) -> jax.Array:
        # Parameters that were not restored are there as shapes; nothing looks at them.
        module = model.bind({**model.shapes, **params})
        # Accelerators would round products to fewer digits.
        with jax.default_matmul_precision("highest"):
            states_SxD = module.prompt_states(prompt)[0]
        real_S = prompt.real_BxS[0]
        total_D = jnp.sum(states_SxD.astype(jnp.float32), axis=0, where=real_S[:, None])
        return total_D / jnp.sum(real_S)

    return jax.jit(mean)


def _open(checkpoint: str) -> tuple[checkpoints.Found, Model]:
    try:
        found = restore.require(checkpoint)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; give the MODEL_DIR of a `flan-jax train` or a step of it (MODEL_DIR@1200), "
            "or --encoder=lexical, which needs none"
        ) from None
    return found, restore.model_of(found)


def _hash(found: checkpoints.Found, max_tokens: int) -> str:
    facts = {
        "kind": KIND,
        "weights": found.weights_hash,
        "model": found.run["fingerprint"].get("model"),
        "vocabulary": found.run["fingerprint"].get("vocabulary"),
        "max_tokens": max_tokens,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
