"""Prompt tuning (Lester et al. 2021): trained vectors in front of every prompt, all else frozen.

The vectors are rows of the embedding table beyond the vocabulary, and their tokens stand in front
of every prompt, behind a beginning-of-sequence token where the model has one. So packing,
positions, decoding and ranking treat them like any other token.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flan_jax import macros
from flan_jax.errors import ConfigError
from flan_jax.models.layers import Embed

# What the name of the trained parameter ends in.
NAMES = ".*/soft_prompt"
# Of the vocabulary, those that are most frequent come first; rows of rare ones are hardly trained
# (Lester et al. 2021, section 3.2).
_FREQUENT = 5000


@dataclasses.dataclass(frozen=True)
class SoftPrompt:
    """Vectors in front of every prompt.

    Attributes:
        length: number of vectors; 100 in the paper, 10 in figure 10 of Wei et al. 2022.
        init: "random" (uniform in (-0.5, 0.5)), "vocabulary" (rows of frequent tokens), or
            "labels" (rows of the labels of a task, the mean over the tokens of each, the rest as
            in "vocabulary").
        labels: the labels.
    """

    length: int = 20
    init: str = "vocabulary"
    labels: tuple[str, ...] = ()
    numerics: ClassVar[tuple[str, ...]] = ("init", "labels")

    def __post_init__(self) -> None:
        labels = (self.labels,) if isinstance(self.labels, str) else tuple(self.labels)
        object.__setattr__(self, "labels", labels)
        macros.check(
            SOFT_PROMPT_LENGTH=self.length,
            SOFT_PROMPT_INIT=self.init,
            SOFT_PROMPT_LABELS=self.labels,
        )
        if (self.init == "labels") != bool(labels):
            raise ConfigError(
                "SOFT_PROMPT_INIT='labels' and SOFT_PROMPT_LABELS, such as ('yes', 'no'), go "
                "together"
            )
        if len(labels) > self.length:
            raise ConfigError(f"SOFT_PROMPT_LENGTH {self.length}: {len(labels)} labels do not fit")

    def attach(self, embed: Embed, rngs: nnx.Rngs) -> None:
        """Gives an embedding table rows beyond its vocabulary, at random."""
        shape = (self.length, embed.embedding.shape[1])
        vectors = jax.random.uniform(rngs.params(), shape, jnp.float32, -0.5, 0.5)
        embed.soft_prompt = nnx.Param(vectors, axes=("soft_prompt", "embed"))

    def tokens(self, vocab_size: int) -> tuple[int, ...]:
        """Returns the tokens of the vectors, given the rows of the embedding table."""
        return tuple(range(vocab_size, vocab_size + self.length))

    def rows(
        self, labels: Sequence[Sequence[int]], vocab_size: int, special: Any, seed: int
    ) -> list[list[int]] | None:
        """Returns the tokens whose mean row each vector begins as; None at random.

        Args:
            labels: tokens of each label.
            vocab_size: of the model.
            special: special tokens, which begin no vector.
            seed: of the draws.
        """
        if self.init == "random":
            return None
        outside = {special.pad_id, special.bos_id, special.eos_id}
        frequent = [i for i in range(min(vocab_size, _FREQUENT)) if i not in outside]
        rng = np.random.default_rng(seed)
        drawn = rng.choice(frequent, self.length, replace=self.length > len(frequent))
        return [*map(list, labels), *([int(token)] for token in drawn[len(labels) :])]
