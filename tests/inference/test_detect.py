"""Promise: ``mmattn predict`` with a detector finds what mmdet's own API finds, and writes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmattn.cli.predict import main
from mmattn.config import load_config
from mmattn.detections import Detections
from mmattn.errors import DataError
from mmattn.images.frames import VideoWriter
from mmattn.inference import (
    DetectionOptions,
    build_model,
    load_torch_predictor,
    predict_images,
    predict_with,
)
from tests.support.small_detectors import CLASSES, as_if_trained, detector_config, write_config


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small YOLOX with random weights that find something: its config and its checkpoint."""
    root = tmp_path_factory.mktemp("detector")
    config = write_config(root / "yolox.py", detector_config("YOLOX", root / "a.json", root))
    torch.manual_seed(0)
    model = as_if_trained(build_model(load_config(config)))
    meta = {"dataset_meta": {"classes": CLASSES, "palette": [(255, 0, 0), (0, 255, 0)]}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, root / "yolox.pth")
    return config, root / "yolox.pth"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (120, 90)), ("b.png", (75, 140))):
        coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(coarse, size[::-1]))
    return folder


def upstream(network: tuple[Path, Path], file: Path) -> Detections:
    """What mmdet's own functions find."""
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(str(network[0]), str(network[1]), device="cpu")
    found = inference_detector(model, str(file)).pred_instances
    return Detections.of(found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy())


def annotations_of(folder: Path, name: str) -> tuple[list[dict], dict]:
    content = json.loads((folder / "detections.json").read_text())
    (image,) = [image for image in content["images"] if image["file_name"] == name]
    return [a for a in content["annotations"] if a["image_id"] == image["id"]], image


def test_the_detections_are_those_of_mmdet_s_api(network, photos, tmp_path: Path) -> None:
    lines: list[str] = []
    options = DetectionOptions(score_threshold=0.08)
    config = load_config(network[0])
    written = predict_images(
        config, network[1], [photos], tmp_path, detection=options, log=lines.append
    )
    assert [file.name for file in written] == ["a_boxes.jpg", "b_boxes.jpg"]
    for name, size in (("a", (120, 90)), ("b", (75, 140))):
        expected = upstream(network, photos / f"{name}.png").clipped(*size).above(0.08)
        assert len(expected) > 3
        found, image = annotations_of(tmp_path, f"{name}.png")
        assert (image["height"], image["width"]) == size
        boxes = np.array([a["bbox"] for a in found])
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, expected.boxes, atol=2e-3)
        np.testing.assert_allclose([a["score"] for a in found], expected.scores, atol=1e-5)
        assert [a["category_name"] for a in found] == [CLASSES[i] for i in expected.labels]
        assert cv2.imread(str(tmp_path / f"{name}_boxes.jpg")).shape == (*size, 3)
        (line,) = [line for line in lines if f"{name}.png" in line]
        for label, count in expected.counts(CLASSES).items():
            assert f"{label} {count}" in line
    assert (
        f"{len(json.loads((tmp_path / 'detections.json').read_text())['annotations'])} objects"
        in (lines[-1])
    )


def test_mmdet_s_inferencer_takes_our_files(network, photos, tmp_path: Path) -> None:
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(str(network[0]), str(network[1]), device="cpu")
    file = photos / "a.png"
    (found,) = inferencer(str(file), no_save_vis=True)["predictions"]
    expected = upstream(network, file)
    np.testing.assert_allclose(found["bboxes"], expected.boxes, atol=1e-3)


