"""From a checkpoint to a model with its weights: for training, evaluation, embedding alike.

What a checkpoint says of itself is data and may be anybody's; a model is built, and a tensor read,
only when both are known to fit.
"""

import dataclasses
import json
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath
from jax.sharding import Sharding

from flan_jax import registry
from flan_jax.errors import CheckpointError, did_you_mean, first_line, quoted
from flan_jax.instructions.vocabulary import SETTING, VOCABULARY, vocabulary_fingerprint
from flan_jax.models import families
from flan_jax.models.families import Model, Params
from flan_jax.training import checkpoints, identity, own_runs, stored_settings, tuned_weights
from flan_jax.training import (
    mesh as mesh_lib,
)
from flan_jax.training.checkpoints import Found
from flan_jax.training.tuned_weights import Merged, OnBase

# Than this no field of a model's config is larger.
_LARGEST = 2**31


@dataclasses.dataclass(frozen=True)
class Released(Found):
    """A published model (`interop.published.Published`), as a checkpoint of no steps.

    Attributes:
        published: the model, opened.
    """

    published: Any = None

    @property
    def vocabulary(self) -> str | None:
        """Specification of its tokenizer: of several, that in use, or else the fastest."""
        specs = self.published.vocabularies
        return VOCABULARY.spec if VOCABULARY.spec in specs else (specs[0] if specs else None)

    @property
    def weights_hash(self) -> dict[str, Any]:
        """Sizes and times of the files that it is read from."""
        return dict(self.published.content)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every parameter."""
        return {name: tuple(leaf.shape) for name, leaf in self.published.model.shapes.items()}

    def read(self, wanted: dict[str, Any], whole: bool) -> dict[str, jax.Array]:
        """Reads parameters of the shapes that are there."""
        return self.published.params(wanted)


def require(
    where: str, say: Callable[[str], None] = checkpoints.log.warning, base: str | None = None
) -> Found:
    """Opens a checkpoint of ours or a published model, by the name a person gives it.

    Args:
        where: what `checkpoints.require` takes; or "hf:" and a folder of transformers or a name on
            the hub, "gguf:" and a file, "t5x:" and a checkpoint of T5X.
        say: called with what was passed over.
        base: BASE_CHECKPOINT_PATH: what the frozen weights of a tuned model are read from; None
            where this machine remembers it, if it tuned the model.

    Raises:
        CheckpointError: there is none, it is damaged, or it is of a model that is not known here.
    """
    if (adapter := registry.by_prefix(registry.ADAPTERS, where)) is not None:
        return _open_adapter(where, *adapter, base, say)
    opened = registry.by_prefix(registry.PUBLISHED, where)
    if opened is None:
        _refuse_prefix(where)
        return on_base(checkpoints.require(where, say, weights_only=True), base, say)
    make, rest = opened
    return _released(where, make(rest))


def _released(where: str, published: Any) -> Released:
    """Returns a published model as a checkpoint."""
    found = Released(0, epath.Path(where), {}, published=published)
    spec = found.vocabulary
    found.run.update(
        {
            "step": 0,
            "content": published.content,
            "fingerprint": {
                "model": json.loads(json.dumps(published.model.describe())),
                "vocabulary": vocabulary_fingerprint(spec) if spec else None,
            },
            **stored_settings.encode({}),
        }
    )
    return found


def _open_adapter(
    where: str,
    make: Callable[..., Any],
    rest: str,
    base: str | None,
    say: Callable[[str], None],
) -> OnBase:
    """Opens a published adapter on its base; see `require`."""
    if base is None:
        raise CheckpointError(
            f"{where} is an adapter: name the model that it adapts, as "
            "--gin.BASE_CHECKPOINT_PATH=hf:google/gemma-3-270m"
        )
    there = require_base(base, say)
    spec = there.vocabulary
    own = _released(where, make(rest, model_of(there).config, (spec,) if spec else ()))
    there.release()
    # Nothing says of which weights it was trained on but its author.
    facts = {tuned_weights.NAMED: base, tuned_weights.CHECKSUMS: None}
    then = there.run["fingerprint"].get("vocabulary")
    fingerprint = {**own.run["fingerprint"], "vocabulary": then}
    run = {**own.run, "fingerprint": fingerprint, tuned_weights.FIELD: facts}
    return OnBase(
        own.step,
        own.path,
        run,
        model=own.published.model,
        own=own,
        source=base,
        open_base=lambda: require_base(base, say),
    )


def on_base(found: Found, base: str | None, say: Callable[[str], None]) -> Found:
    """Returns a checkpoint of a tuned model with its base; any other as it is.

    Args:
        found: a checkpoint of ours.
        base: see `require`.
        say: called with what is passed over where the base is opened.
    """
    if tuned_weights.FIELD not in found.run:
        return found
    remembered = own_runs.recall(found.run, found.path) or {}
    where = base or remembered.get(own_runs.BASE)

    def open_base() -> Found:
        if where is None:
            named = found.run[tuned_weights.FIELD][tuned_weights.NAMED]
            raise CheckpointError(
                f"{found.path} holds what trained, and not the weights it was trained on, which "
                f"its run called {quoted(named)}: name them, as --gin.BASE_CHECKPOINT_PATH=..."
            )
        return require_base(where, say)

    return OnBase(
        **vars(found), model=model_of(found), own=found, source=where, open_base=open_base
    )


def require_base(where: str, say: Callable[[str], None] = checkpoints.log.warning) -> Found:
    """Opens what weights are taken from for another model: a tuned one is merged.

    Raises:
        CheckpointError: see `require`.
        ConfigError: it cannot be merged.
    """
    found = require(where, say)
    return Merged.of(found) if isinstance(found, OnBase) else found


def _refuse_prefix(where: str) -> None:
    """Refuses a misspelt prefix, which would be looked for as a folder."""
    prefix, colon, _ = where.partition(":")
    near = (
        did_you_mean(prefix, [*registry.PUBLISHED, *registry.ADAPTERS])
        if colon and prefix.isalnum()
        else ""
    )
    if near and "://" not in where:
        raise CheckpointError(f"checkpoint {quoted(where)}: no kind of checkpoint {prefix!r}{near}")


def open_as(where: str, model: Model, say: Callable[[str], None], base: str | None = None) -> Found:
    """Opens a checkpoint that has to be of a model and of the vocabulary in use.

    Args:
        where: as a person names it, see `require`.
        model: the model that its weights are for.
        say: called with what was passed over.
        base: see `require`.

    Raises:
        CheckpointError: there is none, it is damaged, or it is of something else.
    """
    found = require(where, say, base)
    then = found.run["fingerprint"]
    now = {
        "model": json.loads(json.dumps(model.describe())),
        "vocabulary": then["vocabulary"] if _unsaid(found) else VOCABULARY.fingerprint,
    }
    if changes := identity.differences({key: then.get(key) for key in now}, now):
        raise CheckpointError(f"{found.path} does not fit this configuration: {'; '.join(changes)}")
    return found


def open_part(where: str, part: str | None, model: Model, say: Callable[[str], None]) -> Found:
    """Opens a checkpoint some of whose weights another model starts from.

    Args:
        where: as a person names it, see `require`.
        part: regular expression of the names of the weights to take; None takes all.
        model: what starts from them. Where one of them has a row a token, the vocabulary has to
            be the same.
        say: called with what was passed over.

    Raises:
        CheckpointError: there is none, it is damaged, or it is of another vocabulary.
        ConfigError: it is of a tuned model that cannot be merged.
    """
    found = require_base(where, say)
    if _unsaid(found):
        say(f"{found.path} does not say of which vocabulary it is; VOCABULARY is taken for it")
    elif part is None or any(re.fullmatch(part, name) for name in model.token_parameters):
        now = {"vocabulary": VOCABULARY.fingerprint}
        identity.check_vocabulary(found.run["fingerprint"], now, str(found.path))
    return found


def _unsaid(found: Found) -> bool:
    """Whether a published model brings no tokenizer, so that any might be its own."""
    return isinstance(found, Released) and found.vocabulary is None


def model_of(found: Found) -> Model:
    """Returns the model that a checkpoint says it is of; what it leaves unsaid has no effect here.

    Raises:
        CheckpointError: it does not say, or that model is not known here.
    """
    fields = found.run["fingerprint"].get("model") or {}
    try:
        model = Model(_config_of(fields))
        model.shapes  # noqa: B018 - what makes no model is refused now
        return model
    except _UnknownFamilyError as unknown:
        raise CheckpointError(
            f"{found.path} was saved for a model of family {quoted(unknown.args[0])}, and this "
            f"version knows {', '.join(families.names())}; give a checkpoint of one of these"
        ) from None
    except Exception as error:  # of another version of this package, or made to harm
        raise CheckpointError(
            f"{found.path} was saved for a {fields['family']} that this version does not know: "
            f"{first_line(error)}; give a checkpoint that this version wrote"
        ) from None


class _UnknownFamilyError(Exception):
    """The family that a checkpoint names."""


def _config_of(described: Mapping[str, Any]) -> Any:
    """Returns the configuration that `Model.describe` described."""
    fields = dict(described)
    family = fields.pop("family", None)
    if not isinstance(family, str) or family not in families.names():
        raise _UnknownFamilyError(family)
    config = families.family(family)
    of_families = [f.name for f in dataclasses.fields(config) if f.metadata.get("family")]
    for name in of_families:
        fields[name] = _config_of(fields[name] if isinstance(fields.get(name), dict) else {})
    plain = {name: value for name, value in fields.items() if name not in of_families}
    _check_types(plain, typing.get_type_hints(config))
    return config(**fields)


def _check_types(fields: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Refuses fields whose values JSON may hold and a config of a model may not."""
    for name, value in fields.items():
        kind = kinds.get(name)
        inner = [one for one in (kind, *typing.get_args(kind)) if dataclasses.is_dataclass(one)]
        if kind in (float, float | None):
            right = type(value) in (int, float) and abs(value) < _LARGEST
            right = right or (value is None and kind is not float)
        elif kind in (int, bool, str):
            right = type(value) is kind and (kind is str or value < _LARGEST)
        elif inner and isinstance(value, dict):
            _check_types(value, typing.get_type_hints(inner[0]))
            right = True
        else:  # names, or a number that may be absent
            names = value if isinstance(value, list) else [value]
            right = all(isinstance(one, str | int | None) for one in names)
        if not right:
            raise ValueError(f"{name} is {quoted(value)}")


