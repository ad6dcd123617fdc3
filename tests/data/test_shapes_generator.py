"""The promises of the embedded dataset: the same bytes for a seed, and labels that agree."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmattn.data.shapes import (
    CLASSES,
    STUFF_CLASSES,
    THING_CLASSES,
    ShapesSceneGenerator,
    write_shapes_dataset,
)
from mmattn.data.shapes.outlines import OUTLINES
from mmattn.errors import ConfigError, DataError

SPLITS = ("train", "val")


def digests(root: Path) -> dict[str, str]:
    """The SHA-256 of every file below ``root``."""
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def index_mask(root: Path, split: str, record: dict) -> np.ndarray:
    path = root / "annotations" / split / record["file_name"].replace(".jpg", ".png")
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_same_seed_same_bytes_in_another_process(shapes_root: Path, tmp_path: Path, repo: Path):
    options = "--num-train 8 --num-val 4 --size 96 128 --seed 3 --crowd-probability 0.5"
    tool = [sys.executable, repo / "tools/data.py", "shapes"]
    command = [*tool, tmp_path / "again", *options.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "again") == digests(shapes_root)


def test_a_scene_depends_on_seed_split_and_index_alone():
    first, again = ShapesSceneGenerator((64, 64), seed=1), ShapesSceneGenerator((64, 64), seed=1)
    first.scene("train", 0)  # drawing another scene before changes nothing
    assert np.array_equal(first.scene("train", 5).image, again.scene("train", 5).image)
    image = again.scene("train", 5).image
    for other in (
        again.scene("val", 5),
        again.scene("train", 6),
        ShapesSceneGenerator((64, 64), seed=2).scene("train", 5),
    ):
        assert not np.array_equal(image, other.image)


def test_more_images_leave_the_first_ones_as_they_are(shapes_root: Path, tmp_path: Path):
    more = write_shapes_dataset(
        tmp_path / "more", num_train=9, num_val=4, size=(96, 128), seed=3, crowd_probability=0.5
    )
    old, new = digests(shapes_root), digests(more)
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {
        "shapes.json",
        "annotations/instances_train.json",
        "annotations/panoptic_train.json",
    }


@pytest.mark.parametrize("split", SPLITS)
def test_instances_agree_with_the_index_masks(shapes_root: Path, split: str):
    """Visible masks are disjoint, and their union is exactly the pixels of the thing classes."""
    coco = COCO(shapes_root / f"annotations/instances_{split}.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(THING_CLASSES)
    for record in coco.imgs.values():
        expected = index_mask(shapes_root, split, record)
        painted = np.full(expected.shape, 255, np.uint8)
        for ann in coco.imgToAnns[record["id"]]:
            mask = coco.annToMask(ann).astype(bool)
            assert (painted[mask] == 255).all(), "two visible masks overlap"
            painted[mask] = ann["category_id"] - 1
            assert ann["area"] == mask.sum() == coco_mask.area(ann["segmentation"])
            assert ann["bbox"] == coco_mask.toBbox(ann["segmentation"]).tolist()
        things = expected < len(THING_CLASSES)
        assert np.array_equal(painted != 255, things)
        assert np.array_equal(painted[things], expected[things])


@pytest.mark.parametrize("split", SPLITS)
def test_panoptic_agrees_with_masks_and_instances(shapes_root: Path, split: str):
    content = json.loads((shapes_root / f"annotations/panoptic_{split}.json").read_text())
    assert [c["name"] for c in content["categories"]] == list(CLASSES)
    assert [c["name"] for c in content["categories"] if not c["isthing"]] == list(STUFF_CLASSES)
    instances = COCO(shapes_root / f"annotations/instances_{split}.json")
    used_bytes = np.zeros(3, bool)
    for record, ann in zip(content["images"], content["annotations"], strict=True):
        png = cv2.imread(str(shapes_root / f"annotations/panoptic_{split}" / ann["file_name"]))
        blue, green, red = (png[..., i].astype(np.int64) for i in range(3))
        ids = red + 256 * green + 256 * 256 * blue
        used_bytes |= png[..., ::-1].any(axis=(0, 1))
        segments = {s["id"]: s for s in ann["segments_info"]}
        assert set(np.unique(ids)) == set(segments)
        semantic = np.zeros(ids.shape, np.uint8)
        for number, segment in segments.items():
            semantic[ids == number] = segment["category_id"] - 1
            assert segment["area"] == (ids == number).sum()
        assert np.array_equal(semantic, index_mask(shapes_root, split, record))
        boxes = [s["bbox"] for s in ann["segments_info"] if s["category_id"] <= len(THING_CLASSES)]
        assert boxes == [a["bbox"] for a in instances.imgToAnns[record["id"]]]
    assert used_bytes.all()


def test_the_set_shows_every_class_sizes_occlusion_and_crowds():
    """What makes it worth training on: all classes, many sizes, hidden parts, crowd regions."""
    generator = ShapesSceneGenerator((96, 128), seed=0, crowd_probability=0.3)
    scenes = [generator.scene("train", i) for i in range(40)]
    assert {int(v) for s in scenes for v in np.unique(s.semantic)} == set(range(len(CLASSES)))
    areas = [int((s.owner == i).sum()) for s in scenes for i in range(len(s.labels))]
    assert min(areas) < 120 and max(areas) > 1500
    assert any(s.crowds.count(True) == 1 for s in scenes)
    discs = [
        (s.owner == i).sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1)
        for s in scenes
        for i, label in enumerate(s.labels)
        if label == THING_CLASSES.index("circle") and not s.crowds[i]
        for rows, columns in [np.nonzero(s.owner == i)]
    ]
    assert min(discs) < 0.65  # pi / 4 = 0.785 when whole


@pytest.mark.parametrize(("colour_hint", "ratio"), [(0.0, 2.0), (0.8, 1.0)])
def test_colour_does_not_tell_the_class(colour_hint: float, ratio: float):
    """The mean colours of a class spread more within the class than the classes lie apart."""
    generator = ShapesSceneGenerator((64, 64), seed=0, colour_hint=colour_hint)
    colours: dict[int, list[np.ndarray]] = {i: [] for i in range(len(THING_CLASSES))}
    for index in range(60):
        scene = generator.scene("train", index)
        for owner, label in enumerate(scene.labels):
            colours[label].append(scene.image[scene.owner == owner].mean(0))
    within = np.mean([np.std(c, axis=0).mean() for c in colours.values()])
    between = np.std([np.mean(c, axis=0) for c in colours.values()], axis=0).mean()
    assert within > ratio * between


def test_colour_hint_is_the_share_of_shapes_near_their_class_hue():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.8, 1.0):
        generator = ShapesSceneGenerator((64, 64), seed=0, colour_hint=share)
        ranges = [generator._hues(rng, 2) for _ in range(500)]
        assert abs(np.mean([high - low < 0.2 for low, high in ranges]) - share) < 0.06


@pytest.mark.parametrize("name", THING_CLASSES)
def test_outlines_have_their_closed_form_area(name: str):
    grid = np.linspace(-1.2, 1.2, 1201, dtype=np.float64)
    u, v = np.meshgrid(grid, grid)
    area = float((OUTLINES[name](u, v) < 0).mean()) * 2.4**2
    expected = {
        "circle": np.pi * 0.81,
        "square": 1.5**2,
        "triangle": 3 * np.sqrt(3) * 0.25,  # inradius r: 3 sqrt(3) r^2
        "star": 5 * 0.42 * np.sin(np.pi / 5),  # ten triangles of R r sin(pi / 5) / 2
        "ring": np.pi * (0.95**2 - 0.5**2),
        "cross": 4 * 0.95 * 0.6 - 0.36,
    }
    assert area == pytest.approx(expected[name], rel=5e-3)


def test_a_complete_set_is_reused(shapes_root: Path):
    before = {p: p.stat().st_mtime_ns for p in shapes_root.rglob("*")}
    write_shapes_dataset(
        shapes_root, num_train=8, num_val=4, size=(96, 128), seed=3, crowd_probability=0.5
    )
    assert {p: p.stat().st_mtime_ns for p in shapes_root.rglob("*")} == before


def test_other_parameters_and_foreign_folders_are_not_overwritten(tmp_path: Path):
    small = {"num_train": 1, "num_val": 1, "size": (48, 48)}
    root = write_shapes_dataset(tmp_path / "set", seed=0, **small)
    with pytest.raises(DataError, match=r"seed=0.*overwrite"):
        write_shapes_dataset(root, seed=1, **small)
    before = digests(root)
    write_shapes_dataset(root, seed=1, overwrite=True, **small)
    assert digests(root) != before
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not a shapes dataset"):
        write_shapes_dataset(foreign, seed=0, overwrite=True, **small)
    assert (foreign / "thesis.txt").read_text() == "years of work"


def test_an_incomplete_set_is_written_again(tmp_path: Path):
    small = {"num_train": 2, "num_val": 1, "size": (48, 48), "seed": 0}
    root = write_shapes_dataset(tmp_path / "set", **small)
    before = digests(root)
    (root / "images/train/000001.jpg").unlink()
    write_shapes_dataset(root, **small)
    assert digests(root) == before


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = ShapesSceneGenerator.scene

    def fails(self, split, index):
        if (split, index) == ("val", 0):
            raise KeyboardInterrupt
        return real(self, split, index)

    monkeypatch.setattr(ShapesSceneGenerator, "scene", fails)
    with pytest.raises(KeyboardInterrupt):
        write_shapes_dataset(tmp_path / "set", num_train=1, num_val=1, size=(48, 48), seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (16, 64)}, "at least 48"),
        ({"seed": -1}, "seed of 0 or more"),
        ({"num_val": 0}, "at least 1"),
        ({"crowd_probability": 2.0}, "share from 0 to 1"),
        ({"colour_hint": -0.1}, "colour_hint=-0.1: give a share from 0 to 1"),
    ],
)
def test_parameters_out_of_range_are_refused(tmp_path: Path, change: dict, message: str):
    arguments = {"num_train": 1, "num_val": 1, "size": (48, 48), "seed": 0, **change}
    with pytest.raises(ConfigError, match=message):
        write_shapes_dataset(tmp_path / "set", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_dataset_shows_the_names_of_the_classes(shapes_root: Path) -> None:
    from mmattn.data import FolderSegDataset
    from mmattn.data.shapes.classes import CLASSES

    dataset = FolderSegDataset(data_root=str(shapes_root), split="train")
    assert dataset.metainfo["classes"] == CLASSES
