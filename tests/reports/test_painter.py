"""Painted label maps: the background keeps the photograph, outlines hide nothing that is thin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmattn.reports.overlays import blend, outlines
from mmattn.reports.painter import OUTCOMES, Painter, background_indices, read_photograph

RED = (255, 0, 0)


@pytest.fixture
def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)


def scene() -> np.ndarray:
    """Background with a block of 30 x 30, a line 2 pixels wide and a single pixel."""
    labels = np.zeros((80, 100), np.int64)
    labels[10:40, 10:40] = 1
    labels[:, 60:62] = 1
    labels[70, 80] = 1
    return labels


@pytest.mark.parametrize(
    "name", ["background", "Background", "__background__", "back ground", "BG", "_background_"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_class_called_background_keeps_the_photograph(name, place, photograph) -> None:
    names = ["road", "tree"]
    names.insert(place, name)
    assert background_indices(names) == (place,)
    painter = Painter.of(names, None)
    everything = np.full((80, 100), place)
    assert np.array_equal(painter.paint(photograph, everything), photograph)
    everything[:] = (place + 1) % 3
    assert (painter.paint(photograph, everything) != photograph).any()


@pytest.mark.parametrize("name", ["backgrounds of trees", "sky", "foreground", "big"])
def test_other_classes_are_painted(name: str) -> None:
    assert background_indices([name]) == ()


def test_thin_objects_are_painted_without_an_outline(photograph) -> None:
    labels = scene()
    painter = Painter.of(["background", "vessel"], [(0, 0, 0), RED], opacity=0.5)
    painted = painter.paint(photograph, labels)
    grey = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)[..., None]
    expected = (0.5 * grey + 0.5 * np.array(RED)).clip(0, 255).astype(np.uint8)
    for thin in (np.s_[:, 60:62], np.s_[70, 80], np.s_[12:38, 12:38]):
        assert np.array_equal(painted[thin], expected[thin])
    assert (painted[10, 12:38] < expected[10, 12:38]).any(axis=-1).all(), "the block's outline"
    assert np.array_equal(painted[labels == 0], photograph[labels == 0])


@pytest.mark.parametrize("scale", [1, 8, 20])
def test_an_outline_lies_inside_wide_regions_only(scale: int) -> None:
    labels = np.kron(scene(), np.ones((scale, scale), np.int64))
    lines = outlines(labels, np.ones(labels.shape, bool))
    block = np.zeros(labels.shape, bool)
    block[10 * scale : 40 * scale, 10 * scale : 40 * scale] = True
    assert lines[10 * scale : 40 * scale, 10 * scale].any()
    if scale == 1:
        assert not lines[:, 60:62].any() and not lines[70, 80]
    assert not lines[15 * scale : 35 * scale, 15 * scale : 35 * scale].any()


def test_many_thin_stripes_have_no_outline_at_all() -> None:
    labels = np.tile(np.arange(40) // 4 % 2, (40, 1))
    assert not outlines(labels, np.ones(labels.shape, bool)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 3)])
def test_any_size_is_painted(shape: tuple) -> None:
    image = np.full((*shape, 3), 9, np.uint8)
    for names in (["a", "b", "c"], ["background", "x"]):
        painter = Painter.of(names, None)
        labels = np.arange(shape[0] * shape[1]).reshape(shape) % 2
        for tile in painter.tiles(image, labels, 1 - labels):
            assert tile.shape == image.shape


def test_two_classes_are_painted_by_outcome(photograph) -> None:
    truth, predicted = np.zeros((2, 80, 100), np.int64)
    truth[20:60, 20:60] = 1
    predicted[20:60, 40:80] = 1
    truth[0:5] = 255
    painter = Painter.of(["background", "polyp"], None, opacity=1.0)
    painted = painter.paint_prediction(photograph, predicted, truth)
    colours = dict(OUTCOMES)
    assert tuple(painted[40, 50]) == colours["right"]
    assert tuple(painted[40, 30]) == colours["missed"]
    assert tuple(painted[40, 70]) == colours["false"]
    assert np.array_equal(painted[70], photograph[70]) and (painted[2] == 0).all()
    names = [name for name, _ in painter.legend([0, 1], with_truth=True)]
    assert names == ["polyp", "polyp: right", "polyp: missed", "polyp: false"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["background", "crack"], 1), (["crack", "background"], 0), (["land", "water"], 1),
        (["a", "b", "c"], None), (["only"], None),
    ],
)  # fmt: skip
def test_the_object_of_two_classes(names: list[str], expected: int | None) -> None:
    assert Painter.of(names, None).object_class == expected


def test_more_classes_and_no_truth_are_painted_by_class(photograph) -> None:
    labels = scene()
    for painter, truth in (
        (Painter.of(["a", "b", "c"], None), labels), (Painter.of(["a", "b"], None), None),
    ):  # fmt: skip
        by_class = painter.paint(photograph, labels)
        assert np.array_equal(painter.paint_prediction(photograph, labels, truth), by_class)


def test_more_classes_than_a_byte_and_values_of_no_class(photograph) -> None:
    painter = Painter.of([f"c{i}" for i in range(300)], None, opacity=1.0)
    labels = np.full((80, 100), 299)
    labels[:, 50:] = -1
    painted = painter.paint(photograph, labels)
    assert tuple(painted[40, 20]) == tuple(painter.palette[299])
    assert (painted[40, 80] == 0).all()


def test_opacity_is_the_weight_of_the_colours() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    for opacity in (0.0, 0.25, 1.0):
        value = blend(image, np.zeros((20, 20), int), [RED], opacity=opacity)[10, 10]
        assert value[0] == int(100 + 155 * opacity) and value[1] == int(100 * (1 - opacity))


def test_a_photograph_has_the_size_of_its_label_map(tmp_path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), (1, 2, 3), np.uint8))
    assert (read_photograph(str(tmp_path / "a.png"), (20, 30)) == (3, 2, 1)).all()
    assert (read_photograph(str(tmp_path / "gone.png"), (20, 30)) == 127).all()


@pytest.mark.parametrize("stated", [None, 12])
def test_a_photograph_of_twelve_bits_is_no_darker_than_one_of_eight(tmp_path, stated) -> None:
    """The upper 8 of 16 bits would leave nearly nothing of it."""
    values = np.arange(2400, dtype=np.uint16).reshape(40, 60) + 1500  # 1500 to 3899 of 4095
    cv2.imwrite(str(tmp_path / "a.png"), values)
    shown = read_photograph(str(tmp_path / "a.png"), (40, 60), stated)
    assert np.array_equal(shown, np.repeat((values >> 4).astype(np.uint8)[..., None], 3, axis=2))
