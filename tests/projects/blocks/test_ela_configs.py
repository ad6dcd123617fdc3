"""Promise: the configs of configs/ela build a model with its blocks, train and predict."""

from __future__ import annotations

from mmattn.projects.blocks.ela import ELA
from tests.support.config_tester import ConfigTester


class TestConfigs(ConfigTester):
    folder = "configs/ela"
    paper = "arXiv:2403.01123"
    block = ELA
    expected = {
        "deeplabv3_r18-ela-s-d8_4xb4-20k_voc12aug-512x512": ("semantic", 8),
        "deeplabv3_r50-ela-b-d8_4xb4-20k_voc12aug-512x512": ("semantic", 16),
        "yolox_nano-ela-t_8xb8-300e_coco": ("detection", 3),
    }
    quick = "deeplabv3_r18-ela-s-d8_4xb4-20k_voc12aug-512x512"
    special = {
        "yolox_nano-ela-t_8xb8-300e_coco": {
            # Smaller images have too few positions for batch statistics.
            "size": (256, 320),
            "idle": {
                r"bbox_head\.multi_level_(cls_convs|conv_cls|conv_reg)\.0\..*": "classes and boxes "
                "are learnt where there is an object, and SimOTA assigned none to this level"
            },
        }
    }
