"""Promise: results are those of the authors' inference, whole or in bands."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.mask2former import mask_bands
from mmattn.projects.mask2former.mask_bands import ResizedMasks
from mmattn.projects.mask2former.postprocess import (
    boxes_of,
    instances,
    panoptic,
    semantic,
    semantic_scores,
)

INPUT, IMAGE, OUTPUT = (64, 96), (60, 90), (77, 131)


def logits(count: int = 7, size: tuple[int, int] = (16, 24)) -> Tensor:
    return 3 * torch.randn(count, *size, generator=torch.Generator().manual_seed(0))


def resized(maps: Tensor, output: tuple[int, int] | None = OUTPUT) -> Tensor:
    """The two steps, on whole maps."""
    large = F.interpolate(maps[None], INPUT, mode="bilinear", align_corners=False)
    large = large[:, :, : IMAGE[0], : IMAGE[1]]
    if output is not None:
        large = F.interpolate(large, output, mode="bilinear", align_corners=False)
    return large[0]


@pytest.mark.parametrize("numbers", [None, 3 * 7 * 131, 1])
@pytest.mark.parametrize("output", [OUTPUT, (30, 45), None])
@pytest.mark.parametrize("size", [(16, 24), INPUT])
def test_bands_are_rows_of_the_whole(numbers, output, size) -> None:
    given = logits(size=size)
    masks = ResizedMasks(given, INPUT, IMAGE, output)
    bands = list(masks.bands(numbers))
    assert (numbers is None) == (len(bands) == 1)
    assert [start for start, _, _ in bands[1:]] == [stop for _, stop, _ in bands[:-1]]
    whole = torch.cat([band for _, _, band in bands], dim=1)
    torch.testing.assert_close(whole, resized(given, output), rtol=0, atol=1e-4)


def confident(labels: list[int], scores: list[float], classes: int = 5) -> Tensor:
    """Class logits with these probabilities; what is left goes to "no object"."""
    p = torch.full((len(labels), classes + 1), 1e-9)
    for row, label, score in zip(p, labels, scores, strict=True):
        row[-1] = 1 - score
        row[label] = score
    return p.log()


def whole(masks: Tensor) -> ResizedMasks:
    size = (masks.shape[1], masks.shape[2])
    return ResizedMasks(masks, size, size)


def halves(inside: float = 4.0) -> Tensor:
    """Two masks on 4 x 6 pixels: the three left columns, and the three right ones."""
    left = torch.full((4, 6), -inside)
    left[:, :3] = inside
    return torch.stack((left, -left))


def test_instances_of_two_queries() -> None:
    classes = confident([1, 0], [0.9, 0.6])
    classes[0, 3] = torch.tensor(0.05).log()
    found = instances(classes, whole(halves()), num_things=3, max_per_image=3)
    # Of the three best pairs, (0, 1), (1, 0) and (0, 3), the last is of no thing.
    assert found.labels.tolist() == [1, 0]
    p = classes.softmax(1)
    certain = torch.tensor(4.0).sigmoid()
    torch.testing.assert_close(found.scores, torch.stack((p[0, 1], p[1, 0])) * certain)
    assert found.boxes.tolist() == [[0, 0, 3, 4], [3, 0, 6, 4]]
    assert torch.equal(found.masks, halves() > 0)


def test_a_query_may_appear_with_two_classes() -> None:
    classes = confident([1], [0.6])
    classes[0, 2] = torch.tensor(0.3).log()
    found = instances(classes, whole(halves()[:1]), num_things=5, max_per_image=2)
    assert found.labels.tolist() == [1, 2]
    assert torch.equal(found.masks[0], found.masks[1])


def test_an_empty_mask_has_score_and_box_zero() -> None:
    found = instances(confident([1], [0.9]), whole(-torch.ones(1, 3, 3)), 5, 1)
    assert found.scores.tolist() == [0]
    assert found.boxes.tolist() == [[0, 0, 0, 0]]


def test_boxes() -> None:
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    masks[0, 1:3, 2] = True
    masks[1, 4, 0] = masks[1, 0, 6] = True
    assert boxes_of(masks).tolist() == [[2, 1, 3, 3], [0, 0, 7, 5]]


def segments(classes: Tensor, masks: Tensor, **settings: Any) -> Tensor:
    return panoptic(classes, whole(masks), num_things=3, offset=1000, **settings)


def test_panoptic_objects_are_numbered() -> None:
    found = segments(confident([1, 1], [0.95, 0.9]), halves())
    assert found[0].tolist() == [1001] * 3 + [2001] * 3
    assert found.dtype == torch.int32


def test_panoptic_stuff_of_a_class_is_merged() -> None:
    assert (segments(confident([4, 4], [0.95, 0.9]), halves()) == 4).all()


def test_panoptic_leaves_out_uncertain_queries() -> None:
    found = segments(confident([1, 0], [0.95, 0.7]), halves())
    assert found[0].tolist() == [1001] * 3 + [5] * 3
    found = segments(confident([1, 0], [0.95, 0.7]), halves(), object_mask_thr=0.6)
    assert found[0].tolist() == [1001] * 3 + [2000] * 3
    assert (segments(confident([1, 0], [0.5, 0.5]), halves()) == 5).all()


def test_panoptic_drops_what_others_cover() -> None:
    """The second query's mask is all, and half of it is the first's: 0.5 < 0.8."""
    masks = halves()
    masks[1] = 3.0
    found = segments(confident([1, 0], [0.95, 0.9]), masks)
    assert found[0].tolist() == [1001] * 3 + [5] * 3
    found = segments(confident([1, 0], [0.95, 0.9]), masks, iou_thr=0.4)
    assert found[0].tolist() == [1001] * 3 + [2000] * 3


def test_panoptic_keeps_pixels_above_a_half() -> None:
    """The right half is nobody's; a query wins there with less than 0.5, and gets it in mmdet."""
    classes, masks = confident([1], [0.95]), halves()[:1]
    assert segments(classes, masks)[0].tolist() == [1001] * 3 + [5] * 3
    found = segments(classes, masks, filter_low_score=False)
    assert found[0].tolist() == [1001] * 6


