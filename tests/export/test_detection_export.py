"""Promise: a detector's exported file finds in plain onnxruntime what torch finds.

The detector is a small YOLOX with random weights that find something; its "ground truth" is what it
finds itself, moved a little, so that average precision has a value between 0 and 1.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from mmattn.cli.export import main as export_main
from mmattn.cli.predict import main as predict_main
from mmattn.config import load_config
from mmattn.detections import Detections
from mmattn.errors import DataError, ExportError
from mmattn.export import load_exported, load_predictor, read_images
from mmattn.export.tasks.detection_match import match
from mmattn.inference import build_model, load_torch_predictor, predict_with
from tests.support.small_detectors import CLASSES, as_if_trained, detector_config, write_config

pytestmark = pytest.mark.slow

PALETTE = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


class Run(NamedTuple):
    config: Path
    checkpoint: Path
    images: Path
    annotations: Path
    file: Path
    said: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The files of a training, and one export with all that the command does."""
    root = tmp_path_factory.mktemp("detector")
    images, annotations = root / "images", root / "annotations.json"
    images.mkdir()
    rng = np.random.default_rng(0)
    for index, size in enumerate(((120, 90), (75, 140), (128, 128))):
        coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
        cv2.imwrite(str(images / f"{index}.png"), cv2.resize(coarse, size[::-1]))
    config = write_config(root / "yolox.py", detector_config("YOLOX", annotations, images))
    torch.manual_seed(0)
    model = as_if_trained(build_model(load_config(config)))
    meta = {"dataset_meta": {"classes": CLASSES, "palette": PALETTE}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, root / "yolox.pth")
    write_ground_truth(root, images, annotations)
    words = [config, root / "yolox.pth", "--out", root / "yolox.onnx", "--dynamic"]
    words += ["--images", images, "--annotations", annotations, "--num-images", "2"]
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *text, **_: lines.append(" ".join(map(str, text))))
        assert export_main(list(map(str, words))) == 0, lines
    return Run(config, root / "yolox.pth", images, annotations, root / "yolox.onnx",
               "\n".join(lines))  # fmt: skip


def write_ground_truth(root: Path, images: Path, annotations: Path) -> None:
    predictor = load_torch_predictor(load_config(root / "yolox.py"), root / "yolox.pth")
    content: dict = {"images": [], "annotations": []}
    content["categories"] = [{"id": 7 + i, "name": name} for i, name in enumerate(CLASSES)]
    for index, file in enumerate(sorted(images.iterdir())):
        found, pixels = predictor.predict_file(file)
        height, width = pixels.shape[:2]
        content["images"].append(
            {"id": index, "file_name": file.name, "height": height, "width": width}
        )
        for row in range(0, 24, 2):
            left, top, right, bottom = map(float, found.boxes[row])
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": index,
                    "category_id": 7 + int(found.labels[row]),
                    "bbox": [left, top, 0.95 * (right - left), 0.9 * (bottom - top)],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    annotations.write_text(json.dumps(content))


def same(first: Detections, second: Detections) -> None:
    limits = {"score_threshold": 0.05, "iou_threshold": 0.65, "max_per_image": 300}
    result = match(first[:300], second[:300], **limits)
    assert result.unmatched == 0 and result.borderline <= 2 and result.pairs > 20, result


def test_the_report_tells_detections_and_average_precision(run: Run) -> None:
    parity = json.loads(run.file.with_suffix(".parity.json").read_text())
    assert parity["passed"] and len(parity["rows"]) == 5
    assert parity["agreement_title"] == "same detections"
    assert all(row["agreement"] == 1 for row in parity["rows"])
    accuracy = parity["accuracy"]
    assert accuracy["images"] == 3
    assert 0.1 < accuracy["torch"]["mAP_50"] < 1
    assert accuracy["file"] == pytest.approx(accuracy["torch"], abs=1e-3)
    assert "same detections" in run.said and "3 annotated images: mAP" in run.said
    assert "no max_per_img" in run.said


def test_the_metadata_hold_all_that_a_program_needs(run: Run) -> None:
    metadata = load_exported(run.file).metadata
    assert (metadata.task, metadata.output, metadata.classes) == (
        "object detection",
        "nms",
        list(CLASSES),
    )
    assert metadata.palette == list(map(list, PALETTE))
    assert metadata.test_resize == {"scale": [128, 128], "keep_ratio": True}
    square, divisor = metadata.test_pad
    assert square["square"] and square["value"] == [114, 114, 114]
    assert divisor["size_divisor"] == 32
    assert metadata.threshold == metadata.postprocess["score_threshold"] == 0.05
    assert metadata.postprocess["iou_threshold"] == 0.65
    assert metadata.postprocess["strides"] == [8, 16, 32]
    assert metadata.shape == [128, 128] and metadata.size_divisor == 32


def test_plain_onnxruntime_runs_any_batch_and_size(run: Run) -> None:
    session = onnxruntime.InferenceSession(str(run.file), providers=["CPUExecutionProvider"])
    predictor = load_torch_predictor(load_config(run.config), run.checkpoint)
    photos = read_images([run.images])
    for batch, size in ((1, (96, 160)), (3, (128, 64)), (2, (32, 32))):
        images = np.stack([cv2.resize(p, size[::-1]) for p in photos[:batch]])
        planes = images.transpose(0, 3, 1, 2).astype(np.float32)
        boxes, scores, labels, count = session.run(None, {"images": planes})
        rows = 300
        assert boxes.shape == (batch, rows, 4) and scores.shape == (batch, rows)
        assert labels.dtype == np.int64 and count.shape == (batch,)
        for index in range(batch):
            n = int(count[index])
            assert n > 0 and (np.diff(scores[index, :n]) <= 0).all()
            assert (scores[index, n:] == -1).all() and (labels[index, n:] == -1).all()
            assert (boxes[index, n:] == 0).all() and (labels[index, :n] >= 0).all()
        alone = [session.run(None, {"images": p[None]})[1][0] for p in planes]
        np.testing.assert_allclose(scores, np.stack(alone), atol=1e-5)
    assert predictor.result == "boxes"


