"""mmcv's bbox_overlaps against areas computed box by box."""

from __future__ import annotations

import mmcv.ops
import pytest
import torch


def _boxes(count: int) -> torch.Tensor:
    corner = torch.rand(count, 2) * 10
    return torch.cat((corner, corner + 1 + torch.rand(count, 2) * 8), dim=1).double()


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_overlap_over_union_or_foreground(mode, offset):
    first, second = _boxes(6), _boxes(6)
    overlaps = mmcv.ops.bbox_overlaps(first, second[:4], mode, offset=offset)
    expected = torch.zeros(6, 6, dtype=torch.float64)
    for i, a in enumerate(first.tolist()):
        for j, b in enumerate(second.tolist()):
            width = max(min(a[2], b[2]) - max(a[0], b[0]) + offset, 0)
            height = max(min(a[3], b[3]) - max(a[1], b[1]) + offset, 0)
            areas = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
            union = sum(areas) - width * height
            expected[i, j] = width * height / (union if mode == "iou" else areas[0])
    torch.testing.assert_close(overlaps, expected[:, :4])
    pairs = mmcv.ops.bbox_overlaps(first, second, mode, aligned=True, offset=offset)
    torch.testing.assert_close(pairs, expected.diagonal())


def test_no_boxes():
    assert mmcv.ops.bbox_overlaps(torch.zeros(0, 4), torch.rand(3, 4)).shape == (0, 3)
    assert mmcv.ops.bbox_overlaps(torch.zeros(0, 4), torch.zeros(0, 4), aligned=True).shape == (0,)


def test_half_does_not_overflow_on_areas():
    # 300 * 300 pixels are more than float16 can hold.
    boxes = torch.tensor([[0.0, 0, 300, 300]]).half()
    assert mmcv.ops.bbox_overlaps(boxes, boxes).item() == 1
