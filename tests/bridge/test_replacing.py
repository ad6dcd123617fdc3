"""A function that a patch protects and that is gone is an error, not a silence."""

from __future__ import annotations

from types import ModuleType

import pytest

from mmattn.bridge._replacing import replace


def test_a_function_that_is_gone_is_an_error_unless_one_family_lacks_it() -> None:
    module = ModuleType("changed")
    with pytest.raises(AttributeError, match="load_from_local"):
        replace(module, "load_from_local", print)
    replace(module, "load_from_local", print, optional=True)
    assert not hasattr(module, "load_from_local")
