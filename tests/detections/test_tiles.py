"""Promise: a large image detected in tiles has the objects of the whole image, each once.

The detector of these tests is exact: it returns the boxes of the coloured rectangles in a tile, cut
at its border. So whatever is missing, doubled or cut in the end is the fault of the merging.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmattn.detections import Detections, detect_in_tiles, merge_tiles, tile_origins
from mmattn.errors import ConfigError

COLOURS = ((255, 0, 0), (0, 255, 0))


def exact_detector(image: np.ndarray) -> Detections:
    """Boxes of the connected rectangles; the score falls with their size, so that pieces win."""
    boxes, scores, labels = [], [], []
    for label, colour in enumerate(COLOURS):
        mask = (image == colour).all(-1).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        for left, top, width, height, area in stats[1:count].tolist():
            boxes.append((left, top, left + width, top + height))
            scores.append(1 / (1 + area / 1e4))
            labels.append(label)
    return Detections.of(boxes, scores, labels)


def paint(size: tuple[int, int], boxes: list[tuple[int, int, int, int, int]]) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    for left, top, right, bottom, label in boxes:
        image[top:bottom, left:right] = COLOURS[label]
    return image


def scattered(size: tuple[int, int], count: int, seed: int) -> list[tuple[int, int, int, int, int]]:
    """Rectangles that do not touch, from tiny ones to some larger than a tile."""
    rng = np.random.default_rng(seed)
    taken = np.zeros(size, bool)
    boxes: list[tuple[int, int, int, int, int]] = []
    while len(boxes) < count:
        width, height = (int(rng.choice([6, 20, 60, 150, 320])) for _ in range(2))
        left = int(rng.integers(0, size[1] - width))
        top = int(rng.integers(0, size[0] - height))
        around = taken[max(top - 3, 0) : top + height + 3, max(left - 3, 0) : left + width + 3]
        if not around.any():
            taken[top : top + height, left : left + width] = True
            boxes.append((left, top, left + width, top + height, int(rng.integers(0, 2))))
    return boxes


@pytest.mark.parametrize("seed", range(6))
def test_every_object_is_found_once_and_whole(seed: int) -> None:
    size = (900, 1100)
    boxes = scattered(size, 40, seed)
    found = detect_in_tiles(exact_detector, paint(size, boxes), tile=256, overlap=0.25)
    columns = zip(found.boxes.tolist(), found.labels.tolist(), strict=True)
    assert sorted((*map(int, box), label) for box, label in columns) == sorted(boxes)


def test_seams_matter_here() -> None:
    """Without merging the same image has pieces: the test above can fail."""
    size = (900, 1100)
    boxes = scattered(size, 40, 0)
    image = paint(size, boxes)
    pieces = [
        exact_detector(image[top : top + 256, left : left + 256])
        for top in tile_origins(900, 256, 0.25)
        for left in tile_origins(1100, 256, 0.25)
    ]
    assert sum(map(len, pieces)) > 1.5 * len(boxes)


def test_origins_cover_the_side_with_at_least_the_overlap() -> None:
    for length in (640, 641, 1000, 1153, 5000):
        origins = tile_origins(length, 640, 0.2)
        assert origins[0] == 0 and origins[-1] == length - min(640, length)
        steps = np.diff(origins)
        assert (steps <= 640 * 0.8).all()


def test_neighbours_of_one_class_stay_two() -> None:
    """Two objects side by side, each cut by one seam, are not one object."""
    places = [(0, 0, 100, 100), (80, 0, 180, 100)]
    first = Detections.of([[10, 10, 79, 40]], [0.9], [0])
    second = Detections.of([[101, 10, 170, 40]], [0.8], [0])
    assert len(merge_tiles([first, second], places, (100, 180))) == 2
    # At the seams themselves, but of other extents along them.
    high = Detections.of([[30, 0, 100, 20]], [0.9], [0])
    low = Detections.of([[80, 50, 150, 90]], [0.8], [0])
    assert len(merge_tiles([high, low], places, (100, 180))) == 2


def test_a_small_image_is_one_tile() -> None:
    calls = []

    def detect(image: np.ndarray) -> Detections:
        calls.append(image.shape)
        return exact_detector(image)

    image = paint((100, 120), [(5, 5, 50, 60, 1)])
    found = detect_in_tiles(detect, image, tile=256)
    assert calls == [(100, 120, 3)] and found.boxes.tolist() == [[5, 5, 50, 60]]


@pytest.mark.parametrize(("tile", "overlap"), [(8, 0.2), (640, 0.95), (640, -0.1)])
def test_impossible_tiles_are_refused(tile: int, overlap: float) -> None:
    with pytest.raises(ConfigError, match=r"--tile 8|--overlap"):
        detect_in_tiles(exact_detector, np.zeros((9, 9, 3), np.uint8), tile=tile, overlap=overlap)