def test_image_files_get_the_detections_of_torch(run: Run) -> None:
    """Resizing, padding and the way back are numpy's here, mmcv's there."""
    in_torch = load_torch_predictor(load_config(run.config), run.checkpoint)
    in_file = load_predictor(run.file)
    for file in sorted(run.images.iterdir()):
        same(in_file.predict_file(file)[0].clipped(999, 999), in_torch.predict_file(file)[0])


def test_the_command_writes_the_same_for_both(run: Run, tmp_path: Path, capsys) -> None:
    words = [str(run.images), "--score-threshold", "0.3"]
    assert predict_main([str(run.file), *words, "--out", str(tmp_path / "onnx")]) == 0
    model = [str(run.config), str(run.checkpoint)]
    assert predict_main([*model, *words, "--out", str(tmp_path / "torch")]) == 0
    first, second = (
        json.loads((tmp_path / name / "detections.json").read_text()) for name in ("onnx", "torch")
    )
    assert first["images"] == second["images"] and first["categories"] == second["categories"]
    assert len(first["annotations"]) == len(second["annotations"]) > 10
    for a, b in zip(first["annotations"], second["annotations"], strict=True):
        assert (a["image_id"], a["category_id"]) == (b["image_id"], b["category_id"])
        np.testing.assert_allclose(a["bbox"], b["bbox"], atol=0.02)
        assert a["score"] == pytest.approx(b["score"], abs=1e-4)


def test_running_a_detector_s_file_imports_no_torch(run: Run) -> None:
    code = (
        "import sys\n"
        "from mmattn.export import load_predictor\n"
        "from pathlib import Path\n"
        f"predictor = load_predictor({str(run.file)!r})\n"
        f"found, _ = predictor.predict_file(Path({str(run.images)!r}) / '0.png')\n"
        "print(len(found) > 3, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True False"


def test_a_file_that_computes_something_else_is_told(run: Run) -> None:
    """Torch's weights were changed after the export."""
    from mmattn.export import check_parity

    model = build_model(load_config(run.config), run.checkpoint)
    images = read_images([run.images], limit=1)
    assert check_parity(model, run.file, images).passed
    with torch.no_grad():
        model.bbox_head.multi_level_conv_reg[0].bias += 0.5
    with pytest.raises(ExportError, match="FAILS"):
        check_parity(model, run.file, images)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not COCO.s format"),
        ('{"images": [], "categories": [], "annotations": []}', "has no category circle"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(content, said, run: Run, tmp_path: Path) -> None:
    from mmattn.export.detection_accuracy import AnnotatedImages

    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=rf"a\.json.*{said}"):
        AnnotatedImages(tmp_path / "a.json", [run.images], CLASSES)


def test_annotations_find_their_images_in_folders_where_names_repeat(tmp_path: Path) -> None:
    """By their names alone, the objects of one image were looked for in the other."""
    from mmattn.export.detection_accuracy import AnnotatedImages

    for camera in ("cam 0", "cam 1"):
        (tmp_path / camera).mkdir()
        (tmp_path / camera / "1.png").write_bytes(b"")
    (tmp_path / "flat.png").write_bytes(b"")
    names = ["cam 1/1.png", "cam 0/1.png", "elsewhere/flat.png"]
    content = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = AnnotatedImages(tmp_path / "a.json", [tmp_path / "**/*.png"], ["a"]).files
    assert found == {
        0: tmp_path / "cam 1/1.png",
        1: tmp_path / "cam 0/1.png",
        2: tmp_path / "flat.png",
    }


def test_a_file_of_another_program_is_named(run: Run, tmp_path: Path, capsys) -> None:
    import onnx

    stranger = onnx.load(run.file)
    del stranger.metadata_props[:]
    onnx.save(stranger, tmp_path / "other.onnx")
    words = [str(run.images), "--out", str(tmp_path / "out")]
    assert predict_main([str(tmp_path / "other.onnx"), *words]) == 7
    assert "other.onnx: metadata" in capsys.readouterr().err
    assert predict_main([str(tmp_path / "gone.onnx"), *words]) == 7
    assert "no exported file" in capsys.readouterr().err


def test_segmentation_options_for_a_detector_and_the_reverse(
    run: Run, dynamic_file, tmp_path: Path, capsys
) -> None:
    words = [str(dynamic_file), str(run.images), "--out", str(tmp_path), "--tile", "64"]
    assert predict_main(words) == 2
    assert "--tile: for detection alone" in capsys.readouterr().err


@pytest.mark.slow
def test_a_segmentor_s_file_predicts_too(run: Run, dynamic_file, small_model, tmp_path) -> None:
    """Its label maps are those of torch on the same pixels."""
    written = predict_with(load_predictor(dynamic_file), [run.images], tmp_path)
    assert len(written) == 3
    from mmattn.export.tasks.semantic import TASK

    image = read_images([run.images])[2]  # 128 x 128: no resizing on either side
    expected = TASK.run_torch(small_model, image[None])["classes"][0]
    labels = cv2.imread(str(tmp_path / "2.png"), cv2.IMREAD_UNCHANGED)
    assert (labels == expected).mean() > 0.999
