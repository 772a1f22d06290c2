"""State of T5X's optimizers: its Adafactor's both ways, its AdamW's read.

T5X keeps the moments of each parameter under the parameter's own name. Its Adafactor and optax's,
which this package uses, factor a matrix alike: where both sizes are 128 or more, "v_row" is the
mean of squared gradients over the larger axis, "v_col" over the other. Scanned layers it factors
whatever their size, with "v_row" along the axis "embed" (t5x/adafactor.py, `logical_factor_rules`).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax
from optax._src.factorized import FactoredState

from flan_jax.interop.t5x_files import STATE, T5xFiles
from flan_jax.interop.tables import Entry, Table

_STATES = f"{STATE}param_states/"
_PARTS = ("v_row", "v_col", "v", "m")
_LEAST_FACTORED = 128
# Kernels whose last axis is "embed".
_TO_EMBED = re.compile(r".*/(out|wo)/kernel")


def load(files: T5xFiles, table: Table, state: Any) -> tuple[Any, list[str]]:
    """Returns the state of an optimizer with the moments of a checkpoint.

    Counters of schedules stay: the learning rate is that of the run.

    Args:
        files: the checkpoint.
        table: of the model's family and configuration.
        state: of our optimizer, fresh: arrays, placed where they are to lie.

    Returns:
        The state, and in words what of it starts fresh and why.
    """
    there = files.state
    entries = {entry.ours: entry for entry in table.entries}
    fresh: list[str] = []

    def one(node: Any) -> Any:
        if isinstance(node, FactoredState):
            return _adafactor(files, there, entries, node, fresh)
        if isinstance(node, optax.ScaleByAdamState):
            return _adam(files, there, entries, node, fresh)
        return node

    loaded = jax.tree.map(one, state, is_leaf=_has_moments)
    if any(f"{_theirs(entry)}/m" in there for entry in table.entries if not entry.stacked):
        fresh += _momentum(there, table)
    return loaded, sorted(set(fresh))


def _has_moments(node: Any) -> bool:
    return isinstance(node, FactoredState | optax.ScaleByAdamState)


def _theirs(entry: Entry, above: str = _STATES) -> str:
    return above + entry.theirs.removeprefix("target/")


def _momentum(there: Mapping[str, tuple[int, ...]], table: Table) -> list[str]:
    kept = any(there.get(f"{_theirs(entry)}/m", (1,)) != (1,) for entry in table.entries)
    return ["T5X's momentum is left out: this package's Adafactor has none"] if kept else []


def _adafactor(
    files: T5xFiles,
    there: Mapping[str, tuple[int, ...]],
    entries: Mapping[str, Entry],
    node: FactoredState,
    fresh: list[str],
) -> FactoredState:
    parts: dict[str, dict[str, Any]] = {
        part: dict(getattr(node, part)) for part in ("v_row", "v_col", "v")
    }
    for ours, now in node.v.items():
        if isinstance(now, optax.MaskedNode):
            continue
        wanted = {part: parts[part][ours].shape for part in parts}
        found = _moments(files, there, entries[ours], wanted)
        if isinstance(found, str):
            fresh.append(f"Adafactor's moments of {ours} start fresh: {found}")
            continue
        for part, value in found.items():
            parts[part][ours] = _placed(value, parts[part][ours])
    return node._replace(count=_counted(files, node.count), **parts)


def _moments(
    files: T5xFiles,
    there: Mapping[str, tuple[int, ...]],
    entry: Entry,
    wanted: Mapping[str, tuple[int, ...]],
) -> dict[str, np.ndarray] | str:
    """The moments of one parameter of ours by part, or why they cannot be had."""
    ours = Entry(**{**vars(entry), "theirs": _theirs(entry)})
    layers = wanted["v"][0]
    missing = [f"{n}/v" for n in ours.names(layers) if f"{n}/v" not in there]
    if missing:
        return f"the checkpoint has no {missing[0]}"
    # A part that is not used is a single zero.
    is_whole = wanted["v_row"][-1] == 1
    if not is_whole:
        return _factored(files, there, ours, wanted)
    full = Entry(**{**vars(ours), "theirs": f"{ours.theirs}/v"})
    if there[full.names(layers)[0]] != full.shape(wanted["v"]):
        return "they are factored there, and not here"
    whole = tuple(slice(0, size) for size in wanted["v"])
    return {"v": full.read(files, wanted["v"], whole)}


def _factored(
    files: T5xFiles,
    there: Mapping[str, tuple[int, ...]],
    ours: Entry,
    wanted: Mapping[str, tuple[int, ...]],
) -> dict[str, np.ndarray] | str:
    """Rows and columns of a factored parameter, by the axes that they are along."""
    layers = wanted["v"][0]
    read = {part: _vectors(files, ours, part, layers) for part in ("v_row", "v_col")}
    for first, second in (("v_row", "v_col"), ("v_col", "v_row")):
        found = {"v_row": read[first], "v_col": read[second]}
        if all(value.shape == wanted[part] for part, value in found.items()):
            same = wanted["v_row"] == wanted["v_col"]
            if same and ours.layer_axis is not None and _TO_EMBED.fullmatch(ours.theirs):
                # Of square matrices our rows are the first axis, and theirs the axis "embed".
                found = {"v_row": read["v_col"], "v_col": read["v_row"]}
            return found
    return "they are not factored there, or not alike"


def _vectors(files: T5xFiles, ours: Entry, part: str, layers: int) -> np.ndarray:
    """A part of the moments: of one matrix [n], or of all layers [L, n]."""

    def whole(name: str) -> np.ndarray:
        shape = files.state[name]
        return files.read(name, tuple(slice(0, size) for size in shape))

    if ours.stacked:
        return np.stack([whole(f"{name}/{part}") for name in ours.names(layers)])
    value = whole(f"{ours.theirs}/{part}")
    # The axis of layers is the second of three: the first where that before it is gone.
    is_row = (part == "v_row") != bool(_TO_EMBED.fullmatch(ours.theirs))
    return value.T if ours.layer_axis is not None and is_row else value


def _adam(
    files: T5xFiles,
    there: Mapping[str, tuple[int, ...]],
    entries: Mapping[str, Entry],
    node: Any,
    fresh: list[str],
) -> Any:
    pattern = re.compile(rf"({re.escape(_STATES)}(?:\d+/)*)mu/")
    above = next((found[1] for name in there if (found := pattern.match(name))), None)
    if above is None:
        fresh.append("AdamW starts fresh: the checkpoint has no moments of Adam")
        return node
    moments: dict[str, dict[str, Any]] = {}
    for part in ("mu", "nu"):
        moments[part] = dict(getattr(node, part))
        for ours, now in moments[part].items():
            theirs = _theirs(entries[ours], f"{above}{part}/")
            entry = Entry(**{**vars(entries[ours]), "theirs": theirs})
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
        state: of our optimizer; None yields a fresh state. So does one without Adafactor's moments.
    """
    found = [n for n in jax.tree.leaves(state, is_leaf=_has_moments) if _has_moments(n)]
    nodes = [node for node in found if isinstance(node, FactoredState)]
    for entry in table.entries:
        assert entry.layer_axis is None, "scanned layers are factored otherwise"
        ours = tuple(shapes[entry.ours].shape)
        parts = _own_moments(nodes, entry) or _no_moments(entry, ours)
        for i, name in enumerate(entry.names(ours[0])):
            one = {part: value[i] if entry.stacked else value for part, value in parts.items()}
            for part in _PARTS:
                value = one.get(part, np.zeros(1, np.float32))
                if part == "v" and entry.transposed and value.ndim == 2:
                    value = np.ascontiguousarray(value.T)
                yield f"{_STATES}{name.removeprefix('target/')}/{part}", value


def _own_moments(nodes: list[Any], entry: Entry) -> dict[str, np.ndarray] | None:
    for node in nodes:
        if not isinstance(node.v.get(entry.ours, optax.MaskedNode()), optax.MaskedNode):
            parts = ("v_row", "v_col", "v")
            return {part: np.asarray(getattr(node, part)[entry.ours]) for part in parts}
    return None


def _no_moments(entry: Entry, ours: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Zeros in the shapes that T5X's Adafactor begins with."""
    stack, own = (ours[:1], ours[1:]) if entry.stacked else ((), ours)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("v_row", "v_col", "v"), (1,))
    order = np.argsort(own)
    if len(own) < 2 or own[order[-2]] < _LEAST_FACTORED:
        shapes["v"] = own
    else:
        shapes["v_row"], shapes["v_col"] = (own[order[-2]],), (own[order[-1]],)
    return {part: np.zeros((*stack, *shape), np.float32) for part, shape in shapes.items()}
