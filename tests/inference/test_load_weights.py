"""Promise: a checkpoint is read once and copied into the model once, whoever wrote it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from mmattn.errors import CheckpointError
from mmattn.inference.model import load_weights
from mmattn.io import checkpoint_files as reader


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))


def test_one_read_and_one_copy(tmp_path: Path, monkeypatch) -> None:
    torch.save({"state_dict": network().state_dict()}, tmp_path / "w.pth")
    counts: Counter = Counter()
    read, load = reader.read_weights_stream, nn.Module._load_from_state_dict

    def count_read(*args, **kwargs):
        counts["read"] += 1
        return read(*args, **kwargs)

    def count_copy(self, *args, **kwargs):
        counts[type(self).__name__] += 1
        return load(self, *args, **kwargs)

    monkeypatch.setattr(reader, "read_weights_stream", count_read)
    monkeypatch.setattr(nn.Module, "_load_from_state_dict", count_copy)
    load_weights(network(), tmp_path / "w.pth")
    assert counts == {"read": 1, "Sequential": 1, "Conv2d": 1, "BatchNorm2d": 1}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bare", [False, True])
def test_every_layout_that_training_writes_is_read(tmp_path: Path, prefix: str, bare: bool) -> None:
    source, target = network(), network()
    weights = {prefix + key: value for key, value in source.state_dict().items()}
    torch.save(weights if bare else {"state_dict": weights}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value)


def test_partial_weights_are_refused_unless_allowed(tmp_path: Path) -> None:
    weights = network().state_dict()
    del weights["1.running_mean"]
    torch.save({"state_dict": weights, "meta": {"CLASSES": ("a",)}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: 1 of .* missing: 1\.running_mean"):
        load_weights(network(), tmp_path / "w.pth")
    meta = load_weights(network(), tmp_path / "w.pth", allow_partial=True)
    assert meta == {"classes": ("a",)}


def test_a_state_dict_that_is_none_is_named(tmp_path: Path) -> None:
    torch.save({"state_dict": [1, 2]}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: its 'state_dict' is a list"):
        load_weights(network(), tmp_path / "w.pth")
