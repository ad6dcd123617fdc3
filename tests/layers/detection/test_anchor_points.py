"""Points lie at the centres of cells, and distances at them give boxes in pixels."""

from __future__ import annotations

import pytest
import torch

from mmattn.layers.detection import anchor_points, decode_boxes, expected_bins


def test_points_lie_at_the_centres_row_by_row() -> None:
    points, strides = anchor_points([(2, 3), (1, 1)], [8, 32])
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [16, 16]]
    assert strides.tolist() == [8] * 6 + [32]


def test_offset_and_dtype_are_kept() -> None:
    points, strides = anchor_points([(1, 2)], [4], offset=0, dtype=torch.float64)
    assert points.tolist() == [[0, 0], [4, 0]]
    assert points.dtype == strides.dtype == torch.float64


def test_a_map_without_a_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 2 maps and strides \(8,\)"):
        anchor_points([(1, 1), (1, 1)], [8])


def test_sure_logits_give_whole_distances() -> None:
    points, strides = anchor_points([(1, 1), (1, 1)], [8, 16])
    logits = torch.full((1, 2, 4, 6), -50.0)
    for side, bin_ in enumerate((1, 2, 3, 5)):
        logits[..., side, bin_] = 50.0
    boxes = decode_boxes(logits.flatten(2), points, strides, reg_max=6)
    assert boxes.tolist() == [[[-4, -12, 28, 44], [-8, -24, 56, 88]]]


def test_the_distance_is_the_mean_of_the_bins() -> None:
    logits = torch.tensor([0.25, 0.0, 0.25, 0.5]).log()
    torch.testing.assert_close(expected_bins(logits, 0), torch.tensor(2.0))
    torch.testing.assert_close(expected_bins(torch.zeros(2, 16, 3), 1), torch.full((2, 3), 7.5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_decoded_in_float32(dtype: torch.dtype) -> None:
    points, strides = anchor_points([(1, 1)], [8])
    logits = torch.randn(1, 1, 64).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = decode_boxes(logits, points, strides, 16)
    assert torch.equal(got, decode_boxes(logits.float(), points, strides, 16))


def test_channels_that_are_not_four_sides_are_refused() -> None:
    points, strides = anchor_points([(1, 1)], [8])
    with pytest.raises(
        ValueError, match=r"4 \* reg_max = 64 channels last, got shape \(1, 1, 60\)"
    ):
        decode_boxes(torch.zeros(1, 1, 60), points, strides, 16)
