"""Vectors of texts from the encoder of a checkpoint: means of its last hidden states.

A text is tokenized as an example's input is, EOS appended, and its vector is the mean over all of
its tokens, EOS included and padding not, without dropout; the means of a T5's encoder states carry
more of a sentence than its first state does (Sentence-T5, Ni et al. 2022). Every text is a batch
of its own, padded to a power of two, so that its vector depends on nothing else.
"""

import functools
import hashlib
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from flan_jax.errors import CheckpointError, ConfigError, first_line, quoted
from flan_jax.instructions.vocabulary import (
    SETTING,
    VOCABULARY,
    check_vocabulary,
    vocabulary_fingerprint,
)
from flan_jax.models import families
from flan_jax.models.families import Model, Params
from flan_jax.models.framing import Sequences
from flan_jax.training import carried_vocabulary, checkpoints, stored_settings
from flan_jax.training.manifest import read_manifest

PREFIX = "t5:"
MAX_TOKENS = 512
KIND = "mean of T5 encoder states"
SMALLEST_BUCKET = 16
# Than this no field of a model's config is larger.
_LARGEST = 2**31


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
            found = _find(checkpoint)
            self._model = _model(found)
            _check_vocabulary(found)
            check_vocabulary(self._model.config.vocab_size)
        except CheckpointError as error:
            raise CheckpointError(f"encoder {self.name!r}: {error}") from None
        self.step = found.step
        self._path = found.path
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
        part = self._model.config.prompt_parameters
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = {
            name: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=device)
            for name, shape in self._model.shapes.items()
            if re.fullmatch(part, name)
        }
        return checkpoints.restore_params(self._path, target, part)


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


def _find(checkpoint: str) -> checkpoints.Found:
    try:
        return checkpoints.require(checkpoint, weights_only=True)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; give the MODEL_DIR of a `flan-jax train` or a step of it (MODEL_DIR@1200), "
            "or --encoder=lexical, which needs none"
        ) from None


def _model(found: checkpoints.Found) -> Model:
    """Returns the model that a checkpoint says it is of; what it leaves unsaid has no effect here.

    Raises:
        CheckpointError: it does not say, or that model is not known here or has no encoder.
    """
    fields = dict(found.run["fingerprint"].get("model") or {})
    family = fields.pop("family", None)
    if not isinstance(family, str) or family not in families.names():
        raise CheckpointError(
            f"{found.path} was saved for a model of family {quoted(family)}, and this version "
            f"knows {', '.join(families.names())}; give a checkpoint of one of these"
        )
    config = families.family(family)
    try:
        _check_types(fields, typing.get_type_hints(config))
        model = Model(config(**fields))
        model.shapes  # noqa: B018 - what makes no model is refused now
        return model
    except Exception as error:  # of another version of this package, or made to harm
        raise CheckpointError(
            f"{found.path} was saved for a {family} that this version does not know: "
            f"{first_line(error)}; give a checkpoint that this version wrote"
        ) from None


def _check_types(fields: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Refuses fields whose values JSON may hold and a config of a model may not."""
    for name, value in fields.items():
        kind = kinds.get(name)
        if kind is float:
            right = type(value) in (int, float) and abs(value) < _LARGEST
        elif kind in (int, bool, str):
            right = type(value) is kind and (kind is str or value < _LARGEST)
        else:  # names, or a number that may be absent
            names = value if isinstance(value, list) else [value]
            right = all(isinstance(one, str | int | None) for one in names)
        if not right:
            raise ValueError(f"{name} is {quoted(value)}")


def _check_vocabulary(found: checkpoints.Found) -> None:
    """Refuses a checkpoint whose embeddings stand for other tokens than those in use.

    Raises:
        CheckpointError: says what to set VOCABULARY to, as far as that is known.
    """
    then, now = found.run["fingerprint"].get("vocabulary"), VOCABULARY.fingerprint
    if then == now:
        return
    names = [spec for spec in ("default", "byte") if vocabulary_fingerprint(spec) == then]
    names += [spec for spec in (carried_vocabulary.spec_in(found.path), _named(found)) if spec]
    names = [spec for spec in names if spec != VOCABULARY.spec]  # a file may have changed since
    known = f"{SETTING}={names[0]}" if names else f"{SETTING} to the one it was trained with"
    raise CheckpointError(
        f"{found.path} was trained with vocabulary {then}, and {VOCABULARY.spec!r}, in use, is "
        f"{now}; set {known}, as --gin.{SETTING}=... or in the environment"
    )


def _named(found: checkpoints.Found) -> str | None:
    """The vocabulary that a checkpoint says it was trained with, for messages alone."""
    named = stored_settings.decode(found.run, str(found.path)).get(SETTING)
    return named if isinstance(named, str) else None


def _hash(found: checkpoints.Found, max_tokens: int) -> str:
    facts = {
        "kind": KIND,
        "weights": _checksums(found.path),
        "model": found.run["fingerprint"].get("model"),
        "vocabulary": found.run["fingerprint"].get("vocabulary"),
        "max_tokens": max_tokens,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _checksums(path: epath.Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of the weights, as the manifest records them."""
    # What commit_success.txt holds is a place, not weights.
    return {
        name: facts["sha256"]
        for name, facts in read_manifest(path).items()
        if name.startswith("params/") and not name.endswith("commit_success.txt")
    }
