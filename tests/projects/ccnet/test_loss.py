"""Promise: the category-consistent loss is the paper's, and finite where classes are missing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmattn.projects.ccnet import CategoryConsistentLoss

PARTS = ("alpha", "beta", "gamma")


def part(name: str, features: Tensor, labels: Tensor) -> float:
    """Return a single term, with weight 1."""
    weights = {other: float(other == name) for other in PARTS}
    return CategoryConsistentLoss(**weights)(features, labels).item()


def row(values: list[list[float]]) -> Tensor:
    """Feature vectors of an image of one row. Shape (1, K, 1, W)."""
    return torch.tensor(values).T[None, :, None]


def test_two_classes_by_hand() -> None:
    """Class 0 at (0, 0) and (2, 0), class 1 at (1, 2) and (1, 2); delta_v 0.5, delta_d 1.5."""
    features = row([[0.0, 0.0], [2.0, 0.0], [1.0, 2.0], [1.0, 2.0]])
    labels = torch.tensor([[[0, 0, 1, 1]]])
    # Means (1, 0) and (1, 2). Distances to them: 1, 1 and 0, 0.
    assert part("alpha", features, labels) == pytest.approx(((0.5**2 + 0.5**2) / 2 + 0) / 2)
    # The means are 2 apart: (3 - 2)^2, the same both ways.
    assert part("beta", features, labels) == pytest.approx(1.0)
    assert part("gamma", features, labels) == pytest.approx((1 + 5**0.5) / 2)
    total = CategoryConsistentLoss(loss_weight=2.0)(features, labels).item()
    assert total == pytest.approx(2 * (0.125 + 1.0 + 0.001 * (1 + 5**0.5) / 2))


@pytest.mark.parametrize(
    ("distance", "cost"), [(0.0, 0), (0.5, 0), (1.0, 0.25), (1.5, 1.0), (2.0, 1.5), (4.0, 3.5)]
)
def test_pull_is_flat_then_quadratic_then_linear(distance: float, cost: float) -> None:
    features = row([[-distance, 1.0], [distance, 1.0]])
    assert part("alpha", features, torch.zeros(1, 1, 2).long()) == pytest.approx(cost)


@pytest.mark.parametrize(("distance", "cost"), [(0.0, 9.0), (1.0, 4.0), (3.0, 0.0), (5.0, 0.0)])
def test_push_ends_at_twice_the_margin(distance: float, cost: float) -> None:
    features = row([[0.0], [distance]])
    assert part("beta", features, torch.tensor([[[0, 1]]])) == pytest.approx(cost)


def test_push_is_the_mean_over_pairs_of_three_classes() -> None:
    features = row([[0.0], [1.0], [3.0]])
    pairs = [(3 - 1) ** 2, (3 - 3) ** 2, (3 - 2) ** 2]
    assert part("beta", features, torch.tensor([[[4, 7, 9]]])) == pytest.approx(sum(pairs) / 3)


def test_rare_and_frequent_classes_weigh_the_same() -> None:
    features = row([[-1.0], [1.0], [8.0], [8.0], [8.0], [8.0]])
    labels = torch.tensor([[[0, 0, 1, 1, 1, 1]]])
    assert part("alpha", features, labels) == pytest.approx(0.25 / 2)


def test_one_class_has_nothing_to_be_pushed_from() -> None:
    features = torch.randn(2, 4, 3, 3, requires_grad=True)
    labels = torch.full((2, 3, 3), 5)
    assert part("beta", features, labels) == 0
    CategoryConsistentLoss()(features, labels).backward()
    assert features.grad.isfinite().all()


def test_ignored_pixels_take_no_part() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(1, 4, 2, 6), torch.randint(0, 3, (1, 2, 6))
    kept = CategoryConsistentLoss()(features[..., :4], labels[..., :4])
    features, labels = features.clone(), labels.clone()
    features[..., 4:], labels[..., 4:] = 1e6, 255
    assert torch.equal(CategoryConsistentLoss()(features, labels), kept)
    labels[..., 4:] = 7
    assert torch.equal(CategoryConsistentLoss()(features, labels, ignore_index=7), kept)


def test_nothing_labelled_costs_nothing_and_still_has_gradients() -> None:
    features = torch.randn(1, 4, 2, 2, requires_grad=True)
    loss = CategoryConsistentLoss()(features, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0
    assert not features.grad.any()


def test_identical_features_have_finite_gradients() -> None:
    """A distance of 0 has no slope; a plain square root would give NaN."""
    features = torch.zeros(1, 4, 4, 4, requires_grad=True)
    CategoryConsistentLoss(gamma=1.0)(features, torch.randint(0, 3, (1, 4, 4))).backward()
    assert features.grad.isfinite().all()


def test_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    features = (3 * torch.randn(1, 3, 3, 4, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, 3, (1, 3, 4))
    assert torch.autograd.gradcheck(lambda f: CategoryConsistentLoss()(f, labels), features)


def test_labels_of_the_images_size_are_sampled_not_averaged() -> None:
    features = torch.randn(1, 4, 2, 3)
    small = torch.tensor([[[0, 200, 1], [255, 3, 2]]])
    large = small.repeat_interleave(8, 1).repeat_interleave(8, 2)
    loss = CategoryConsistentLoss()
    torch.testing.assert_close(loss(features, large), loss(features, small))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_summed_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    features, labels = (10 * torch.randn(2, 16, 40, 40)).to(dtype), torch.randint(0, 3, (2, 40, 40))
    loss = CategoryConsistentLoss()(features, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss.double(), CategoryConsistentLoss()(features.double(), labels), rtol=1e-5, atol=0
    )


def test_margins_must_be_ordered() -> None:
    with pytest.raises(ValueError, match="0 <= delta_v <= delta_d"):
        CategoryConsistentLoss(delta_v=2.0, delta_d=1.0)
