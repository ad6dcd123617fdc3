"""Promise: the configs of configs/nat build the published networks, train and predict."""

from __future__ import annotations

from mmattn.projects.nat import NeighborhoodAttention
from tests.support.config_tester import ConfigTester


class TestNATConfigs(ConfigTester):
    folder = "configs/nat"
    paper = "arXiv:2204.07143"
    block = NeighborhoodAttention
    expected = {
        "nat-m_upernet_8xb2-160k_ade20k-512x512": ("semantic", 18),
        "nat-t_upernet_8xb2-160k_ade20k-512x512": ("semantic", 30),
        "mask-rcnn_nat-m_fpn_ms-crop-3x_coco": ("instance", 18),
        "mask-rcnn_nat-t_fpn_ms-crop-3x_coco": ("instance", 30),
        "dinat-t_upernet_8xb2-160k_ade20k-512x512": ("semantic", 30),
        "mask-rcnn_dinat-t_fpn_ms-crop-3x_coco": ("instance", 30),
    }
    quick = ""
