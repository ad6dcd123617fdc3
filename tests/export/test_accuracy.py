"""The measure that torch and an exported file share agrees with mmseg's own metric."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.evaluation import IoUMetric
from mmseg.structures import SegDataSample

from mmattn.errors import ConfigError, DataError, ExportError
from mmattn.export import (
    class_ious,
    exported_predictor,
    load_exported,
    read_images,
    validation_images,
    validation_pairs,
)
from mmattn.export.parity import read_parity
from mmattn.export.resize_step import describe_resize, find_test_resize
from mmattn.export.validation_set import ValidationImage
from mmattn.inference.images import find_images

RESIZE = {"type": "Resize", "scale": (32, 48)}


def test_class_ious_equal_mmsegs_metric() -> None:
    rng = np.random.default_rng(0)
    truths = [rng.choice([0, 1, 2, 3, 255], (17, 23)).astype(np.uint8) for _ in range(3)]
    guesses = [rng.integers(0, 4, (17, 23)) for _ in truths]
    answers = iter(guesses)
    pairs = [(np.zeros((17, 23, 3), np.uint8), truth) for truth in truths]
    ours = class_ious(lambda _: next(answers), pairs, ("a", "b", "c", "d", "never"))
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(g), torch.from_numpy(t).long(), 5, 255)
        for g, t in zip(guesses, truths, strict=True)
    ]
    theirs = IoUMetric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)))
    np.testing.assert_allclose(ours.ious, 100 * theirs["IoU"], rtol=1e-6)
    assert np.isnan(ours.ious[4]), "a class that never occurs has no IoU"
    assert ours.mean == pytest.approx(100 * np.nanmean(theirs["IoU"]))
    assert ours.pixel_accuracy == pytest.approx(100 * float(theirs["aAcc"]))


def test_validation_pairs_are_rgb_with_their_labels(small_config, images) -> None:
    pairs = validation_pairs(Config.fromfile(small_config))
    assert len(pairs) == len(list(pairs)) == len(pairs[:5]) == 3
    image, labels = pairs[0]
    np.testing.assert_array_equal(image.rgb, images[0])
    np.testing.assert_array_equal(image.read_pixels(), images[0])
    assert labels.shape == (64, 96) and labels.max() < 10


@pytest.mark.parametrize("stated", [None, 12])
def test_an_image_of_twelve_bits_is_shown_in_a_report(tmp_path: Path, stated: int | None) -> None:
    """It was refused without a stated depth, and with one, since nobody passed it on."""
    values = np.arange(1696, 4096, 50, dtype=np.uint16).reshape(6, 8)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    sample = SegDataSample(metainfo={"img_path": str(tmp_path / "a.png")})
    shown = ValidationImage(torch.zeros(3, 6, 8), sample, stated).read_pixels()
    np.testing.assert_array_equal(shown, np.repeat((values >> 4)[..., None], 3, axis=2))


@pytest.mark.slow
def test_validation_pairs_are_prepared_by_the_test_pipeline(small_config) -> None:
    cfg = Config.fromfile(small_config)
    steps = cfg.val_dataloader.dataset.pipeline
    cfg.test_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.test_dataloader.dataset.pipeline = [steps[0], RESIZE, *steps[1:]]
    image, labels = validation_pairs(cfg)[0]
    assert image.rgb.shape == (48, 32, 3)
    assert image.read_pixels().shape == (64, 96, 3)
    assert labels.shape == (64, 96)
    # Labels that the pipeline resizes would be compared with nothing.
    cfg.test_dataloader.dataset.pipeline = [*steps[:2], RESIZE, steps[2]]
    with pytest.raises(ConfigError, match="Put LoadAnnotations after Resize"):
        validation_pairs(cfg)[0]
    # A test set without labels does not say how to measure: the validation's own pipeline does.
    cfg.test_dataloader.dataset.pipeline = [steps[0], RESIZE, steps[2]]
    assert validation_pairs(cfg)[0][0].rgb.shape == (64, 96, 3)


@pytest.fixture(scope="module")
def resizing_run(small_config, small_model, tmp_path_factory) -> tuple[Path, Path]:
    """A config whose test resizes and pads images, and weights for it."""
    folder = tmp_path_factory.mktemp("resizing")
    config = folder / "resizing.py"
    config.write_text(
        small_config.read_text()
        + f"pipeline.insert(1, {RESIZE!r})\n"
        + "model['data_preprocessor']['test_cfg'] = dict(size_divisor=20)\n"
        + "val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])\n"
        + "val_cfg = dict(type='ValLoop')\n"
        + "test_dataloader, test_evaluator = val_dataloader, val_evaluator\n"
        + "test_cfg = dict(type='TestLoop')\n"
    )
    meta = {"dataset_meta": small_model.dataset_meta}
    torch.save({"state_dict": small_model.state_dict(), "meta": meta}, folder / "w.pth")
    return config, folder / "w.pth"


@pytest.mark.slow
def test_a_report_measures_what_a_test_measures(resizing_run, tmp_path) -> None:
    """Promise: a report's accuracy is that of a test; the exported file is measured alike."""
    from mmattn.engine import test
    from mmattn.export import export, measure_run

    config, checkpoint = resizing_run
    tested = test(config, str(checkpoint), work_dir=str(tmp_path / "test"))
    lines: list[str] = []
    file = tmp_path / "model.onnx"
    export(config, checkpoint, out=file, shape=(60, 40), num_images=1, log=lines.append)
    run = measure_run(config, checkpoint, exported_file=file, num_images=1)
    assert round(run.trained.mean, 2) == tested["mIoU"]
    assert round(run.trained.pixel_accuracy, 2) == tested["aAcc"]
    assert run.exported.mean == pytest.approx(run.trained.mean, abs=0.05)
    (sample,) = run.samples
    assert sample.image.shape[:2] == sample.predicted.shape == sample.exported.shape == (64, 96)
    assert sample.truth.shape == (64, 96)
    said = "resize images to 48 x 32 (height x width) first, as the test pipeline does"
    assert f"{said}; this is not in the file" in lines
    resize = load_exported(file).metadata.test_resize
    assert resize == {"scale": [32, 48], "keep_ratio": False}


