"""Weights of which only some trained: read from two places, told apart by checksums, or merged.

A checkpoint of a tuned model (`adapters.tuned.TunedConfig`) holds what trained, and of the frozen
rest a checksum a parameter. Where that rest lies is of the machine that trained it, and never taken
from a checkpoint: the person names it (BASE_CHECKPOINT_PATH), or the run is one of this machine,
which remembers (`own_runs`).
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax import macros
from flan_jax.adapters import frozen, lora
from flan_jax.adapters.tuned import TunedConfig
from flan_jax.errors import CheckpointError, ConfigError
from flan_jax.models.families import Model, Params
from flan_jax.training import checkpoints, stored_settings
from flan_jax.training.checkpoints import Found

FIELD, NAMED, CHECKSUMS = "base", "named", "checksums"
_KERNEL = "kernel"


def is_tuned(model: Model) -> bool:
    """Whether only some of a model's parameters train."""
    return isinstance(model.config, TunedConfig)


def base_model(model: Model) -> Model:
    """Returns the model that a tuned one was made of."""
    return Model(model.config.base) if is_tuned(model) else model


@jax.jit
def _checksum(value: jax.Array) -> jax.Array:
    """Sums the bits of an array, each number times its odd place, modulo 2**32, in any order."""
    bits = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[value.dtype.itemsize]
    words = jax.lax.bitcast_convert_type(value, bits).astype(jnp.uint32)
    place = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(value.shape):  # an index of all numbers would need 64 bits
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, value.shape, axis)
    return jnp.sum((words ^ (words >> 15)) * (2 * place + 1), dtype=jnp.uint32)


def checksums(params: Params) -> dict[str, int]:
    """Returns what tells weights from others, by name; the same on every mesh."""
    return {name: int(_checksum(value)) for name, value in sorted(params.items())}


