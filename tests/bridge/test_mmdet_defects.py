"""mmdet's SSD predicts, masks are pasted outside of the image, a teacher's config is found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmattn.errors import ConfigError


def ssd_head(cls):
    return cls(
        num_classes=3,
        in_channels=(4,),
        anchor_generator={
            "type": "mmdet.SSDAnchorGenerator",
            "scale_major": False,
            "input_size": 300,
            "basesize_ratio_range": (0.15, 0.9),
            "strides": [64],
            "ratios": [[2]],
        },
        test_cfg={"nms_pre": 10, "nms": {"type": "nms", "iou_threshold": 0.5}, "score_thr": 0.0},
    )


def test_ssd_predicts() -> None:
    from mmdet.models.dense_heads import SSDHead
    from mmengine.config import ConfigDict

    head = ssd_head(SSDHead)
    head.test_cfg = ConfigDict(head.test_cfg | {"min_bbox_size": 0, "max_per_img": 5})
    maps = head((torch.randn(1, 4, 3, 3),))
    metas = [{"img_shape": (192, 192), "ori_shape": (192, 192), "scale_factor": (1.0, 1.0)}]
    (found,) = head.predict_by_feat(*maps, batch_img_metas=metas)
    assert len(found) == 5


def test_a_derived_ssd_keeps_a_loss_of_its_own() -> None:
    from mmdet.models.dense_heads import SSDHead

    class Mine(SSDHead):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            self.loss_cls = torch.nn.CrossEntropyLoss()

    head = ssd_head(Mine)
    assert isinstance(head.loss_cls, torch.nn.CrossEntropyLoss)
    assert isinstance(dict(head.named_modules())["loss_cls"], torch.nn.CrossEntropyLoss)


BOXES = {
    "inside": [10.0, 8.0, 30.0, 20.0],
    "left of the image": [-50.0, 4.0, -20.0, 20.0],
    "right of the image": [90.0, 4.0, 120.0, 20.0],
    "above the image": [4.0, -60.0, 20.0, -30.0],
    "below the image": [4.0, 70.0, 20.0, 90.0],
    "corners swapped": [40.0, 30.0, 10.0, 8.0],
    "far away": [1e12, 1e12, 2e12, 2e12],
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_a_mask_is_pasted_as_on_a_gpu(box: list[float]) -> None:
    """The whole image, which a GPU pastes into, is the truth."""
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    height, width = 48, 64
    mask, boxes = torch.rand(1, 1, 7, 7), torch.tensor([box])
    image = torch.zeros(1, height, width)
    part, where = _do_paste_mask(mask, boxes, height, width, skip_empty=True)
    image[(torch.tensor([0]), *where)] = part
    truth, _ = _do_paste_mask(mask, boxes, height, width, skip_empty=False)
    torch.testing.assert_close(image, truth)


def test_a_teacher_is_found_in_the_installed_package(monkeypatch, tmp_path: Path) -> None:
    from mmattn.bridge.teacher_config import find_teacher_config

    monkeypatch.chdir(tmp_path)
    found = find_teacher_config("configs/gfl/gfl_r101_fpn_ms-2x_coco.py")
    assert found.is_file()
    mine = tmp_path / "configs" / "gfl" / "gfl_r101_fpn_ms-2x_coco.py"
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert find_teacher_config(Path("configs/gfl/gfl_r101_fpn_ms-2x_coco.py")).samefile(mine)
    with pytest.raises(ConfigError, match=r"gfl_r102.*\.mim"):
        find_teacher_config("configs/gfl/gfl_r102.py")


def test_the_detector_looks_there() -> None:
    from mmdet.models.detectors import KnowledgeDistillationSingleStageDetector as Detector

    with pytest.raises(ConfigError, match="nowhere"):
        Detector({}, {}, {}, teacher_config="configs/nowhere.py")


def test_a_teacher_is_not_downloaded_for_inference() -> None:
    from mmattn.inference.model import strip_pretrained

    model = {
        "type": "LAD",
        "teacher_ckpt": "https://example.com/teacher.pth",
        "teacher_config": "a.py",
    }
    assert strip_pretrained(model) == {
        "type": "LAD",
        "teacher_ckpt": None,
        "teacher_config": "a.py",
    }
