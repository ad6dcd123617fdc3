"""Promise: weights of another layout are converted on arrival, and read as data only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

from mmattn.errors import CheckpointError
from mmattn.io import read_checkpoint
from mmattn.weights import pull_weights, verify_cache
from tests.support.file_server import FileServer

from .conftest import QUICK


def small_resnet() -> dict[str, torch.Tensor]:
    """Weights with torchvision's names and a sixteenth of its channels."""
    return {
        key: value[tuple(slice(n // 16 or n) for n in value.shape)].clone()
        for key, value in resnet18().state_dict().items()
    }


class Armed:
    """A pickle that makes a file where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def offered(server: FileServer, index: Callable, tmp_path: Path) -> Callable[[Any, str], None]:
    """Offer a checkpoint by the name "small", to be converted by a converter."""

    def offer(content: Any, converter: str) -> None:
        torch.save(content, tmp_path / "offered.pth")
        data = (tmp_path / "offered.pth").read_bytes()
        server.files["/a"] = data
        sha256 = hashlib.sha256(data).hexdigest()
        source = {"url": f"{server.url}/a"}
        index({"converter": converter, "sha256": sha256, "sources": [source]})

    return offer


def test_conversion_once(offered: Callable, cache: Path) -> None:
    theirs = small_resnet()
    meta = {"dataset_meta": {"classes": ("cat", "dog")}, "epoch": 3}
    offered({"state_dict": theirs, "meta": meta}, "torchvision-resnet")
    said: list[str] = []
    pulled = pull_weights("small", say=said.append, patience=QUICK)
    assert pulled.path.suffix == ".safetensors" and pulled.path.parent == cache / "small"
    assert pulled.source.name == "small.pth" and "converted by torchvision-resnet" in str(pulled)
    content = read_checkpoint(pulled.path)
    assert torch.equal(
        content["state_dict"]["layer1.0.conv1.weight"], theirs["layer1.0.conv1.weight"]
    )
    assert content["meta"]["dataset_meta"] == {"classes": ["cat", "dog"]}
    assert content["meta"]["provenance"]["source_sha256"] == pulled.sha256
    assert "weights converted by torchvision-resnet, 2 left out" in said[-1]  # the classifier
    before = pulled.path.stat().st_mtime_ns
    assert pull_weights("small").path.stat().st_mtime_ns == before
    assert [(one.file, one.problem) for one in verify_cache()] == [
        ("small.pth", None), (pulled.path.name, None),
    ]  # fmt: skip


def test_damage_is_found_by_verify(offered: Callable) -> None:
    offered(small_resnet(), "torchvision-resnet")
    pulled = pull_weights("small", patience=QUICK)
    for path in (pulled.source, pulled.path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    first, second = verify_cache(["small"])
    assert first.problem and pulled.sha256 in first.problem
    assert second.problem and "SHA-256" in second.problem


def test_a_program_in_the_file_does_not_run(offered: Callable, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    offered({**small_resnet(), "layer9": Armed(canary)}, "torchvision-resnet")
    with pytest.raises(CheckpointError, match="mkdir"):
        pull_weights("small", patience=QUICK)
    assert not canary.exists()
    torch.load(tmp_path / "offered.pth", weights_only=False)
    assert canary.exists(), "the payload was not armed"


def test_another_layout_is_an_error_that_names_the_weights(offered: Callable) -> None:
    offered({"a": torch.zeros(1)}, "torchvision-resnet")
    with pytest.raises(
        CheckpointError, match=r"small: .*small.pth: converter 'torchvision-resnet'"
    ):
        pull_weights("small", patience=QUICK)
