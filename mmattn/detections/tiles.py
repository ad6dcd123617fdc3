"""Detect in images that are larger than a network takes: overlapping tiles, merged at their seams.

An object at a seam is seen whole by one tile and cut by its neighbour, or, where it is larger than
the overlap, cut by both. So boxes that touch a seam are treated apart:

1. of boxes of one class from different tiles that overlap by more than a threshold, the best stays
   (NMS over all tiles); a whole box goes before one that a seam cuts, whatever the scores, and a
   larger piece before a smaller one;
2. pieces that two neighbouring tiles cut at the seams between them, and that agree along the seam,
   are joined: the box around both, with the better score;
3. a cut box that lies mostly inside another box of its class from another tile is suppressed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmattn.errors import ConfigError

from .detections import Detections, box_areas, box_intersections, box_ious

#: Pixels within which a box counts as touching a seam.
TOUCH = 2.0
#: Share of a cut box inside another from which it counts as a piece of that.
INSIDE = 0.7
#: Overlap (IoU) of the extents of two pieces along the seam from which they are one object.
ALONG = 0.6


def tile_origins(length: int, tile: int, overlap: float) -> list[int]:
    """Return the first pixels of the tiles along one side; the last tile ends at the border.

    Args:
        length: Length of the side.
        tile: Length of a tile.
        overlap: Share of a tile that neighbours have in common, at least.

    >>> tile_origins(1000, 640, 0.2)
    [0, 360]
    >>> tile_origins(500, 640, 0.2)
    [0]
    """
    if length <= tile:
        return [0]
    step = max(int(tile * (1 - overlap)), 1)
    count = -(-(length - tile) // step) + 1
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def check_tiling(tile: int, overlap: float) -> None:
    """Raise a ConfigError unless these are a size and a share that tiles can have."""
    if tile < 32:
        raise ConfigError(f"--tile {tile}: give the side of a tile in pixels, at least 32")
    if not 0 <= overlap < 0.9:
        raise ConfigError(f"--overlap {overlap}: give a share of the tile from 0 to below 0.9")


def detect_in_tiles(
    detect: Callable[[np.ndarray], Detections],
    image: np.ndarray,
    *,
    tile: int,
    overlap: float = 0.2,
    iou_threshold: float = 0.5,
) -> Detections:
    """Detect in overlapping tiles of an image and merge what they find.

    Args:
        detect: Function from an image to its detections.
        image: (H, W, 3) uint8 RGB; one not larger than a tile is detected in as a whole.
        tile: Height and width of the tiles.
        overlap: Share of a tile that neighbours have in common.
        iou_threshold: Overlap from which two boxes of a class are one object.

    Returns:
        Detections in pixels of ``image``.

    Raises:
        ConfigError: ``tile`` or ``overlap`` is out of range.
    """
    check_tiling(tile, overlap)
    height, width = image.shape[:2]
    places, found = [], []
    for top in tile_origins(height, tile, overlap):
        for left in tile_origins(width, tile, overlap):
            bottom, right = min(top + tile, height), min(left + tile, width)
            window = np.ascontiguousarray(image[top:bottom, left:right])
            inside = detect(window).clipped(bottom - top, right - left)
            found.append(inside.moved(left, top))
            places.append((left, top, right, bottom))
    if len(found) == 1:
        return found[0]
    return merge_tiles(found, places, (height, width), iou_threshold=iou_threshold)


def merge_tiles(
    found: Sequence[Detections],
    places: Sequence[tuple[int, int, int, int]],
    size: tuple[int, int],
    *,
    iou_threshold: float = 0.5,
) -> Detections:
    """Merge the detections of tiles.

    Args:
        found: Detections of each tile, in pixels of the whole image.
        places: Left, top, right and bottom of each tile.
        size: Height and width of the image.
        iou_threshold: Overlap from which two boxes of a class are one object.

    Returns:
        Detections of the image, best first.
    """
    boxes = np.concatenate([part.boxes for part in found]).astype(np.float64)
    scores = np.concatenate([part.scores for part in found])
    labels = np.concatenate([part.labels for part in found])
    tiles = np.repeat(np.arange(len(found)), [len(part) for part in found])
    cut = _touched_seams(boxes, np.array(places, np.float64)[tiles], size)
    merged: list[Detections] = []
    for label in np.unique(labels):
        chosen = np.flatnonzero(labels == label)
        kept_boxes, kept_scores = _merge_class(
            boxes[chosen], scores[chosen], tiles[chosen], cut[chosen], iou_threshold
        )
        merged.append(Detections.of(kept_boxes, kept_scores, np.full(len(kept_scores), label)))
    return Detections.concatenate(merged)


def _touched_seams(boxes: np.ndarray, places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, 4) bool: whether a box ends at its tile's left, top, right, bottom inside the image."""
    height, width = size
    borders = np.array([0, 0, width, height], np.float64)
    return (np.abs(boxes - places) <= TOUCH) & (places != borders)


