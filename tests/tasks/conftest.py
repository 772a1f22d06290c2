"""What tests of suites share."""

import importlib
import sys

import pytest


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Imports a task module as if for the first time, with settings, and unregisters it."""
    monkeypatch.setenv("PREPARED_DIR", str(tmp_path / "cache"))
    modules = []

    def load(name, **settings):
        for setting, value in settings.items():
            monkeypatch.setenv(setting, str(value))
        monkeypatch.setenv("VOCABULARY", "byte")
        forget(name)
        modules.append(name)
        return importlib.import_module(name)

    def forget(name):
        if name in sys.modules:
            sys.modules.pop(name).unregister()

    yield load
    for name in modules:
        forget(name)