def test_panoptic_without_a_certain_pixel_that_is_its_own() -> None:
    """Where others win all that the second query is certain of, its number is not used up."""
    masks = torch.stack((halves()[0], halves()[0] - 1, halves()[1]))
    masks[:, :, 3] = torch.tensor([-4.0, -1.0, -4.0])[:, None]  # the second wins, uncertainly
    found = segments(confident([1, 0, 2], [0.95, 0.9, 0.95]), masks, iou_thr=0.0)
    assert found[1].tolist() == [1001] * 3 + [5] + [2002] * 2


def test_semantic_is_a_weighted_sum() -> None:
    classes, masks = torch.randn(7, 6), logits()
    expected = torch.einsum("qk,qhw->khw", classes.softmax(1)[:, :-1], resized(masks).sigmoid())
    given = ResizedMasks(masks, INPUT, IMAGE, OUTPUT)
    torch.testing.assert_close(semantic_scores(classes, given), expected, rtol=0, atol=1e-5)
    assert torch.equal(semantic(classes, given), expected.argmax(0))


@pytest.mark.parametrize("band", [1, 9000])
def test_results_in_bands_are_the_same(monkeypatch, band: int) -> None:
    labels = [1, 0, 4, 1, 4, 2, 3]
    classes = confident(labels, [0.99, 0.95, 0.9, 0.9, 0.85, 0.3, 0.99])
    smooth = F.interpolate(logits(size=(3, 4))[None], (16, 24), mode="bicubic")[0]
    masks = ResizedMasks(smooth, INPUT, IMAGE, OUTPUT)

    def results() -> list[Tensor]:
        found = instances(classes, masks, 5, 10)
        settings = {"offset": 1000, "iou_thr": 0.3}
        return [
            *vars(found).values(),
            panoptic(classes, masks, 3, **settings),
            panoptic(classes, masks, 3, filter_low_score=False, **settings),
            semantic(classes, masks),
            semantic_scores(classes, masks),
        ]

    expected = results()
    assert len(expected[4].unique()) > 3
    monkeypatch.setattr(mask_bands, "BAND", band)
    for found, one in zip(results(), expected, strict=True):
        torch.testing.assert_close(found, one)
