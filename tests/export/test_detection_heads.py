"""Promise: decoding for export is each head's own, as mmdet computes it; the rest is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import Tensor, nn

from mmattn.config import load_config
from mmattn.errors import ExportError
from mmattn.export import check_parity, export_onnx, load_exported
from mmattn.export.tasks.detection import TASK, split_images
from mmattn.export.tasks.detection_match import match
from mmattn.export.tasks.detection_model import DetectionExport, check_detector, torch_detections
from mmattn.inference import build_model
from tests.support.small_detectors import HEADS, as_if_trained, detector_config

NAMES = ["YOLOX", "YOLOv12", *HEADS]
YOLOV12 = "mmattn::yolov12/yolov12-n_1xb16-20e_shapes-256x192.py"


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 9, 9, 3), np.uint8)
    return np.stack([cv2.resize(image, (160, 128)) for image in coarse])


def build(name: str, **changes) -> nn.Module:
    if name == "YOLOv12":
        cfg = load_config(YOLOV12)
        torch.manual_seed(0)
        return as_if_trained(build_model(cfg))
    cfg = Config(ConfigDict(detector_config(name, Path("none.json"), Path("none"))))
    cfg.merge_from_dict(changes)
    torch.manual_seed(0)
    return as_if_trained(build_model(cfg))


@pytest.mark.parametrize("name", NAMES)
def test_decoding_and_selection_are_mmdet_s(name: str, photos: np.ndarray) -> None:
    model = build(name)
    wrapper = DetectionExport(model).eval()
    with torch.no_grad():
        outputs = wrapper(torch.from_numpy(photos).permute(0, 3, 1, 2).float())
    ours = dict(zip(wrapper.axes, (o.numpy() for o in outputs), strict=True))
    limits = wrapper.settings
    for found, expected in zip(
        split_images(ours), split_images(torch_detections(model, photos)), strict=True
    ):
        result = match(
            found.clipped(128, 160),
            expected[: limits.max_per_image].clipped(128, 160),
            score_threshold=limits.score_threshold,
            iou_threshold=limits.iou_threshold,
            max_per_image=limits.max_per_image,
        )
        assert result.unmatched == 0 and result.pairs >= 40, result


@pytest.mark.parametrize("name", NAMES)
def test_candidates_are_selected_outside_the_file_as_in_it(name: str, photos: np.ndarray) -> None:
    """A candidate of YOLOX stands for its best class alone, one of YOLOv12 for each.

    The score of FCOS and ATSS is the class score times the centerness, and the threshold is for the
    first: many products lie below it. ``nms_pre`` is for each level, which a file does not tell.
    """
    changes = {} if name in ("YOLOX", "YOLOv12") else {"model.test_cfg.nms_pre": 10000}
    model = build(name, **changes)
    if name in ("FCOS", "ATSS"):
        for part, value in model.bbox_head.named_parameters():
            if "centerness" in part and part.endswith("bias"):
                value.data.fill_(-2.5)
    wrapper = DetectionExport(model, output="decoded").eval()
    with torch.no_grad():
        outputs = wrapper(torch.from_numpy(photos).permute(0, 3, 1, 2).float())
    said = wrapper.postprocess()
    metadata: Any = SimpleNamespace(output="decoded", postprocess=said)
    named = dict(zip(("boxes", "scores"), (o.numpy() for o in outputs), strict=True))
    limit = said["max_per_image"] if said["max_per_image"] > 0 else None
    for found, expected in zip(
        TASK.decoder(metadata)(named), split_images(torch_detections(model, photos)), strict=True
    ):
        result = match(
            found.clipped(128, 160),
            expected[:limit].clipped(128, 160),
            score_threshold=said["score_threshold"],
            iou_threshold=said["iou_threshold"],
            max_per_image=said["max_per_image"],
        )
        assert result.unmatched == 0 and result.pairs >= 40, result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["YOLOv12", *HEADS])
def test_files_find_what_torch_finds(name: str, photos: np.ndarray, tmp_path: Path) -> None:
    model = build(name)
    export_onnx(model, tmp_path / "m.onnx", shape=(128, 128), dynamic=True)
    report = check_parity(model, tmp_path / "m.onnx", list(photos))
    assert len(report.rows) == 5 and report.passed


@pytest.mark.slow
@pytest.mark.parametrize("form", ["decoded", "raw"])
def test_the_other_forms(form: str, photos: np.ndarray, tmp_path: Path) -> None:
    model = build("ATSS")
    export_onnx(model, tmp_path / "m.onnx", shape=(128, 128), dynamic=True, output=form)
    report = check_parity(model, tmp_path / "m.onnx", list(photos))
    assert report.passed
    exported = load_exported(tmp_path / "m.onnx")
    outputs = exported.run(photos)
    if form == "raw":
        assert outputs["cls_scores_0"].shape == (2, 3, 16, 20)
        with pytest.raises(ExportError, match="--form nms"):
            exported(photos)
    else:
        assert outputs["boxes"].shape == (2, 16 * 20 + 8 * 10 + 4 * 5, 4)
        assert len(exported(photos)[0]) > 10


class OwnHead(nn.Module):
    """A head that is none of mmdet's and decodes itself."""

    num_classes = 3
    test_cfg = ConfigDict(score_thr=0.3, nms={"type": "nms", "iou_threshold": 0.5}, max_per_img=10)

    def __init__(self) -> None:
        super().__init__()
        self.classes = nn.Conv2d(16, 3, 1)
        self.sizes = nn.Conv2d(16, 4, 1)

    def forward(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [self.classes(f) for f in features], [self.sizes(f).exp() for f in features]

    def decode_for_export(
        self, outputs: tuple[list[Tensor], list[Tensor]], image_shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        boxes, scores = [], []
        for classes, sizes in zip(*outputs, strict=True):
            height, width = classes.shape[-2:]
            stride = image_shape[0] / height
            y = (torch.arange(height) + 0.5) * stride
            x = (torch.arange(width) + 0.5) * stride
            centres = torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], -1)
            centres = torch.cat([centres, centres], -1).flatten(0, 1)
            reach = sizes.permute(0, 2, 3, 1).flatten(1, 2) * stride
            boxes.append(centres + reach * reach.new_tensor([-1, -1, 1, 1]))
            scores.append(classes.permute(0, 2, 3, 1).flatten(1, 2).sigmoid())
        return torch.cat(boxes, 1), torch.cat(scores, 1)


