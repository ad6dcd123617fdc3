"""Outlines: both boundary scores count what their definitions say, pixel by pixel."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmattn.evaluation.semantic.boundary import (
    boundary_areas,
    clean_label_maps,
    outline_hits,
    pixels_of,
)

IGNORE = 255


def blobs(seed: int, k: int, ignored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two similar label maps of large regions; with values that are no class, and ignored ones."""
    rng = np.random.default_rng(seed)
    values = np.array([*range(k), k + 3] + [IGNORE] * ignored)
    label = np.repeat(np.repeat(rng.choice(values, (4, 5)), 5, 0), 6, 1)[:, : 30 - seed % 3]
    predicted = np.roll(label, rng.integers(-2, 3, 2), (0, 1))
    predicted[predicted == IGNORE] = 0
    return label, predicted


def band_by_loop(mask: np.ndarray, void: np.ndarray, width: int) -> np.ndarray:
    """Pixels of a mask with a pixel outside of it, or of the image, within ``width``."""
    height, length = mask.shape
    band = np.zeros_like(mask)
    for y, x in np.argwhere(mask):
        for v in range(y - width, y + width + 1):
            for u in range(x - width, x + width + 1):
                inside = 0 <= v < height and 0 <= u < length
                if not inside or not (mask[v, u] or void[v, u]):
                    band[y, x] = True
    return band


def edges_by_loop(mask: np.ndarray, void: np.ndarray) -> list[tuple[int, int]]:
    """Pixels of a mask with a neighbour outside of it, but in the image."""
    edges = []
    for y, x in np.argwhere(mask):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1]
            if inside and not mask[v, u] and not void[v, u]:
                edges.append((y, x))
                break
    return edges


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_bands_equal_a_plain_loop(width: int, ignored: bool) -> None:
    for seed in range(3):
        label, predicted = blobs(seed, 4, ignored)
        void = label == IGNORE
        counts = boundary_areas(*clean_label_maps(label, predicted, 4, IGNORE), 4, width)
        for c in range(4):
            truth = band_by_loop(label == c, void, width)
            guess = band_by_loop((predicted == c) & ~void, void, width)
            expected = [(truth & guess).sum(), guess.sum(), truth.sum()]
            assert counts[:, c].tolist() == expected, (seed, c)


def test_bands_are_those_of_the_authors_erosion() -> None:
    """mask - erode(mask, 3x3, d times), the mask framed by zeros, for every class by itself."""
    label, predicted = blobs(5, 3, ignored=False)
    counts = boundary_areas(*clean_label_maps(label, predicted, 3, IGNORE), 3, 4)

    def band(mask: np.ndarray) -> np.ndarray:
        framed = np.pad(mask.astype(np.uint8), 1)
        eroded = cv2.erode(framed, np.ones((3, 3), np.uint8), iterations=4)[1:-1, 1:-1]
        return (mask.astype(np.uint8) - eroded).astype(bool)

    for c in range(3):
        truth, guess = band(label == c), band(predicted == c)
        assert counts[:, c].tolist() == [(truth & guess).sum(), guess.sum(), truth.sum()]


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("tolerance", [1, 2, 4])
def test_hits_equal_a_plain_loop(tolerance: int, ignored: bool) -> None:
    for seed in range(3):
        label, predicted = blobs(seed, 4, ignored)
        void = label == IGNORE
        counts = outline_hits(*clean_label_maps(label, predicted, 4, IGNORE), 4, tolerance)
        for c in range(4):
            truth = edges_by_loop(label == c, void)
            guess = edges_by_loop((predicted == c) & ~void, void)

            def hits(some: list, others: list) -> int:
                return sum(
                    any((y - v) ** 2 + (x - u) ** 2 <= tolerance**2 for v, u in others)
                    for y, x in some
                )

            expected = [hits(guess, truth), len(guess), hits(truth, guess), len(truth)]
            assert counts[:, c].tolist() == expected, (seed, c)


def test_a_square_that_is_moved_by_one_pixel() -> None:
    """By hand: 10x10 squares, bands one pixel wide, moved to the right by one."""
    label = np.zeros((30, 30), np.int64)
    predicted = label.copy()
    label[10:20, 10:20] = 1
    predicted[10:20, 11:21] = 1
    maps = clean_label_maps(label, predicted, 2, IGNORE)
    # 36 pixels in each ring. Common: of the rows 10 and 19 the 9 columns 11 to 19. (Of the columns
    # in between, each ring has two, and they differ.)
    assert boundary_areas(*maps, 2, 1)[:, 1].tolist() == [18, 36, 36]
    assert outline_hits(*maps, 2, 1)[:, 1].tolist() == [36, 36, 36, 36]


def test_no_outline_where_labels_end() -> None:
    """A map of one class with a hole of ignored pixels: only the image's end is a boundary."""
    label = np.zeros((20, 20), np.int64)
    label[5:15, 5:15] = IGNORE
    predicted = np.zeros((20, 20), np.int64)
    predicted[8:12, 8:12] = 1  # where nothing is known
    maps = clean_label_maps(label, predicted, 2, IGNORE)
    frame = 20 * 20 - 16 * 16
    assert boundary_areas(*maps, 2, 2).tolist() == [[frame, 0], [frame, 0], [frame, 0]]
    assert not outline_hits(*maps, 2, 3).any()


def test_more_classes_than_a_byte_holds() -> None:
    label = np.full((8, 8), 299)
    label[:, 4:] = 43  # the same byte as 299
    counts = boundary_areas(*clean_label_maps(label, label, 300, 65535), 300, 1)
    assert counts[:, 299].tolist() == counts[:, 43].tolist() == [8 * 4 - 2 * 6] * 3
    assert (
        outline_hits(*clean_label_maps(label, label, 300, 65535), 300, 1)[:, 299].tolist()
        == [8] * 4
    )


def test_lengths_are_pixels_or_shares_of_the_diagonal() -> None:
    assert pixels_of(3, (300, 400)) == 3
    assert pixels_of(0.02, (300, 400)) == 10
    assert pixels_of(0.0075, (300, 400)) == 4
    assert pixels_of(0.0071, (300, 400), up=True) == 4
    assert pixels_of(0.001, (30, 40)) == 1
