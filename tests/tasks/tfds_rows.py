"""Writes raw rows as a dataset that TFDS itself reads: its builder's features, files and splits."""

import contextlib
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from flan_jax.instructions import fewshot


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


def write(
    name: str, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], root: str
) -> None:
    """Writes `builder/config/version` below `root`; rows repeat until a split is full."""
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


def forget() -> None:
    """Drops what SeqIO and few-shot pools remember of datasets on disk."""
    seqio.utils.LazyTfdsLoader._MEMOIZED_BUILDERS.clear()
    for name in seqio.TaskRegistry.names():
        source = seqio.TaskRegistry.get(name).source
        if isinstance(source, seqio.TfdsDataSource):
            source.tfds_dataset._data_dir_override = None
    fewshot.Exemplars.forget()


@contextlib.contextmanager
def data_dir(root: pathlib.Path) -> Iterator[None]:
    """TFDS, and the builders that SeqIO remembers, use this folder."""
    before = seqio.utils._TFDS_DATA_DIR_OVERRIDE
    forget()
    seqio.set_tfds_data_dir_override(str(root))
    try:
        yield
    finally:
        seqio.set_tfds_data_dir_override(before)
        forget()