def test_a_head_decodes_itself_if_it_can(photos: np.ndarray) -> None:
    torch.manual_seed(0)
    model = build("RetinaNet")
    model.bbox_head = OwnHead()
    images = torch.from_numpy(photos).permute(0, 3, 1, 2).float()
    wrapper = DetectionExport(model).eval()
    with torch.no_grad():
        boxes, scores, labels, count = wrapper(images)
        all_boxes, all_scores = DetectionExport(model, output="decoded").eval()(images)
    assert (count > 0).all() and boxes.shape == (2, 10, 4)
    best = all_scores.flatten(1).max(1)
    assert torch.equal(scores[:, 0], best.values)
    assert torch.equal(labels[:, 0], best.indices % 3)
    assert torch.equal(boxes[0, 0], all_boxes[0, best.indices[0] // 3])


class OtherDecoding:
    """Stands for a head that overrides what decodes it."""

    def _predict_by_feat_single(self, *args, **kwargs):
        raise NotImplementedError


def test_what_cannot_be_exported_is_refused_with_the_reason(monkeypatch) -> None:
    soft = {"model.test_cfg.nms": {"type": "soft_nms", "iou_threshold": 0.6}}
    with pytest.raises(ExportError, match=r"type='soft_nms'.*--form decoded"):
        DetectionExport(build("RetinaNet", **soft))
    model = build("RetinaNet")
    head = type(model.bbox_head)
    other = type("OtherHead", (OtherDecoding, head), {})
    model.bbox_head.__class__ = other
    with pytest.raises(ExportError, match=r"OtherHead decodes .* decode_for_export"):
        DetectionExport(model)
    with pytest.raises(ExportError, match="--form must be one of nms, decoded, raw"):
        DetectionExport(build("RetinaNet"), output="classes")


def test_other_detectors_are_refused_before_anything() -> None:
    from mmdet.models.detectors import DETR, FasterRCNN

    for cls in (DETR, FasterRCNN):
        model = cls.__new__(cls)
        nn.Module.__init__(model)
        assert TASK.supports(model)
        with pytest.raises(ExportError, match=f"{cls.__name__} cannot be exported"):
            check_detector(model)


def test_every_head_here_is_one_that_the_page_names(repo: Path) -> None:
    page = (repo / "docs/deploy_a_detector.md").read_text("utf-8")
    for name in NAMES:
        assert name in page
