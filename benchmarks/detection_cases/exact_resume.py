"""What drawing from seed and position costs, beside reading and augmenting the images alone.

The network of a step is left out, so that the share of a whole step is smaller still. The loading
process restores the generators after each sample; a worker process does not need to.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ops_cases import Row

from detection_cases.data_pipeline import IMAGES, SIZE, annotations, mixing, plain

BATCH = 8
#: Largest cost of an exact resume, as a share of a step.
AT_MOST = 1.03


def rows(device: str) -> list[Row]:
    """Return two cases; they run on the CPU whatever the device."""
    made = []
    for name, dataset in {"resize and flip": resized, "mosaic": mosaics}.items():
        made.append(
            Row(
                "exact resume",
                f"a batch of {BATCH}, {name}, JPEG images of 640 x 480",
                lambda dataset=dataset: contenders(dataset),
                at_most={"not seeded": AT_MOST},
                comparable="mmattn".__eq__,
            )
        )
    return made


def resized() -> Any:
    """Return images that are read, resized to 320 x 320 and flipped."""
    load = {"type": "LoadImageFromFile"}
    resize = {"type": "mmdet.Resize", "scale": (320, 320)}
    return plain([load, annotations(), resize, {"type": "mmdet.RandomFlip", "prob": 0.5}])


def mosaics() -> Any:
    """Return mosaics of four images."""
    load = {"type": "mmattn.LoadImageFromFile"}
    return mixing("mmattn", load, [{"type": "mmattn.MosaicAffine", "scale": SIZE}])


def contenders(dataset: Callable[[], Any]) -> dict[str, Any]:
    """Return the loading of a batch with and without seeds; images come in the same order."""
    import mmattn  # noqa: F401  turns the bridge on
    from mmattn.data.datasets.seeded import NumberedIndex, SeededDataset, seed_generators

    stock, seeded = dataset(), SeededDataset(dataset(), seed=0)
    numbers, steps = itertools.count(), itertools.count()

    def exact() -> list[torch.Tensor]:
        torch.manual_seed(seed_generators(0, next(steps)))  # of the step: dropout
        made = [seeded[NumberedIndex(n % IMAGES, n)] for n in itertools.islice(numbers, BATCH)]
        return [torch.from_numpy(np.ascontiguousarray(results["img"])) for results in made]

    others = itertools.count()

    def not_seeded() -> list[torch.Tensor]:
        made = [stock[n % IMAGES] for n in itertools.islice(others, BATCH)]
        return [torch.from_numpy(np.ascontiguousarray(results["img"])) for results in made]

    return {"mmattn": exact, "not seeded": not_seeded}
