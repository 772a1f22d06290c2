"""State of T5X's optimizers: its Adafactor's both ways, its AdamW's read.

T5X keeps the moments of each parameter under the parameter's own name. Its Adafactor and optax's,
which this package uses, factor a matrix alike: where both sizes are 128 or more, "v_row" is the
mean of squared gradients over the larger axis, "v_col" over the other. Kernels of more than two
axes, of scanned layers or with an axis of heads, it factors by the names of axes and whatever their
size, with "v_row" along "embed" (t5x/adafactor.py, `logical_factor_rules`).
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax
from optax._src.factorized import FactoredState

from flan_jax.interop.t5x_files import STATE, T5xFiles
from flan_jax.interop.tables import Entry, Shapes, Table

_STATES = f"{STATE}param_states/"
_PARTS = ("v_row", "v_col", "v")
_SWAPPED = {"v_row": "v_col", "v_col": "v_row"}
_LEAST_FACTORED = 128
# Kernels whose last axis is "embed"; of others it is the first.
_TO_EMBED = re.compile(r".*/(out|wo)/kernel")
_NONE = (1,)  # shape of a part that is not in use


def load(
    files: T5xFiles, table: Table, shapes: Mapping[str, Any], state: Any
) -> tuple[Any, list[str]]:
    """Returns the state of an optimizer with the moments of a checkpoint.

    Counters of schedules stay: the learning rate is that of the run.

    Args:
        files: the checkpoint.
        table: of the model's family and configuration.
        shapes: of our parameters (`Model.shapes`).
        state: of our optimizer, fresh: arrays, placed where they are to lie.

    Returns:
        The state, and in words what of it starts fresh and why.
    """
    there = files.state
    fresh: list[str] = []

    def one(node: Any) -> Any:
        if isinstance(node, FactoredState):
            return _adafactor(files, table, there, shapes, node, fresh)
        if isinstance(node, optax.ScaleByAdamState):
            return _adam(files, table, there, node, fresh)
        return node

    return jax.tree.map(one, state, is_leaf=_has_moments), fresh


def _has_moments(node: Any) -> bool:
    return isinstance(node, FactoredState | optax.ScaleByAdamState)


def _moved(entry: Entry, above: str, part: str = "") -> Entry:
    """The entry of a part of the moments, which is shaped as the parameter is."""
    theirs = above + entry.theirs.removeprefix("target/") + part
    return Entry(**{**vars(entry), "theirs": theirs})


def _own(entry: Entry, ours: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one layer of our parameter."""
    return ours[1:] if entry.stacked or entry.layer_axis is not None else ours


def _is_ruled(entry: Entry) -> bool:
    """Whether T5X factors by the names of axes, not by size."""
    scanned = entry.layer_axis is not None and entry.theirs.endswith("/kernel")
    return scanned or entry.split is not None


def _is_factored(own: tuple[int, ...]) -> bool:
    return len(own) == 2 and min(own) >= _LEAST_FACTORED


def _ours_of(part: str, entry: Entry, own: tuple[int, ...]) -> str:
    """Our name of a part of theirs: rows there may be columns here."""
    if not _is_ruled(entry):
        return part
    embed = 1 if _TO_EMBED.fullmatch(entry.theirs) else 0
    return part if np.argsort(own)[-2] == embed else _SWAPPED[part]


def _adafactor(
    files: T5xFiles,
    table: Table,
    there: Shapes,
    shapes: Mapping[str, Any],
    node: FactoredState,
    fresh: list[str],
) -> FactoredState:
    parts: dict[str, dict[str, Any]] = {part: dict(getattr(node, part)) for part in _PARTS}
    for entry in table.entries:
        if not _is_array(parts["v"].get(entry.ours)):
            continue
        try:
            found = _moments(files, there, entry, tuple(shapes[entry.ours].shape))
        except _Unfit as why:
            fresh.append(f"Adafactor's moments of {entry.ours} start fresh: {why}")
            continue
        for part, value in found.items():
            parts[part][entry.ours] = _placed(value, parts[part][entry.ours])
    return node._replace(count=_counted(files, node.count), **parts)


class _Unfit(Exception):
    """Why moments cannot be had."""


def _is_array(value: Any) -> bool:
    return value is not None and not isinstance(value, optax.MaskedNode)


