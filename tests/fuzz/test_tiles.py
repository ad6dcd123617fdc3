"""Properties of tiles: they cover the image, and merging finds each object once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmattn.detections import Detections
from mmattn.detections.tiles import check_tiling, detect_in_tiles, merge_tiles, tile_origins
from mmattn.errors import ConfigError
from tests.support.fuzzing import detections, same, seeds

overlaps = st.integers(0, 17).map(lambda twentieth: twentieth / 20)


@given(st.integers(1, 4000), st.integers(32, 900), overlaps)
def test_tiles_cover_the_side_and_share_what_they_should(length, tile, overlap) -> None:
    origins = tile_origins(length, tile, overlap)
    assert origins[0] == 0 and origins == sorted(set(origins))
    assert origins[-1] == max(length - tile, 0)
    steps = np.diff(origins)
    assert (steps <= max(int(tile * (1 - overlap)), 1) + 1).all()  # origins are rounded


@given(st.integers(-10, 100), st.floats(-1, 2))
def test_only_sizes_and_shares_that_tiles_can_have_pass(tile: int, overlap: float) -> None:
    if tile >= 32 and 0 <= overlap < 0.9:
        check_tiling(tile, overlap)
    else:
        with pytest.raises(ConfigError):
            check_tiling(tile, overlap)


@given(detections(), st.integers(1, 64), st.integers(1, 64))
def test_an_image_of_one_tile_is_detected_in_as_a_whole(found, height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    result = detect_in_tiles(lambda window: found, image, tile=64)
    assert same(result, found.clipped(height, width))


@given(seeds, st.integers(100, 300), st.integers(100, 300))
def test_each_object_smaller_than_the_overlap_is_found_once(seed, height, width) -> None:
    """The detector reads the objects off the image: every one of them has its own colour."""
    rng = np.random.default_rng(seed)
    image, truth = np.zeros((height, width, 3), np.uint8), []
    for top in range(4, height - 24, 40):
        for left in range(4, width - 24, 40):
            if len(truth) < 200 and rng.random() < 0.5:
                h, w = rng.integers(6, 18, 2)
                truth.append((left, top, left + w, top + h))
                image[top : top + h, left : left + w, 0] = len(truth)

    def detect(window: np.ndarray) -> Detections:
        boxes = []
        for value in np.unique(window[..., 0])[1:] if window.any() else ():
            rows, columns = np.nonzero(window[..., 0] == value)
            boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        # A piece is less sure of itself than a whole.
        return Detections.of(boxes, [0.9] * len(boxes), [0] * len(boxes))

    if len(np.unique(image[..., 0])) == 1:
        return
    result = detect_in_tiles(detect, image, tile=96, overlap=0.3)
    assert sorted(map(tuple, result.boxes.tolist())) == sorted(
        tuple(map(float, box)) for box in truth
    )


@given(st.lists(detections(), min_size=4, max_size=4))
def test_merging_makes_up_nothing(parts: list[Detections]) -> None:
    """Labels and scores are those of the tiles, and no box is larger than all together."""
    places = [(0, 0, 60, 60), (40, 0, 100, 60), (0, 40, 60, 100), (40, 40, 100, 100)]
    merged = merge_tiles(parts, places, (100, 100))
    everything = Detections.concatenate(parts)
    assert len(merged) <= len(everything) and (np.diff(merged.scores) <= 0).all()
    assert set(merged.labels) == set(everything.labels)
    assert set(merged.scores) <= set(everything.scores)
    for label in set(merged.labels):
        of_class = everything.boxes[everything.labels == label]
        mine = merged.boxes[merged.labels == label]
        assert (mine[:, :2] >= of_class[:, :2].min(0)).all()
        assert (mine[:, 2:] <= of_class[:, 2:].max(0)).all()
