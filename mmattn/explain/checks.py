"""Check maps of a network on its images: deletion and insertion against maps that know nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import ConfigError, did_you_mean

from .explanation import Explanation
from .faithfulness import (
    Areas,
    Score,
    blurred,
    bootstrap_interval,
    centre_prior,
    deletion_insertion,
    edge_map,
    energy_inside,
    pointing_game,
)
from .networks import Network, Sample, evaluation
from .target import Target

#: What deletion leaves -> what it is.
BASELINES = {
    "mean": "0 of the normalised input, the mean colour of the data",
    "colour": "the mean colour of the image",
    "blur": "the image under a Gaussian blur",
    "noise": "noise of the image's own spread",
}
#: Fewest images for which an interval is told.
FEWEST = 5


@dataclass(frozen=True)
class FaithfulnessOptions:
    """How maps are checked.

    Attributes:
        steps: Steps of each curve.
        random_maps: Random maps R that each map is compared with.
        baseline: Key of ``BASELINES``, what deletion leaves; insertion begins with a blur.
        context: Whether the pixels of the target's region are never changed.
        seed: Of random maps and of equal values.
    """

    steps: int = 100
    random_maps: int = 10
    baseline: str = "mean"
    context: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise ConfigError(
                f"--baseline {self.baseline}: expected one of {', '.join(BASELINES)}."
                f"{did_you_mean(self.baseline, BASELINES)}"
            )
        if self.steps < 1 or self.random_maps < 1:
            raise ConfigError(
                f"--steps {self.steps}, random maps {self.random_maps}: both must be at least 1"
            )

    def passes(self, maps: int, grids: int) -> int:
        """Return how often the network runs for one image."""
        of_maps = maps + self.random_maps * grids
        return 2 * (self.steps + 1) * (of_maps + 2) + of_maps + 1


@dataclass(frozen=True)
class Masked:
    """The score O of the input times the map over its largest value, beside that of the input, Y.

    A map of ones has no drop: it is told with the gain, and beside random maps.

    Attributes:
        drop: max(0, Y - O) / Y.
        increase: 1 where O > Y, else 0.
        gain: max(0, O - Y) / (1 - Y).
    """

    drop: float
    increase: float
    gain: float


def masked_score(
    score: Score, image: Tensor, values: np.ndarray, whole: float, allowed: np.ndarray
) -> Masked:
    """Measure what is left of the score where the image is dimmed by a map.

    Args:
        score: Score of an input.
        image: (1, C, H, W), normalised: 0 is the mean colour of the data.
        values: (H, W), not negative; scaled here.
        whole: Score of the image.
        allowed: (H, W) bool, not everywhere False; pixels that are dimmed, all others stay.
    """
    top = float(values[allowed].max())
    mask = np.where(allowed, values / top if top > 0 else values, 1.0)
    left = score(image * torch.from_numpy(mask).to(image))
    return Masked(
        max(0.0, whole - left) / whole if whole > 0 else 0.0,
        float(left > whole),
        max(0.0, left - whole) / (1 - whole) if whole < 1 else 0.0,
    )


@dataclass
class ImageCheck:
    """Areas of all maps of one image.

    Attributes:
        maps: Kind of a map, ``Explanation.across`` -> its areas.
        random: Kind of a map -> areas of random maps of its grid.
        others: ``"centre"`` and ``"edges"`` -> areas.
        pointing: Kind of a map -> whether its peak lies at the target, and its share inside.
        masked: Kind of a map -> the score of the image dimmed by it.
        masked_random: Kind of a map -> those of random maps of its grid.
    """

    maps: dict[str, Areas] = field(default_factory=dict)
    random: dict[str, list[Areas]] = field(default_factory=dict)
    others: dict[str, Areas] = field(default_factory=dict)
    pointing: dict[str, tuple[bool, float]] = field(default_factory=dict)
    masked: dict[str, Masked] = field(default_factory=dict)
    masked_random: dict[str, list[Masked]] = field(default_factory=dict)


def check_maps(
    network: Network,
    sample: Sample,
    target: Target,
    explanations: Sequence[Explanation],
    options: FaithfulnessOptions,
) -> ImageCheck:
    """Measure all maps of one image, and write the numbers into the explanations."""
    image = sample.inputs
    score = _score(network, sample, target)
    deleted, hidden = _deleted(image, options), blurred(image)
    allowed = np.zeros(sample.placement.padded, bool)
    allowed[: sample.placement.content[0], : sample.placement.content[1]] = True
    if options.context:
        allowed &= ~target.region.cpu().numpy()
        if not allowed.any():
            raise ConfigError("--context: the target's region covers the whole image")

    def areas(values: np.ndarray, seed: int) -> Areas:
        return deletion_insertion(
            score, image, sample.placement.to_input(values), deleted=deleted, hidden=hidden,
            allowed=allowed, steps=options.steps, seed=seed,
        )  # fmt: skip

    def masked(values: np.ndarray) -> Masked:
        return masked_score(score, image, sample.placement.to_input(values), whole, allowed)

    check = ImageCheck()
    whole = score(image)
    by_grid: dict[tuple[int, ...], tuple[list[Areas], list[Masked]]] = {}
    maps = [e for e in explanations if e.values is not None]
    region = target.region.cpu().numpy()
    for explanation in maps:
        assert explanation.values is not None
        shape = explanation.values.shape
        if shape not in by_grid:
            generator = np.random.default_rng(options.seed)
            random = [generator.random(shape) for _ in range(options.random_maps)]
            by_grid[shape] = (
                [areas(one, options.seed + index) for index, one in enumerate(random)],
                [masked(one) for one in random],
            )
        found = areas(explanation.ranking, options.seed)
        key = explanation.across
        check.maps[key], check.masked[key] = found, masked(explanation.ranking)
        check.random[key], check.masked_random[key] = by_grid[shape]
        on_input = sample.placement.to_input(explanation.ranking)
        check.pointing[key] = (pointing_game(on_input, region), energy_inside(on_input, region))
        explanation.numbers |= _numbers(found, by_grid[shape][0])
        explanation.numbers["drop"] = check.masked[key].drop
        explanation.numbers["gain"] = check.masked[key].gain
    height, width = sample.placement.content
    prior = np.zeros(sample.placement.padded)
    prior[:height, :width] = centre_prior((height, width))
    check.others = {
        "centre": areas(prior, options.seed),
        "edges": areas(edge_map(image), options.seed),
    }
    return check


def _score(network: Network, sample: Sample, target: Target) -> Score:
    def score(inputs: Tensor) -> float:
        with evaluation(network.model), torch.no_grad():
            return target.faithful_score(network(inputs, sample, queries=target.kind == "query"))

    return score


def _deleted(image: Tensor, options: FaithfulnessOptions) -> Tensor:
    if options.baseline == "blur":
        return blurred(image)
    if options.baseline == "colour":
        return image.mean((2, 3), keepdim=True).expand_as(image).contiguous()
    if options.baseline == "noise":
        generator = torch.Generator().manual_seed(options.seed)
        noise = torch.randn(image.shape, generator=generator).to(image)
        mean, spread = image.mean((2, 3), keepdim=True), image.std((2, 3), keepdim=True)
        return mean + spread * noise
    return torch.zeros_like(image)


def _numbers(found: Areas, random: Sequence[Areas]) -> dict[str, Any]:
    return {
        "deletion": found.deletion,
        "deletion_random": float(np.mean([one.deletion for one in random])),
        "insertion": found.insertion,
        "insertion_random": float(np.mean([one.insertion for one in random])),
    }


def summarize_checks(checks: Sequence[ImageCheck], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for every map and baseline: paired differences to random maps, over images.

    Args:
        checks: One for each image.
        names: Keys of the maps, and of no other; those that not every image has are summed over
            the images that have them.

    Returns:
        Dictionaries with ``map``, ``images``, and for ``deletion`` and ``insertion`` ``mean``,
        ``low`` and ``high`` of the difference, as far as there are images enough; ``verdict`` says
        whether it is better than random maps; ``average_drop``, ``average_increase`` and
        ``average_gain``, in percent, are those of the image dimmed by the map, and with
        ``_random`` by random maps.
    """
    rows = []
    for name in names:
        having = [check for check in checks if name in check.maps]
        rows.append(_row(name, [(c.maps[name], c.random[name]) for c in having]))
        hits = [c.pointing[name] for c in having]
        rows[-1]["pointing_game"] = float(np.mean([hit for hit, _ in hits]))
        shares = [share for _, share in hits if share == share]
        rows[-1]["energy_inside"] = float(np.mean(shares)) if shares else float("nan")
        rows[-1] |= _masked_means([c.masked[name] for c in having], "")
        random = [one for c in having for one in c.masked_random[name]]
        rows[-1] |= _masked_means(random, "_random")
    for other in ("centre", "edges"):
        pairs = [(c.others[other], next(iter(c.random.values()))) for c in checks if c.random]
        if pairs:
            rows.append(_row(other, pairs))
    return rows


