"""One small table for each operator, with numbers that a reader can check by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mmattn.ops import (
    OPERATORS,
    apply_gates,
    criss_cross_attention,
    depthwise_conv2d,
    gated_channel_pool,
    global_avg_max_pool,
    modulated_deform_conv2d,
    multi_scale_deformable_attention,
    neighborhood_attention_2d,
    row_column_means,
    use_backend,
    window_attention,
)


@pytest.fixture(params=["reference", "cpp"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run each table with plain torch and with the compiled kernel."""
    reason = OPERATORS["apply_gates"].why_not(request.param, "cpu", torch.float32)
    if reason is not None:
        pytest.skip(f"{request.param} {reason}")
    with use_backend(request.param):
        yield


def image(*channels: list[list[float]]) -> Tensor:
    """Shape (1, C, H, W)."""
    return torch.tensor([channels])


def test_row_column_means() -> None:
    x = image([[1, 2, 3],
               [5, 5, 8]])  # fmt: skip
    rows, columns = row_column_means(x.float())
    assert rows.tolist() == [[[2, 6]]]  # 6 / 3 and 18 / 3
    assert columns.tolist() == [[[3, 3.5, 5.5]]]  # 6 / 2, 7 / 2 and 11 / 2


def test_global_avg_max_pool() -> None:
    x = image([[1, 2],
               [3, 6]],
              [[-4, -2],
               [-8, -2]])  # fmt: skip
    mean, maximum = global_avg_max_pool(x.float())
    assert mean.tolist() == [[3, -4]]  # 12 / 4 and -16 / 4
    assert maximum.tolist() == [[6, -2]]


def test_gated_channel_pool() -> None:
    x = image([[1, 2],
               [3, 4]],
              [[5, 1],
               [0, -1]])  # fmt: skip
    gate = torch.tensor([[2.0, 1.0]])  # so that the first channel becomes 2 4 / 6 8
    maximum, mean = gated_channel_pool(x.float(), gate)[0].tolist()
    assert maximum == [[5, 4],
                       [6, 8]]  # fmt: skip
    assert mean == [[3.5, 2.5],
                    [3.0, 3.5]]  # fmt: skip


def test_apply_gates() -> None:
    x = image([[1, 2, 3],
               [4, 5, 6]]).float()  # fmt: skip
    gates = {
        "channel": torch.tensor([[2.0]]),
        "row": torch.tensor([[[1.0, 10.0]]]),
        "column": torch.tensor([[[1.0, 0.0, 1.0]]]),
        "spatial": image([[1.0, 1.0, 1.0],
                          [1.0, 1.0, 0.5]]),
    }  # fmt: skip
    assert apply_gates(x, **gates)[0, 0].tolist() == [[2, 0, 6],
                                                      [80, 0, 60]]  # fmt: skip
    assert apply_gates(x, **gates, residual=True)[0, 0].tolist() == [[3, 2, 9],
                                                                     [84, 5, 66]]  # fmt: skip


def test_depthwise_conv2d() -> None:
    x = image([[1, 2, 3],
               [4, 5, 6],
               [7, 8, 10]],
              [[0, 0, 0],
               [0, 1, 2],
               [0, 3, 4]]).float()  # fmt: skip
    weight = torch.tensor([[[[1.0, 2.0],
                             [3.0, 4.0]]],
                           [[[0.0, 0.0],
                             [0.0, 1.0]]]])  # fmt: skip
    y = depthwise_conv2d(x, weight, torch.tensor([100.0, 0.0]))
    assert y[0, 0].tolist() == [[137, 147],   # 100 + 1 + 2 2 + 3 4 + 4 5, ...
                                [167, 181]]  # fmt: skip
    assert y[0, 1].tolist() == [[1, 2],
                                [3, 4]]  # fmt: skip
    dilated = depthwise_conv2d(x, weight, dilation=2)  # reads the corners
    assert dilated.flatten().tolist() == [1 + 2 * 3 + 3 * 7 + 4 * 10, 4]


def test_modulated_deform_conv2d() -> None:
    x = image([[0, 10],
               [20, 40]]).float()  # fmt: skip
    down = [[0.5, 1.0],
            [0.0, -1.0]]  # fmt: skip
    right = [[0.5, 0.0],
             [-0.5, -1.0]]  # fmt: skip
    mask = image([[1.0, 0.5],
                  [1.0, 1.0]])  # fmt: skip
    # Read: the mean of all four pixels, 40; between a zero outside and 20, the top left pixel.
    read = [[17.5, 40],
            [10, 0]]  # fmt: skip
    y = modulated_deform_conv2d(
        x, image(down, right), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)
    )
    assert y[0, 0].tolist() == read
    weight, bias = torch.tensor([[[[2.0]]]]), torch.tensor([1.0])
    y = modulated_deform_conv2d(x, image(down, right), mask, weight, bias)
    assert y[0, 0].tolist() == [[1 + 2 * 17.5, 1 + 2 * 0.5 * 40],
                                [1 + 2 * 10, 1]]  # fmt: skip


