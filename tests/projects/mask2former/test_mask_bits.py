"""Promise: masks kept as bits read like masks of floats under ``F.grid_sample``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.mask2former.mask_bits import MaskBits

SIZE = (13, 22)


def masks(count: int = 3, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(0)) > 0.5


def by_grid_sample(masks: Tensor, points: Tensor) -> Tensor:
    """Masks (N, H, W) at points (N, P, 2)."""
    read = F.grid_sample(masks[:, None].float(), 2 * points[:, None] - 1, align_corners=False)
    return read[:, 0, 0]


@pytest.mark.parametrize("packed", ["arrays", "tensor"])
def test_masks_come_back(packed: str) -> None:
    given = masks()
    bits = (
        MaskBits.of_arrays(given.numpy().astype("uint8"), SIZE)
        if packed == "arrays"
        else MaskBits.of_tensor(given, SIZE)
    )
    assert len(bits) == 3
    assert bits.bits.shape == (3, 15, 3)
    assert torch.equal(bits.unpacked(), given)


def test_masks_of_labels() -> None:
    label_map = torch.randint(0, 5, SIZE, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([4, 1, 7])
    bits = MaskBits.of_labels(label_map, labels, SIZE)
    assert torch.equal(bits.unpacked(), label_map == labels[:, None, None])


@pytest.mark.parametrize("packed", ["arrays", "tensor"])
def test_an_image_larger_than_its_masks_is_empty_there(packed: str) -> None:
    given = masks(size=(9, 20))
    bits = (
        MaskBits.of_arrays(given.numpy(), SIZE)
        if packed == "arrays"
        else MaskBits.of_tensor(given, SIZE)
    )
    assert torch.equal(bits.unpacked(), F.pad(given, (0, 2, 0, 4)))


def test_points_read_like_grid_sample() -> None:
    """Also in the corners, where half of what is read is beyond the edge."""
    given = masks()
    bits = MaskBits.of_tensor(given, SIZE)
    points = torch.rand(500, 2, generator=torch.Generator().manual_seed(1))
    points[:4] = torch.tensor([[0.0, 0.0], [0.999999, 0.0], [0.0, 0.999999], [1.0, 1.0]])
    expected = by_grid_sample(given, points.expand(3, -1, -1))
    torch.testing.assert_close(bits.sampled(points), expected, rtol=0, atol=1e-5)
    assert (expected % 1 != 0).any()


def test_points_of_each_mask() -> None:
    given = masks()
    points = torch.rand(4, 100, 2, generator=torch.Generator().manual_seed(2))
    which = torch.tensor([2, 0, 0, 1])
    read = MaskBits.of_tensor(given, SIZE).sampled_each(which, points)
    torch.testing.assert_close(read, by_grid_sample(given[which], points), rtol=0, atol=1e-5)


def test_no_masks() -> None:
    bits = MaskBits.of_tensor(masks(0), SIZE)
    assert bits.sampled(torch.rand(5, 2)).shape == (0, 5)
    none = torch.empty(0, dtype=torch.long)
    assert bits.sampled_each(none, torch.rand(0, 5, 2)).shape == (0, 5)
