"""Intervals of AP over images: the images are drawn again, and AP is computed from those drawn."""

from __future__ import annotations

import numpy as np

from mmattn.evaluation.bootstrap import draw_with_replacement, percentile_interval
from mmattn.evaluation.semantic.scores import mean_over_classes

from .average_precision import ranked, weighted_precision
from .matching import FOREGROUND, IGNORED, Matches, best_detections

# Numbers in one array of weights: bounds the memory.
_CHUNK = 1 << 22


def ap_intervals(
    matches: Matches,
    thresholds: np.ndarray,
    *,
    resamples: int,
    seed: int = 0,
    map_limit: int | None = None,
) -> dict[str, np.ndarray]:
    """Compute 95 % percentile intervals of AP and AP50.

    An image that is drawn twice counts twice, as if it were in the dataset under two ids. A class
    without an object in a draw is left out of that draw's mean.

    Args:
        matches: Matches of a dataset.
        thresholds: IoU thresholds of AP, all of them in ``matches.thresholds``.
        resamples: Number of times that the images are drawn.
        seed: Random seed of the draws.
        map_limit: Detections of a class in an image that ``mAP`` counts, as ``limit_of_map`` says;
            None for all. COCO counts 100 for it, and the largest limit for everything else.

    Returns:
        ``AP`` and ``AP50`` of each class, (2, K), and ``mAP`` and ``mAP_50``, (2,): lower and upper
        end; nan where a score is undefined in every draw.
    """
    times = _draws(len(matches.image_ids), resamples, seed)
    ap, ap50 = ap_of_draws(matches, thresholds, times)
    ap_of_map = ap
    if map_limit is not None:
        limited = best_detections(matches, map_limit)
        if limited is not matches:
            ap_of_map = ap_of_draws(limited, thresholds, times)[0]
    scores = {
        "AP": ap,
        "AP50": ap50,
        "mAP": mean_over_classes(ap_of_map),
        "mAP_50": mean_over_classes(ap50),
    }
    return {name: percentile_interval(values) for name, values in scores.items()}


def ap_of_draws(matches: Matches, thresholds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Compute AP and AP50 of each class where images count several times.

    Args:
        matches: Matches of a dataset.
        thresholds: IoU thresholds of AP.
        times: How often each image is in each draw, (B, I).

    Returns:
        (2, B, K): AP, AP50; nan for a class without an object in the draw.
    """
    result = np.full((2, len(times), matches.num_classes), np.nan)
    for label in np.flatnonzero(matches.positives):
        images = matches.obj_image[matches.obj_label == label]
        positives = times[:, images].sum(axis=1)
        own: dict[float, np.ndarray] = {}
        for threshold in {*thresholds.tolist(), FOREGROUND}:
            own[threshold] = _ap(matches, int(label), threshold, times, positives)
        result[0, :, label] = np.mean([own[t] for t in thresholds.tolist()], axis=0)
        result[1, :, label] = own[FOREGROUND]
    return result


def _draws(images: int, resamples: int, seed: int) -> np.ndarray:
    return draw_with_replacement(images, resamples, np.random.default_rng(seed))


def _ap(
    matches: Matches, label: int, threshold: float, times: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    match = matches.at(threshold)
    order = ranked(matches.det_label, matches.det_score, label, match != IGNORED)
    hits, images = match[order] >= 0, matches.det_image[order]
    step = max(1, _CHUNK // max(1, len(order)))
    return np.concatenate(
        [
            weighted_precision(
                hits, times[start : start + step][:, images], positives[start : start + step]
            ).mean(axis=1)
            for start in range(0, len(times), step)
        ]
    )