@dataclasses.dataclass(frozen=True)
class OnBase(Found):
    """A checkpoint of a tuned model, with the base that its frozen weights are of.

    Attributes:
        model: the tuned model.
        own: the checkpoint alone, which holds what trained.
        source: where its base is, None where nobody knows.
        open_base: opens its base.
    """

    model: Any = None
    own: Any = None
    source: str | None = None
    open_base: Callable[[], Found] = dataclasses.field(kw_only=True, compare=False, repr=False)

    @property
    def vocabulary(self) -> str | None:
        """Specification of the vocabulary that it carries, None where it carries none."""
        return self.own.vocabulary

    @property
    def weights_hash(self) -> dict[str, Any]:
        """What tells its weights from others: files of what trained, sums of what did not."""
        return {**self.own.weights_hash, FIELD: self.run[FIELD][CHECKSUMS]}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every parameter, those of the base included."""
        shapes = {name: tuple(leaf.shape) for name, leaf in self.model.shapes.items()}
        frozen_shapes = {name: shapes[name] for name in shapes if name not in self.model.trained}
        return {**frozen_shapes, **self.own.shapes()}

    def read(self, wanted: dict[str, Any], whole: bool) -> dict[str, jax.Array]:
        """Reads parameters of the shapes that are there.

        Raises:
            CheckpointError: the base is not the one that these weights were trained on.
        """
        trained = {name: leaf for name, leaf in wanted.items() if name in self.model.trained}
        rest = {name: leaf for name, leaf in wanted.items() if name not in trained}
        params = self.own.read(trained, whole=False) if trained else {}
        if rest:
            base = self.open_base()
            params |= read_frozen(base, self.model, rest)
            base.release()
            if (sums := self.run[FIELD][CHECKSUMS]) is not None:
                what = f"{self.path} was trained on another base than {base.path}"
                check({name: params[name] for name in rest}, sums, what)
        return {name: params[name] for name in wanted}


def check(params: Params, expected: Mapping[str, int], what: str) -> None:
    """Refuses frozen weights that are not those of the checksums.

    Raises:
        CheckpointError: begins with `what` and names a parameter.
    """
    for name, found in checksums(params).items():
        if found != expected.get(name):
            raise CheckpointError(
                f"{what}: parameter {name} differs; name the right one, as "
                "--gin.BASE_CHECKPOINT_PATH=..."
            )


def read_frozen(base: Found, model: Model, wanted: Mapping[str, Any]) -> Params:
    """Reads the frozen parameters of a tuned model from its base, in the dtype they are kept in.

    Args:
        base: the base, opened.
        model: the tuned model.
        wanted: shapes, dtypes and shardings by name; dtypes are those of the model.

    Raises:
        CheckpointError: the base has other parameters.
    """
    sources = {name: _source(name, model) for name in wanted}
    _check_shapes(base, base_model(model), set(sources.values()))
    plain = {
        name: leaf
        for name, leaf in wanted.items()
        if name == sources[name] and leaf.dtype != jnp.int8
    }
    params = base.read(plain, whole=False) if plain else {}
    # One after another: only one of them is held in more bytes than it will have.
    for source in sorted({sources[name] for name in wanted if name not in plain}):
        names = (source, f"{source}{frozen.SCALE}")
        sharding = wanted[names[0]].sharding if names[0] in wanted else wanted[names[1]].sharding
        shape = base_model(model).shapes[source].shape
        value = base.read(
            {source: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)}, whole=False
        )[source]
        quantized = jax.jit(frozen.quantize, static_argnums=1)(value, frozen.axis_of(source))
        for name, array in zip(names, quantized, strict=True):
            if name in wanted:
                params[name] = jax.device_put(array, wanted[name].sharding)
    return params


def _source(name: str, model: Model) -> str:
    """Returns the parameter of the base that a frozen one is made of."""
    weight = name.removesuffix(frozen.SCALE)
    is_scale = weight != name and model.shapes.get(weight, model.shapes[name]).dtype == jnp.int8
    return weight if is_scale else name


def _check_shapes(base: Found, model: Model, names: set[str]) -> None:
    shapes = base.shapes()
    for name in sorted(names | ({*shapes} - {*model.shapes})):
        ours = tuple(model.shapes[name].shape) if name in model.shapes else None
        if shapes.get(name) != ours:
            raise CheckpointError(
                f"{base.path}: parameter {name} {checkpoints.shape_words(shapes.get(name))} there "
                f"and {checkpoints.shape_words(ours)} in the model that was tuned"
            )


@dataclasses.dataclass(frozen=True)
class Merged(Found):
    """A checkpoint of a tuned model, read as one of the model that it was made of.

    Adapters are added to the kernels that they belong to, in float32; int8 weights become what
    they stand for.

    Attributes:
        tuned: the checkpoint.
    """

    tuned: Any = None

    @classmethod
    def of(cls, tuned: OnBase) -> "Merged":
        """Returns a checkpoint of a tuned model as one of its base.

        Raises:
            ConfigError: it has a soft prompt, which is no weight of the base.
        """
        if tuned.model.config.soft_prompt is not None:
            raise ConfigError(
                f"{tuned.path} has a soft prompt, which cannot be merged: no weight of the model "
                "stands for it"
            )
        described = json.loads(json.dumps(base_model(tuned.model).describe()))
        facts = {**tuned.run["fingerprint"], "model": described}
        settings = stored_settings.decode(tuned.run, str(tuned.path))
        left = {name: value for name, value in settings.items() if name not in macros.TUNING}
        run = {name: value for name, value in tuned.run.items() if name != FIELD}
        run |= stored_settings.encode(left)
        return cls(tuned.step, tuned.path, {**run, "fingerprint": facts}, tuned.hold, tuned=tuned)

    @property
    def weights_hash(self) -> dict[str, Any]:
        """What tells its weights from others."""
        return {**self.tuned.weights_hash, "merged": True}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every parameter of the base."""
        self.tuned.shapes()
        return {n: tuple(leaf.shape) for n, leaf in base_model(self.tuned.model).shapes.items()}

    def read(self, wanted: dict[str, Any], whole: bool) -> dict[str, jax.Array]:
        """Reads parameters of the shapes that are there."""
        further = {name: self._further(name) for name in wanted}
        plain = {name: leaf for name, leaf in wanted.items() if not further[name]}
        params = self.tuned.read(plain, whole=False) if plain else {}
        for name in wanted:
            if further[name]:
                params[name] = self._merge(name, further[name], wanted[name])
        return {name: params[name] for name in wanted}

    def _further(self, name: str) -> list[str]:
        """Names of the tuned model's parameters that one of the base is made of, beside its own."""
        layer = name.removesuffix(_KERNEL)
        possible = (f"{name}{frozen.SCALE}", f"{layer}{lora.A}", f"{layer}{lora.B}")
        shapes, own = self.tuned.model.shapes, base_model(self.tuned.model).shapes
        return [one for one in possible if one in shapes and one not in own]

    def _merge(self, name: str, further: Sequence[str], wanted: Any) -> jax.Array:
        shapes, config = self.tuned.model.shapes, self.tuned.model.config
        held = {
            part: jax.ShapeDtypeStruct(
                shapes[part].shape,
                shapes[part].dtype,
                sharding=wanted.sharding if part == name else _whole(wanted.sharding),
            )
            for part in (name, *further)
        }
        layer = name.removesuffix(_KERNEL)

        def merge(params: Params) -> jax.Array:
            value = params[name].astype(jnp.float32)
            if (scale := params.get(f"{name}{frozen.SCALE}")) is not None:
                value = frozen.dequantize(params[name], scale, frozen.axis_of(name))
            if (a := params.get(f"{layer}{lora.A}")) is not None:
                value += lora.delta(config.lora, a, params[f"{layer}{lora.B}"])
            return value.astype(wanted.dtype)

        return jax.jit(merge, out_shardings=wanted.sharding)(self.tuned.read(held, whole=False))


def _whole(sharding: Any) -> Any:
    """Returns the sharding of a small array beside a large one."""
    if isinstance(sharding, jax.sharding.NamedSharding):
        return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return sharding
