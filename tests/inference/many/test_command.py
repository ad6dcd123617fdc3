"""Promise: ``mmattn predict`` finds in a great many images what it finds in few."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmattn.cli import predict as command
from mmattn.cli.predict import main
from mmattn.config import load_config
from mmattn.inference import build_model
from tests.support.small_detectors import CLASSES, as_if_trained, detector_config, write_config


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small RetinaNet with random weights that find something: its config and its checkpoint."""
    root = tmp_path_factory.mktemp("detector")
    config = write_config(root / "net.py", detector_config("RetinaNet", root / "a.json", root))
    torch.manual_seed(0)
    model = as_if_trained(build_model(load_config(config)))
    meta = {"dataset_meta": {"classes": CLASSES, "palette": [(255, 0, 0), (0, 255, 0)]}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, root / "net.pth")
    return [str(config), str(root / "net.pth")]


@pytest.fixture(scope="module")
def segmentor(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("segmentor")
    (root / "tiny.py").write_text(
        "default_scope = 'mmseg'\n"
        "model = dict(type='EncoderDecoder', train_cfg=dict(), test_cfg=dict(mode='whole'),\n"
        "    data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, size=(32, 32),\n"
        "        mean=[0.0] * 3, std=[255.0] * 3),\n"
        "    backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),\n"
        "    decode_head=dict(type='FCNHead', in_channels=32, in_index=3, channels=4,\n"
        "        num_convs=1, num_classes=3))\n"
        "test_dataloader = dict(dataset=dict(type='mmattn.FolderSegDataset', pipeline=[\n"
        "    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 48)),\n"
        "    dict(type='mmattn.LoadFolderMask'), dict(type='PackSegInputs')]))\n"
    )
    torch.manual_seed(0)
    state = build_model(load_config(root / "tiny.py")).state_dict()
    meta = {"dataset_meta": {"classes": ["sky", "road", "car"], "palette": [[255, 0, 0]]}}
    torch.save({"state_dict": state, "meta": meta}, root / "tiny.pth")
    return [str(root / "tiny.py"), str(root / "tiny.pth")]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of two sizes, two of them in a sub-folder, and one that is broken."""
    folder = tmp_path_factory.mktemp("photos") / "in"
    (folder / "sub").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index, name in enumerate(("a", "b", "c", "sub/a", "sub/d")):
        size = (75, 140) if index == 1 else (60, 90)
        coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(coarse, size[::-1]))
    (folder / "e.png").write_bytes(b"broken")
    return folder


def boxes_by_name(path: Path) -> dict[str, list[dict]]:
    content = json.loads(path.read_text())
    found: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        found[annotation.pop("image_id")].append({**annotation, "id": 0, "area": 0})
    return {image["file_name"]: found[image["id"]] for image in content["images"]}


def test_boxes_are_those_of_few_images(detector, photos: Path, tmp_path: Path, capsys) -> None:
    words = ["--out", str(tmp_path / "few"), "--score-threshold", "0.2"]
    images = [str(photos / f"{name}.png") for name in ("a", "b", "c", "sub/a", "sub/d")]
    assert main([*detector, *images, *words]) == 0
    few = boxes_by_name(tmp_path / "few/detections.json")
    assert len(few) == 5 and all(few.values())
    for index in range(2):
        words = ["--out", str(tmp_path / "many"), "--score-threshold", "0.2", "--recursive"]
        assert main([*detector, str(photos), *words, "--shard", f"{index}/2"]) == 0
    said = capsys.readouterr().out
    assert "--merge --out" in said and "5 images in" in said and "1 could not be read" in said
    assert boxes_by_name(tmp_path / "many/detections.json") == few
    assert not list((tmp_path / "many").glob("*.jpg"))
    (tmp_path / "many/detections.json").unlink()
    assert main(["--merge", "--out", str(tmp_path / "many")]) == 0
    assert boxes_by_name(tmp_path / "many/detections.json") == few


def test_label_maps_are_those_of_few_images_also_in_batches(
    segmentor, photos: Path, tmp_path: Path
) -> None:
    few = ["--out", str(tmp_path / "few")]
    images = [str(photos / f"{name}.png") for name in ("a", "b", "c", "sub/a", "sub/d")]
    assert main([*segmentor, *images, *few]) == 0
    many = ["--out", str(tmp_path / "many"), "--recursive", "--batch", "4", "--draw"]
    assert main([*segmentor, str(photos), *many]) == 0
    records = [json.loads(x) for x in (tmp_path / "many/results.jsonl").read_text().splitlines()]
    maps = {record["file"]: record["map"] for record in records if "map" in record}
    assert len(maps) == 5
    for name, path in maps.items():
        stored = cv2.imread(str(tmp_path / "many" / path), cv2.IMREAD_UNCHANGED)
        expected = cv2.imread(str(tmp_path / "few" / path), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(stored, expected), name
        drawn = tmp_path / "many" / Path(path).with_name(f"{Path(path).stem}_overlay.jpg")
        assert drawn.exists()
    assert json.loads((tmp_path / "many/classes.json").read_text()) == ["sky", "road", "car"]


def test_above_some_number_of_images_nothing_is_drawn(
    segmentor, photos: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("mmattn.inference.many.options.DRAWN_AT_MOST", 2)
    assert main([*segmentor, str(photos), "--out", str(tmp_path / "out")]) == 0
    assert "Nothing is drawn of more than 2 images" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").glob("*.*")) == [
        "a.png", "b.png", "c.png", "classes.json", "results.jsonl",
    ]  # fmt: skip


def test_what_does_not_go_together_is_refused(segmentor, photos: Path, tmp_path, capsys) -> None:
    for words, said in (
        (["--format", "coco"], "COCO has no form for the classes"),
        (["--processes", "0"], "--processes 0: give 1 or more"),
        (["--batch", "0"], "--batch 0: give 1 or more"),
        (["--shard", "2/2"], "--shard 2/2: give I/N"),
        (["--recursive", "--max-frames", "3"], "--max-frames is for a video"),
        (["--recursive", "--tile", "64"], "--tile: for detection alone"),
    ):
        assert main([*segmentor, str(photos), "--out", str(tmp_path / "out"), *words]) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.parse_args(["--merge", "model.onnx", "--out", "x"])
    with pytest.raises(SystemExit):
        command.parse_args(["--merge", "--format", "coco", "--out", "x"])
    assert "--format changes nothing of --merge" in capsys.readouterr().err


def test_when_no_image_can_be_read_the_command_fails(
    segmentor, photos: Path, tmp_path: Path, capsys
) -> None:
    broken = [str(photos / "e.png"), "--out", str(tmp_path / "out"), "--format", "jsonl"]
    assert main([*segmentor, *broken]) == 4
    assert "none of 1 images could be read" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_file_in_two_processes(detector, photos: Path, tmp_path: Path) -> None:
    from mmattn.export import export

    model = export(*detector, out=tmp_path / "net.onnx", dynamic=True, images=[photos / "a.png"])
    images = [str(photos / f"{name}.png") for name in ("a", "b", "c")]
    assert main([str(model.files[0]), *images, "--out", str(tmp_path / "few")]) == 0
    many = [str(photos), "--out", str(tmp_path / "many"), "--processes", "2", "--batch", "2"]
    assert main([str(model.files[0]), *many]) == 0
    few = boxes_by_name(tmp_path / "few/detections.json")
    found = boxes_by_name(tmp_path / "many/detections.json")
    assert found.keys() == few.keys()
    for name, boxes in few.items():
        assert len(found[name]) == len(boxes)
        for one, other in zip(found[name], boxes, strict=True):
            assert one["bbox"] == pytest.approx(other["bbox"], abs=1e-2)
            assert one["score"] == pytest.approx(other["score"], abs=1e-4)
