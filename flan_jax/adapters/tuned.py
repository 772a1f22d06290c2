"""A model of which not everything trains, as a family of its own around another."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gin
import jax.numpy as jnp
from flax import nnx

from flan_jax import macros
from flan_jax.adapters import frozen
from flan_jax.adapters import lora as lora_lib
from flan_jax.adapters import soft_prompt as soft_prompt_lib
from flan_jax.adapters.lora import LoRA
from flan_jax.adapters.soft_prompt import SoftPrompt
from flan_jax.errors import ConfigError, did_you_mean, quoted
from flan_jax.models.framing import Framing, SpecialTokens
from flan_jax.models.layers import Embed
from flan_jax.models.layouts import Layout

ALL, LORA, PROMPT = "all", "lora", "prompt"


@dataclasses.dataclass(frozen=True)
class TunedConfig:
    """A model some of whose parameters train, adapters among them; a `models.families.Family`.

    Its parameters are those of `base` under their own names, and those of adapters under
    `<linear layer>/lora/a`, `<linear layer>/lora/b` and `<embedding>/soft_prompt`.

    Attributes:
        base: config of a family.
        trainable: TRAINABLE: "lora", "prompt", or a regular expression that the whole name of a
            parameter has to match.
        lora: the adapters of "lora", else None.
        soft_prompt: the vectors of "prompt", else None.
        frozen_dtype: of what does not train: "float32", which means the base's own, "bfloat16" or
            "int8".
    """

    base: Any = dataclasses.field(metadata={"family": True})
    trainable: str = LORA
    lora: LoRA | None = None
    soft_prompt: SoftPrompt | None = None
    frozen_dtype: str = "float32"
    numerics: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        macros.check(TRAINABLE=self.trainable, FROZEN_DTYPE=self.frozen_dtype)
        for name, kind in (("lora", LoRA), ("soft_prompt", SoftPrompt)):
            if isinstance(value := getattr(self, name), Mapping):  # out of a checkpoint
                object.__setattr__(self, name, kind(**value))
        given = (self.lora is not None, self.soft_prompt is not None)
        if given != (self.trainable == LORA, self.trainable == PROMPT):
            raise ConfigError(f"TRAINABLE={quoted(self.trainable)} has other adapters")

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table, those of a soft prompt left out."""
        return self.base.vocab_size

    @property
    def emb_dim(self) -> int:
        """Width of hidden and prompt states."""
        return self.base.emb_dim

    @property
    def dropout_rate(self) -> float:
        """0 where training draws nothing."""
        return max(self.base.dropout_rate, self.lora.dropout if self.lora else 0.0)

    @property
    def row_layout(self) -> Callable[[Framing], Layout]:
        """How examples become batches."""
        return self.base.row_layout

    @property
    def prompt_parameters(self) -> str:
        """Regular expression of the parameters that `prompt_states` reads."""
        return self.base.prompt_parameters

    def framing(self, special: SpecialTokens) -> Framing:
        """Returns the base's, with a soft prompt in front of prompts."""
        framing = self.base.framing(special)
        if self.soft_prompt is None:
            return framing
        return dataclasses.replace(framing, soft_prompt=self.soft_prompt.tokens(self.vocab_size))

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of the base; adapters add next to none."""
        return self.base.forward_flops(inputs_length, targets_length)

    def trains(self, name: str) -> bool:
        """Whether a parameter trains, by name."""
        pattern = {LORA: lora_lib.NAMES, PROMPT: soft_prompt_lib.NAMES}.get(
            self.trainable, self.trainable
        )
        return re.fullmatch(pattern, name) is not None

    def build(self, rngs: nnx.Rngs) -> Any:
        """Returns the base's module with adapters attached.

        Raises:
            ConfigError: nothing would train.
        """
        module = self.base.build(rngs)
        if self.lora is not None:
            self.lora.attach(module, rngs)
        if self.soft_prompt is not None:
            self.soft_prompt.attach(self._prompt_embedding(module), rngs)
        names = {
            "/".join(map(str, path)): param
            for path, param in nnx.to_flat_state(nnx.state(module, nnx.Param))
        }
        if not any(map(self.trains, names)):
            raise ConfigError(
                f"TRAINABLE={quoted(self.trainable)} matches no parameter"
                f"{did_you_mean(self.trainable, [ALL, LORA, PROMPT, *names])}; it is {ALL!r}, "
                f"{LORA!r}, {PROMPT!r}, or matches a whole name, such as '{min(names)}'"
            )
        if self.frozen_dtype != "float32":
            frozen.reduce(module, self.trains, jnp.dtype(self.frozen_dtype))
        return module

    def _prompt_embedding(self, module: nnx.Module) -> Embed:
        """Returns the table that prompts are looked up in."""
        for path, node in nnx.iter_graph(module):
            name = "/".join(map(str, [*path, "embedding"]))
            is_read = re.fullmatch(self.base.prompt_parameters, name)
            if (
                isinstance(node, Embed)
                and is_read
                and node.embedding.get_metadata("axes")[0] == "vocab"
            ):
                return node
        raise ConfigError(f"{type(self.base).__name__} has no table of tokens for a soft prompt")


@gin.configurable(module="models")
def tuned_model(
    model: Any,
    trainable: str = ALL,
    frozen_dtype: str = "float32",
    lora_rank: int = LoRA.rank,
    lora_alpha: float = LoRA.alpha,
    lora_rank_stabilized: bool = LoRA.rank_stabilized,
    lora_targets: str | None = None,
    lora_dropout: float = LoRA.dropout,
    soft_prompt_length: int = SoftPrompt.length,
    soft_prompt_init: str = SoftPrompt.init,
    soft_prompt_labels: Any = (),
) -> Any:
    """Returns the configuration of a model of which TRAINABLE trains.

    Args:
        model: config of a family; or of a tuned model, which a checkpoint may be of.
        trainable: see `TunedConfig`; "all" returns `model` as it is.
        frozen_dtype: see `TunedConfig`.
        lora_rank: see `LoRA`, like the next four.
        lora_alpha: see there.
        lora_rank_stabilized: see there.
        lora_targets: see there.
        lora_dropout: see there.
        soft_prompt_length: see `SoftPrompt`, like the next two.
        soft_prompt_init: see there.
        soft_prompt_labels: see there.

    Raises:
        ConfigError: a value is none, or a checkpoint was tuned in another way.
    """
    if trainable == ALL:
        if frozen_dtype != "float32":
            raise ConfigError(
                f"FROZEN_DTYPE={quoted(frozen_dtype)}: with TRAINABLE='all' nothing is frozen"
            )
        return model
    lora = soft_prompt = None
    if trainable == LORA:
        lora = LoRA(lora_rank, lora_alpha, lora_rank_stabilized, lora_targets, lora_dropout)
    if trainable == PROMPT:
        soft_prompt = SoftPrompt(soft_prompt_length, soft_prompt_init, soft_prompt_labels)
    base = model.base if isinstance(model, TunedConfig) else model
    return TunedConfig(base, trainable, lora, soft_prompt, frozen_dtype)
