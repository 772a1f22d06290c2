"""What a model family is, and a model as a pure function of a flat dictionary of parameters.

`Family` and `FamilyModule` state all that training, evaluation, ranking, embedding, model-info,
adapters and interoperation may ask of a family. A family is one file: a config dataclass that is a
`Family`, and the Flax NNX module it builds. Those of `registry.FAMILIES` are known by name; any
other is made known by `register`, called in a module that a gin file or the command line names.
Outside this package and `interop`, no code names a family or a key of its batches, and parameters
are `{"encoder/layers/...": array}`.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import gin
import jax
from flax import nnx

from flan_jax import registry
from flan_jax.errors import ConfigError, did_you_mean
from flan_jax.models.decoding import DecodingModel
from flan_jax.models.framing import Framing, Sequences, SpecialTokens
from flan_jax.models.layers import give_dropout_keys
from flan_jax.models.layouts import Layout, Targets

Params = dict[str, jax.Array]


class FamilyModule(DecodingModel, Protocol):
    """A model of a family with its parameters: an `nnx.Module`.

    Every parameter is an `nnx.Param` with the metadata key `axes`, one logical axis name per array
    axis (see `models.layers`; training maps the names to a mesh). Layers that are scanned have the
    axis "layers" in front. Shapes: B rows, S prompt positions, T target positions, D width, V
    vocabulary. Beside what is here, it decodes as `DecodingModel` says.
    """

    def hidden_states(
        self, batch: Mapping[str, jax.Array], *, dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns what the output head reads, [B, T, D] in the compute dtype.

        Args:
            batch: what the family's layout makes.
            dropout_key: random key; None drops nothing.
        """

    def output_head(self) -> Callable[[jax.Array], jax.Array]:
        """Returns the module that maps hidden states [..., D] to float32 logits [..., V]."""

    def prompt_states(self, prompts: Sequences) -> jax.Array:
        """Returns a state of each position of prompts, [B, S, D]; at padding they mean nothing.

        An encoder-decoder's are those of its encoder; a decoder's those that its head reads.
        """

    def answer_states(
        self, prompts: Sequences, prompt_B: jax.Array, answers: Sequences, framing: Framing
    ) -> jax.Array:
        """Returns what the output head reads where it predicts each token of answers, [B, T, D].

        Each prompt is read once, however many answers follow it. `decoding.score_answers` makes
        log-probabilities of it.

        Args:
            prompts: E prompts.
            prompt_B: int32, which prompt an answer follows.
            answers: B answers.
            framing: names the token that begins a decoder.
        """


class Family(Protocol):
    """Configuration of a family at one size: a frozen (hashable) dataclass.

    Attributes:
        vocab_size: rows of the embedding table.
        emb_dim: width of hidden and prompt states.
        dropout_rate: 0 where training draws nothing.
        numerics: names of fields in which two models may differ and still share parameters.
        row_layout: how examples become batches.
        prompt_parameters: regular expression of the parameters that `prompt_states` reads.

    A family may say which parameters train, by a method `trains(name)`; else all do.
    """

    vocab_size: int
    emb_dim: int
    dropout_rate: float
    numerics: ClassVar[tuple[str, ...]]
    row_layout: ClassVar[Callable[[Framing], Layout]]
    prompt_parameters: ClassVar[str]

    def build(self, rngs: nnx.Rngs) -> FamilyModule:
        """Returns a module with fresh parameters."""

    def framing(self, special: SpecialTokens) -> Framing:
        """Returns which tokens begin, part, end and fill this model's sequences."""

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row."""


_registered: dict[str, Any] = {}


def register(config: type) -> type:
    """Makes a family known by the name of its config class, to gin and to checkpoints.

    Args:
        config: a dataclass that is a `Family`; returned, so that this can decorate it.
    """
    _registered[config.__name__] = config
    with contextlib.suppress(ValueError):  # registered already
        gin.external_configurable(config, name=config.__name__, module="models")
    return config


def register_families() -> None:
    """Makes every family's config class known to gin, under its own name."""
    for name in registry.FAMILIES:
        register(family(name))


def names() -> list[str]:
    """Returns the names of all config classes that are known."""
    return [*registry.FAMILIES, *(name for name in _registered if name not in registry.FAMILIES)]


def family(name: str) -> Any:
    """Returns the config class of a family by name.

    Raises:
        ConfigError: none has that name; the nearest is offered.
    """
    found = _registered.get(name) or registry.find(registry.FAMILIES, name)
    if found is None:
        raise ConfigError(
            f"no model family {name!r}{did_you_mean(name, names())}; there are {', '.join(names())}"
        )
    return found


