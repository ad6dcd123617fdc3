"""Promise: the configs of configs/eca build a model with its blocks, train and predict."""

from __future__ import annotations

from mmattn.projects.blocks.eca import ECA
from tests.support.config_tester import ConfigTester


class TestConfigs(ConfigTester):
    folder = "configs/eca"
    paper = "arXiv:1910.03151"
    block = ECA
    expected = {
        "faster-rcnn_r50-eca_fpn_1x_coco": ("detection", 16),
        "fcn_r50-eca-d8_4xb4-20k_voc12aug-512x512": ("semantic", 16),
        "mask-rcnn_r50-eca_fpn_1x_coco": ("instance", 16),
        "retinanet_r50-eca_fpn_1x_coco": ("detection", 16),
    }
    quick = "retinanet_r50-eca_fpn_1x_coco"
