"""Promise: the network is ONNX of standard operators, which onnxruntime runs alike, at any size.

The networks are small, and exported with free sizes: parity is checked at five.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmattn.cli.predict import main
from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.detections.segment_map import SegmentMap
from mmattn.errors import ExportError
from mmattn.export.panoptic_map import panoptic_map
from mmattn.export.tasks.panoptic import same_pixels
from mmattn.projects.mask2former.batched_results import batched_instances, batched_semantic_scores
from mmattn.projects.mask2former.mask_bands import ResizedMasks
from mmattn.projects.mask2former.postprocess import instances, panoptic, semantic_scores
from mmattn.registry import MODELS
from tests.support.comparison_configs import (
    MASK2FORMER,
    MASK2FORMER_INSTANCE,
    MASK2FORMER_PANOPTIC,
)
from tests.support.mask2former_weights import add_noise

SHAPE = (64, 96)


def build(config: str) -> Any:
    cfg = load_config(config)
    enter_scope(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    add_noise(model, 0.1)
    return model


def write_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels = cv2.GaussianBlur(pixels, (0, 0), 5)
    pixels = cv2.normalize(pixels, np.empty(0), 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(path), pixels)
    return pixels


def exported(config: str, tmp_path: Path) -> tuple[Path, Any]:
    """A file with free sizes that was compared with torch, and its metadata."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from mmattn.export.formats.onnx import export_onnx
    from mmattn.export.parity import check_parity

    model, file = build(config), tmp_path / "model.onnx"
    metadata = export_onnx(model, file, shape=SHAPE, dynamic=True)
    image = write_image(tmp_path / "image.png", (96, 128))
    report = check_parity(model, file, [image])
    found = {(row.batch, row.height, row.width) for row in report.rows}
    assert len(found) == 5 and (2, *SHAPE) in found
    return file, metadata


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_semantic_maps(tmp_path: Path) -> None:
    file, metadata = exported(MASK2FORMER, tmp_path)
    assert (metadata.task, metadata.size_divisor) == ("semantic segmentation", 32)
    assert main([str(file), str(tmp_path / "image.png"), "--out", str(tmp_path / "found")]) == 0
    classes = cv2.imread(str(tmp_path / "found/image.png"), cv2.IMREAD_UNCHANGED)
    assert classes.shape == (96, 128)
    assert classes.max() < 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_instances(tmp_path: Path) -> None:
    file, metadata = exported(MASK2FORMER_INSTANCE, tmp_path)
    assert (metadata.task, len(metadata.classes)) == ("instance segmentation", 6)
    found = tmp_path / "found"
    words = [str(file), str(tmp_path / "image.png"), "--out", str(found)]
    assert main([*words, "--score-threshold", "0.01"]) == 0
    assert (found / "detections.json").is_file()
    assert (found / "image_boxes.jpg").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_panoptic_maps(tmp_path: Path) -> None:
    file, metadata = exported(MASK2FORMER_PANOPTIC, tmp_path)
    assert (metadata.task, len(metadata.classes)) == ("panoptic segmentation", 10)
    found = tmp_path / "found"
    assert main([str(file), str(tmp_path / "image.png"), "--out", str(found)]) == 0
    content = json.loads((found / "panoptic.json").read_text())
    (entry,) = content["annotations"]
    ids = cv2.imread(str(found / entry["file_name"]))[..., 2]
    assert ids.shape == (96, 128)
    for segment in entry["segments_info"]:
        assert (ids == segment["id"]).sum() == segment["area"] > 0
    assert len(entry["segments_info"]) > 1
    assert (found / "image_overlay.jpg").is_file()


def test_results_of_a_batch_are_those_of_each_image() -> None:
    torch.manual_seed(0)
    classes, masks = 3 * torch.randn(2, 8, 6), torch.randn(2, 8, 12, 16)
    size = (48, 64)
    labels, scores, found = batched_instances(classes, masks, size, 3, 10)
    assert found.shape == (2, 10, *size)
    semantic = batched_semantic_scores(classes, masks, size)
    for image in range(2):
        resized = ResizedMasks(masks[image], size, size)
        expected = instances(classes[image], resized, 3, 10)
        things = labels[image] < 3
        assert torch.equal(scores[image] >= 0, things)
        assert torch.equal(labels[image][things], expected.labels)
        torch.testing.assert_close(scores[image][things], expected.scores)
        assert (found[image][things] == expected.masks).float().mean() > 0.9999
        torch.testing.assert_close(semantic[image], semantic_scores(classes[image], resized))


@pytest.mark.parametrize("filter_low_score", [True, False])
@pytest.mark.parametrize("output_size", [(40, 60), (33, 95)])
def test_the_map_in_numpy_is_that_in_torch(
    filter_low_score: bool, output_size: tuple[int, int]
) -> None:
    random = torch.Generator().manual_seed(0)
    classes = 6 * torch.randn(12, 8, generator=random)
    classes[:, -1] = -6  # few queries are of no object
    masks = torch.nn.functional.interpolate(
        4 * torch.randn(1, 12, 4, 6, generator=random), (16, 24), mode="bicubic"
    )[0]
    settings = {"object_mask_thr": 0.5, "iou_thr": 0.05, "filter_low_score": filter_low_score}
    expected = panoptic(
        classes, ResizedMasks(masks, (64, 96), (60, 90), output_size), 4, offset=1000, **settings
    ).numpy()
    found = panoptic_map(
        classes.numpy(),
        masks.numpy(),
        {**settings, "num_things": 4},
        input_size=(64, 96),
        content=(60, 90),
        output_size=output_size,
    )
    labels = {int(n): int(n) % 1000 for n in np.unique(expected) if n % 1000 < 7}
    theirs = SegmentMap.of(expected, labels)
    assert len(labels) >= 3 and len(found.labels) == len(labels)
    assert sorted(found.labels) == sorted(labels.values())
    assert same_pixels(theirs, found) >= 0.999 * expected.size


def test_no_query_is_an_empty_map() -> None:
    settings = {"object_mask_thr": 0.8, "iou_thr": 0.8, "filter_low_score": True, "num_things": 1}
    found = panoptic_map(
        np.zeros((3, 3), np.float32),
        np.ones((3, 2, 2), np.float32),
        settings,
        input_size=(8, 8),
        content=(8, 8),
        output_size=(8, 8),
    )
    assert not found.index.any() and not len(found.labels)


def test_same_pixels_by_hand() -> None:
    rows = np.array([[1, 1, 2, 2], [1, 1, 2, 0]])
    first = SegmentMap.of(rows, {1: 5, 2: 6})
    assert same_pixels(first, SegmentMap.of(3 - rows, {2: 5, 1: 6})) == 8  # other numbers
    assert same_pixels(first, SegmentMap.of(rows, {1: 5, 2: 7})) == 5  # another class
    assert same_pixels(first, SegmentMap.of(np.ones_like(rows), {1: 5})) == 4
    assert same_pixels(first, first) == 8


def test_another_form_is_refused_with_what_to_set() -> None:
    from mmattn.export.tasks import task_to_export

    model = build(MASK2FORMER_PANOPTIC)
    assert task_to_export(model).name == "panoptic segmentation"
    with pytest.raises(ExportError, match=r"test_cfg.panoptic_on=False"):
        task_to_export(model).wrap(model, "masks")
    with pytest.raises(ExportError, match="instance_on=True"):
        model.instances_for_export(torch.zeros(1, 3, 64, 64))