def test_multi_scale_deformable_attention() -> None:
    value = torch.tensor([0.0, 10.0,
                          20.0, 40.0,
                          100.0]).view(1, 5, 1, 1)  # fmt: skip
    shapes = [(2, 2), (1, 1)]
    # (x, y) in each level: the middle of both; then the top right pixel, and the left edge, where
    # half of what is read is the zero outside.
    locations = torch.tensor([[[0.5, 0.5], [0.5, 0.5]],
                              [[0.75, 0.25], [0.0, 0.5]]]).view(1, 2, 1, 2, 1, 2)  # fmt: skip
    weights = torch.tensor([[0.5, 0.25],
                            [1.0, 0.5]]).view(1, 2, 1, 2, 1)  # fmt: skip
    y = multi_scale_deformable_attention(value, shapes, locations, weights)
    assert y.flatten().tolist() == [0.5 * 17.5 + 0.25 * 100, 1 * 10 + 0.5 * 50]


def test_criss_cross_attention() -> None:
    """Equal logits give the mean of a position's row and column, itself counted once."""
    value = image([[0, 3],
                   [6, 9]]).float()  # fmt: skip
    zeros = torch.zeros(1, 1, 2, 2)
    y, lse = criss_cross_attention(zeros, zeros, value, return_lse=True)
    expected = [[(0 + 3 + 6) / 3, (0 + 3 + 9) / 3],
                [(0 + 6 + 9) / 3, (3 + 6 + 9) / 3]]  # fmt: skip
    torch.testing.assert_close(y, image(expected))
    torch.testing.assert_close(lse, torch.full((1, 2, 2), math.log(3)))


def test_criss_cross_attention_with_different_logits() -> None:
    """One row: exp of the logits is 1 and 3, so the weights are 1 / 4 and 3 / 4."""
    query, key = torch.ones(1, 1, 1, 2), image([[0.0, math.log(3)]])
    y = criss_cross_attention(query, key, image([[4.0, 8.0]]))
    torch.testing.assert_close(y, image([[7.0, 7.0]]))


def test_window_attention() -> None:
    """A row in windows of two, rolled by one: its ends meet in a window, and do not see each other.

    Logits are equal but for the bias, by which the second position of a window weighs thrice.
    """
    value = torch.tensor([1.0, 4.0, 8.0, 16.0])
    qkv = torch.stack([torch.zeros(4), torch.zeros(4), value], 1).view(1, 1, 4, 3)
    bias = torch.tensor([[[0.0, math.log(3)], [0.0, math.log(3)]]])
    still = window_attention(qkv, bias, window_size=(1, 2))
    pairs = [(1 + 3 * 4) / 4, (8 + 3 * 16) / 4]
    torch.testing.assert_close(
        still.flatten(), torch.tensor([pairs[0], pairs[0], pairs[1], pairs[1]])
    )
    rolled = window_attention(qkv, bias, window_size=(1, 2), shift=(0, 1))
    middle = (4 + 3 * 8) / 4
    torch.testing.assert_close(rolled.flatten(), torch.tensor([1.0, middle, middle, 16.0]))


def test_window_attention_of_a_padded_map() -> None:
    """The padding is a key: its value is 10, and it counts as much as the last position."""
    qkv = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 4.0]]).view(1, 1, 3, 3)
    pad = torch.tensor([0.0, 0.0, 10.0])
    y = window_attention(qkv, torch.zeros(1, 2, 2), pad, window_size=(1, 2))
    torch.testing.assert_close(y.flatten(), torch.tensor([1.5, 1.5, 7.0]))


def test_neighborhood_attention() -> None:
    """Equal logits give means of three; the windows of both ends are moved inside."""
    value = torch.tensor([0.0, 3.0, 6.0, 12.0, 30.0]).view(1, 1, 1, 5, 1)
    zeros = torch.zeros_like(value)
    y = neighborhood_attention_2d(zeros, zeros, value, (1, 3))
    torch.testing.assert_close(y.flatten(), torch.tensor([3.0, 3.0, 7.0, 16.0, 16.0]))
    # With dilation 2, even positions see 0, 6 and 30; the two odd ones see each other.
    y = neighborhood_attention_2d(zeros, zeros, value, (1, 3), (1, 2))
    torch.testing.assert_close(y.flatten(), torch.tensor([12.0, 7.5, 12.0, 7.5, 12.0]))
    # The table is key minus query: the next position to the right weighs twice.
    table = torch.tensor([0.0, 0.0, 0.0, math.log(2), 0.0]).view(1, 1, 5)
    y = neighborhood_attention_2d(zeros, zeros, value, (1, 3), 1, table)
    expected = [(0 + 2 * 3 + 6) / 4, (0 + 3 + 2 * 6) / 4, (3 + 6 + 2 * 12) / 4,
                (6 + 12 + 2 * 30) / 4, (6 + 12 + 30) / 3]  # fmt: skip
    torch.testing.assert_close(y.flatten(), torch.tensor(expected))
