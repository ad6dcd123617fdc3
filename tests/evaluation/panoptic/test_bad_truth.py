"""Ground truth that does not fit gets a typed error that names file, segment and fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmattn.errors import DataError
from mmattn.evaluation import ClasswisePanopticMetric
from tests.support.panoptic_samples import META, Scene, random_scenes, sample_of, write_truth


@pytest.fixture
def scene() -> Scene:
    return random_scenes(0, 1)[0]


@pytest.fixture
def root(tmp_path: Path, scene: Scene) -> Path:
    return write_truth(tmp_path, [scene])


def refusal(root: Path, scene: Scene) -> str:
    with pytest.raises(DataError) as found:
        metric = ClasswisePanopticMetric(
            ann_file=str(root / "panoptic.json"), seg_prefix=str(root / "panoptic")
        )
        metric.dataset_meta = META
        metric.process({}, [sample_of(scene, root)])
    return str(found.value)


def change(root: Path, edit: Callable[[dict], Any]) -> None:
    content = json.loads((root / "panoptic.json").read_text())
    edit(content)
    (root / "panoptic.json").write_text(json.dumps(content))


def test_a_map_with_a_segment_that_is_not_listed(root: Path, scene: Scene) -> None:
    change(root, lambda content: content["annotations"][0]["segments_info"].pop(0))
    said = refusal(root, scene)
    number = next(iter(scene.truth_labels))
    assert "000.png" in said and f"id {number}" in said and "panoptic.json does not list" in said
    assert "black (id 0)" in said


def test_a_map_with_red_and_blue_swapped(root: Path, scene: Scene) -> None:
    """As OpenCV writes what was computed as red, green and blue."""
    (file,) = root.rglob("000.png")
    shown = cv2.imread(str(file))
    cv2.imwrite(str(file), shown[..., ::-1])
    said = refusal(root, scene)
    assert "000.png" in said and "red and blue swapped" in said and "[..., ::-1]" in said


def test_a_segment_without_pixels(root: Path, scene: Scene) -> None:
    def edit(content: dict) -> None:
        segments = content["annotations"][0]["segments_info"]
        segments.append({**segments[0], "id": 424242})

    change(root, edit)
    said = refusal(root, scene)
    assert "000.png does not show 1 of its" in said and "424242" in said and "Pair the map" in said


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: s.pop("category_id"), "has no category_id: say which class"),
        (lambda s: s.update(category_id=55), "category_id that is the id of none of its 6"),
        (lambda s: s.update(id=0), "has the id 0. An id is a whole number from 1 to 16777215"),
        (lambda s: s.update(id=256**3), "has the id 16777216"),
        (lambda s: s.update(id="7"), "has the id '7'"),
    ],
)
def test_segments_that_are_not_whole(root: Path, scene: Scene, edit: Callable, said: str) -> None:
    change(root, lambda content: edit(content["annotations"][0]["segments_info"][0]))
    found = refusal(root, scene)
    assert "panoptic.json" in found and said in found


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: c["annotations"][0].pop("file_name"), "annotations[0] has no file_name"),
        (lambda c: c["annotations"][0].pop("segments_info"), "has no segments_info. A panoptic"),
        (lambda c: c["annotations"].append(c["annotations"][0]), "is a second one of the image 0"),
        (lambda c: c["categories"][0].pop("isthing"), "does not say whether it is a thing"),
        (lambda c: c["annotations"].clear(), "has no annotation of the image 0"),
        (
            lambda c: c["annotations"][0]["segments_info"].append(
                c["annotations"][0]["segments_info"][0]
            ),
            "stands for two segments",
        ),
    ],
)
def test_files_that_are_not_whole(root: Path, scene: Scene, edit: Callable, said: str) -> None:
    change(root, edit)
    found = refusal(root, scene)
    assert "panoptic.json" in found and said in found


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b"", "0 bytes"), (b"no image", "can be decoded (8 bytes)")],
)
def test_maps_that_are_none(root: Path, scene: Scene, content: bytes | None, said: str) -> None:
    path = root / "panoptic/000.png"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    found = refusal(root, scene)
    assert str(path) in found and said in found


def test_an_index_mask_is_no_panoptic_map(root: Path, scene: Scene) -> None:
    cv2.imwrite(str(root / "panoptic/000.png"), np.zeros(scene.truth.shape, np.uint8))
    assert "no three colour channels" in refusal(root, scene)


def test_cut_off_json(root: Path, scene: Scene) -> None:
    (root / "panoptic.json").write_text('{"images": [')
    assert "is not valid JSON" in refusal(root, scene)