def _merge_class(
    boxes: np.ndarray,
    scores: np.ndarray,
    tiles: np.ndarray,
    cut: np.ndarray,
    iou_threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Merge boxes (N, 4) of one class; ``cut`` is (N, 4), the sides that lie on a seam."""
    # Pieces first: what is joined here competes as a whole below.
    boxes, scores, tiles, cut = _join_pieces(boxes, scores, tiles, cut)
    is_cut = np.asarray(cut.any(axis=1))
    ious, shared, areas = box_ious(boxes, boxes), box_intersections(boxes, boxes), box_areas(boxes)
    # Whole boxes first, by score; then cut ones, the largest piece of an object first.
    order = np.lexsort((-scores, np.where(is_cut, -areas, 0), is_cut))
    kept: list[int] = []
    for index in order.tolist():
        others = [k for k in kept if tiles[k] != tiles[index] or tiles[k] < 0]
        same = bool(others) and bool((ious[index, others] > iou_threshold).any())
        piece = (
            bool(others)
            and bool(is_cut[index])
            and bool((shared[index, others] >= INSIDE * max(areas[index], 1e-9)).any())
        )
        if not (same or piece):
            kept.append(index)
    return boxes[kept], scores[kept]


def _join_pieces(
    boxes: np.ndarray, scores: np.ndarray, tiles: np.ndarray, cut: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Join pairs of pieces until none is left; a joined box has the tile number -1."""
    boxes, scores, tiles, cut = boxes.copy(), scores.copy(), tiles.copy(), cut.copy()
    alive = np.ones(len(boxes), bool)
    while True:
        pair = _find_pieces(boxes, tiles, cut, alive)
        if pair is None:
            return boxes[alive], scores[alive], tiles[alive], cut[alive]
        first, second = pair  # first lies before second, along x or y
        outer = np.concatenate(
            [np.minimum(boxes[first, :2], boxes[second, :2]),
             np.maximum(boxes[first, 2:], boxes[second, 2:])]
        )  # fmt: skip
        # A side stays cut where the piece that reaches it is cut there.
        joined = np.zeros(4, bool)
        for side in range(4):
            for piece in (first, second):
                joined[side] |= bool(cut[piece, side]) and boxes[piece, side] == outer[side]
        boxes[first], cut[first], tiles[first] = outer, joined, -1
        scores[first] = max(scores[first], scores[second])
        alive[second] = False


def _find_pieces(
    boxes: np.ndarray, tiles: np.ndarray, cut: np.ndarray, alive: np.ndarray
) -> tuple[int, int] | None:
    """Return two pieces of one object: cut at facing seams, overlapping, and alike along them."""
    other_tile = (tiles[:, None] != tiles[None]) | (tiles[:, None] < 0)
    for axis in (0, 1):  # across x, then across y
        start, end = boxes[:, axis], boxes[:, axis + 2]
        low, high = boxes[:, 1 - axis], boxes[:, 3 - axis]
        facing = (alive & cut[:, axis + 2])[:, None] & (alive & cut[:, axis])[None]
        meets = start[None] <= end[:, None] + TOUCH
        goes_on = (start[:, None] < start[None]) & (end[:, None] < end[None])
        shared = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
        extent = np.maximum(high[:, None], high[None]) - np.minimum(low[:, None], low[None])
        pairs = facing & other_tile & meets & goes_on & (shared >= ALONG * extent)
        if pairs.any():
            first, second = np.unravel_index(int(pairs.argmax()), pairs.shape)
            return int(first), int(second)
    return None
