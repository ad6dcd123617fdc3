"""NMS, soft-NMS and NMS groups of mmcv, through mmcv's public functions."""

from __future__ import annotations

import math

import mmcv.ops
import numpy as np
import pytest
import torch


def _boxes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    corner = torch.rand(count, 2) * 40
    return torch.cat((corner, corner + 3 + torch.rand(count, 2) * 30), dim=1), torch.rand(count)


def _iou(a, b, offset: int) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + offset
    height = min(a[3], b[3]) - max(a[1], b[1]) + offset
    inside = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return inside / (sum(areas) - inside)


def _greedy(boxes, scores, threshold: float, offset: int) -> list[int]:
    kept: list[int] = []
    for candidate in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(_iou(boxes[candidate], boxes[other], offset) <= threshold for other in kept):
            kept.append(candidate)
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_nms_keeps_what_the_greedy_loop_keeps(offset, threshold):
    boxes, scores = _boxes(60)
    dets, kept = mmcv.ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == _greedy(boxes.tolist(), scores.tolist(), threshold, offset)
    torch.testing.assert_close(dets, torch.cat((boxes, scores[:, None]), dim=1)[kept])


def test_nms_offset_decides_about_touching_pixels():
    # As pixel ranges the boxes share one of seven pixels; as plain coordinates only an edge.
    boxes = torch.tensor([[0.0, 0, 3, 0.5], [3, 0, 6, 0.5]])
    scores = torch.tensor([0.9, 0.8])
    assert len(mmcv.ops.nms(boxes, scores, 0.1, offset=0)[1]) == 2
    assert len(mmcv.ops.nms(boxes, scores, 0.1, offset=1)[1]) == 1


