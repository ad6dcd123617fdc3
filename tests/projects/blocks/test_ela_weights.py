"""Promise: the authors' published blocks load with no key left over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.ela import ELA

# The blocks of the one public file, and the channels of YOLOX-Nano at their places.
BLOCKS = {"feat06": 64, "feat1": 128, "feat2": 256, "feat5": 512, "feat10": 1024}


def file(width: int = 1, taps: int = 5) -> dict[str, Tensor]:
    """The blocks and something of the network around them, in the authors' names."""
    torch.manual_seed(0)
    weights = {"backbone.backbone.stem.conv.conv.weight": torch.randn(16, 12, 3, 3)}
    for name, channels in BLOCKS.items():
        weights[f"backbone.{name}.conv.weight"] = torch.randn(channels, width, taps)
        weights[f"backbone.{name}.gn.weight"] = torch.rand(channels)
        weights[f"backbone.{name}.gn.bias"] = torch.randn(channels)
    weights["head.stems.0.conv.weight"] = torch.randn(64, 64, 1, 1)
    return weights


def test_published_blocks_are_of_version_t() -> None:
    conversion = convert_checkpoint(file())
    assert conversion.converter == "ela-official"
    assert conversion.left_out == (
        "backbone.backbone.stem.conv.conv.weight",
        "head.stems.0.conv.weight",
    )
    assert "feat06: ELA(64, version='T'), feat1: ELA(128, version='T')" in conversion.note
    blocks = nn.ModuleDict({name: ELA(c, version="T") for name, c in BLOCKS.items()})
    blocks.load_state_dict(conversion.state_dict, strict=True)
    x, weights = torch.randn(2, 128, 5, 7), file()

    def gate(strip: Tensor) -> Tensor:
        z = nn.functional.conv1d(strip, weights["backbone.feat1.conv.weight"], None, 1, 2, 1, 128)
        scale, shift = (weights[f"backbone.feat1.gn.{entry}"] for entry in ("weight", "bias"))
        return nn.functional.group_norm(z, 32, scale, shift).sigmoid()

    expected = x * gate(x.mean(3))[:, :, :, None] * gate(x.mean(2))[:, :, None]
    torch.testing.assert_close(blocks["feat1"](x), expected)


def test_the_way_back_gives_what_was_read() -> None:
    conversion = convert_checkpoint(file())
    back = convert_checkpoint(conversion.state_dict, "ela-official", reverse=True).state_dict
    expected = {key: value for key, value in file().items() if ".feat" in key}
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[key], expected[key]) for key in back)
    with pytest.raises(CheckpointError, match=r"not of this layout: conv1\.weight"):
        convert_checkpoint({"conv1.weight": torch.zeros(1)}, "ela-official", reverse=True)


@pytest.mark.parametrize(("width", "taps", "version"), [(1, 7, "B"), (8, 5, "S"), (8, 7, "L")])
def test_other_versions_are_told_by_their_shapes(width: int, taps: int, version: str) -> None:
    conversion = convert_checkpoint(file(width, taps))
    assert conversion.note.count(f"version='{version}'") == len(BLOCKS)
    blocks = nn.ModuleDict({name: ELA(c, version=version) for name, c in BLOCKS.items()})
    blocks.load_state_dict(conversion.state_dict, strict=True)


def test_modules_of_that_name_with_other_sizes_are_an_error() -> None:
    """A module of the authors has a dense convolution of five taps."""
    weights = file()
    weights["backbone.feat1.conv.weight"] = torch.zeros(128, 128, 5)
    with pytest.raises(
        CheckpointError,
        match=r"backbone\.feat1\.conv\.weight has shape \(128, 128, 5\), which fits none of ELA's "
        r"versions: T \(C, 1, 5\), B \(C, 1, 7\), S \(C, 8, 5\), L \(C, 8, 7\)",
    ):
        convert_checkpoint(weights)
