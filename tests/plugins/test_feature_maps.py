"""Promise: a map's channels are found wherever they are, and what is no map is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmattn.plugins.feature_maps import Layout, apply_to_map, find_layout, grid_of

IMAGES = ((64, 96), (96, 160))


def shapes(channels: int, stride: int, order: str, *, up: bool = False) -> list[tuple[int, ...]]:
    found = []
    for height, width in IMAGES:
        h, w = (-(-side // stride) if up else side // stride for side in (height, width))
        found.append((1, channels, h, w) if order == "NCHW" else (1, h, w, channels))
    return found


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
@pytest.mark.parametrize("stride", [1, 4, 7, 16, 32, 64, 96])
@pytest.mark.parametrize("channels", [1, 2, 3, 6, 64])
@pytest.mark.parametrize("up", [False, True])
def test_what_moves_with_the_size_is_height_and_width(order, stride, channels, up) -> None:
    """Also where the map has a single row, or as many channels as rows or columns."""
    made = shapes(channels, stride, order, up=up)
    if made[0][1:3] == (0, 1) or 0 in made[0]:
        pytest.skip("no map at this size")
    assert find_layout(made, [None, None]) == Layout(order, channels)


@pytest.mark.parametrize(
    ("shape", "image", "layout"),
    [
        ((1, 768, 7, 7), (224, 224), Layout("NCHW", 768)),
        ((1, 7, 7, 768), (224, 224), Layout("NHWC", 768)),
        ((1, 32, 32, 48), (64, 96), Layout("NCHW", 32)),
        ((1, 32, 48, 48), (64, 96), Layout("NHWC", 48)),
        ((1, 64, 1, 1), (224, 224), Layout("NCHW", 64)),
        ((1, 56, 56, 56), (224, 224), Layout("NCHW", 56)),
    ],
)
def test_one_size_is_judged_by_the_images_form(shape, image, layout) -> None:
    assert find_layout([shape], [None], image) == layout


def test_tokens_need_a_grid() -> None:
    tokens = [(1, 24, 8), (1, 60, 8)]
    assert find_layout(tokens, [(4, 6), (6, 10)]) == Layout("NLC", 8)
    with pytest.raises(ValueError, match="does not tell it the height and width"):
        find_layout(tokens, [None, None])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([(1, 8), (1, 8)], "not a map of 4"),
        ([(1, 8, 2, 3, 4)], "not a map of 4"),
        ([(6, 49, 8), (15, 49, 8)], "windows"),
        ([(1, 8, 2, 3), (1, 12, 2, 3)], "number of channels changes"),
        ([(1, 8, 2, 3), (1, 12, 3, 5)], "number of channels changes"),
        ([(1, 8, 2, 3), (1, 24, 8)], "not a map of 4"),
    ],
)
def test_what_is_no_map_is_refused(made, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_layout(made, [None] * len(made))


def test_the_grid_is_taken_from_how_a_layer_is_called() -> None:
    tokens = torch.zeros(2, 24, 8)
    assert grid_of(tokens, (tokens, (4, 6)), {}) == (4, 6)
    assert grid_of(tokens, (tokens,), {"hw_shape": torch.Size([6, 4])}) == (6, 4)
    assert grid_of(tokens, (tokens, (5, 6)), {"n": [2, 3, 4]}) is None


@pytest.mark.parametrize("order", ["NCHW", "NHWC", "NLC"])
def test_a_block_sees_the_same_map_in_every_layout(order: str) -> None:
    x = torch.randn(2, 3, 4, 6)
    seen = []

    def block(y: Tensor) -> Tensor:
        seen.append(y)
        return y * torch.arange(6.0)

    laid = {"NCHW": x, "NHWC": x.permute(0, 2, 3, 1), "NLC": x.flatten(2).transpose(1, 2)}[order]
    out = apply_to_map(block, laid, Layout(order, 3), (4, 6))
    assert torch.equal(seen[0], x)
    assert out.shape == laid.shape
    assert out.is_contiguous(), "what follows may take views"
    back = {"NHWC": lambda y: y.permute(0, 3, 1, 2), "NLC": lambda y: y.mT.unflatten(2, (4, 6))}
    assert torch.equal(back.get(order, lambda y: y)(out), x * torch.arange(6.0))
