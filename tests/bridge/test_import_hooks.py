"""Patches that wait for somebody else's module to be imported."""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys

import pytest

from mmattn.bridge._import_hooks import when_imported, when_importing

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that nobody has imported yet."""
    name = f"waiting_for_patches_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_waits_for_the_import_and_follows_the_modules_own_code(module):
    seen = []
    when_imported(module, lambda m: seen.append(m.value))
    when_imported(module, lambda m: setattr(m, "value", m.value + 1))
    assert seen == [] and module not in sys.modules
    assert importlib.import_module(module).value == 2
    assert seen == [1]


def test_patches_a_loaded_module_at_once(module):
    loaded = importlib.import_module(module)
    when_imported(module, lambda m: setattr(m, "value", 5))
    assert loaded.value == 5


def test_the_module_keeps_its_own_loader_and_source(module):
    when_imported(module, lambda m: None)
    loaded = importlib.import_module(module)
    assert type(loaded.__spec__.loader).__name__ == "SourceFileLoader"
    assert inspect.getsource(loaded) == "value = 1\n"


def test_a_module_that_does_not_exist_still_does_not():
    when_imported("no_such_module_anywhere", lambda m: pytest.fail("patched nothing"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        importlib.import_module("no_such_module_anywhere")


def test_a_patch_around_a_module_runs_its_code(module):
    seen = []

    def around(loading, execute):
        seen.append(hasattr(loading, "value"))
        execute()
        seen.append(loading.value)

    when_importing(module, around)
    when_imported(module, lambda m: seen.append("after"))
    assert importlib.import_module(module).value == 1
    assert seen == [False, 1, "after"]


def test_nothing_runs_around_a_module_that_is_loaded(module):
    importlib.import_module(module)
    when_importing(module, lambda m, execute: pytest.fail("it is loaded already"))
    assert importlib.import_module(module).value == 1


def test_the_log_names_what_is_applied(module, caplog):
    def _change_value(m):
        m.value = 3

    when_imported(module, _change_value)
    with caplog.at_level("DEBUG", logger="mmattn.bridge"):
        importlib.import_module(module)
    assert caplog.messages == [f"{module}: applied change_value"]
