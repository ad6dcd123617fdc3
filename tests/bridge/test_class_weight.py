"""mmseg's cross entropy takes class weights and ignored pixels together, in both families."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

WEIGHTS = [0.5, 1.0, 3.0]


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (2, 3, 4, 5) and labels of 3 classes; a third of the pixels is ignored."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    labels.view(-1)[::3] = 255
    return scores, labels


@pytest.mark.parametrize("avg_non_ignore", [False, True])
def test_the_mean_is_that_of_torch(case, avg_non_ignore: bool) -> None:
    from mmseg.models.losses import CrossEntropyLoss

    scores, labels = case
    loss = CrossEntropyLoss(class_weight=WEIGHTS, avg_non_ignore=avg_non_ignore)
    truth = F.cross_entropy(scores, labels, torch.tensor(WEIGHTS), ignore_index=255)
    torch.testing.assert_close(loss(scores, labels, ignore_index=255), truth)


def test_a_given_divisor_and_a_loss_without_class_weights_stay(case) -> None:
    from mmseg.models.losses.cross_entropy_loss import cross_entropy

    scores, labels = case
    each = F.cross_entropy(scores, labels, reduction="none", ignore_index=255)
    mean = cross_entropy(scores, labels, ignore_index=255)
    torch.testing.assert_close(mean, each.mean())
    weights = torch.tensor(WEIGHTS)
    weighted = F.cross_entropy(scores, labels, weights, reduction="none", ignore_index=255)
    mean = cross_entropy(scores, labels, class_weight=weights, avg_factor=7, ignore_index=255)
    torch.testing.assert_close(mean, weighted.sum() / 7)
    loss = cross_entropy(scores, labels, class_weight=weights, reduction="none", ignore_index=255)
    torch.testing.assert_close(loss, weighted)
