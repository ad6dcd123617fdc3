"""One class at a time gives the labels of all classes at once, bit by bit, in few maps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.layers import logit_maps
from mmattn.layers.logit_maps import (
    LogitMaps,
    Window,
    best_class,
    hann_weights,
    scaled,
    sliding_windows,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(maps: LogitMaps) -> Tensor:
    return best_class(maps, lambda some: some, maps.size)


def whole(logits: Tensor, size: tuple[int, int], align_corners: bool) -> LogitMaps:
    return LogitMaps([(Window(0, size[0], 0, size[1]), logits)], size, align_corners=align_corners)


@pytest.fixture(params=["one class at a time", "all of little maps"], autouse=True)
def grouping(request, monkeypatch) -> str:
    """Every test sees both forms; torch computes alike in sizes such as these."""
    if request.param == "one class at a time":
        monkeypatch.setattr(logit_maps, "_SMALL", 0)
    return request.param


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 5, 19])
@pytest.mark.parametrize(
    ("small", "size", "final"),
    [
        ((8, 12), (64, 96), (64, 96)),
        ((9, 13), (65, 97), (130, 201)),
        ((9, 13), (130, 97), (65, 70)),
        ((1, 2), (80, 80), (73, 105)),
        ((4, 6), (101, 47), (1, 129)),
        ((64, 96), (64, 96), (64, 96)),
    ],
)
def test_labels_equal_argmax_of_everything(
    small: tuple[int, int],
    size: tuple[int, int],
    final: tuple[int, int],
    align_corners: bool,
    classes: int,
) -> None:
    logits = random(classes, *small)
    options = {"mode": "bilinear", "align_corners": align_corners}
    stacked = F.interpolate(logits[None], size, **options)
    expected = F.interpolate(stacked, final, **options)[0]
    maps = whole(logits, size, align_corners)
    seen = []

    def finish(some: Tensor) -> Tensor:
        seen.append(scaled(some, final, align_corners))
        return seen[-1]

    assert torch.equal(best_class(maps, finish, final), expected.argmax(0))
    assert torch.equal(torch.cat(seen), expected), "the logits are equal to the last bit"
    assert torch.equal(maps.stacked(), stacked[0])


def test_little_maps_are_scaled_together(grouping: str) -> None:
    """Up to 128 rows and columns, torch has another kernel for many classes."""
    logits = random(19, 5, 7)
    expected = F.interpolate(logits[None], (33, 50), mode="bilinear", align_corners=False)[0]
    maps = whole(logits, (33, 50), False)
    if grouping == "all of little maps":
        assert torch.equal(labels(maps), expected.argmax(0))
    alone = torch.cat([maps.some(slice(index, index + 1)) for index in range(19)])
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-6)


def test_a_tie_goes_to_the_first_class_as_in_argmax() -> None:
    logits = random(7, 6, 6).round()
    assert len(logits.flatten(1).unique()) < 12, "there are many ties"
    assert torch.equal(labels(whole(logits, (6, 6), False)), logits.argmax(0))


def test_half_precision_is_scaled_as_it_is() -> None:
    logits = random(11, 9, 13).to(torch.bfloat16)
    expected = F.interpolate(logits[None], (80, 104), mode="bilinear", align_corners=False)[0]
    assert torch.equal(labels(whole(logits, (80, 104), False)), expected.argmax(0))


def test_channels_last_logits_agree_to_rounding() -> None:
    """torch's kernel for that layout adds in another order: only near ties may turn."""
    logits = random(19, 16, 24)
    last = logits[None].contiguous(memory_format=torch.channels_last)
    theirs = F.interpolate(last, (128, 192), mode="bilinear", align_corners=False)[0]
    maps = whole(last[0], (128, 192), False)
    torch.testing.assert_close(maps.stacked(), theirs, rtol=0, atol=2e-6)
    first, second = theirs.topk(2, dim=0).values
    clear = first - second > 4e-6
    assert clear.float().mean() > 0.99
    assert torch.equal(labels(maps)[clear], theirs.argmax(0)[clear])


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (32, 48), (20, 30), (100, 33)])
def test_windows_are_mmsegs(size: tuple[int, int]) -> None:
    """Its formulas, written out; every pixel lies in a window."""
    (crop_h, crop_w), (stride_h, stride_w) = (32, 48), (20, 33)
    expected = []
    for i in range(max(size[0] - crop_h + stride_h - 1, 0) // stride_h + 1):
        for j in range(max(size[1] - crop_w + stride_w - 1, 0) // stride_w + 1):
            bottom = min(i * stride_h + crop_h, size[0])
            right = min(j * stride_w + crop_w, size[1])
            expected.append(Window(max(bottom - crop_h, 0), bottom, max(right - crop_w, 0), right))
    windows = sliding_windows(size, (crop_h, crop_w), (stride_h, stride_w))
    assert windows == expected
    seen = torch.zeros(size)
    for window in windows:
        window.of(seen).add_(1)
    assert (seen > 0).all()


def test_weights_are_a_hann_window_above_zero() -> None:
    weights = hann_weights((5, 8), torch.device("cpu"), torch.float64)
    for y in range(5):
        for x in range(8):
            wanted = math.sin(math.pi * (y + 0.5) / 5) ** 2 * math.sin(math.pi * (x + 0.5) / 8) ** 2
            assert weights[y, x].item() == pytest.approx(wanted, rel=1e-12)
    assert hann_weights((1024, 1024), torch.device("cpu"), torch.float32).min() > 0


@pytest.mark.parametrize("blend", ["uniform", "cosine"])
def test_blending_is_the_weighted_mean_of_the_windows(blend: str) -> None:
    size, crop = (13, 17), (8, 9)
    windows = sliding_windows(size, crop, (5, 6))
    parts = [(window, random(3, 8, 9, seed=k)) for k, window in enumerate(windows)]
    maps = LogitMaps(parts, size, align_corners=False, blend=blend, dtype=torch.float64)
    found = maps.stacked()
    for y in range(13):
        for x in range(17):
            total, weight = torch.zeros(3, dtype=torch.float64), 0.0
            for window, logits in parts:
                v, u = y - window.top, x - window.left
                if 0 <= v < 8 and 0 <= u < 9:
                    w = 1.0
                    if blend == "cosine":
                        w = math.sin(math.pi * (v + 0.5) / 8) * math.sin(math.pi * (u + 0.5) / 9)
                        w = w**2
                    total += w * logits[:, v, u]
                    weight += w
            torch.testing.assert_close(found[:, y, x], total / weight)
    assert torch.equal(labels(maps), found.argmax(0))


def test_blended_windows_of_one_mind_change_nothing() -> None:
    """Windows cut from one map give the map back, at the rim too, where weights are tiny."""
    logits = random(4, 64, 64)
    windows = sliding_windows((64, 64), (40, 40), (17, 17))
    parts = [(window, window.of(logits)) for window in windows]
    maps = LogitMaps(parts, (64, 64), align_corners=False, blend="cosine")
    torch.testing.assert_close(maps.stacked(), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_do_not_vanish_at_corners(dtype: torch.dtype) -> None:
    """Windows of 512: a corner's weight is 9e-11, and half precision has nothing below 6e-8."""
    windows = sliding_windows((600, 600), (512, 512), (341, 341))
    logits = torch.tensor([1.0, 2.0], dtype=dtype)[:, None, None].expand(2, 4, 4)
    parts = [(window, logits) for window in windows]
    maps = LogitMaps(parts, (600, 600), align_corners=False, blend="cosine", dtype=dtype)
    found = maps.stacked()
    assert found.dtype == dtype
    assert (found == logits[:, :1, :1]).all()
    assert (labels(maps) == 1).all()
