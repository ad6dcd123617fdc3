"""Overlaps equal closed forms, and boxes without area give numbers, not NaN."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmattn.layers.detection import box_iou, complete_iou
from tests.support.plain_assigner import plain_complete_iou


def boxes(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def test_iou_of_pairs() -> None:
    first = boxes((0, 0, 2, 2), (0, 0, 2, 2), (0, 0, 2, 2), (0, 0, 4, 4))
    second = boxes((0, 0, 2, 2), (1, 1, 3, 3), (2, 0, 4, 2), (1, 1, 3, 2))
    torch.testing.assert_close(box_iou(first, second), torch.tensor([1, 1 / 7, 0, 2 / 16]))


def test_complete_iou_of_equal_boxes_is_one() -> None:
    box = boxes((3, 5, 300, 50), (0, 0, 1, 1))
    assert complete_iou(box, box).tolist() == [1.0, 1.0]


def test_complete_iou_of_equal_shapes_is_distance_iou() -> None:
    # IoU 1/7; centres sqrt(2) apart; the box around both has diagonal sqrt(18).
    got = complete_iou(boxes((0, 0, 2, 2)), boxes((1, 1, 3, 3)))
    torch.testing.assert_close(got, torch.tensor([1 / 7 - 2 / 18]))


def test_complete_iou_of_concentric_boxes_is_iou_less_the_shape() -> None:
    # 4 x 1 against 1 x 4: IoU = 1 / 7.
    v = 4 / math.pi**2 * (math.atan(4) - math.atan(1 / 4)) ** 2
    expected = 1 / 7 - v * v / (1 - 1 / 7 + v)
    got = complete_iou(boxes((-2, -0.5, 2, 0.5)), boxes((-0.5, -2, 0.5, 2)))
    torch.testing.assert_close(got, torch.tensor([expected]))


def test_complete_iou_of_random_boxes_equals_the_paper() -> None:
    random = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 200, 2, 2, generator=random, dtype=torch.float64) * 50
    first, second = torch.cat((corners.amin(2), corners.amax(2)), dim=2)
    expected = [plain_complete_iou(*pair) for pair in zip(first.tolist(), second.tolist())]  # noqa: B905
    torch.testing.assert_close(complete_iou(first, second), first.new_tensor(expected))


def test_pairs_are_broadcast() -> None:
    first, second = torch.rand(5, 1, 4).sort(-1).values, torch.rand(3, 4).sort(-1).values
    assert complete_iou(first, second).shape == box_iou(first, second).shape == (5, 3)


@pytest.mark.parametrize(
    "pair",
    [
        [(1, 1, 1, 1), (1, 1, 1, 1)],
        [(1, 1, 1, 1), (5, 5, 5, 5)],
        [(1, 1, 1, 9), (1, 1, 1, 9)],
        [(0, 0, 8, 0), (0, 0, 8, 8)],
        [(0, 0, 0, 8), (0, 0, 8, 0)],
        [(-3e4, -3e4, 3e4, 3e4), (0, 0, 1e-3, 1e-3)],
    ],
)
def test_boxes_without_area_have_finite_values_and_gradients(pair: list[tuple]) -> None:
    for rows in (pair, pair[::-1]):
        first, second = (boxes(row).requires_grad_() for row in rows)
        overlap = complete_iou(first, second)
        overlap.sum().backward()
        assert first.grad is not None
        assert second.grad is not None
        assert torch.isfinite(torch.stack((overlap[0], *first.grad[0], *second.grad[0]))).all()
        assert -2 < overlap.item() <= 1


@pytest.mark.parametrize("empty", [(4, 4, 4, 4), (4, 4, 4, 8), (4, 4, 8, 4), (9, 9, 9, 9)])
def test_an_empty_prediction_is_pulled_gently(empty: tuple) -> None:
    predicted = boxes(empty).requires_grad_()
    complete_iou(predicted, boxes((0, 0, 8, 8))).backward()
    assert predicted.grad is not None
    assert predicted.grad.abs().max() < 1


def test_the_weight_of_the_shape_has_no_gradient() -> None:
    second = [1.0, 1.0, 6.0, 4.0]

    def shape(box: list[float]) -> tuple[float, float]:
        v = (
            4
            / math.pi**2
            * (math.atan(5 / 3) - math.atan((box[2] - box[0]) / (box[3] - box[1]))) ** 2
        )
        iou = box_iou(torch.tensor(box).double(), torch.tensor(second).double()).item()
        return v, v / (1 - iou + v)

    def overlap(right: float, weight: float | None) -> float:
        box = [0.0, 0.0, right, 5.0]
        v, own = shape(box)
        return plain_complete_iou(box, second) + own * v - (own if weight is None else weight) * v

    first = torch.tensor([0.0, 0, 3, 5], dtype=torch.float64, requires_grad=True)
    complete_iou(first, torch.tensor(second).double()).backward()
    assert first.grad is not None
    weight = shape([0.0, 0.0, 3.0, 5.0])[1]
    fixed, full = ((overlap(3 + 1e-5, w) - overlap(3 - 1e-5, w)) / 2e-5 for w in (weight, None))
    assert first.grad[2].item() == pytest.approx(fixed, rel=1e-4)
    assert full != pytest.approx(fixed, rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    first = boxes((0, 0, 600, 600)).to(dtype)  # an area beyond the range of float16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for overlap in (complete_iou(first, first), box_iou(first, first)):
            assert overlap.dtype == torch.float32
            assert overlap.item() == 1