def check_vocabulary(found: Found) -> None:
    """Refuses a checkpoint whose embeddings stand for other tokens than those in use.

    Raises:
        CheckpointError: says what to set VOCABULARY to, as far as that is known.
    """
    then, now = found.run["fingerprint"].get("vocabulary"), VOCABULARY.fingerprint
    if then == now or _unsaid(found):
        return
    names = [spec for spec in ("default", "byte") if vocabulary_fingerprint(spec) == then]
    names += [spec for spec in (found.vocabulary, _named(found)) if spec]
    names = [spec for spec in names if spec != VOCABULARY.spec]  # a file may have changed since
    known = f"{SETTING}={names[0]}" if names else f"{SETTING} to the one it was trained with"
    raise CheckpointError(
        f"{found.path} was trained with vocabulary {then}, and {VOCABULARY.spec!r}, in use, is "
        f"{now}; set {known}, as --gin.{SETTING}=... or in the environment"
    )


def vocabulary_of(found: Found) -> str | None:
    """Returns the specification of a checkpoint's vocabulary, None where nothing says it."""
    if found.vocabulary is not None or isinstance(found, Released):
        return found.vocabulary
    named = _named(found)
    return named if named in stored_settings.VOCABULARY_NAMES else "default"


def _named(found: Found) -> str | None:
    """The vocabulary that a checkpoint says it was trained with, for messages alone."""
    named = stored_settings.decode(found.run, str(found.path)).get(SETTING)
    return named if isinstance(named, str) else None


def weights(
    found: Found | None, model: Model, place: Any, part: str | None = None, seed: int = 0
) -> Params:
    """Returns the weights of a checkpoint, where they are to lie.

    Args:
        found: the checkpoint; None makes fresh weights.
        model: what they are of.
        place: a mesh, on which they are sharded, or one sharding for all of them.
        part: regular expression of the names to read; no others are held. None reads all.
        seed: of fresh weights.

    Raises:
        CheckpointError: they cannot be restored, or are of another shape.
    """
    if isinstance(place, Sharding):
        shardings: Mapping[str, Any] = dict.fromkeys(model.shapes, place)
    else:
        shardings = mesh_lib.parameter_shardings(model.axes, model.shapes, place)
    if found is None:
        return jax.jit(model.init, out_shardings=shardings)(jax.random.key(seed))
    target = {
        name: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=shardings[name])
        for name, shape in model.shapes.items()
        if part is None or re.fullmatch(part, name)
    }
    return checkpoints.restore_params(found, target, part)
