"""``line_nms`` against loops over single numbers, with the rounding that mmcv's kernel has."""

from __future__ import annotations

import pytest
import torch

ROWS = 72  # mmcv's kernel has no other number


def loops(boxes, scores, overlap, top_k):
    """Every line against every kept one, in the words of the kernel."""

    def span(line):
        first = int(line[2].item() * (ROWS - 1) + 0.5)
        length = line[4].item() - 1
        return first, min(int(first + length + 0.5 - (length < 0)), ROWS - 1)

    def near(one, other):
        start = max(span(one)[0], span(other)[0])
        end = min(span(one)[1], span(other)[1])
        if end < start:
            return False
        apart = sum(abs(one[5 + i] - other[5 + i]).item() for i in range(start, end + 1))
        return apart < overlap * (end - start + 1)

    order = sorted(range(len(boxes)), key=lambda i: -scores[i].item())
    keep, parent, dropped = [], [0] * len(boxes), set()
    for place, index in enumerate(order):
        if len(keep) == top_k:
            break
        if index in dropped:
            continue
        keep.append(index)
        parent[index] = len(keep)
        for other in order[place + 1 :]:
            if near(boxes[index], boxes[other]):
                dropped.add(other)
                parent[other] = len(keep)
    return keep, parent


def draw_lines(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lines around a few lanes, of different starts and lengths, some shorter than a strip."""
    boxes = torch.zeros(count, 5 + ROWS, dtype=torch.float64)
    boxes[:, 2] = torch.rand(count) * 0.8
    boxes[:, 4] = torch.rand(count) * 70
    boxes[::7, 4] = 0.2
    lanes = torch.randint(0, 5, (count, 1)) * 100.0
    boxes[:, 5:] = lanes + torch.randn(count, 1) * 20 + torch.randn(count, ROWS)
    return boxes, torch.rand(count, dtype=torch.float64)


@pytest.mark.parametrize("top_k", [3, 40])
@pytest.mark.parametrize("overlap", [0.0, 15.0, 60.0])
def test_as_loops(overlap: float, top_k: int) -> None:
    from mmcv.ops import line_nms

    boxes, scores = draw_lines(40)
    keep, number, parent = line_nms(boxes, scores, overlap, top_k)
    true_keep, true_parent = loops(boxes, scores, overlap, top_k)
    assert int(number) == len(true_keep) <= top_k
    assert keep[:number].tolist() == true_keep
    assert not keep[number:].any()
    assert parent.tolist() == true_parent
    assert overlap == 0 or len(set(true_parent)) < 40, "nothing was dropped: the test is empty"


def test_no_lines() -> None:
    from mmcv.ops import line_nms

    keep, number, parent = line_nms(torch.zeros(0, 77), torch.zeros(0), 15.0, 5)
    assert (len(keep), int(number), len(parent)) == (0, 0, 0)


def test_lines_above_one_another_are_both_kept() -> None:
    """They share no row, however close their points are."""
    from mmcv.ops import line_nms

    boxes = torch.zeros(2, 77)
    boxes[:, 4] = 10
    boxes[1, 2] = 0.5
    assert int(line_nms(boxes, torch.tensor([0.9, 0.8]), 50.0, 5)[1]) == 2
