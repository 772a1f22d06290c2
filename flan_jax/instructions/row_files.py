"""Rows of datasets in files: JSON lines, and what Hugging Face's `datasets` saved to disk.

A dataset is a folder with a `<split>.jsonl`, or a folder `<split>` as `Dataset.save_to_disk` writes
it (Arrow's stream format, and a `state.json` that names the files), for each split. Both are read
by position, so no more is in memory than is needed; of JSON lines where each begins is.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from flan_jax import files, json_files
from flan_jax.errors import DataError, border, quoted
from flan_jax.instructions import recipes, registration

_STATE = "state.json"
_ENDING = ".jsonl"
_BLOCK = 1 << 24
_MOST_LINE = 1 << 26
# Files whose positions are kept for the next split, template or rendering.
_KEPT = 16


class JsonLines(Sequence[Mapping[str, Any]]):
    """The objects of a file of JSON lines."""

    def __init__(self, path: epath.Path):
        """Finds where lines begin.

        Raises:
            DataError: the file cannot be read.
        """
        self._path = path
        at = 0
        ends: list[np.ndarray] = []
        with border(str(path)), path.open("rb") as file:
            while block := file.read(_BLOCK):
                ends.append(np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + at)
                at += len(block)
        bounds = np.unique(np.concatenate([[-1], *ends, [at]])).astype(np.int64)
        full = np.diff(bounds) > 1  # no row is in a line without a character
        self._starts_N, self._sizes_N = (bounds[:-1] + 1)[full], (np.diff(bounds) - 1)[full]
        self._numbers_N: np.ndarray = np.flatnonzero(full) + 1

    def __len__(self) -> int:
        return len(self._starts_N)

    def __getitem__(self, position: Any) -> Any:
        where = f"{self._path}, line {self._numbers_N[position]}"
        if self._sizes_N[position] > _MOST_LINE:
            raise DataError(f"{where}: longer than {_MOST_LINE:,} bytes")
        with border(str(self._path)), self._path.open("rb") as file:
            file.seek(int(self._starts_N[position]))
            line = file.read(int(self._sizes_N[position]))
        return json_files.Fields(where, json_files.loads(line, where)).object


class ArrowRows(Sequence[Mapping[str, Any]]):
    """The rows of a dataset that `Dataset.save_to_disk` wrote."""

    def __init__(self, folder: epath.Path):
        """Maps its files into memory.

        Raises:
            DataError: it is no such folder, or Arrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise DataError(f"{folder}: reading such datasets needs: pip install pyarrow") from None
        paths = arrow_files(folder)
        tables = []
        for path in paths:
            with border(str(path)), pyarrow.memory_map(str(path)) as mapped:
                tables.append(pyarrow.ipc.open_stream(mapped).read_all())
        with border(str(folder)):
            self._table = pyarrow.concat_tables(tables)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, position: Any) -> Any:
        return self._table.slice(position, 1).to_pylist()[0]


def arrow_files(folder: epath.Path) -> list[epath.Path]:
    """Returns the files of a dataset that `Dataset.save_to_disk` wrote, all of them inside.

    Raises:
        DataError: it is none.
    """
    state = folder / _STATE
    listed = json_files.Fields(str(state), json_files.read_json(state)).items("_data_files")
    if not listed:
        raise DataError(f"{state}: '_data_files' is empty")
    rows = [json_files.Fields(f"{state}: '_data_files'", entry) for entry in listed]
    return [files.inside(folder, row.get("filename"), str(state)) for row in rows]


def find_splits(folder: epath.Path) -> dict[str, epath.Path]:
    """Returns the splits of a dataset, none where there is no such folder."""
    if not folder.is_dir():
        return {}
    found = {
        path.name.removesuffix(_ENDING): path
        for path in sorted(folder.glob(f"*{_ENDING}"))
        if not path.name.startswith(".")
    }
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / _STATE).exists():
            if path.name in found:
                raise DataError(f"{folder} has the split {quoted(path.name)} twice")
            found[path.name] = path
    if not found and (folder / _STATE).exists():  # a dataset without splits
        return {"train": folder}
    return found


@functools.lru_cache(maxsize=_KEPT)
def _open(path: str) -> tuple[files.Stamp, Sequence[Mapping[str, Any]]]:
    where = epath.Path(path)
    return _stamp(where), ArrowRows(where) if where.is_dir() else JsonLines(where)


def _stamp(path: epath.Path) -> files.Stamp:
    with border(str(path)):
        return files.stamp(path / _STATE if path.is_dir() else path)


def read_rows(path: epath.Path) -> Sequence[Mapping[str, Any]]:
    """Returns the rows of a split, by position.

    Raises:
        DataError: the files cannot be read, are none of these, or have changed meanwhile.
    """
    stamp, rows = _open(str(path))
    if stamp != _stamp(path):
        raise DataError(f"{path} has changed since it was read: start the process anew")
    return rows


class RowFiles(registration.LateRows):
    """Rows in files as a source of a task: "id", "split", and the row as JSON."""

    def __init__(self, splits: Mapping[str, epath.Path]):
        """Args:
        splits: where the rows of each split are, see `find_splits`.
        """
        self.places = dict(splits)
        super().__init__(self.rows, {"row": "string"}, tuple(splits), self._counts)

    def rows(self, split: str) -> Sequence[dict[str, Any]]:
        """Returns "id" and "row" of the rows of a split, by position; see `read_rows`."""
        return _AsJson(split, read_rows(self.places[split]))

    def _counts(self) -> dict[str, int]:
        return {split: len(read_rows(path)) for split, path in self.places.items()}

    def facts(self) -> dict[str, Any]:
        """Returns what tells the rows from other ones."""
        found = {
            split: list(map(str, arrow_files(path) if path.is_dir() else [path]))
            for split, path in self.places.items()
        }
        return {"rows": recipes.file_facts(found)}


class _AsJson(Sequence[dict[str, Any]]):
    def __init__(self, split: str, rows: Sequence[Mapping[str, Any]]):
        self._split, self._rows = split, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        text = json.dumps(self._rows[position], ensure_ascii=False, default=str)
        return {"id": f"{self._split}/{position}", "row": text}
