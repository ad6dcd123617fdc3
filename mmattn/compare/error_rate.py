"""How often ``statistics.decide`` calls equal networks different, and how often it finds a gain.

The first is measured with pairs that are equal by construction: two sets of seeds of one network.
In the simulation (``simulated_runs``) there are as many as wanted; with real trainings
(``host_pairs``) they cost what trainings cost. A rate that is measured with few pairs is itself
uncertain, so it comes with the exact interval of a share (Clopper & Pearson 1934).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmattn.evaluation.bootstrap import LEVEL, Interval
from mmattn.tables import markdown_table

from .image_counts import ImageCounts
from .simulated_runs import Scene, draw_run, draw_scene
from .statistics import DRAWS, Difference, Verdict, decide, difference, draw_images

#: What is promised: equal networks called different in at most, a gain of ``GAIN`` points found in
#: at least this share of the pairs.
LARGEST_FALSE, SMALLEST_FOUND, GAIN = 0.05, 0.80, 2.0
#: Seeds that the simulation is printed for.
SEEDS = (3, 4, 5, 6)


@dataclass(frozen=True)
class Pair:
    """A comparison of two sets of runs.

    Attributes:
        difference: What was measured.
        verdict: What is concluded, as for a comparison of one row.
    """

    difference: Difference
    verdict: Verdict


@dataclass(frozen=True)
class Rate:
    """A share of pairs.

    Attributes:
        count: Pairs in which something happened.
        pairs: All pairs.
    """

    count: int
    pairs: int

    @property
    def share(self) -> float:
        return self.count / self.pairs

    @property
    def interval(self) -> Interval:
        """Clopper and Pearson's 95 % interval of the share, for independent pairs."""
        from scipy.stats import beta

        tail = (1 - LEVEL) / 2
        low = beta.ppf(tail, self.count, self.pairs - self.count + 1) if self.count else 0.0
        missed = self.pairs - self.count
        high = beta.isf(tail, self.count + 1, missed) if missed else 1.0
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count} of {self.pairs} = {self.share:.1%} [{low:.1%}, {high:.1%}]"


def called_different(pairs: Sequence[Pair]) -> Rate:
    """Count the pairs that are called different, in either direction."""
    return Rate(sum(pair.verdict.different for pair in pairs), len(pairs))


def called_higher(pairs: Sequence[Pair]) -> Rate:
    """Count the pairs in which the first is called higher."""
    return Rate(sum(pair.verdict.word == "higher" for pair in pairs), len(pairs))


def compare_counts(
    ours: Sequence[ImageCounts], base: Sequence[ImageCounts], metric: str, times: np.ndarray
) -> Pair:
    """Compare two sets of runs, seed by seed, from their counts of each image.

    Args:
        ours, base: Counts of each seed.
        metric: Name of the metric.
        times: Draws of images, see ``draw_images``.
    """
    values, drawn = [], []
    for runs in (ours, base):
        values.append([run.value(metric) for run in runs])
        drawn.append(np.stack([run.of_draws(metric, times) for run in runs]))
    entry = difference(*values, *drawn)
    return Pair(entry, decide([entry])[0])


def simulate(
    pairs: int,
    seeds: int,
    gain: float = 0.0,
    *,
    scene: Scene | None = None,
    seed: int = 0,
    resamples: int = DRAWS,
) -> list[Pair]:
    """Compare made-up runs of a network with made-up runs of another, or of the same one.

    Args:
        pairs: Number of comparisons; each has a validation set of its own.
        seeds: Runs on each side. They share nothing but the validation set.
        gain: Points of mIoU by which the first network is better; 0 for the same network.
        scene: What is drawn from.
        seed: Random seed of the simulation; pair i is the same whatever ``pairs`` is.
        resamples: Draws of images in each comparison.
    """
    scene = scene or Scene()
    times = draw_images(scene.images, resamples)
    result = []
    for number in range(pairs):
        generator = np.random.default_rng([seed, number])
        drawn = draw_scene(scene, generator)
        ours = [draw_run(scene, drawn, generator, gain) for _ in range(seeds)]
        base = [draw_run(scene, drawn, generator) for _ in range(seeds)]
        result.append(compare_counts(ours, base, "mIoU", times))
    return result


def simulation_page(pairs: int, *, seed: int = 0, scene: Scene | None = None) -> str:
    """Simulate for several numbers of seeds, and write the two rates of each as a table.

    Args:
        pairs: Number of pairs of each cell.
        seed: Random seed of the simulation.
        scene: What is drawn from.
    """
    scene = scene or Scene()
    rows = []
    for seeds in SEEDS:
        equal = simulate(pairs, seeds, scene=scene, seed=seed)
        better = simulate(pairs, seeds, GAIN, scene=scene, seed=seed)
        false, found = called_different(equal), called_higher(better)
        visible = float(np.median([pair.verdict.visible for pair in equal]))
        kept = false.share <= LARGEST_FALSE, found.share >= SMALLEST_FOUND
        words = [f"{rate}, {'kept' if ok else 'MISSED'}" for rate, ok in zip((false, found), kept,
                                                                          strict=True)]  # fmt: skip
        rows.append([seeds, *words, f"{visible:.2f}"])
    head = (
        "seeds",
        f"equal networks called different (goal: at most {LARGEST_FALSE:.0%})",
        f"gain of {GAIN:g} points found (goal: at least {SMALLEST_FOUND:.0%})",
        "smallest visible difference, median",
    )
    assumed = (
        f"{pairs} pairs in each cell, random seed {seed}. Assumed: {scene.images} images, "
        f"{scene.classes} classes, standard deviation between seeds {scene.seed_sd:g} points, "
        f"intraclass correlation of two runs over images {scene.icc:g}; the runs of a pair share "
        "nothing but the images. In brackets: 95 % interval of the share."
    )
    return f"{assumed}\n\n{markdown_table(head, rows)}"


def intraclass_correlation(scores: np.ndarray) -> float:
    """Compute how alike runs are in which images they find hard.

    ICC(3, 1) of Shrout & Fleiss (1979): (BMS - EMS) / (BMS + (k - 1) EMS), where BMS is the mean
    square between images and EMS what is left after images and runs.

    Args:
        scores: Score of each run on each image, (runs, images).
    """
    runs, images = scores.shape
    centred = scores - scores.mean()
    between = runs * float((centred.mean(axis=0) ** 2).sum()) / (images - 1)
    rest = centred - centred.mean(axis=0) - centred.mean(axis=1, keepdims=True)
    error = float((rest**2).sum()) / ((images - 1) * (runs - 1))
    return (between - error) / (between + (runs - 1) * error)


def with_gain(counts: np.ndarray, share: float) -> np.ndarray:
    """Turn a share of the wrong pixels of every image into right ones: a known gain.

    Args:
        counts: Pixel counts, (images, 4, classes), see ``HasAreas``.
        share: Share of the misses, and of the false alarms, that are mended.

    Returns:
        Counts of the same shape and type.
    """
    hit, _, predicted, labelled = np.moveaxis(counts, 1, 0)
    mended = hit + np.round((labelled - hit) * share).astype(counts.dtype)
    alarms = np.round((predicted - hit) * (1 - share)).astype(counts.dtype)
    return np.stack([mended, labelled + alarms, mended + alarms, labelled], axis=1)
