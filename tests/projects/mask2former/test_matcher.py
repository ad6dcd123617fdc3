"""Promise: queries and objects are matched at least cost, whatever the numbers are."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from mmattn.errors import DataError
from mmattn.projects.mask2former import MaskPredictions
from mmattn.projects.mask2former.mask_bits import MaskBits
from mmattn.projects.mask2former.matcher import Matcher, pair_costs
from mmattn.projects.mask2former.points import PointDraws
from mmattn.projects.mask2former.targets import MaskTargets


def test_costs_are_those_of_every_pair_alone() -> None:
    classes, logits = torch.randn(4, 6), torch.randn(4, 30)
    labels, masks = torch.tensor([1, 4, 1]), torch.rand(3, 30)
    costs = pair_costs(classes, logits, labels, masks)
    for i in range(4):
        for j in range(3):
            s, t = logits[i].sigmoid(), masks[j]
            expected = (
                -2 * classes[i].softmax(0)[labels[j]]
                + 5 * F.binary_cross_entropy_with_logits(logits[i], t)
                + 5 * (1 - (2 * (s * t).sum() + 1) / (s.sum() + t.sum() + 1))
            )
            torch.testing.assert_close(costs[i, j], expected)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_costs_of_large_logits_are_finite(size: float) -> None:
    masks = (torch.rand(3, 12544) > 0.5).float()
    logits = torch.randn(4, 12544) * size
    assert (
        pair_costs(torch.randn(4, 6) * size, logits, torch.tensor([0, 1, 2]), masks)
        .isfinite()
        .all()
    )


def predictions(layers: int = 2, images: int = 2, queries: int = 4) -> MaskPredictions:
    random = torch.Generator().manual_seed(0)
    return MaskPredictions(
        torch.randn(layers, images, queries, 6, generator=random),
        torch.randn(layers, images, queries, 8, generator=random),
        torch.randn(images, 8, 6, 7, generator=random),
    )


def targets(*counts: int) -> list[MaskTargets]:
    random = torch.Generator().manual_seed(1)
    return [
        MaskTargets(
            torch.randint(0, 5, (count,), generator=random),
            MaskBits.of_tensor(torch.rand(count, 24, 28, generator=random) > 0.5, (24, 28)),
        )
        for count in counts
    ]


class GridDraws(PointDraws):
    """The centres of all pixels, so that costs can be computed from whole masks."""

    def for_matching(self, device: torch.device) -> torch.Tensor:
        y, x = (torch.arange(24) + 0.5) / 24, (torch.arange(28) + 0.5) / 28
        return torch.cartesian_prod(y, x).flip(1)


def test_matches_are_the_best_of_all() -> None:
    given, objects, draws = predictions(), targets(3, 2), GridDraws()
    matches = Matcher(draws)(given, objects)
    assert matches.rows == [3, 2]
    assert matches.images.tolist() == [0, 0, 0, 1, 1]
    for layer in range(2):
        points = draws.for_matching(torch.device("cpu"))
        grid = (2 * points - 1).expand(2, 1, -1, -1)
        maps = F.grid_sample(given.mask_logits(layer), grid, align_corners=False)[:, :, 0]
        start = 0
        for image, target in enumerate(objects):
            costs = pair_costs(
                given.class_logits[layer, image],
                maps[image],
                target.labels,
                target.masks.unpacked().flatten(1).float(),
            )
            count = len(target.labels)
            best = min(
                permutations(range(4), count),
                key=lambda queries: sum(float(costs[q, i]) for i, q in enumerate(queries)),
            )
            part = slice(start, start + count)
            pairs = zip(
                matches.objects[layer, part].tolist(), matches.queries[layer, part].tolist(),
                strict=True,
            )  # fmt: skip
            assert dict(pairs) == dict(enumerate(best))
            start += count


def test_more_objects_than_queries_fill_all_queries() -> None:
    matches = Matcher(PointDraws(50))(predictions(), targets(9, 1))
    assert matches.rows == [4, 1]
    assert matches.queries[0, :4].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_predictions_that_are_not_finite_are_matched_last(bad: float) -> None:
    given = predictions(layers=1, images=1)
    given.mask_embeddings[0, 0, 1] = bad
    matches = Matcher(PointDraws(50))(given, targets(3))
    assert sorted(matches.queries[0].tolist()) == [0, 2, 3]


@pytest.mark.parametrize("label", [5, -1])
def test_a_label_that_is_no_class(label: int) -> None:
    wrong = targets(2, 2)
    wrong[1].labels[0] = label
    with pytest.raises(DataError, match=rf"image 1 .*{label}.*5 classes, 0 to 4"):
        Matcher(PointDraws(50))(predictions(), wrong)


def test_costs_go_to_the_cpu_at_once(monkeypatch) -> None:
    """One transfer for all layers and images: each would wait for a GPU."""
    calls = []
    transfer = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: calls.append(x.shape) or transfer(x))
    for name in ("item", "tolist", "numpy", "nonzero"):
        original = getattr(torch.Tensor, name)

        def noted(x, *args, name=name, original=original):
            calls.append(name)
            return original(x, *args)

        monkeypatch.setattr(torch.Tensor, name, noted)
    Matcher(PointDraws(50))(predictions(), targets(3, 2))
    assert calls == [torch.Size([2 * 4 * (3 + 2) + 2]), "numpy"]
