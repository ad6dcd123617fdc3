"""Promise: the configs of configs/dynamic_head build the authors' detectors, train and predict."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mmattn.projects.dynamic_head import DynamicHeadBlock
from tests.support.config_tester import ConfigTester

OFFICIAL = [
    "atss_r50_fpn_dyhead_1x_coco",
    "atss_swin-t_fpn_dyhead_ms-2x_coco",
    "faster-rcnn_r50_fpn_dyhead_1x_coco",
    "fcos_r50_fpn_dyhead_1x_coco",
    "retinanet_r50_fpn_dyhead_1x_coco",
]
SWIN = "atss_swin-t_fpn_dyhead_ms-2x_coco"
# Images of which every pyramid level is left; boxes of one image are those of few levels.
SPECIAL = {
    "size": (128, 128),
    "idle": {r"bbox_head\.scales\.\d\.scale": "factors of levels without a box in this image"},
}


class TestConfigs(ConfigTester):
    folder = "configs/dynamic_head"
    paper = "arXiv:2106.08322"
    block = DynamicHeadBlock
    expected = {
        "atss_r50_fpn_dyhead-mmdet_1x_coco": ("detection", 6),
        **dict.fromkeys(OFFICIAL, ("detection", 6)),
    }
    quick = ""
    special = dict.fromkeys(("atss_r50_fpn_dyhead-mmdet_1x_coco", *OFFICIAL), SPECIAL)
    in_memory = (SWIN,)


@pytest.mark.parametrize("name", OFFICIAL)
def test_neck_is_of_the_authors_form(build: Callable[..., nn.Module], name: str) -> None:
    with torch.device("cpu" if name == SWIN else "meta"):
        model = build(f"mmattn::dynamic_head/{name}.py")
    pyramid, neck = model.neck
    assert all(b.spatial_conv_mid.conv.bias is not None for b in neck.dyhead_blocks)
    assert all(b.high_mode == "official" for b in neck.dyhead_blocks)
    levels = 5
    assert pyramid.num_outs == levels
    if not name.startswith("faster"):
        assert pyramid.relu_before_extra_convs
        assert pyramid.add_extra_convs == "on_output"
    assert model.data_preprocessor.pad_size_divisor == (64 if name.startswith("faster") else 128)


def test_retinanet_s_anchors_are_in_detectron2_s_order(build: Callable[..., nn.Module]) -> None:
    """All ratios of a scale, then those of the next: the channels of its weights are so."""
    model = build("mmattn::dynamic_head/retinanet_r50_fpn_dyhead_1x_coco.py")
    expected = []
    for scale in (1, 2 ** (1 / 3), 2 ** (2 / 3)):
        for ratio in (0.5, 1.0, 2.0):
            width = 32 * scale / ratio**0.5
            expected.append([-width / 2, -width * ratio / 2, width / 2, width * ratio / 2])
    anchors = model.bbox_head.prior_generator.base_anchors[0]
    torch.testing.assert_close(anchors, torch.tensor(expected))
