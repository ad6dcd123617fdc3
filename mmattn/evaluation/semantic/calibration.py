"""Expected calibration error: does the confidence of a network match its accuracy?

Pixels are sorted into M bins by the confidence of their prediction, the largest class probability
(Guo et al., On calibration of modern neural networks, ICML 2017, arXiv:1706.04599, equation 3):
    ECE = sum over bins of |right pixels - sum of confidences| / all pixels,  bins ((m-1)/M, m/M]
Confidences are added as whole multiples of 2**-24, the step of a float32 below 1, so that the sum
does not depend on the order of images and processes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Units of a confidence of 1.
STEPS = 2**24
# Number of logits that are turned into probabilities at a time.
_CHUNK = 1 << 22


def calibration_counts(
    logits: Tensor, predicted: Tensor, label: Tensor, num_classes: int, bins: int
) -> np.ndarray:
    """Sort the labelled pixels of one image into bins.

    Args:
        logits: (C, H, W) before softmax or, with C = 1, the probability of class 1.
        predicted: (H, W) class indices that were taken from ``logits``.
        label: (H, W) class indices; pixels whose label is no class are left out.
        num_classes: K; the classes are 0 to K - 1.
        bins: Number of bins, M.

    Returns:
        int64 (3, M): pixels, right pixels, and confidences in units of 2**-24.

    Raises:
        ValueError: ``predicted`` was not taken from ``logits``: it is not their argmax or, with
            C = 1, no threshold splits the probabilities as ``predicted`` does.
    """
    channels, height, width = logits.shape
    counts = np.zeros((3, bins), np.int64)
    if channels == 1:
        _check_threshold(logits[0], predicted == 1)
    step = max(1, _CHUNK // (channels * width))
    for top in range(0, height, step):
        rows = slice(top, top + step)
        chunk, guess, truth = logits[:, rows].float(), predicted[rows].long(), label[rows].long()
        if channels == 1:
            confidence = torch.where(guess == 1, chunk[0], 1 - chunk[0])
        else:
            best, chosen = chunk.max(dim=0)
            if not torch.equal(chosen, guess):
                raise ValueError(
                    "some pixels are predicted as another class than that of their largest logit"
                )
            confidence = 1 / (chunk - best).exp_().sum(dim=0)
        labelled = (truth >= 0) & (truth < num_classes)
        confidence = confidence[labelled].double()
        right = (guess == truth)[labelled].double()
        place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
        units = (confidence * STEPS).round()
        for line, weights in enumerate((torch.ones_like(right), right, units)):
            # Doubles add whole numbers exactly up to 2**53.
            sums = torch.bincount(place, weights, minlength=bins)
            counts[line] += sums.cpu().numpy().astype(np.int64)
    return counts


def _check_threshold(probability: Tensor, foreground: Tensor) -> None:
    """Require that every pixel predicted as class 1 is likelier to be it than all others."""
    above, below = probability[foreground], probability[~foreground]
    if len(above) and len(below) and above.min() <= below.max():
        raise ValueError("no threshold of the probabilities gives these predictions")


def expected_calibration_error(counts: np.ndarray) -> float:
    """Compute the ECE from ``calibration_counts`` summed over images; nan without any pixel.

    Args:
        counts: (3, M)
    """
    pixels, right, units = counts
    if not pixels.sum():
        return float("nan")
    return float(np.abs(right - units / STEPS).sum() / pixels.sum())
