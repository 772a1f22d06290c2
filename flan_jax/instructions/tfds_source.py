"""Datasets of TFDS as sources of tasks: ids, splits, and what to do where one cannot be had.

SeqIO's own source is what reads (so its data-directory overrides, T5X and plain SeqIO work as
ever); here an example also gets the id that TFDS gives it, and the reasons why a dataset is not
there are told in words before anything is read.
"""

import contextlib
import dataclasses
import functools
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf
from etils import epath

from flan_jax import files, json_files, settings
from flan_jax.errors import DataError, OutputError, first_line


@dataclasses.dataclass(frozen=True)
class Unavailable:
    """A dataset that cannot be had.

    Attributes:
        source: its name, that of TFDS where it is one of theirs.
        why: what is wrong, and what to do about it.
        tasks: tasks that need it.
        how: what to do where that holds for many of them, else empty.
    """

    source: str
    why: str
    tasks: tuple[str, ...] = ()
    how: str = ""


class AbsentSource(seqio.DataSource):
    """A dataset that is not there, with the splits it would have; reading it says what to do."""

    def __init__(self, name: str, splits: Iterable[str], why: str):
        """Args:
        name: of the dataset.
        splits: names of its splits.
        why: what is missing, and what to do about it.
        """
        super().__init__(splits=tuple(splits), num_input_examples=dict.fromkeys(splits, 0))
        self.name, self.why = name, why

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Whether it can be cut into any number of shards: no."""
        return False

    def list_shards(self, split: str) -> list[str]:
        """Returns the names of its shards, of which there is one."""
        return [split]

    def get_dataset(self, *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """Raises a DataError."""
        raise DataError(f"{self.name}: {self.why}")


HOW = (
    "a dataset that TFDS prepared elsewhere can be copied into its data directory, which "
    "TFDS_DATA_DIR names"
)
_MOST_NAMED = 20
_CAPPED = re.compile(r"(\w+)\[:(\d+)\]")


class _Loader(seqio.utils.LazyTfdsLoader):
    """Asks TFDS for example ids, and for at most so many rows: `train[:30000]` may have fewer."""

    def _map_split(self, split: str) -> str | None:
        slice_ = super()._map_split(split)
        capped = _CAPPED.fullmatch(slice_ or "")
        known = self.builder.info.splits if capped else {}
        # TFDS refuses a slice that is longer than its split.
        if capped and capped[1] in known and known[capped[1]].num_examples < int(capped[2]):
            return capped[1]
        return slice_

    @property
    def read_config(self) -> Any:
        config = super().read_config
        config.add_tfds_id = True
        return config


class TfdsSource(seqio.TfdsDataSource):
    """Rows of one TFDS dataset, as `{"id", "split", "row": features}`."""

    def __init__(self, tfds_name: str, splits: Mapping[str, str]):
        """Args:
        tfds_name: `builder[/config]:version`.
        splits: TFDS split or slice by the name of our split.
        """
        super().__init__(tfds_name, splits=dict(splits))
        self._slices = dict(splits)
        self._tfds_dataset = _Loader(tfds_name, split_map=dict(splits))

    @property
    def tfds_name(self) -> str:
        """`builder[/config]:version`."""
        return str(self.tfds_dataset.name)

    @property
    def is_there(self) -> bool:
        """Whether the data is on this machine, so that nothing has to be downloaded."""
        try:
            return _is_there(self.tfds_dataset.builder)
        except Exception:
            return False

    def get_dataset(self, split: str = "train", *args: Any, **kwargs: Any) -> tf.data.Dataset:
        """Returns the rows of a split.

        Raises:
            DataError: the dataset cannot be had; says what to do.
        """
        if problem := self.problem(download=True):
            raise DataError(f"{self.tfds_name}: {problem}; {HOW}")
        dataset = super().get_dataset(split, *args, **kwargs)

        def nest(row: Mapping[str, tf.Tensor]) -> dict[str, Any]:
            row = dict(row)
            return {"id": row.pop("tfds_id"), "split": tf.constant(split), "row": row}

        return dataset.map(nest, num_parallel_calls=tf.data.AUTOTUNE)

    def num_input_examples(self, split: str) -> int | None:
        """Returns the number of rows of a split.

        It is remembered beside prepared records, so that a machine that has those needs no data.
        """
        path = epath.Path(settings.cache_root()) / "sources" / f"{self.tfds_name}.json"
        if self.is_there:
            count = super().num_input_examples(split)
            known = _read_counts(path)
            if count is not None and known.get(self._slices[split]) != count:
                # Whoever prepares is told that nothing can be written there; others need it not.
                with contextlib.suppress(OutputError):
                    files.make_folder(path.parent)
                    json_files.write_json(path, known | {self._slices[split]: count})
            return count
        count = _read_counts(path).get(self._slices[split])
        if count is None:
            raise DataError(
                f"{self.tfds_name} is not on this machine, and neither is its number of rows"
            )
        return count

    def problem(self, download: bool = False) -> str | None:
        """Returns why this dataset cannot be had, or None.

        Args:
            download: try to download and prepare what is not there; where False, only what is
                sure to fail is a problem.
        """
        try:
            builder = self.tfds_dataset.builder
        except Exception as error:
            return f"TFDS has no such dataset: {type(error).__name__}: {first_line(error)}"
        if _is_there(builder):
            return None
        if problem := _manual_problem(builder):
            return problem
        if not download:
            return None
        if not _online():
            return f"is not in {builder.data_dir}, and there is no network"
        try:
            builder.download_and_prepare()
        except Exception as error:
            if files.is_system_refusal(error):
                return f"could not be written in {builder.data_dir}: {files.cause(error)}"
            why = f"{type(error).__name__}: {first_line(error)}"
            return f"could not be downloaded and prepared: {why}"
        return None


# Where datasets and their metadata lie; one that answers is enough.
_HOSTS = ("storage.googleapis.com", "huggingface.co", "github.com")


@functools.cache
def _online(seconds: float = 5.0) -> bool:
    """Whether there is a network: without one, TFDS tries again for many minutes a dataset.

    A proxy counts as one, since it is what would have to be asked.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    for host in _HOSTS:
        try:
            with socket.create_connection((host, 443), timeout=seconds):
                return True
        except OSError:
            continue
    return False