def test_nms_spares_an_overlap_equal_to_the_threshold():
    boxes = torch.tensor([[0.0, 0, 10, 1], [0, 0, 6, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert len(mmcv.ops.nms(boxes, scores, 0.6)[1]) == 2
    assert len(mmcv.ops.nms(boxes, scores, 0.599)[1]) == 1


def test_nms_score_filter_and_limit():
    boxes, scores = _boxes(40)
    _, kept = mmcv.ops.nms(boxes, scores, 0.4, score_threshold=0.5, max_num=3)
    strong = [i for i in range(40) if scores[i] > 0.5]
    expected = _greedy(boxes[strong].tolist(), scores[strong].tolist(), 0.4, 0)[:3]
    assert kept.tolist() == [strong[i] for i in expected]


@pytest.mark.parametrize("kind", ["nms", "soft_nms"])
def test_batched_nms_keeps_classes_apart(kind):
    boxes, scores = _boxes(40)
    classes = torch.randint(0, 3, (40,))
    config = {"type": kind, "iou_threshold": 0.3}
    dets, kept = mmcv.ops.batched_nms(boxes, scores, classes, config)
    single = getattr(mmcv.ops, kind)
    expected = {}
    for label in range(3):
        members = (classes == label).nonzero().flatten()
        found, order = single(boxes[members], scores[members], 0.3)
        expected |= dict(zip(members[order].tolist(), found[:, 4].tolist(), strict=True))
    assert sorted(kept.tolist()) == sorted(expected)
    for index, score in zip(kept.tolist(), dets[:, 4].tolist(), strict=True):
        assert score == pytest.approx(expected[index], abs=1e-5)


def test_nms_accepts_numpy_half_and_double():
    boxes, scores = _boxes(30)
    _, kept = mmcv.ops.nms(boxes, scores, 0.4)
    _, from_numpy = mmcv.ops.nms(boxes.numpy(), scores.numpy(), 0.4)
    _, from_double = mmcv.ops.nms(boxes.double(), scores.double(), 0.4)
    assert kept.tolist() == from_numpy.tolist() == from_double.tolist()
    half = mmcv.ops.nms(boxes.half(), scores.half(), 0.4)[1]
    assert half.tolist() == _greedy(boxes.half().tolist(), scores.half().tolist(), 0.4, 0)


def _soften(boxes, scores, method: str, threshold, sigma, min_score, offset):
    """Soft-NMS as the paper writes it: take the best, decay the others, drop the weak."""
    left = dict(enumerate(scores))
    kept = []
    while left:
        best = max(left, key=left.get)
        kept.append((best, left.pop(best)))
        for other in list(left):
            overlap = _iou(boxes[best], boxes[other], offset)
            if method == "gaussian":
                left[other] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                left[other] *= (1 - overlap) if method == "linear" else 0
            if left[other] < min_score:
                del left[other]
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
def test_soft_nms_decays_scores_as_the_paper_does(method, offset):
    boxes, scores = _boxes(50)
    dets, kept = mmcv.ops.soft_nms(
        boxes, scores, 0.3, sigma=0.4, min_score=0.05, method=method, offset=offset
    )
    expected = _soften(boxes.tolist(), scores.tolist(), method, 0.3, 0.4, 0.05, offset)
    assert 5 < len(expected) < 50
    assert kept.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([score for _, score in expected]))
    torch.testing.assert_close(dets[:, :4], boxes[kept])


def _swap_loop(boxes, scores, threshold: float, min_score: float) -> list[int]:
    """Linear soft-NMS on one array: the best swaps to the front, the dropped with the last."""
    entries = [[score, index] for index, score in enumerate(scores)]
    length, done = len(entries), 0
    while done < length:
        best = done
        for place in range(done + 1, length):
            if entries[place][0] > entries[best][0]:
                best = place
        entries[done], entries[best] = entries[best], entries[done]
        place = done + 1
        while place < length:
            overlap = _iou(boxes[entries[done][1]], boxes[entries[place][1]], 0)
            if overlap >= threshold:
                entries[place][0] *= 1 - overlap
            if entries[place][0] < min_score:
                length -= 1
                entries[place] = entries[length]
            else:
                place += 1
        done += 1
    return [index for _, index in entries[:length]]


def test_soft_nms_meets_equal_scores_in_mmcvs_order():
    boxes, scores = _boxes(60)
    scores = (scores * 4).round() / 4 + 0.25
    _, kept = mmcv.ops.soft_nms(boxes, scores, 0.3, min_score=0.2, method="linear")
    assert kept.tolist() == _swap_loop(boxes.tolist(), scores.tolist(), 0.3, 0.2)
    assert len(kept) < 50


def test_soft_nms_of_points_without_area_keeps_finite_scores():
    boxes = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 3], [5, 5, 5, 5]])
    dets, _ = mmcv.ops.soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), method="gaussian")
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.7])


def test_nms_match_groups_what_each_kept_box_suppresses():
    boxes, scores = _boxes(50)
    dets = torch.cat((boxes, scores[:, None]), dim=1)
    groups = mmcv.ops.nms_match(dets, 0.3)
    left = sorted(range(50), key=lambda i: -scores[i])
    expected = []
    while left:
        head, *rest = left
        matched = [i for i in rest if _iou(boxes[head].tolist(), boxes[i].tolist(), 0) >= 0.3]
        expected.append([head, *matched])
        left = [i for i in rest if i not in matched]
    assert [group.tolist() for group in groups] == expected
    assert any(len(group) > 1 for group in groups)
    assert [g.tolist() for g in mmcv.ops.nms_match(dets.numpy(), 0.3)] == expected


def test_no_boxes_give_no_boxes():
    boxes, scores = torch.zeros(0, 4), torch.zeros(0)
    dets, kept = mmcv.ops.nms(boxes, scores, 0.5)
    assert dets.shape == (0, 5) and kept.dtype == torch.long
    dets, kept = mmcv.ops.soft_nms(boxes, scores, 0.5)
    assert dets.shape == (0, 5) and kept.tolist() == []
    assert mmcv.ops.nms_match(np.zeros((0, 5), np.float32), 0.5) == []
