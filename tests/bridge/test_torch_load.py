"""A mmengine that calls ``torch.load`` itself reads data only, and nobody else's torch changes."""

from __future__ import annotations

import io
from types import ModuleType

import pytest
import torch

from mmattn.bridge.torch_load import patch_torch_load
from mmattn.errors import CheckpointError

ORIGINAL = """
import torch

def load_from_ceph(buffer, map_location=None):
    return torch.load(buffer, map_location=map_location)

def load_from_old_torch(buffer, map_location=None):
    return torch.load(buffer, map_location=map_location, weights_only=False)
"""


@pytest.fixture
def checkpoint_module() -> ModuleType:
    module = ModuleType("checkpoint")
    exec(ORIGINAL, module.__dict__)
    patch_torch_load(module)
    return module


class Surprise:
    """Unpickles as a call of ``print``."""

    def __reduce__(self):
        return print, ("unpickled",)


def saved(content) -> io.BytesIO:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("name", ["load_from_ceph", "load_from_old_torch"])
def test_data_is_read_and_nothing_is_unpickled(checkpoint_module, name, capsys) -> None:
    load = getattr(checkpoint_module, name)
    assert load(saved({"weight": torch.ones(2)}))["weight"].tolist() == [1.0, 1.0]
    with pytest.raises(CheckpointError):
        load(saved({"weight": Surprise()}))
    assert capsys.readouterr().out == ""


def test_the_rest_of_torch_is_torch(checkpoint_module) -> None:
    assert checkpoint_module.torch.nn is torch.nn
    assert checkpoint_module.torch.save is torch.save
    assert torch.load is not checkpoint_module.torch.load


def test_a_mmengine_with_a_reader_of_its_own_keeps_its_torch() -> None:
    module = ModuleType("checkpoint")
    exec(ORIGINAL + "\ndef _safe_torch_load(file): ...\n", module.__dict__)
    patch_torch_load(module)
    assert module.torch is torch
