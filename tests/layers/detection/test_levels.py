"""Gathering from several maps equals joining them first, also backwards."""

from __future__ import annotations

import pytest
import torch

from mmattn.layers.detection.levels import gather_levels


@pytest.mark.parametrize("count", [0, 1, 200])
@pytest.mark.parametrize("channels", [False, True])
def test_values_and_gradients_equal_those_of_the_joined_map(count: int, channels: bool) -> None:
    random = torch.Generator().manual_seed(count)
    levels = [torch.randn(2, 5, size, generator=random, requires_grad=True) for size in (12, 6, 3)]
    image = torch.randint(0, 2, (count,), generator=random)
    anchor = torch.randint(0, 21, (count,), generator=random)
    channel = torch.randint(0, 5, (count,), generator=random) if channels else None
    joined = torch.cat(levels, 2)
    expected = joined[image, :, anchor] if channel is None else joined[image, channel, anchor]
    got = gather_levels(levels, image, anchor, channel)
    assert torch.equal(got, expected)
    weight = torch.randn(got.shape, generator=random)
    for ours, theirs in zip(
        torch.autograd.grad((got * weight).sum(), levels),
        torch.autograd.grad((expected * weight).sum(), levels),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
