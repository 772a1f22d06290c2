"""Sample rows: a few raw rows of our own beside a collection, in the shape of its source.

They are shown where the real data is absent, checked by `flan-jax tasks check`, and tested. A
folder `samples` beside a task module holds one YAML file a cluster: a list of rows by dataset.

`write_tfds` writes rows as a dataset that TFDS itself reads, so that all of a pipeline can be tried
without a network.
"""

import functools
import importlib.util
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.errors import DataError
from flan_jax.yaml_files import read_yaml


@functools.lru_cache(maxsize=64)
def _read(path: pathlib.Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    return read_yaml(path) or {}


def sample_rows(module: str, cluster: str, dataset: str) -> list[dict[str, Any]]:
    """Returns the sample rows of a dataset.

    Args:
        module: task module of the collection, a package.
        cluster: cluster of the dataset, which names the file.
        dataset: short name of the dataset.

    Raises:
        DataError: there are none.
    """
    spec = importlib.util.find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = pathlib.Path(folder) / "samples" / f"{cluster}.yaml"
        if path.exists() and (rows := _read(path).get(dataset)):
            return [dict(row) for row in rows]
    raise DataError(f"{module} has no sample rows of {dataset!r}")


def needed_counts(slices: Sequence[str], least: int) -> dict[str, int]:
    """Returns rows by TFDS split, enough for every slice to hold `least` rows."""
    counts: dict[str, int] = {}
    for text in slices:
        split = text.split("[")[0]
        bounds = [abs(int(number)) for number in re.findall(r"-?\d+", text.partition("[")[2])]
        # A cap on the training rows needs no more rows than there are.
        capped = re.fullmatch(r"\w+\[:(\d+)\]", text) is not None
        enough = least if capped else max(bounds, default=0) + least
        counts[split] = max(counts.get(split, 0), enough)
    return counts


def write_tfds(
    name: str, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], root: str
) -> None:
    """Writes `builder/config/version` below `root`, replacing what is there.

    Args:
        name: TFDS name; its builder says what features rows have.
        rows: raw rows; they repeat until a split is full.
        counts: number of rows by split.
        root: what TFDS_DATA_DIR is to name.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=root)
    folder = pathlib.Path(builder.data_dir)
    if folder.exists():
        shutil.rmtree(folder)
        builder = tfds.builder(name, data_dir=root)
    folder.mkdir(parents=True)
    features = builder.info.features
    records = [features.serialize_example(features.encode_example(dict(row))) for row in rows]
    infos = []
    for split, count in counts.items():
        template = tfds.core.ShardedFileTemplate(
            dataset_name=builder.name, data_dir=folder, split=split, filetype_suffix="tfrecord"
        )
        with tf.io.TFRecordWriter(
            str(template.sharded_filepath(shard_index=0, num_shards=1))
        ) as file:
            for index in range(count):
                file.write(records[index % len(records)])
        infos.append(
            tfds.core.SplitInfo(
                name=split, shard_lengths=[count], num_bytes=0, filename_template=template
            )
        )
    builder.info.set_file_format(file_format="tfrecord")
    builder.info.set_splits(tfds.core.splits.SplitDict(infos))
    builder.info.write_to_directory(folder)
