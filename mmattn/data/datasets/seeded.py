"""Training data that is the same whatever else a process does: order and augmentation.

Transforms draw from the global generators of ``random``, numpy and torch. So which crop an image
gets depends on how many numbers were drawn before: by other images of the same worker, by the
model, by a part of the run that is left out after a resume. Here the n-th sample of a run is drawn
from generators seeded with (seed, n) alone:

    train_dataloader = dict(
        sampler=dict(type='mmattn.SeededSampler', inner=dict(type='InfiniteSampler')),
        dataset=dict(type='mmattn.SeededDataset', seed=0, dataset=dict(type='CamVidDataset')))

Two models that are trained with one seed then see the same batches, with any number of workers, and
so does a run that is resumed.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any
from zlib import crc32

from mmengine.dataset import BaseDataset, Compose
from mmengine.registry import DATA_SAMPLERS as ROOT_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from torch.utils.data import Sampler, get_worker_info

from mmattn.data.generators import seed_generators, seeded_generators
from mmattn.errors import ConfigError
from mmattn.registry import DATA_SAMPLERS, DATASETS


class NumberedIndex(int):
    """An index of a dataset that knows which sample of the run it stands for.

    Args:
        index: Index into the dataset.
        number: Number of the sample in the run, or in its epoch if ``epoch`` is given.
        epoch: Epoch of the sample.
    """

    number: int
    epoch: int

    def __new__(cls, index: int, number: int, epoch: int = 0) -> NumberedIndex:
        made = super().__new__(cls, index)
        made.number, made.epoch = number, epoch
        return made

    def __reduce__(self) -> tuple:  # on its way to a worker process
        return type(self), (int(self), self.number, self.epoch)


class NumberedPair(tuple):
    """As ``NumberedIndex``, for samplers that give (video, frame)."""

    number: int
    epoch: int

    def __new__(cls, index: Iterable[Any], number: int, epoch: int = 0) -> NumberedPair:
        made = super().__new__(cls, index)
        made.number, made.epoch = number, epoch
        return made

    def __reduce__(self) -> tuple:
        return type(self), (tuple(self), self.number, self.epoch)


def with_number(index: Any, number: int, epoch: int = 0) -> Any:
    """Return an index that knows which sample of the run it stands for.

    Args:
        index: What a sampler gives: a whole number of any type, or a tuple of them. Anything else
            is returned as it is.
        number: As in ``NumberedIndex``.
        epoch: As in ``NumberedIndex``.
    """
    if isinstance(index, tuple):
        return NumberedPair(index, number, epoch)
    try:
        return NumberedIndex(operator.index(index), number, epoch)
    except TypeError:
        return index


@DATASETS.register_module()
class SeededDataset:
    """A dataset whose n-th sample is drawn from (seed, n), or (seed, n, epoch).

    The number comes with the index: from a ``SeededSampler``, or a ``PositionLoader``. All else
    is the inner dataset's, reading and setting attributes included.

    Args:
        dataset: The inner dataset or its config.
        seed: Random seed of the run.
        switches: Changes of the inner dataset's pipeline during the run, as dicts: ``sample``, the
            number of the first sample behind the change, and ``pipeline``, a list of transforms, or
            ``skip``, types that a ``MultiImageMixDataset`` leaves out. The number decides, not the
            moment, so workers that load ahead and runs that are resumed are right too.

    Raises:
        ConfigError: The inner dataset has no pipeline of its own, or nothing that could be skipped.
    """

    # torch would ask the inner dataset for a whole batch, past ``__getitem__``.
    __getitems__ = None

    def __init__(
        self,
        dataset: BaseDataset | Mapping[str, Any],
        seed: int,
        switches: Sequence[Mapping[str, Any]] = (),
    ):
        built = ROOT_DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset
        ordered = sorted(switches, key=lambda switch: switch["sample"])
        self.__dict__.update(
            dataset=built,
            seed=seed,
            stage=0,
            starts=[switch["sample"] for switch in ordered],
            stages=_pipelines(built, ordered) if ordered else [],
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        plain: Any = tuple(index) if isinstance(index, tuple) else index
        if isinstance(index, int):
            plain = int(index)
        number, epoch = getattr(index, "number", None), getattr(index, "epoch", 0)
        if number is None:  # not from one of our loaders: the same index, the same numbers
            number = plain if isinstance(plain, int) else crc32(repr(plain).encode())
        self._enter_stage(bisect_right(self.starts, number))
        key = (self.seed, number, epoch) if epoch else (self.seed, number)
        if get_worker_info() is not None:  # a process that draws for samples alone
            seed_generators(*key)
            return self.dataset[plain]
        with seeded_generators(*key):
            return self.dataset[plain]

    def _enter_stage(self, stage: int) -> None:
        if stage != self.stage:
            for name, value in self.stages[stage].items():
                setattr(self.dataset, name, value)
            self.__dict__["stage"] = stage

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # not there yet: this object is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)


def _pipelines(dataset: Any, switches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the attributes of ``dataset`` that make up its pipeline, before and after each switch.

    Raises:
        ConfigError: The dataset has none.
    """
    mixes = hasattr(dataset, "update_skip_type_keys")  # a MultiImageMixDataset
    names = ("pipeline", "pipeline_types", "_skip_type_keys") if mixes else ("pipeline",)
    if not hasattr(dataset, "pipeline"):
        raise ConfigError(
            f"The training pipeline is to change, but the dataset is a {type(dataset).__name__}, "
            "which has no pipeline of its own: set it on a dataset that has one."
        )
    stages = [{name: getattr(dataset, name) for name in names}]
    for switch in switches:
        stage = dict(stages[-1])
        if "skip" in switch:
            if not mixes:
                raise ConfigError(
                    f"Transforms are to be skipped in the training pipeline, but the dataset is a "
                    f"{type(dataset).__name__} and no MultiImageMixDataset: change the pipeline "
                    "instead (LastEpochsPipelineHook with pipeline)."
                )
            stage["_skip_type_keys"] = list(switch["skip"])
        else:
            composed = Compose(switch["pipeline"])
            stage["pipeline"] = composed.transforms if mixes else composed
            if mixes:
                stage["pipeline_types"] = [type(step).__name__ for step in composed.transforms]
        stages.append(stage)
    return stages


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """The endless order of another sampler, each index with its number in the run.

    Args:
        dataset: What is sampled.
        inner: The sampler whose order is taken, epoch after epoch.
        seed: Random seed of the run; handed to ``inner``.
    """

    def __init__(self, dataset: Any, inner: Mapping[str, Any], seed: int | None = None):
        self.dataset = dataset
        self.inner = ROOT_SAMPLERS.build(
            dict(inner), default_args={"dataset": dataset, "seed": seed}
        )
        self.skipped = 0

    def __iter__(self) -> Iterator[NumberedIndex]:
        numbered = (NumberedIndex(index, n) for n, index in enumerate(self._indices()))
        return islice(numbered, self.skipped, None)

    def __len__(self) -> int:
        return len(self.inner)

    def skip(self, num_samples: int) -> None:
        """Begin behind the first ``num_samples``, as ``IterBasedTrainLoop`` asks when it resumes.

        To be called before the first iteration.
        """
        self.skipped = num_samples

    def _indices(self) -> Iterator[int]:
        for epoch in count():
            if hasattr(self.inner, "set_epoch"):
                self.inner.set_epoch(epoch)
            yield from self.inner
