"""Model families, and a model as a pure function of a flat dictionary of parameters.

Training, checkpoints and interoperation see parameters as `{"encoder/layers/...": array}`; only
this module knows how that becomes a Flax NNX module. A family is a config dataclass and a module
class, listed in `FAMILIES`; nothing else in the package knows a family by name.
"""

import dataclasses
import functools
import importlib
from collections.abc import Mapping
from typing import Any

import gin
import jax
from flax import nnx

from flan_jax.errors import ConfigError, quoted
from flan_jax.instructions.vocabulary import VOCABULARY

Params = dict[str, jax.Array]
# Config class -> (module, config class, module class).
FAMILIES = {"T5Config": ("flan_jax.models.t5", "T5Config", "T5")}
# Embedding tables are padded to a multiple of this, which every matrix unit likes.
VOCABULARY_MULTIPLE = 128


@gin.configurable
def padded_vocab_size(multiple: int = VOCABULARY_MULTIPLE) -> int:
    """Returns the size of the shared vocabulary, rounded up to a multiple."""
    return -(-VOCABULARY.vocab_size // multiple) * multiple


def check_vocabulary(rows: int) -> None:
    """Refuses a table that has no row for a token of the vocabulary in use.

    Looking such a token up gives NaN, which would be noticed as a loss that is none. Sentinels are
    not counted, as no text becomes one: published tables have fewer rows than all of them need.

    Args:
        rows: of the table of tokens.

    Raises:
        ConfigError: names the vocabulary, both sizes, and what would fit.
    """
    tokens = VOCABULARY.vocab_size - VOCABULARY.extra_ids
    if tokens > rows:
        raise ConfigError(
            f"VOCABULARY {quoted(VOCABULARY.spec)} has {tokens:,} tokens, and the model's table "
            f"only {rows:,} rows (VOCAB_SIZE={rows}): VOCAB_SIZE={padded_vocab_size()} would fit, "
            "or set VOCABULARY to the one that the model is for"
        )


def register_families() -> None:
    """Makes every family's config class known to gin, under its own name."""
    for module, config, _ in FAMILIES.values():
        cls = getattr(importlib.import_module(module), config)
        try:
            gin.external_configurable(cls, name=config, module="models")
        except ValueError:  # registered already
            continue


@dataclasses.dataclass(frozen=True)
class Model:
    """A model family at one size, as pure functions of its parameters.

    Attributes:
        config: dataclass of the family, such as `T5Config`.
    """

    config: Any

    @functools.cached_property
    def _class(self) -> Any:
        name = type(self.config).__name__
        if name not in FAMILIES:
            raise ConfigError(f"no model family for {name}; there are {', '.join(FAMILIES)}")
        module, _, cls = FAMILIES[name]
        return getattr(importlib.import_module(module), cls)

    @functools.cached_property
    def _abstract(self) -> tuple[Any, list[tuple[Any, Any]]]:
        """Graph and parameters without values."""
        model = nnx.eval_shape(lambda: self._class(self.config, nnx.Rngs(0)))
        graph, state = nnx.split(model, nnx.Param)
        return graph, list(nnx.to_flat_state(state))

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of every parameter."""
        return {
            _name(path): jax.ShapeDtypeStruct(param.shape, param.dtype)
            for path, param in self._abstract[1]
        }

    @property
    def axes(self) -> dict[str, tuple[str | None, ...]]:
        """Logical axis names of every parameter."""
        return {_name(path): tuple(param.axes) for path, param in self._abstract[1]}

    @property
    def token_parameters(self) -> list[str]:
        """Names of the parameters with one row or column a token of the vocabulary."""
        return [name for name, axes in self.axes.items() if "vocab" in axes]

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters; traceable, so it can be compiled with shardings."""
        state = nnx.state(self._class(self.config, nnx.Rngs(key)), nnx.Param)
        return {_name(path): param[...] for path, param in nnx.to_flat_state(state)}

    def bind(self, params: Params) -> Any:
        """Returns the module with these parameters."""
        graph, flat = self._abstract
        filled = [(path, param.replace(params[_name(path)])) for path, param in flat]
        return nnx.merge(graph, nnx.from_flat_state(filled))

    def apply(
        self, params: Params, batch: Mapping[str, jax.Array], dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns logits [B, T, V] in float32."""
        return self.bind(params)(batch, dropout_key=dropout_key)

    def hidden_and_head(
        self, params: Params, batch: Mapping[str, jax.Array], dropout_key: jax.Array | None = None
    ) -> tuple[jax.Array, nnx.Module]:
        """Returns hidden states [B, T, D], and the module that maps them to logits."""
        module = self.bind(params)
        return module.hidden_states(batch, dropout_key=dropout_key), module.output_head()

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row."""
        return self.config.forward_flops(inputs_length, targets_length)

    def describe(self) -> dict[str, Any]:
        """Returns what makes two models incompatible: family and shape, not numerics."""
        ignored = ("dtype", "dropout_rate", "remat", "attention_chunk")
        fields = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in ignored}
        return {"family": type(self.config).__name__, **fields}


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))
