"""Promise: plugins of mmdet's RoI extractor take ``init``, and nothing else changed."""

from __future__ import annotations

import pytest
import torch
from mmdet.registry import MODELS

from mmattn.errors import ConfigError


def extracted(**plugins) -> torch.Tensor:
    torch.manual_seed(0)
    extractor = MODELS.build(
        {
            "type": "GenericRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 5, "sampling_ratio": 2},
            "out_channels": 16,
            "featmap_strides": [4, 8],
            **plugins,
        }
    ).eval()
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(1, 16, side, side, generator=generator) for side in (16, 8)]
    with torch.no_grad():
        return extractor(maps, torch.tensor([[0.0, 4.0, 4.0, 40.0, 52.0]]))


@pytest.mark.parametrize("key", ["pre_cfg", "post_cfg"])
def test_a_block_may_start_as_the_identity(key: str) -> None:
    block = {"type": "mmattn.CBAM", "in_channels": 16}
    plain = extracted()
    assert torch.equal(extracted(**{key: block | {"init": "identity"}}), plain)
    assert not torch.allclose(extracted(**{key: block}), plain)
    assert torch.equal(extracted(**{key: block | {"init": "plain"}}), extracted(**{key: block}))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"in_channels": 16, "init": "identiy"}, "post_cfg of GenericRoI.*mean 'identity'"),
        ({"init": "identity"}, "post_cfg of GenericRoIExtractor.*needs in_channels"),
    ],
)
def test_mistakes_are_named(block: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        extracted(post_cfg={"type": "mmattn.CBAM", **block})
