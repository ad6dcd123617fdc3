"""Speed of a config's data: images per second, and the step of the pipeline that time goes to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmattn.inference.datasets import build_dataset

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass(frozen=True)
class StepTime:
    """Time of one step of a pipeline.

    Attributes:
        name: Class of the transform.
        calls: How often it ran: mosaics load several images.
        seconds: Its own time, without that of transforms which it calls.
    """

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True)
class PipelineSpeed:
    """Speed of a pipeline in one process.

    Attributes:
        images: Samples that were made.
        seconds: Time that they took.
        steps: The transforms, in the order in which they first ran; what is in none of them, such
            as the look-up of the sample, is the difference.
    """

    images: int
    seconds: float
    steps: tuple[StepTime, ...]


def measure_pipeline(cfg: Config, split: str = "train", images: int = 50) -> PipelineSpeed:
    """Make ``images`` samples of a split, in this process, and time each transform.

    Raises:
        ConfigError: The config has no such dataset, or it is empty.
    """
    dataset = build_dataset(cfg, split)
    clock = _Clock()
    for transforms in _pipelines(dataset):
        transforms[:] = [_Timed(transform, clock) for transform in transforms]
    dataset[0]  # the first one opens files, imports and fills caches
    clock.clear()
    begin = time.perf_counter()
    for index in range(images):
        dataset[index % len(dataset)]
    return PipelineSpeed(images, time.perf_counter() - begin, tuple(clock.steps()))


def _pipelines(dataset: Any) -> Iterator[list[Any]]:
    """Yield the lists of transforms of a dataset and of those inside of it."""
    pipeline = getattr(dataset, "pipeline", None)
    transforms = getattr(pipeline, "transforms", pipeline)
    if isinstance(transforms, list):
        yield transforms
    inner = getattr(dataset, "dataset", None)
    for one in [inner] if inner is not None else getattr(dataset, "datasets", ()):
        yield from _pipelines(one)


class _Clock:
    """Adds up the own times of transforms, of which one may call another."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._calls: dict[str, int] = {}
        self._inner: list[float] = []

    def clear(self) -> None:
        self._seconds.clear()
        self._calls.clear()

    def steps(self) -> Iterator[StepTime]:
        for name, seconds in self._seconds.items():
            yield StepTime(name, self._calls[name], seconds)

    def run(self, transform: Any, results: Any) -> Any:
        name = type(transform).__name__
        self._seconds.setdefault(name, 0.0)
        self._inner.append(0.0)
        begin = time.perf_counter()
        try:
            return transform(results)
        finally:
            whole = time.perf_counter() - begin
            self._seconds[name] += whole - self._inner.pop()
            self._calls[name] = self._calls.get(name, 0) + 1
            if self._inner:
                self._inner[-1] += whole


class _Timed:
    """A transform under a clock; whatever else is asked of it, it answers as before."""

    def __init__(self, transform: Any, clock: _Clock) -> None:
        self._transform, self._clock = transform, clock

    def __call__(self, results: Any) -> Any:
        return self._clock.run(self._transform, results)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transform, name)
