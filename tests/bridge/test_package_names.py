"""``scope::`` names inside ``_base_``: mmengine finds the configs of all three packages."""

from __future__ import annotations

import pytest
from mmengine.config import Config

BASES = {
    "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py": ("type", "FasterRCNN"),
    "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py": ("type", "EncoderDecoder"),
    "mmattn::_base_/models/ccnet_r50-d8.py": ("type", "EncoderDecoder"),
}


@pytest.mark.parametrize("base", BASES)
def test_base_resolves_and_is_merged(base, tmp_path):
    file = tmp_path / "config.py"
    file.write_text(f"_base_ = ['{base}']\nmodel = dict(extra=1)\n")
    model = Config.fromfile(file).model
    key, value = BASES[base]
    assert model[key].endswith(value)
    assert model.extra == 1 and len(model) > 3
