"""Promise: the network is ONNX of standard operators, which onnxruntime runs alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmattn.cli.predict import main
from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.errors import ExportError
from mmattn.projects.mask2former.batched_instances import batched_instances
from mmattn.projects.mask2former.mask_bands import ResizedMasks
from mmattn.projects.mask2former.postprocess import instances
from mmattn.registry import MODELS
from tests.conftest import REPO
from tests.support.mask2former_weights import add_noise

CONFIG = REPO / "configs/mask2former/mask2former_r18_1xb8-2k_shapes-semantic-128x128.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("shape", [(128, 128), (96, 160)])
def test_semantic_at_two_sizes_and_by_predict(tmp_path: Path, shape: tuple[int, int]) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from mmattn.export.formats.onnx import export_onnx
    from mmattn.export.parity import check_parity

    cfg = load_config(CONFIG)
    enter_scope(cfg)
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    add_noise(model)
    file = tmp_path / "semantic.onnx"
    export_onnx(model, file, shape=shape)
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 5)
    report = check_parity(model, file, [image])
    assert [(row.height, row.width) for row in report.rows] == [shape]
    cv2.imwrite(str(tmp_path / "image.png"), image)
    assert main([str(file), str(tmp_path / "image.png"), "--out", str(tmp_path / "found")]) == 0
    classes = cv2.imread(str(tmp_path / "found/image.png"), cv2.IMREAD_UNCHANGED)
    assert classes.shape == shape
    assert classes.max() < 10


INSTANCE = REPO / "configs/mask2former/mask2former_r18_1xb4-20e_shapes-instance-256x192.py"


def instance_model() -> Any:
    cfg = load_config(INSTANCE)
    enter_scope(cfg)
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    add_noise(model)
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("shape", [(96, 128), (128, 64)])
def test_instances_at_two_sizes_and_by_predict(tmp_path: Path, shape: tuple[int, int]) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from mmattn.export.formats.onnx import export_onnx
    from mmattn.export.parity import check_parity

    file = tmp_path / "instance.onnx"
    model = instance_model()
    metadata = export_onnx(model, file, shape=shape)
    assert metadata.task == "instance segmentation"
    assert len(metadata.classes) == 6
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 5)
    report = check_parity(model, file, [image], min_agreement=0.95)
    assert [(row.height, row.width) for row in report.rows] == [shape]
    cv2.imwrite(str(tmp_path / "image.png"), image)
    found = tmp_path / "found"
    words = [str(file), str(tmp_path / "image.png"), "--out", str(found)]
    assert main([*words, "--score-threshold", "0.01"]) == 0
    assert (found / "detections.json").is_file()
    assert (found / "image_boxes.jpg").is_file()


def test_instances_of_a_batch_are_those_of_each_image() -> None:
    torch.manual_seed(0)
    classes, masks = 3 * torch.randn(2, 8, 6), torch.randn(2, 8, 12, 16)
    size = (48, 64)
    labels, scores, found = batched_instances(classes, masks, size, 3, 10)
    assert found.shape == (2, 10, *size)
    for image in range(2):
        expected = instances(classes[image], ResizedMasks(masks[image], size, size), 3, 10)
        things = labels[image] < 3
        assert torch.equal(scores[image] >= 0, things)
        assert torch.equal(labels[image][things], expected.labels)
        torch.testing.assert_close(scores[image][things], expected.scores)
        assert (found[image][things] == expected.masks).float().mean() > 0.9999


def test_a_panoptic_network_is_told_what_to_set() -> None:
    model = instance_model()
    model.test_cfg["instance_on"] = False
    with pytest.raises(ExportError, match="instance_on=True"):
        model.instances_for_export(torch.zeros(1, 3, 64, 64))
