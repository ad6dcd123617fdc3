"""The smallest and most elongated images, sent through the whole pipeline."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np

from mmattn.errors import DataError, one_line

#: Sides in pixels, and ratios of sides, from which on no pipeline has trouble.
_SMALL, _ELONGATED = 32, 8
#: Passes of an image through a pipeline that draws random numbers.
_PASSES = 8


def check_pipeline_on(
    dataset: Any,
    pipeline: Sequence[Mapping[str, Any]],
    sizes: Iterable[tuple[int, tuple[int, int]]],
    where: str,
) -> None:
    """Send images of unusual shapes through a pipeline, as the training would.

    Args:
        dataset: Dataset that was built without its pipeline.
        pipeline: Configs of the transforms.
        sizes: Index and (height, width) of the smallest and the most elongated images.
        where: Config key of the dataset, used in messages.

    Raises:
        DataError: A transform fails on one of them.
    """
    from mmengine.dataset import Compose

    odd = [
        (index, size)
        for index, size in sizes
        if min(size) < _SMALL or max(size) > _ELONGATED * min(size)
    ]
    if not odd or not hasattr(dataset, "get_data_info"):
        return
    transforms = Compose(deepcopy(list(pipeline))).transforms
    for index, size in odd:
        for _ in range(_PASSES):
            with _same_random_numbers():
                _send(dataset.get_data_info(index), transforms, size, where)


def _send(results: dict[str, Any], transforms: Sequence[Any], size: tuple, where: str) -> None:
    path = results["img_path"]
    for transform in transforms:
        try:
            results = transform(results)
        except Exception as error:
            raise DataError(
                f"{where}: the image {path} of {size[0]} x {size[1]} (height x width) does not "
                f"pass {type(transform).__name__}, which may make a side of 0 pixels "
                f"({one_line(error)}). Take it out of the data, or pad it first"
            ) from error
        if results is None:
            return


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Leave the random numbers of the run as they would be without this."""
    import torch

    # Not the run's own numbers, which would be the same in each pass.
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed()
        np.random.seed()
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