def _moments(
    files: T5xFiles, there: Shapes, entry: Entry, ours: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The moments of one parameter by our names of the parts."""
    own, full = _own(entry, ours), _moved(entry, _STATES, "/v")
    for name in full.names(ours[0]):
        if name not in there:
            raise _Unfit(f"the checkpoint has no {name}")
        if (there[name] == _NONE) != _is_factored(own):
            raise _Unfit("they are factored on one side only")
    if not _is_factored(own):
        if there[full.names(ours[0])[0]] != full.shape(ours):
            raise _Unfit("they have another shape")
        whole = tuple(slice(0, size) for size in ours)
        return {"v": full.read(files, ours, whole)}
    found = {}
    for part in ("v_row", "v_col"):
        value = _vector(files, there, _moved(entry, _STATES, f"/{part}"), ours, part)
        found[_ours_of(part, entry, own)] = value
    return found


def _vector(
    files: T5xFiles, there: Shapes, entry: Entry, ours: tuple[int, ...], part: str
) -> np.ndarray:
    """A part of the moments of a factored parameter: [n], or of all layers [L, n]."""

    def whole(name: str) -> np.ndarray:
        return files.read(name, tuple(slice(0, size) for size in there[name]))

    if entry.stacked:
        return np.stack([whole(name).ravel() for name in entry.names(ours[0])])
    if entry.layer_axis is None:
        return whole(entry.theirs)
    # The axis of layers is the second of theirs: the first where that before it is gone.
    is_first = (part == "v_row") == bool(_TO_EMBED.fullmatch(entry.theirs.removesuffix(f"/{part}")))
    return np.moveaxis(whole(entry.theirs), 0 if is_first else 1, 0).reshape(ours[0], -1)


def _adam(files: T5xFiles, table: Table, there: Shapes, node: Any, fresh: list[str]) -> Any:
    pattern = re.compile(rf"({re.escape(_STATES)}(?:\d+/)*)mu/")
    above = next((found[1] for name in there if (found := pattern.match(name))), None)
    if above is None:
        fresh.append("AdamW starts fresh: the checkpoint has no moments of Adam")
        return node
    entries = {entry.ours: entry for entry in table.entries}
    moments: dict[str, dict[str, Any]] = {}
    for part in ("mu", "nu"):
        moments[part] = dict(getattr(node, part))
        for ours, now in moments[part].items():
            entry = _moved(entries[ours], f"{above}{part}/")
            if any(there.get(n) != entry.shape(now.shape) for n in entry.names(now.shape[0])):
                fresh.append(f"AdamW's moments of {ours} start fresh: the checkpoint has none")
                continue
            whole = tuple(slice(0, size) for size in now.shape)
            moments[part][ours] = _placed(entry.read(files, now.shape, whole), now)
    return node._replace(count=_counted(files, node.count), **moments)


def _counted(files: T5xFiles, now: Any) -> Any:
    """The counter of steps that the decay of moments depends on."""
    return _placed(np.full(now.shape, files.step), now)


def _placed(value: np.ndarray, now: Any) -> jax.Array:
    return jax.device_put(value.astype(now.dtype, copy=False), now.sharding)


def unload(
    table: Table, shapes: Mapping[str, Any], state: Any = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the state of T5X's Adafactor of our parameters, whose layers are not scanned.

    Args:
        table: of the model's family and configuration.
        shapes: of our parameters.
        state: of our optimizer. Moments of T5X's that it has not are zeros, with which it begins.
    """
    found = [n for n in jax.tree.leaves(state, is_leaf=_has_moments) if _has_moments(n)]
    nodes = [node for node in found if isinstance(node, FactoredState)]
    for entry in table.entries:
        assert entry.layer_axis is None, "scanned layers are factored otherwise"
        ours = tuple(shapes[entry.ours].shape)
        moments, own = _of_ours(nodes, entry), _own(entry, ours)
        for i, name in enumerate(entry.names(ours[0])):
            for part, shape in _their_shapes(entry, ours).items():
                value = moments.get(_ours_of(part, entry, own) if part in _SWAPPED else part)
                value = value[i] if value is not None and entry.stacked else value
                path = f"{_STATES}{name.removeprefix('target/')}/{part}"
                yield path, _as_theirs(value, entry, shape)


def _of_ours(nodes: list[FactoredState], entry: Entry) -> dict[str, np.ndarray]:
    for node in nodes:
        if _is_array(node.v.get(entry.ours)):
            return {part: np.asarray(getattr(node, part)[entry.ours]) for part in _PARTS}
    return {}


def _their_shapes(entry: Entry, ours: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of the parts that T5X has of one of its parameters."""
    own, theirs = _own(entry, ours), entry.shape(ours)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys((*_PARTS, "m"), _NONE)
    if _is_ruled(entry):
        to_embed = _TO_EMBED.fullmatch(entry.theirs)
        shapes["v_row"], shapes["v_col"] = theirs[-1:], theirs[:-1]
        if not to_embed:
            shapes["v_row"], shapes["v_col"] = theirs[:1], theirs[1:]
    elif _is_factored(own):
        shapes["v_row"], shapes["v_col"] = (min(own),), (max(own),)
    else:
        shapes["v"] = theirs
    return shapes


def _as_theirs(value: np.ndarray | None, entry: Entry, shape: tuple[int, ...]) -> np.ndarray:
    if value is None or value.size != math.prod(shape):
        return np.zeros(shape, np.float32)
    turned = value.T if entry.transposed else value
    return np.ascontiguousarray(turned.reshape(shape))