def test_crops_patterns_and_the_command(network, photos, tmp_path: Path, capsys) -> None:
    words = [*map(str, network), str(photos / "*.png"), "--out", str(tmp_path), "--save-crops"]
    assert main([*words, "--score-threshold", "0.08"]) == 0
    assert f"2 drawn images in {tmp_path}" in capsys.readouterr().out
    found, _ = annotations_of(tmp_path, "a.png")
    crops = sorted(tmp_path.glob("crops/*/a_*.jpg"))
    # Random weights find boxes outside the image too, of which no pixel is left.
    inside = {n: e for n, e in enumerate(found, 1) if min(e["bbox"][2:]) > 0}
    assert len(crops) == len(inside) > 3
    for number, entry in inside.items():
        crop = cv2.imread(str(tmp_path / f"crops/{entry['category_name']}/a_{number}.jpg"))
        _, _, width, height = entry["bbox"]
        assert abs(crop.shape[1] - width) < 2.5 and abs(crop.shape[0] - height) < 2.5


def test_images_of_one_name_keep_their_folders(network, photos, tmp_path: Path) -> None:
    for camera in ("cam 0", "cam 1"):
        (tmp_path / "in" / camera).mkdir(parents=True)
        shutil.copy(photos / "a.png", tmp_path / "in" / camera / "1.png")
    config, weights = network
    pattern = [tmp_path / "in/**/*"]
    written = predict_images(load_config(config), weights, pattern, tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "cam 0/1_boxes.jpg",
        "cam 1/1_boxes.jpg",
    ]
    content = json.loads((tmp_path / "out/detections.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["cam 0/1.png", "cam 1/1.png"]


def test_tiles_are_detected_like_images_of_their_size(network, photos, tmp_path: Path) -> None:
    """An image of one tile's size is detected as it is; a larger one gets more, in its pixels."""
    large = cv2.resize(cv2.imread(str(photos / "a.png")), (220, 300))
    cv2.imwrite(str(tmp_path / "large.png"), large)
    whole = DetectionOptions(score_threshold=0.08)
    tiled = DetectionOptions(score_threshold=0.08, tile=128, overlap=0.25)
    predictor = load_torch_predictor(load_config(network[0]), network[1])
    for name, options in (("whole", whole), ("tiled", tiled)):
        predict_with(predictor, [tmp_path / "large.png"], tmp_path / name, detection=options)
    few, _ = annotations_of(tmp_path / "whole", "large.png")
    many, image = annotations_of(tmp_path / "tiled", "large.png")
    assert (image["height"], image["width"]) == (300, 220)
    assert len(many) > len(few)
    assert max(a["bbox"][0] + a["bbox"][2] for a in many) > 200


def test_a_video_becomes_a_video(network, tmp_path: Path) -> None:
    source = tmp_path / "street.mp4"
    writer = VideoWriter(source, (96, 128), 5)
    rng = np.random.default_rng(0)
    for _ in range(4):
        writer.write(cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (128, 96)))
    writer.close()
    lines: list[str] = []
    words = (load_config(network[0]), network[1], [source], tmp_path / "out")
    (written,) = predict_images(*words, max_frames=3, log=lines.append)
    assert written.name == "street_boxes.mp4"
    capture = cv2.VideoCapture(str(written))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    assert frames == 3
    content = json.loads((tmp_path / "out/detections.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == ["street_000001", "street_000002", "street_000003"]
    assert "street.mp4: 3 frames" in lines[0]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["gone.mp4"], 4, "gone.mp4: no such video"),
        (["no*.png"], 4, "no*.png: no image fits this pattern"),
        (["{photos}", "--tile", "4"], 2, "--tile 4"),
        (["{photos}", "--overlap", "0.5"], 2, "give --tile"),
        (["{photos}", "--score-threshold", "7"], 2, "--score-threshold 7"),
    ],
)
def test_wrong_input_ends_in_one_line(network, photos, words, code, said, tmp_path, capsys) -> None:
    words = [word.format(photos=photos) for word in words]
    assert main([*map(str, network), *words, "--out", str(tmp_path / "out")]) == code
    assert said in capsys.readouterr().err


def test_an_unreadable_image_does_not_cost_the_others(network, photos, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    predictor = load_torch_predictor(load_config(network[0]), network[1])
    with pytest.raises(DataError, match="1 of 3 images cannot be read"):
        predict_with(predictor, [bad, photos], tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*_boxes.jpg"))) == 2
