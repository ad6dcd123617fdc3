"""Properties of boxes: overlaps, clipping, suppression, and affine maps with their inverses."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmattn.data.transforms.affine import (
    RandomAffineRange,
    affine_matrix,
    clip_boxes,
    map_boxes,
    map_points,
    matrix_of_pixels,
    scale_and_shift,
    worth_keeping,
)
from mmattn.detections import Detections, box_ious
from mmattn.detections.detections import box_areas, box_intersections, nms, suppress
from tests.support.fuzzing import boxes, coordinates, detections, same, seeds, sides

thresholds = st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0])


@st.composite
def matrices(draw) -> np.ndarray:
    """Affine maps that can be inverted without a loss."""
    rng = np.random.default_rng(draw(seeds))
    angle, gain = rng.uniform(-np.pi, np.pi), rng.uniform(0.25, 4)
    turned = gain * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, rng.uniform(-0.5, 0.5)], [0, 1]])
    return affine_matrix(shear @ turned, rng.uniform(-500, 500, 2))


def plain_iou(a: np.ndarray, b: np.ndarray) -> float:
    a, b = [float(v) for v in a], [float(v) for v in b]
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    union = sum(areas) - width * height
    return width * height / union if union > 0 else 0.0


# --- overlaps ------------------------------------------------------------------------------------


@given(boxes(), boxes())
def test_overlaps_equal_a_plain_loop(first: np.ndarray, second: np.ndarray) -> None:
    expected = [[plain_iou(a, b) for b in second] for a in first]
    actual = box_ious(first, second)
    assert actual.shape == (len(first), len(second))
    np.testing.assert_allclose(actual, np.reshape(expected, actual.shape), rtol=1e-12, atol=0)


@given(boxes(), boxes())
def test_overlaps_are_symmetric_shares(first: np.ndarray, second: np.ndarray) -> None:
    ious = box_ious(first, second)
    np.testing.assert_array_equal(ious, box_ious(second, first).T)
    assert ((ious >= 0) & (ious <= 1)).all()


@given(boxes())
def test_a_box_overlaps_itself_wholly_or_has_no_area(found: np.ndarray) -> None:
    own = np.diag(box_ious(found, found))
    np.testing.assert_array_equal(own, (box_areas(found.astype(float)) > 0).astype(float))


@given(boxes(), boxes())
def test_what_boxes_share_is_no_more_than_either(first: np.ndarray, second: np.ndarray) -> None:
    shared = box_intersections(first.astype(float), second.astype(float))
    limits = np.minimum(
        box_areas(first.astype(float))[:, None], box_areas(second.astype(float))[None]
    )
    assert (shared <= limits).all() and (shared >= 0).all()


# --- detections ----------------------------------------------------------------------------------


@given(detections(), seeds)
def test_detections_are_sorted_and_none_is_lost(found: Detections, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(found))
    again = Detections.of(found.boxes[order], found.scores[order], found.labels[order])
    assert (np.diff(again.scores) <= 0).all()
    rows = [
        sorted(map(tuple, np.column_stack([d.boxes, d.scores, d.labels]).tolist()))
        for d in (found, again)
    ]
    assert rows[0] == rows[1]


@given(st.lists(detections(), max_size=4))
def test_parts_join_to_the_whole(parts: list[Detections]) -> None:
    whole = Detections.concatenate(parts)
    assert len(whole) == sum(map(len, parts)) and (np.diff(whole.scores) <= 0).all()
    assert same(whole, Detections.concatenate([whole]))


@given(detections(), st.integers(0, 8))
def test_above_keeps_exactly_the_scores_of_the_limit_and_more(found: Detections, eighth) -> None:
    limit = eighth / 8
    kept = found.above(limit)
    assert kept.scores.tolist() == [s for s in found.scores.tolist() if s >= limit]


@given(detections(), sides, sides)
def test_clipping_keeps_inside_and_changes_nothing_twice(found, height: int, width: int) -> None:
    once = found.clipped(height, width)
    assert same(once, once.clipped(height, width))
    assert (once.boxes >= 0).all() and (once.boxes <= [width, height, width, height]).all()
    inside = ((found.boxes >= 0) & (found.boxes <= [width, height, width, height])).all(1)
    np.testing.assert_array_equal(once.boxes[inside], found.boxes[inside])


@given(detections(), coordinates, coordinates)
def test_moving_back_is_undone(found: Detections, x: float, y: float) -> None:
    assert same(found, found.moved(x, y).moved(-x, -y))


@given(detections())
def test_counts_add_up_and_fall(found: Detections) -> None:
    counts = found.counts(["a", "b", "c"])
    assert sum(counts.values()) == len(found)
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    assert all(counts[name] == (found.labels == i).sum() for i, name in enumerate("abc")
               if name in counts)  # fmt: skip


# --- suppression ---------------------------------------------------------------------------------


@given(detections(), thresholds)
def test_suppression_equals_the_plain_loop(found: Detections, threshold: float) -> None:
    kept: list[int] = []
    for index in range(len(found)):
        better = [k for k in kept if found.labels[k] == found.labels[index]]
        if all(plain_iou(found.boxes[index], found.boxes[k]) <= threshold for k in better):
            kept.append(index)
    assert same(nms(found, threshold), found[np.array(kept, np.int64)])


@given(detections(1), thresholds)
def test_what_is_kept_does_not_overlap_and_what_went_does(found, threshold: float) -> None:
    kept = suppress(found.boxes, threshold)
    ious = box_ious(found.boxes, found.boxes)
    for place, index in enumerate(kept):
        assert all(ious[index, other] <= threshold for other in kept[:place])
    for index in set(range(len(found))) - set(kept):
        assert any(ious[index, other] > threshold for other in kept if other < index)


@given(detections(), thresholds)
def test_suppressing_twice_changes_nothing(found: Detections, threshold: float) -> None:
    once = nms(found, threshold)
    assert same(once, nms(once, threshold))


# --- affine maps ---------------------------------------------------------------------------------


@given(matrices(), boxes())
def test_points_come_back_through_the_inverse(matrix: np.ndarray, found: np.ndarray) -> None:
    points = found.reshape(-1, 2).astype(float)
    back = map_points(np.linalg.inv(matrix), map_points(matrix, points))
    np.testing.assert_allclose(back, points, atol=1e-8)


@given(st.integers(1, 64), coordinates, coordinates, boxes())
def test_letterbox_and_its_inverse(eighth: int, x: float, y: float, found: np.ndarray) -> None:
    """A resize by one scale with a border is undone exactly, boxes stay boxes."""
    matrix = scale_and_shift(eighth / 8, x, y)
    there = map_boxes(matrix, found.astype(float))
    assert (there[:, 2:] >= there[:, :2]).all()
    np.testing.assert_allclose(map_boxes(np.linalg.inv(matrix), there), found, atol=1e-9)


@given(matrices(), boxes())
def test_a_mapped_box_holds_its_mapped_corners(matrix: np.ndarray, found: np.ndarray) -> None:
    outer = map_boxes(matrix, found.astype(float))
    for box, whole in zip(found.astype(float), outer, strict=True):
        corners = map_points(matrix, np.array([box[:2], box[2:], box[[0, 3]], box[[2, 1]]]))
        assert (corners >= whole[:2] - 1e-9).all() and (corners <= whole[2:] + 1e-9).all()
        np.testing.assert_allclose([*corners.min(0), *corners.max(0)], whole)


@given(matrices(), matrices(), boxes())
def test_two_maps_are_the_map_of_their_product(first, second, found: np.ndarray) -> None:
    points = found.reshape(-1, 2).astype(float)
    np.testing.assert_allclose(
        map_points(second, map_points(first, points)), map_points(second @ first, points), atol=1e-6
    )


@given(matrices(), boxes())
def test_pixel_middles_are_half_a_pixel_from_corners(matrix, found: np.ndarray) -> None:
    points = found.reshape(-1, 2).astype(float)
    np.testing.assert_allclose(
        map_points(matrix_of_pixels(matrix), points - 0.5), map_points(matrix, points) - 0.5,
        atol=1e-8,
    )  # fmt: skip


@given(boxes(), sides, sides)
def test_clipped_boxes_lie_in_the_rectangle(found: np.ndarray, height: int, width: int) -> None:
    clipped = clip_boxes(found, 0, 0, width, height)
    assert (clipped >= 0).all() and (clipped <= [width, height, width, height]).all()
    np.testing.assert_array_equal(clipped, clip_boxes(clipped, 0, 0, width, height))


@given(boxes(), sides, sides)
def test_no_box_without_an_area_is_worth_keeping(found, height: int, width: int) -> None:
    clipped = clip_boxes(found, 0, 0, width, height)
    kept = worth_keeping(found, clipped)
    assert kept.shape == (len(found),)
    assert (box_areas(clipped)[kept] > 0).all()
    assert (box_areas(clipped)[kept] <= box_areas(found)[kept] + 1e-3).all()


@given(seeds, sides, sides, sides, sides)
def test_a_random_map_moves_the_middle_no_further_than_it_says(seed, a, b, c, d) -> None:
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        ranges = RandomAffineRange(degrees=30, translate=0.1, scale=0.5, shear=10)
        matrix = ranges.draw((a, b), (c, d))
    finally:
        np.random.set_state(state)
    moved = map_points(matrix, np.array([a, b]) / 2)
    assert (np.abs(moved / (c, d) - 0.5) <= 0.1 + 1e-9).all()
