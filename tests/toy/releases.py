"""The task modules of Natural Instructions' two releases, imported for a folder of a test's own."""

import contextlib
import importlib

import seqio

LENGTHS = {"inputs": 1024, "targets": 128}


@contextlib.contextmanager
def imported(name, setting, folder, caches, monkeypatch):
    """Yields a module with nothing registered, its setting (SUPER_NI_DIR, ...) naming a folder."""
    monkeypatch.setenv("PREPARED_DIR", str(caches))
    monkeypatch.setenv(setting, str(folder))
    monkeypatch.setenv("VOCABULARY", "byte")
    module = importlib.import_module(name)
    module.unregister()
    try:
        yield module
    finally:
        module.unregister()


def examples(task, split, **kwargs):
    """Returns what a task or mixture gives."""
    kwargs = {"shuffle": False, **kwargs}
    dataset = seqio.get_mixture_or_task(task).get_dataset(LENGTHS, split, **kwargs)
    return list(dataset.as_numpy_iterator())
