"""Made-up runs of segmentors: pixel counts of images, with the variances of real trainings.

A pixel of class k in image i is right in the run of one seed with the probability

    r = sigmoid(quality + gain + class_k + image_i + seed + noise_i)

where ``image_i`` is how hard the image is, the same for all runs; ``seed`` is how well this
training went as a whole; ``noise_i`` is what this training makes of this image, apart from both.
Wrong pixels become predictions of the other classes of the image. So runs differ from each other in
two ways, as real ones do, and the intraclass correlation

    ICC = var(image) / (var(image) + var(noise))

says how alike two runs are in which images they find hard. What is assumed stands in ``Scene``;
what was measured on real trainings, in ``docs/results/compare_error_rate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .image_counts import PixelCounts, area_metric

_POPULATION = 4000  # images that an expected metric is computed from


@dataclass(frozen=True)
class Scene:
    """Dataset, networks and the chance in them.

    Attributes:
        images: Number of validation images.
        classes: Number of classes; each is in about half of the images.
        quality: Logit of a pixel being right.
        image_sd: Standard deviation of the difficulty of images, as a logit.
        icc: Intraclass correlation of two runs over images.
        seed_sd: Standard deviation of the metric between trainings that differ in their seed, in
            points of mIoU: what ``seed`` and the mean of ``noise_i`` bring together.
    """

    images: int = 100
    classes: int = 11
    quality: float = 1.5
    image_sd: float = 0.5
    icc: float = 0.85
    seed_sd: float = 0.6

    @property
    def noise_sd(self) -> float:
        """Standard deviation of ``noise_i``, as a logit, which follows from the ICC."""
        return self.image_sd * float(np.sqrt(1 / self.icc - 1))


@dataclass(frozen=True)
class DrawnScene:
    """A validation set that was drawn: what all runs on it share.

    Attributes:
        labelled: Pixels of each class in each image, int64 (images, classes).
        hardness: ``class_k + image_i``, (images, classes).
    """

    labelled: np.ndarray
    hardness: np.ndarray


def draw_scene(scene: Scene, generator: np.random.Generator, images: int | None = None):
    """Draw a validation set.

    Args:
        scene: What is drawn from.
        generator: Source of chance.
        images: Number of images, if it is not that of ``scene``.
    """
    shape = (images or scene.images, scene.classes)
    present = generator.random(shape) < 0.5
    labelled = np.where(present, generator.integers(200, 2000, shape), 0)
    classes = np.linspace(-1.0, 1.0, scene.classes)
    image = generator.normal(0.0, scene.image_sd, (shape[0], 1))
    return DrawnScene(labelled, classes + image)


def draw_run(
    scene: Scene, drawn: DrawnScene, generator: np.random.Generator, gain: float = 0.0
) -> PixelCounts:
    """Draw the counts of one training, with a seed of its own.

    Args:
        scene: What is drawn from.
        drawn: The validation set.
        generator: Source of chance.
        gain: Points of mIoU by which the network is better than the host, in expectation.
    """
    quality = _quality_for(scene, gain)
    # The noise of the images does not quite cancel in their mean, which is part of the spread.
    rest = (scene.seed_sd / _points_per_logit(scene)) ** 2 - scene.noise_sd**2 / scene.images
    seed = generator.normal(0.0, np.sqrt(max(rest, 0.0)))
    return PixelCounts(_counts(scene, drawn, quality + seed, generator))


def _counts(
    scene: Scene, drawn: DrawnScene, quality: float, generator: np.random.Generator
) -> np.ndarray:
    """Return the pixel counts of a run, (images, 4, classes): see ``HasAreas``."""
    noise = generator.normal(0.0, scene.noise_sd, (len(drawn.labelled), 1))
    right = 1 / (1 + np.exp(-(quality + drawn.hardness + noise)))
    hit = np.round(drawn.labelled * right).astype(np.int64)
    wrong = drawn.labelled - hit
    # Wrong pixels of an image go to its classes as often as these are seen, whichever they were.
    share = (drawn.labelled + 50) / (drawn.labelled + 50).sum(axis=1, keepdims=True)
    predicted = hit + np.round(wrong.sum(axis=1, keepdims=True) * share).astype(np.int64)
    return np.stack([hit, drawn.labelled + predicted - hit, predicted, drawn.labelled], axis=1)


@lru_cache(maxsize=64)
def _quality_for(scene: Scene, gain: float) -> float:
    """Return the logit at which the expected mIoU is ``gain`` above that of ``scene.quality``."""
    if gain == 0.0:
        return scene.quality
    wanted = _expected(scene, scene.quality) + gain
    low, high = scene.quality - 4.0, scene.quality + 4.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if _expected(scene, middle) < wanted else (low, middle)
    return low


@lru_cache(maxsize=64)
def _points_per_logit(scene: Scene) -> float:
    """Return how many points of mIoU a small step of the logit is worth."""
    step = 0.1
    above, below = (_expected(scene, scene.quality + sign * step) for sign in (1, -1))
    return (above - below) / (2 * step)


def _expected(scene: Scene, quality: float) -> float:
    """Compute the mIoU over very many images, always the same ones."""
    generator = np.random.default_rng(0)
    drawn = draw_scene(scene, generator, _POPULATION)
    return float(area_metric(_counts(scene, drawn, quality, generator).sum(axis=0), "mIoU"))
