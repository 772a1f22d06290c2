"""TFDS datasets of a test's own."""

import contextlib
import pathlib
from collections.abc import Iterator

import seqio

from flan_jax.instructions import fewshot


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
