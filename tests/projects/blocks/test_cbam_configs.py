"""Promise: the configs of configs/cbam build a model with its blocks, train and predict."""

from __future__ import annotations

from mmattn.projects.blocks.cbam import CBAM
from tests.support.config_tester import ConfigTester


class TestConfigs(ConfigTester):
    folder = "configs/cbam"
    paper = "arXiv:1807.06521"
    block = CBAM
    expected = {
        "atss_r18-narrow-cbam_1xb8-500_shapes-128x96": ("detection", 3),
        "faster-rcnn_r50-cbam_fpn_1x_coco": ("detection", 16),
        "fcn_r18-cbam-d8_4xb4-20k_voc12aug-512x512": ("semantic", 8),
        "fcn_r50-cbam-d8_4xb4-20k_voc12aug-512x512": ("semantic", 16),
    }
    in_memory = ("atss_r18-narrow-cbam_1xb8-500_shapes-128x96",)  # the identity is tested for
    quick = "fcn_r18-cbam-d8_4xb4-20k_voc12aug-512x512"
