"""Does a map say what the network uses? Deletion, insertion, and maps that know nothing.

Pixels are removed, or shown, in the order of the map, and the area under the score is measured
(Petsiuk et al., RISE, arXiv:1806.07421). A map is compared with random maps of its own grid on the
same image, which are as smooth as it is; the mean difference over images has an interval from a
bootstrap, and a method is better than random only where that leaves 0 out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: Score of a changed input, (1, C, H, W) -> a number.
Score = Callable[[Tensor], float]


def removal_order(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the pixels of a map by falling value; ties are in a seeded random order."""
    flat = values.ravel()
    shuffled = np.random.default_rng(seed).permutation(flat.size)
    return shuffled[np.argsort(-flat[shuffled], kind="stable")]


def area_under(scores: Sequence[float]) -> float:
    """Return the area under scores at equal steps from 0 to 1, by trapezoids."""
    values = np.asarray(scores, np.float64)
    return float((values.sum() - (values[0] + values[-1]) / 2) / (len(values) - 1))


def score_curve(
    score: Score, start: Tensor, end: Tensor, order: np.ndarray, steps: int
) -> list[float]:
    """Return the scores while pixels of ``start`` are replaced by those of ``end`` in order.

    Args:
        score: Score of an input.
        start: (1, C, H, W)
        end: (1, C, H, W)
        order: Numbers of pixels, row by row; those that are not in it are never replaced.
        steps: Number of steps, of equally many pixels as far as they go.
    """
    current = start.clone()
    flat, new = current.flatten(2), end.flatten(2)
    scores = [score(current)]
    bounds = np.rint(np.linspace(0, len(order), steps + 1)).astype(int)
    for first, last in pairwise(bounds.tolist()):
        places = torch.from_numpy(order[first:last].copy()).to(flat.device)
        flat[:, :, places] = new[:, :, places]
        scores.append(score(current))
    return scores


@dataclass(frozen=True)
class Areas:
    """Areas of one map on one image, and the same between baseline (0) and image (1).

    Attributes:
        deletion: Small for a faithful map.
        insertion: Large for a faithful map.
        normalized_deletion: (s - s_baseline) / (s_image - s_baseline); NaN where these are equal.
        normalized_insertion: Likewise.
    """

    deletion: float
    insertion: float
    normalized_deletion: float
    normalized_insertion: float


def deletion_insertion(
    score: Score,
    image: Tensor,
    values: np.ndarray,
    *,
    deleted: Tensor,
    hidden: Tensor,
    allowed: np.ndarray | None = None,
    steps: int = 100,
    seed: int = 0,
) -> Areas:
    """Measure a map by both areas.

    Args:
        score: Score of an input.
        image: (1, C, H, W), the unchanged input.
        values: (H, W), the map at its size.
        deleted: What deletion leaves, of the shape of ``image``.
        hidden: What insertion begins with.
        allowed: (H, W) bool, pixels that may be changed; all by default.
        steps: Steps of each curve.
        seed: Of the order of equal values.
    """
    order = removal_order(values, seed)
    if allowed is not None:
        order = order[allowed.ravel()[order]]
    down = score_curve(score, image, deleted, order, steps)
    up = score_curve(score, hidden if allowed is None else _outside(image, hidden, allowed), image,
                     order, steps)  # fmt: skip
    return Areas(
        area_under(down), area_under(up), _relative(down, down[-1], down[0]),
        _relative(up, up[0], up[-1]),
    )  # fmt: skip


def _outside(image: Tensor, hidden: Tensor, allowed: np.ndarray) -> Tensor:
    mask = torch.from_numpy(np.ascontiguousarray(allowed)).to(image.device)
    return torch.where(mask, hidden, image)


def _relative(scores: Sequence[float], low: float, high: float) -> float:
    if abs(high - low) < 1e-9:
        return float("nan")
    return area_under([(value - low) / (high - low) for value in scores])


def blurred(image: Tensor) -> Tensor:
    """Return an input (1, C, H, W) under RISE's blur: 11 x 11, sigma 5 for a short side of 224."""
    sigma = 5 * min(image.shape[2:]) / 224
    # One sigma to each side, as the authors of RISE cut it, though a Gaussian asks for two or more:
    # areas of insertion depend on what it begins with, and are compared with published ones.
    radius = max(1, round(sigma))
    places = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(places**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(image.shape[1], 1, 1, 1)
    pad = (min(radius, image.shape[3] - 1), min(radius, image.shape[2] - 1))
    x = F.pad(image, (pad[0], pad[0], pad[1], pad[1]), mode="reflect")
    if pad != (radius, radius):
        x = F.pad(x, (radius - pad[0],) * 2 + (radius - pad[1],) * 2, mode="replicate")
    x = F.conv2d(x, kernel, groups=image.shape[1])
    return F.conv2d(x, kernel.mT, groups=image.shape[1])


def centre_prior(size: tuple[int, int]) -> np.ndarray:
    """Return a Gaussian in the middle, of a quarter of each side: what photographers prefer."""
    y, x = (np.arange(n) + 0.5 for n in size)
    y, x = (y / size[0] - 0.5) * 4, (x / size[1] - 0.5) * 4
    return np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 2)


def edge_map(image: Tensor) -> np.ndarray:
    """Return the strength of edges (Sobel) of the mean colour of an input: (H, W)."""
    grey = F.pad(image.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate").double()
    kernel = grey.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    both = F.conv2d(grey, torch.stack([kernel, kernel.T])[:, None])
    return both.square().sum(1).sqrt()[0].cpu().numpy()


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """Return the mean over images and the ends of its interval from resampled images."""
    array = np.asarray(values, np.float64)
    array = array[~np.isnan(array)]
    if not len(array):
        return float("nan"), float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, len(array), (resamples, len(array)))
    means = array[draws].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(array.mean()), float(low), float(high)


def pointing_game(values: np.ndarray, mask: np.ndarray, tolerance: float = 15.0) -> bool:
    """Return whether the largest value lies less than ``tolerance`` pixels from an object.

    Of several largest values their centre of mass counts.

    Args:
        values: (H, W) map on the image.
        mask: (H, W) bool, where the object is.
        tolerance: In pixels, Euclidean.
    """
    peak = np.argwhere(values == values.max()).mean(0)
    places = np.argwhere(mask)
    return bool(len(places) and np.sqrt(((places - peak) ** 2).sum(1)).min() < tolerance)


def energy_inside(values: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of a map, negative values cut off, that lies inside of an object."""
    positive = np.maximum(values, 0.0)
    total = float(positive.sum())
    return float(positive[mask].sum()) / total if total > 0 else float("nan")


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of two maps; 0 where one is constant."""
    from scipy.stats import rankdata

    x, y = rankdata(a.ravel()), rankdata(b.ravel())
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0
