"""Promise: edge maps are the authors', or mmseg's, and follow the labels through the pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope

from mmattn.data.transforms.edge_map import GenerateEdgeMap
from mmattn.errors import ConfigError, DataError


def halves(height: int = 40, width: int = 30, left: int = 2, right: int = 5) -> np.ndarray:
    """Two classes that meet between columns 9 and 10."""
    labels = np.full((height, width), left, np.uint8)
    labels[:, 10:] = right
    return labels


def edges_of(labels: np.ndarray, **kwargs) -> np.ndarray:
    results = {"gt_seg_map": labels, "img_shape": labels.shape}
    return GenerateEdgeMap(**kwargs)(results)["gt_edge_map"]


@pytest.mark.parametrize(("left", "right"), [(2, 5), (5, 2), (0, 1), (255, 3)])
def test_two_classes_meet_in_a_band_of_four(left: int, right: int) -> None:
    """Ignored regions (255) have an outline, too. Canny takes column 9, which the square widens."""
    expected = np.zeros((40, 30), np.uint8)
    expected[:, 8:12] = 1
    got = edges_of(halves(left=left, right=right), border=0)
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


def test_edges_near_the_border_are_dropped_before_they_are_widened() -> None:
    expected = np.zeros((40, 30), np.uint8)
    expected[5:36, 8:12] = 1  # rows 6 to 33, and the square's one above and two below
    assert np.array_equal(edges_of(halves()), expected)
    narrow = np.concatenate([halves()[:, 5:10], halves()[:, 10:]], 1)  # they meet at column 5
    assert not edges_of(narrow).any()


@pytest.mark.parametrize("width", [1, 3, 6])
def test_width_is_a_choice(width: int) -> None:
    got = edges_of(halves(), border=0, edge_width=width)
    assert (got.sum(1) == width).all()


def test_image_of_one_class_and_one_smaller_than_the_border() -> None:
    assert not edges_of(np.full((20, 20), 3, np.uint8)).any()
    assert not edges_of(halves(8, 12)).any()


def test_mmsegs_way_by_option() -> None:
    labels = halves(left=255)
    assert not edges_of(labels, method="labels").any(), "no outline around what is ignored"
    labels = halves()
    theirs = TRANSFORMS.build({"type": "mmseg.GenerateEdge", "edge_width": 4})
    expected = theirs({"gt_seg_map": labels, "img_shape": labels.shape})["gt_edge_map"]
    assert np.array_equal(edges_of(labels, method="labels"), expected)


def test_edges_are_scaled_cropped_flipped_and_packed_with_the_labels() -> None:
    with DefaultScope.overwrite_default_scope("mmseg"):
        pipeline = Compose(
            [
                {"type": "mmattn.GenerateEdgeMap", "border": 0},
                {"type": "RandomChoiceResize", "scales": [(60, 80)], "keep_ratio": True},
                {"type": "RandomFlip", "prob": 1.0},
                {"type": "RandomCrop", "crop_size": (80, 44)},
                {"type": "PackSegInputs"},
            ]
        )
        np.random.seed(0)
        labels = halves()
        image = np.repeat(labels[:, :, None], 3, 2)
        packed = pipeline(
            {
                "img": image,
                "gt_seg_map": labels,
                "seg_fields": ["gt_seg_map"],
                "img_shape": labels.shape,
            }
        )["data_samples"]
    got, truth = packed.gt_edge_map.data[0].numpy(), packed.gt_sem_seg.data[0].numpy()
    assert got.shape == truth.shape == (80, 44)
    step = int(np.flatnonzero(np.diff(truth[0]))[0]) + 1  # between here and the column before
    assert (np.flatnonzero(got[0]) == np.arange(step - 4, step + 4)).all(), "twice as wide"


def test_labels_beyond_eight_bits_are_refused() -> None:
    with pytest.raises(DataError, match=r"mask\.png: labels from 2 to 300 .*method='labels'"):
        GenerateEdgeMap()({"gt_seg_map": np.array([[2, 300]]), "seg_map_path": "mask.png"})
    wide = halves().astype(np.int64)
    assert np.array_equal(edges_of(wide), edges_of(halves()))


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'cany'.* Did you mean 'canny'"):
        GenerateEdgeMap(method="cany")
    with pytest.raises(ConfigError, match="edge_width must be at least 1"):
        GenerateEdgeMap(edge_width=0)
