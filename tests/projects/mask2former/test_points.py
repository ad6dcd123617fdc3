"""Promise: logits at points, and their gradients, are those of whole masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.mask2former import points as module
from mmattn.projects.mask2former.points import (
    PointDraws,
    features_at,
    uncertain_logits,
    uncertain_logits_reference,
)


@pytest.mark.parametrize("channels", [128, 32])
def test_features_at_points(channels: int) -> None:
    features = torch.randn(channels, 9, 7)
    points = torch.rand(50, 2)
    read = F.grid_sample(features[None], 2 * points[None, None] - 1, align_corners=False)
    torch.testing.assert_close(features_at(features, points), read[0, :, 0].t())


class FixedDraws(PointDraws):
    """The same points each time, other ones for every layer."""

    def __init__(self) -> None:
        super().__init__(num_points=40)
        self.random = torch.Generator()
        self.again()

    def again(self) -> FixedDraws:
        self.random.manual_seed(0)
        return self

    def for_loss(self, masks: int, device: torch.device) -> tuple[Tensor, Tensor]:
        candidates = torch.rand(masks, self.candidates, 2, generator=self.random)
        kept = torch.rand(masks, self.num_points - self.chosen, 2, generator=self.random)
        return candidates, kept


@pytest.mark.parametrize("chunk", [1 << 23, 100])
@pytest.mark.parametrize("rows", [[3, 0, 2], [0, 0, 0]])
def test_uncertain_logits_and_gradients(monkeypatch, chunk: int, rows: list[int]) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    random = torch.Generator().manual_seed(0)
    embeddings = torch.randn(4, sum(rows), 16, generator=random, requires_grad=True)
    features = torch.randn(3, 16, 8, 10, generator=random, requires_grad=True)
    draws = FixedDraws()
    weights = torch.rand(4, sum(rows), 40, generator=random)

    def run(function: Any) -> list[Tensor]:
        logits, points = function(embeddings, features, rows, draws.again())
        # Order among the chosen points is free, so the loss must not depend on it.
        order = points[..., 0].argsort(2)
        loss = (logits.gather(2, order).sigmoid() * weights).sum()
        return [loss.detach(), points.gather(2, order[..., None].expand(-1, -1, -1, 2)),
                *torch.autograd.grad(loss, (embeddings, features))]  # fmt: skip

    for found, expected in zip(run(uncertain_logits), run(uncertain_logits_reference), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_uncertain_points_are_chosen() -> None:
    """Where a mask is 0 along a line, three quarters of the points are near it."""
    features = torch.linspace(-1, 1, 64).expand(1, 1, 64, 64)
    torch.manual_seed(0)
    _, points = uncertain_logits(torch.ones(1, 1, 1), features, [1], PointDraws(400))
    middle = (points[0, 0, :, 0] - 0.5).abs()
    assert (middle[:300] < 0.17).all()  # 300 of 1200 random ones: within an eighth, or so
    assert (middle[300:] > 0.17).sum() > 50