def _masked_means(found: Sequence[Masked], suffix: str) -> dict[str, float]:
    """Return average drop, increase in confidence and average gain, each in percent."""
    names = {"drop": "average_drop", "increase": "average_increase", "gain": "average_gain"}
    return {
        f"{name}{suffix}": 100 * float(np.mean([getattr(one, field) for one in found]))
        for field, name in names.items()
    }


def _row(name: str, pairs: Sequence[tuple[Areas, Sequence[Areas]]]) -> dict[str, Any]:
    row: dict[str, Any] = {"map": name, "images": len(pairs)}
    better = []
    for metric, sign in (("deletion", -1), ("insertion", 1)):
        differences = [
            getattr(own, metric) - float(np.mean([getattr(one, metric) for one in random]))
            for own, random in pairs
        ]
        mean, low, high = bootstrap_interval(differences)
        enough = len(pairs) >= FEWEST
        row[metric] = {
            "mean": mean,
            "low": low if enough else None,
            "high": high if enough else None,
        }
        better.append(sign * (low if sign > 0 else high) > 0)
        row[f"{metric}_itself"] = float(np.mean([getattr(own, metric) for own, _ in pairs]))
    if len(pairs) < FEWEST:
        row["verdict"] = f"fewer than {FEWEST} images: no interval"
    else:
        row["verdict"] = {
            (True, True): "better than random maps",
            (True, False): "better than random maps by deletion alone",
            (False, True): "better than random maps by insertion alone",
            (False, False): "not shown to be better than random maps",
        }[better[0], better[1]]
    return row


def as_data(check: ImageCheck) -> dict[str, Any]:
    """Return the areas of one image as plain data."""
    return {
        "maps": {key: asdict(value) for key, value in check.maps.items()},
        "random": {key: [asdict(one) for one in value] for key, value in check.random.items()},
        "others": {key: asdict(value) for key, value in check.others.items()},
        "masked": {key: asdict(value) for key, value in check.masked.items()},
        "masked_random": {
            key: [asdict(one) for one in value] for key, value in check.masked_random.items()
        },
    }