def _read_counts(path: epath.Path) -> dict[str, int]:
    """Returns numbers of rows by slice, none where they are not there or of no use."""
    try:
        counts = json_files.read_json(path)
    except DataError:
        return {}
    usable = isinstance(counts, dict) and all(type(count) is int for count in counts.values())
    return counts if usable else {}


def _is_there(builder: Any) -> bool:
    # `mock_data` patches reading and leaves nothing on disk, so splits are asked, not files.
    return bool(builder.info.splits) or builder.is_prepared()


def _manual_problem(builder: Any) -> str | None:
    """Why a dataset whose files people have to fetch themselves is not there yet.

    Some builders carry such a notice for a part of their configurations; those are tried.
    """
    notice = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not notice or "Some of the" in notice:
        return None
    import tensorflow_datasets as tfds

    folder = (
        tfds.download.DownloadConfig().manual_dir or f"{builder._data_dir_root}/downloads/manual"
    )
    if tf.io.gfile.exists(folder) and tf.io.gfile.listdir(folder):
        return None
    steps = " ".join(notice.split())
    return f"has to be downloaded by hand into {folder}: {steps}"


def unavailable(
    tasks: Iterable[seqio.Task],
    download: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Unavailable]:
    """Returns every dataset that tasks need and that cannot be had, each once.

    Args:
        tasks: tasks of any source; only those of TFDS, and absent ones, can be unavailable.
        download: see `TfdsSource.problem`.
        report: called with what is about to be downloaded, a line at a time.
    """
    needing: dict[str, list[seqio.Task]] = {}
    absent: dict[tuple[str, str], list[str]] = {}
    for task in tasks:
        if isinstance(task.source, TfdsSource):
            needing.setdefault(task.source.tfds_name, []).append(task)
        elif isinstance(task.source, AbsentSource):
            absent.setdefault((task.source.name, task.source.why), []).append(task.name)
    found = [Unavailable(*source, tuple(names)) for source, names in sorted(absent.items())]
    for name, members in sorted(needing.items()):
        source = members[0].source
        if download and not source.is_there and _online():
            report(f"downloading and preparing {name}")
        if problem := source.problem(download):
            found.append(Unavailable(name, problem, tuple(task.name for task in members), HOW))
    return found


def explain(missing: Iterable[Unavailable]) -> str:
    """Returns one line a dataset: what is missing, for which tasks, and what to do."""
    missing = list(missing)
    lines = [f"  {m.source} ({_some(m.tasks)}): {m.why}" for m in missing]
    return "\n".join([*lines, *dict.fromkeys(m.how for m in missing if m.how)])


def _some(tasks: Sequence[str]) -> str:
    """Returns the names of tasks, the first ones where they are many."""
    more = len(tasks) - _MOST_NAMED
    return ", ".join(tasks[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
