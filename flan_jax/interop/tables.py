"""Which published tensor each of our parameters is: one table a family and format, read both ways.

A table is a tuple of `Entry`. `load` reads published tensors into our parameters, slice by slice
straight to where they will lie; `unload` gives the published tensors of our parameters. There is no
second list of names for export, and no transformation that cannot be undone to the bit.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from flan_jax.errors import CheckpointError, did_you_mean, quoted
from flan_jax.models.families import Params

Shapes = Mapping[str, tuple[int, ...]]
Slices = tuple[slice, ...]
LAYER = "{layer}"
# Of problems of one kind, so many are named.
_MOST_NAMED = 4


class TensorFiles(Protocol):
    """Published tensors by name, none of them read before it is asked for.

    Attributes:
        name: what errors call the whole: a folder or a file.
        shapes: shape of every tensor.
    """

    name: str

    @property
    def shapes(self) -> Shapes:
        """Shape of every tensor by name."""

    def read(self, name: str, index: Slices) -> np.ndarray:
        """Returns a part of a tensor, in the dtype that it is stored in (or dequantised to)."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One of our parameters, and where a published format has it.

    Attributes:
        ours: name of our parameter.
        theirs: name of theirs; with `{layer}` in it there is one tensor a layer, each a slice of
            our parameter along its first axis, "layers".
        transposed: whether the two last axes change places; torch's linear layers are [out, in].
        layer_axis: where theirs is one tensor of all layers, its axis of layers (T5X scans along
            axis 1); ours is 0.
        split: axis of a layer that theirs has two axes for, and the size of the second of them
            (heads, and the width of a head).
        shift: what their values are more by than ours (GGUF adds 1 to Gemma's norms).
        convert: of their whole tensor of a layer, to what is then transposed, sliced and shifted;
            for formats that are only read.
    """

    ours: str
    theirs: str
    transposed: bool = False
    layer_axis: int | None = None
    split: tuple[int, int] | None = None
    shift: float = 0.0
    convert: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def stacked(self) -> bool:
        """Whether ours is a stack of theirs."""
        return LAYER in self.theirs

    def names(self, layers: int) -> list[str]:
        """Returns the names of their tensors, `layers` of them where ours is a stack."""
        if not self.stacked:
            return [self.theirs]
        return [self.theirs.replace(LAYER, str(i)) for i in range(layers)]

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of each of their tensors, given that of ours."""
        shape = list(ours[1:] if self.stacked or self.layer_axis is not None else ours)
        if self.transposed:
            shape[-2:] = shape[-1], shape[-2]
        if self.split is not None:
            axis, size = self.split
            shape[axis : axis + 1] = shape[axis] // size, size
        if self.layer_axis is not None:
            shape.insert(self.layer_axis, ours[0])
        return tuple(shape)

    def read(self, files: TensorFiles, shape: tuple[int, ...], index: Slices) -> np.ndarray:
        """Returns a part of our parameter.

        Args:
            files: theirs.
            shape: of our whole parameter.
            index: the part; slices with a start and a stop.
        """
        if not self.stacked:
            return self._shifted(self._part(files, self.theirs, index))
        names = self.names(shape[0])[index[0]]
        parts = [self._shifted(self._part(files, name, index[1:])) for name in names]
        return np.stack(parts)

    def _part(self, files: TensorFiles, name: str, ours: Slices) -> np.ndarray:
        """One of their tensors, cut as ours is and with its axes in our order."""
        index, axis = list(ours), self.layer_axis
        layers = index.pop(0) if axis is not None else None
        if self.transposed:
            index[-2:] = index[-1], index[-2]
        joined = self._split_index(index)
        if axis is not None and layers is not None:
            index.insert(axis, layers)
        if self.convert is None:
            part = files.read(name, tuple(index))
        else:
            part = self.convert(_whole(files, name))[tuple(index)]
        part = part if axis is None else np.moveaxis(part, axis, 0)
        part = self._joined(part, joined)
        return part.swapaxes(-1, -2) if self.transposed else part

    def _split_index(self, index: list[slice]) -> slice | None:
        """Makes an index of their two axes from that of ours; what to keep once they are joined."""
        if self.split is None:
            return None
        axis, size = self.split
        start, stop = index[axis].start, index[axis].stop
        first = start // size
        index[axis : axis + 1] = slice(first, -(-stop // size)), slice(0, size)
        return slice(start - first * size, stop - first * size)

    def _joined(self, part: np.ndarray, kept: slice | None) -> np.ndarray:
        if self.split is None or kept is None:
            return part
        axis = self.split[0] + (self.layer_axis is not None)
        whole = part.reshape(*part.shape[:axis], -1, *part.shape[axis + 2 :])
        return whole[(slice(None),) * axis + (kept,)]

    def _shifted(self, part: np.ndarray) -> np.ndarray:
        return part - np.asarray(self.shift, part.dtype) if self.shift else part

    def write(self, value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Yields their tensors of our parameter, by name."""
        assert self.convert is None, f"{self.theirs} is only read"
        parts = value if self.stacked else [value]
        for name, part in zip(self.names(len(value) if self.stacked else 1), parts, strict=True):
            theirs = part + np.asarray(self.shift, part.dtype) if self.shift else part
            theirs = theirs.swapaxes(-1, -2) if self.transposed else theirs
            if self.split is not None:
                axis, size = self.split
                axis += self.layer_axis is not None
                theirs = theirs.reshape(*theirs.shape[:axis], -1, size, *theirs.shape[axis + 1 :])
            if self.layer_axis is not None:
                theirs = np.moveaxis(theirs, 0, self.layer_axis)
            yield name, np.ascontiguousarray(theirs)


@dataclasses.dataclass(frozen=True)
class Table:
    """All tensors of a family in a published format.

    Attributes:
        entries: one a parameter of ours.
        copies: of tensors that may stand in files a second time, what they have to equal; they are
            not written.
        zeros: names of tensors that may be there if they are nothing but zeros: what a published
            class has and no published model uses.
        ignored: names of tensors that may be there and mean nothing (tables that are computed), or
            nothing here (a vision tower).
        fillers: shapes of tensors that are written as zeros, and read by no one: what transformers'
            class looks for and our model does not have.
        in_class: gives for a name the one that transformers' class has, where files differ.
    """

    entries: tuple[Entry, ...]
    copies: Mapping[str, str] = dataclasses.field(default_factory=dict)
    zeros: tuple[str, ...] = ()
    ignored: Callable[[str], bool] = lambda name: False
    fillers: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    in_class: Callable[[str], str] = lambda name: name


def check(table: Table, files: TensorFiles, shapes: Mapping[str, Any]) -> None:
    """Refuses tensors that are not those of a model.

    Args:
        table: of the model's family and configuration.
        files: the published tensors.
        shapes: of our parameters (`Model.shapes`).

    Raises:
        CheckpointError: names what is missing, too much, of another shape, or a copy that differs.
    """
    by_name = {entry.ours: entry for entry in table.entries}
    assert set(by_name) == set(shapes), set(by_name) ^ set(shapes)
    there = files.shapes
    expected = {
        name: entry.shape(tuple(shapes[ours].shape))
        for ours, entry in by_name.items()
        for name in entry.names(shapes[ours].shape[0])
    }
    missing = [name for name in expected if name not in there]
    known = dict.fromkeys([*expected, *table.copies, *table.zeros])
    extra = [name for name in there if name not in known and not table.ignored(name)]
    misshapen = [
        f"{name} is {_size(there[name])}, and has to be {_size(shape)}"
        for name, shape in expected.items()
        if name in there and tuple(there[name]) != shape
    ]
    problems = {
        "missing": _hinted(missing, extra),
        "of no such model": _hinted(extra, list(known)),
        "of another shape": misshapen,
        "not the copies they should be": [] if missing else _differing(table, files),
        "not zeros": [name for name in table.zeros if name in there and _whole(files, name).any()],
    }
    said = [f"{kind}: {_several(found)}" for kind, found in problems.items() if found]
    if said:
        raise CheckpointError(f"{files.name} does not fit its own configuration: {'; '.join(said)}")


def _hinted(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Names for a message; where it is one alone, with the nearest right one."""
    near = did_you_mean(names[0], others) if len(names) == 1 else ""
    return [f"{quoted(name)}{near}" for name in names]


def _differing(table: Table, files: TensorFiles) -> list[str]:
    there = files.shapes
    found = []
    for copy, original in table.copies.items():
        if copy not in there:
            continue
        same = tuple(there[copy]) == tuple(there[original])
        if not same or not np.array_equal(_whole(files, copy), _whole(files, original)):
            found.append(f"{copy} (of {original})")
    return found


def _whole(files: TensorFiles, name: str) -> np.ndarray:
    return files.read(name, tuple(slice(0, size) for size in files.shapes[name]))


def _several(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def load(table: Table, files: TensorFiles, target: Mapping[str, jax.ShapeDtypeStruct]) -> Params:
    """Reads parameters, each device's part of them alone, into where they will lie.

    Args:
        table: of the model's family and configuration.
        files: tensors that `check` found to fit.
        target: shape, dtype and sharding of the parameters to read, by name.
    """
    by_name = {entry.ours: entry for entry in table.entries}
    return {name: _placed(by_name[name], files, wanted) for name, wanted in target.items()}


def _placed(entry: Entry, files: TensorFiles, wanted: jax.ShapeDtypeStruct) -> jax.Array:
    def part(index: Slices) -> np.ndarray:
        bounded = tuple(
            slice(*one.indices(size)[:2]) for one, size in zip(index, wanted.shape, strict=True)
        )
        return np.ascontiguousarray(
            entry.read(files, wanted.shape, bounded).astype(wanted.dtype, copy=False)
        )

    assert wanted.sharding is not None
    return jax.make_array_from_callback(wanted.shape, wanted.sharding, part)


def unload(
    table: Table, read: Callable[[str], np.ndarray], dtype: Any = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the published tensors of our parameters by name, one parameter in memory at a time.

    Args:
        table: of the model's family and configuration.
        read: returns one of our parameters by name.
        dtype: of the tensors; None keeps that of the parameters.
    """
    for entry in table.entries:
        for name, value in entry.write(read(entry.ours)):
            value = value if dtype is None else value.astype(dtype)
            yield name, value
    for name, shape in table.fillers.items():
        yield name, np.zeros(shape, value.dtype)


class Prefixed:
    """Tensors under names with a prefix that their files leave out, as `TensorFiles`."""

    def __init__(self, files: TensorFiles, prefix: str):
        self.name = files.name
        self._files, self._prefix = files, prefix

    @property
    def shapes(self) -> Shapes:
        """Shape of every tensor by its name with the prefix."""
        return {f"{self._prefix}{name}": shape for name, shape in self._files.shapes.items()}

    def read(self, name: str, index: Slices) -> np.ndarray:
        """See `TensorFiles.read`."""
        return self._files.read(name.removeprefix(self._prefix), index)


def with_prefix(files: TensorFiles, prefix: str) -> TensorFiles:
    """Returns tensors under names with a prefix, whether their files have it or not.

    Some models were published by a class that is a part of the one that a table is of.
    """
    there = any(name.startswith(prefix) for name in files.shapes)
    return files if there else Prefixed(files, prefix)