@dataclasses.dataclass(frozen=True)
class Model:
    """A model family at one size, as pure functions of its parameters.

    Attributes:
        config: dataclass of the family, such as `T5Config`.
    """

    config: Any

    def __post_init__(self) -> None:
        if not callable(getattr(self.config, "build", None)):
            kind = type(self.config).__name__
            raise ConfigError(f"{kind} is no model family; there are {', '.join(names())}")

    @functools.cached_property
    def _abstract(self) -> tuple[Any, list[tuple[Any, Any]]]:
        """Graph and parameters without values."""
        model = nnx.eval_shape(lambda: self.config.build(nnx.Rngs(0)))
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
    def trained(self) -> tuple[str, ...]:
        """Names of the parameters that train: all, but for a family that says otherwise."""
        trains = getattr(self.config, "trains", lambda name: True)
        return tuple(name for name in self.shapes if trains(name))

    @property
    def token_parameters(self) -> list[str]:
        """Names of the parameters with one row or column a token of the vocabulary."""
        return [name for name, axes in self.axes.items() if "vocab" in axes]

    def layout(self, special: SpecialTokens) -> Layout:
        """Returns how examples become this model's batches with a vocabulary's special tokens."""
        framing = self.config.framing(special)
        further = tuple(
            token for token in getattr(special, "end_ids", ()) if token != framing.eos_id
        )
        return self.config.row_layout(dataclasses.replace(framing, end_ids=further))

    def targets(self, batch: Mapping[str, jax.Array]) -> Targets:
        """Returns what a loss needs of a batch."""
        return self.config.row_layout.targets(batch)

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters; traceable, so it can be compiled with shardings."""
        state = nnx.state(self.config.build(nnx.Rngs(key)), nnx.Param)
        return {_name(path): param[...] for path, param in nnx.to_flat_state(state)}

    def bind(self, params: Params) -> Any:
        """Returns the `FamilyModule` with these parameters."""
        graph, flat = self._abstract
        filled = [(path, param.replace(params[_name(path)])) for path, param in flat]
        return nnx.merge(graph, nnx.from_flat_state(filled))

    def apply(
        self, params: Params, batch: Mapping[str, jax.Array], dropout_key: jax.Array | None = None
    ) -> jax.Array:
        """Returns the logits of `targets` [B, T, V] in float32."""
        hidden_BxTxD, head = self.hidden_and_head(params, batch, dropout_key)
        return head(hidden_BxTxD)

    def hidden_and_head(
        self, params: Params, batch: Mapping[str, jax.Array], dropout_key: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:
        """Returns the hidden states of `targets` [B, T, D], and what maps them to logits."""
        module = self.bind(params)
        if dropout_key is not None:
            give_dropout_keys(module, dropout_key)
        hidden = module.hidden_states(batch, dropout_key=dropout_key)
        return self.config.row_layout.at_targets(batch, hidden), module.output_head()

    def forward_flops(self, inputs_length: int, targets_length: int) -> float:
        """Returns the floating point operations of a forward pass over one row."""
        return self.config.forward_flops(inputs_length, targets_length)

    def describe(self) -> dict[str, Any]:
        """Returns what makes two models incompatible: family and shape, not numerics.

        A field with the metadata "unstated" is left out at its default: one that came later than
        checkpoints that are still to be read. One with the metadata "family" is a family's.
        """
        return {"family": type(self.config).__name__, **_stated(self.config)}


def _stated(config: Any) -> dict[str, Any]:
    """What `Model.describe` says of a configuration, and of those within it."""
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        unstated = field.metadata.get("unstated") and value == field.default
        if field.name in getattr(config, "numerics", ()) or unstated:
            continue
        if field.metadata.get("family"):
            found[field.name] = {"family": type(value).__name__, **_stated(value)}
        else:
            found[field.name] = _stated(value) if dataclasses.is_dataclass(value) else value
    return found


def with_numerics(config: Any, **numerics: Any) -> Any:
    """Returns a configuration, and those within it, with other numerics.

    Args:
        config: of a family.
        **numerics: fields by name; those that are not among a configuration's are left out.
    """
    return _replaced(config, numerics, lambda config: getattr(config, "numerics", ()))


def with_param_dtype(config: Any, dtype: str) -> Any:
    """Returns a configuration, and those within it, with parameters of a dtype."""
    return _replaced(config, {"param_dtype": dtype}, lambda config: vars(config))


def _replaced(config: Any, values: Mapping[str, Any], names: Callable[[Any], Any]) -> Any:
    """Replaces those fields, also of configurations within one, that `names` has of each."""
    changed = {name: value for name, value in values.items() if name in names(config)}
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(value := getattr(config, field.name)):
            changed[field.name] = _replaced(value, values, names)
    return dataclasses.replace(config, **changed)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))
