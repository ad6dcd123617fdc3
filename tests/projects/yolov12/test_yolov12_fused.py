"""Promise: the fused network computes the same, without norms, with one product for q, k and v."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import nn

from mmattn.layers.fuse import fuse
from mmattn.projects.yolov12.area_attention import AreaAttention, FusedAreaAttention
from tests.support.golden_weights import golden_image


@pytest.mark.parametrize("version", ["turbo", "v1.0"])
def test_raw_predictions_stay_and_no_norm_is_left(golden, version: str) -> None:
    model = golden[version]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fused = fuse(model)
    norms = [m for m in fused.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert not norms
    blocks = [m for m in fused.modules() if isinstance(m, FusedAreaAttention)]
    assert len(blocks) == 8
    assert all(isinstance(block.qkv, nn.Conv2d) for block in blocks)
    x = golden_image(1, 3, 128, 160)
    with torch.no_grad():
        expected, got = model(x, mode="tensor"), fused(x, mode="tensor")
    for a, b in zip(chain(*got), chain(*expected), strict=True):
        assert (a - b).abs().max() <= 1e-4
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("layout", ["turbo", "v1.0"])
@pytest.mark.parametrize("options", [{"areas": 4}, {"areas": 3, "qk_norm": True}])
def test_a_single_attention(layout: str, options: dict) -> None:
    torch.manual_seed(0)
    module = AreaAttention(64, layout=layout, **options).double().eval()
    for name, value in module.state_dict().items():
        if value.is_floating_point() and name.endswith(("var", "bias", "mean", "weight")):
            value.uniform_(0.2, 1) if value.dim() == 1 else value.normal_(std=0.2)
    x = torch.randn(2, 64, 5, 7, dtype=torch.float64)
    fused = fuse(module)
    assert isinstance(fused, FusedAreaAttention)
    torch.testing.assert_close(fused(x), module(x))
    maps, expected = fused.attention_maps(x), module.attention_maps(x)
    torch.testing.assert_close(maps["area"], expected["area"])


def test_shortcut_scale_and_options_are_kept(build) -> None:
    """gamma follows an activation, so it cannot be folded."""
    torch.manual_seed(0)
    model = build("n", backbone__residual_scale=0.5, backbone__qk_norm=True).eval()
    fused = fuse(model)
    assert fused.backbone.stage4[1].gamma is not None
    x = golden_image(1, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(fused.backbone(x), model.backbone(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