def test_classes_of_a_file_without_logits_are_enlarged(small_config, small_model) -> None:
    """Each pixel of the file gets the class of the nearest pixel; the padding is cut off."""
    cfg = Config.fromfile(small_config)
    cfg.val_dataloader.dataset.pipeline.insert(1, {"type": "Resize", "scale": (48, 32)})
    small = np.arange(32 * 48).reshape(1, 32, 48)
    shapes = []

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        shapes.append(images.shape)
        padded = np.pad(small, ((0, 0), (0, 8), (0, 2)), constant_values=-1)
        return {"output": padded}

    metadata = SimpleNamespace(
        output="classes", mean=[1.0, 2.0, 3.0], std=[1.0] * 3, network_channel_order="RGB"
    )
    model = copy.deepcopy(small_model)
    model.data_preprocessor.test_cfg = {"size_divisor": 10}
    predict = exported_predictor(SimpleNamespace(run=run, metadata=metadata), model)
    np.testing.assert_array_equal(
        predict(validation_pairs(cfg)[0][0]), small[0].repeat(2, axis=0).repeat(2, axis=1)
    )
    assert shapes == [(1, 40, 50, 3)]


@pytest.mark.parametrize(
    ("step", "kept", "said"),
    [
        (None, None, None),
        (
            {"type": "mmseg.Resize", "scale": (2048, 1024), "keep_ratio": True},
            {"scale": [2048, 1024], "keep_ratio": True},
            "to fit 2048 (longer side) x 1024 (shorter side), keeping their ratio,",
        ),
        ({"type": "Resize", "scale": 64}, {"scale": [64, 64], "keep_ratio": False}, "to 64 x 64"),
        (
            {"type": "Resize", "scale_factor": 0.5, "keep_ratio": True},
            {"scale_factor": 0.5, "keep_ratio": True},
            "as Resize(scale_factor=0.5, keep_ratio=True) does",
        ),
        (
            {"type": "ResizeShortestEdge", "scale": (512, 512), "max_size": 2048},
            {"type": "ResizeShortestEdge", "scale": [512, 512], "max_size": 2048},
            "as ResizeShortestEdge(scale=[512, 512], max_size=2048) does",
        ),
    ],
)
def test_the_resizing_of_a_test_pipeline_is_found(step, kept, said) -> None:
    pipeline = [{"type": "LoadImageFromFile"}, *([step] if step else []), {"type": "PackSegInputs"}]
    cfg = Config({"test_dataloader": {"dataset": {"dataset": {"pipeline": pipeline}}}})
    assert find_test_resize(cfg) == kept
    if kept:
        assert describe_resize(kept).startswith(said)


def test_an_exported_file_without_its_parity_report_is_told(resizing_run, tmp_path) -> None:
    from mmattn.export import measure_run

    with pytest.raises(ExportError, match=r"no exported file .*gone\.onnx"):
        measure_run(*resizing_run, exported_file=tmp_path / "gone.onnx")
    (tmp_path / "model.onnx").touch()
    with pytest.raises(
        ExportError, match=r"parity\.json is not there.*Export the checkpoint again"
    ):
        measure_run(*resizing_run, exported_file=tmp_path / "model.onnx")
    rows = {"rows": [{}], "dynamic": False}
    parts = {**rows, "file": "a/model.onnx", "runtime": "onnxruntime 1"}
    parts["converted"] = [{**rows, "file": "a/model.xml", "runtime": "OpenVINO 2"}]
    (tmp_path / "model.parity.json").write_text(json.dumps(parts))
    for name, runtime in (("model.onnx", "onnxruntime 1"), ("model.xml", "OpenVINO 2")):
        (tmp_path / name).touch()
        assert read_parity(tmp_path / name)["runtime"] == runtime
    for text in ("{", "[]", "{}"):
        (tmp_path / "model.parity.json").write_text(text)
        with pytest.raises(ExportError, match=r"parity\.json is not a report"):
            measure_run(*resizing_run, exported_file=tmp_path / "model.onnx")


def test_images_are_spread_over_the_validation_set(small_config, images) -> None:
    chosen = validation_images(Config.fromfile(small_config), limit=2)
    np.testing.assert_array_equal(chosen[0], images[0])
    np.testing.assert_array_equal(chosen[1], images[2])


def test_missing_validation_set_points_to_images(small_config) -> None:
    cfg = Config.fromfile(small_config)
    cfg.val_dataloader.dataset.data_root = "no/such/folder"
    with pytest.raises(DataError, match="--images"):
        validation_images(cfg, limit=1)
    with pytest.raises(DataError, match="no validation dataset"):
        validation_images(Config({"default_scope": "mmseg"}), limit=1)


def test_images_of_an_export_may_lie_in_sub_folders(tmp_path) -> None:
    """``mmattn predict`` asks about sub-folders, which may hold masks; here they do no harm."""
    for name in ("p1/a.png", "p2/deep/b.png", "c.png", ".hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / name), np.zeros((4, 5, 3), np.uint8))
    assert [i.shape for i in read_images([tmp_path])] == [(4, 5, 3)] * 3
    assert [f.name for f in find_images([tmp_path])] == ["c.png"]
    with pytest.raises(DataError, match="sub-folders hold 1 image"):
        find_images([tmp_path / "p2"])
