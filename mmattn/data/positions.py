"""The batches of a training by their position: which come next, without reading those before.

What a batch holds follows from the seed of the run, the epoch and the number of the batch in it. So
a training that is resumed begins behind the batches that it has seen, in the middle of an epoch
too, and only indices are drawn for them, no image is read. Each index carries its position, from
which ``SeededDataset`` seeds the augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count, islice
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler

from mmattn.data.datasets.seeded import SeededDataset, with_number
from mmattn.data.generators import generator_states, seed_generators, set_generator_states
from mmattn.errors import DataError

#: Samplers whose order follows from seed and epoch alone, so that an epoch needs none before it.
_BY_EPOCH = {"DefaultSampler", "ClassAwareSampler", "MultiDataSampler", "SequentialSampler"}
#: Samplers of one endless pass, with a generator of their own.
_ENDLESS = {"InfiniteSampler"}
#: Part of the key of the generators that an unknown sampler draws from.
_ORDER = 0x0D


class PositionedBatches(Sampler):
    """The batches of another batch sampler, whose indices carry their position.

    A pass over the data is an epoch. The number of a sample counts those of all processes, so that
    it does not depend on how many share the work.

    Args:
        batches: Batch sampler, whose order is taken.
        seed: Seed of the run, the same in all processes. Samplers that draw from the global
            generators get their own from it.
        endless: Go on with the next pass after the last batch of one, as a training that counts
            iterations does.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(
        self, batches: Any, seed: int, *, endless: bool, rank: int = 0, world_size: int = 1
    ) -> None:
        self.batches = batches
        self.endless = endless
        self.rank, self.world_size = rank, world_size
        self._epoch, self._start, self._played = 0, 0, 0
        name = type(getattr(batches, "sampler", None)).__name__
        self._plain = type(batches) is BatchSampler
        self._by_epoch = name in _BY_EPOCH
        self._known = self._by_epoch or name in _ENDLESS
        self._guard = nullcontext if self._known else _own_generators(seed, _ORDER)

    def begin(self, epoch: int, start: int) -> None:
        """Let the next iteration begin with batch ``start`` of ``epoch``.

        Args:
            epoch: Epoch, counted from 0; 0 where one pass follows the other by itself.
            start: Number of batches to leave out.
        """
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        """Return the number of batches in one pass."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Any]]:
        stream = self._endless_stream() if self.endless else self._one_epoch()
        while True:
            with self._guard():
                try:
                    epoch, number, batch = next(stream)
                except StopIteration:
                    return
            yield [
                with_number(index, (number + n) * self.world_size + self.rank, epoch)
                for n, index in enumerate(batch)
            ]

    def _one_epoch(self) -> Iterator[tuple[int, int, list[int]]]:
        epoch, start = self._epoch, self._start
        self._start = 0
        if not self._by_epoch:  # it may remember earlier epochs
            for before in range(self._played, epoch):
                for _ in self._one_pass(before, 0):
                    pass
            self._played = epoch + 1
        for number, batch in self._one_pass(epoch, start):
            yield epoch, number, batch

    def _endless_stream(self) -> Iterator[tuple[int, int, list[int]]]:
        first, left = 0, self._start
        if self._plain and self._by_epoch and len(self.batches):
            first, left = divmod(self._start, len(self.batches))
        for epoch in count(first):
            skip = left if self._plain and self._known else 0
            left -= skip
            empty = True
            for number, batch in self._one_pass(epoch, skip):
                empty = False
                if left:
                    left -= 1
                    continue
                yield epoch, number, batch
            if empty and not skip:
                raise DataError(
                    f"The training's sampler, {type(self.batches).__name__}, gave no batch in pass "
                    f"{epoch} over the data: there are fewer images than one batch holds."
                )

    def _one_pass(self, epoch: int, skip: int) -> Iterator[tuple[int, list[int]]]:
        """Yield the batches of a pass behind the first ``skip``, with the samples before each."""
        sampler = getattr(self.batches, "sampler", None)
        for part in (sampler, self.batches):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)
        if self._plain:
            yield from _in_batches(sampler, self.batches.batch_size, self.batches.drop_last, skip)
            return
        number = 0
        resumed = (skip or self._start) and type(self.batches).__name__ == "AspectRatioBatchSampler"
        with _remembered_shapes(sampler) if resumed else nullcontext():
            for n, batch in enumerate(self.batches):
                if n >= skip:
                    yield number, batch
                number += len(batch)


def _in_batches(
    sampler: Any, size: int, drop_last: bool, skip: int
) -> Iterator[tuple[int, list[int]]]:
    """Do what torch's ``BatchSampler`` does, but leave out batches without making them."""
    indices, number = iter(sampler), skip * size
    next(islice(indices, number, number), None)
    while batch := list(islice(indices, size)):
        if len(batch) < size and drop_last:
            return
        yield number, batch
        number += len(batch)


@contextmanager
def _remembered_shapes(sampler: Any) -> Iterator[None]:
    """Let mmdet's ``AspectRatioBatchSampler`` ask once for the shape of each image."""
    dataset = getattr(sampler, "dataset", None)
    if dataset is None or not hasattr(dataset, "get_data_info"):
        yield
        return
    sampler.dataset = _Shapes(dataset)
    try:
        yield
    finally:
        sampler.dataset = dataset


class _Shapes:
    """A dataset that remembers width and height of its images."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._shapes: dict[int, dict[str, int]] = {}

    def get_data_info(self, index: int) -> dict[str, int]:
        index = int(index)
        if index not in self._shapes:
            info = self._dataset.get_data_info(index)
            self._shapes[index] = {key: info[key] for key in ("width", "height") if key in info}
        return self._shapes[index]

    def __len__(self) -> int:
        return len(self._dataset)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


def _own_generators(*key: int) -> Callable[[], Any]:
    """Return a context in which the global generators are others, which go on from use to use."""
    states: list[Any] = []

    @contextmanager
    def guard() -> Iterator[None]:
        outside = generator_states()
        if states:
            set_generator_states(states.pop())
        else:
            seed_generators(*key)
        try:
            yield
        finally:
            states.append(generator_states())
            set_generator_states(outside)

    return guard


class PositionLoader(DataLoader):
    """A loader in which each batch knows its position; in all else the loader that it is made of.

    Attributes:
        positions: The batches, of which the next iteration begins where ``positions.begin`` says.
    """

    positions: PositionedBatches

    @classmethod
    def of(
        cls, loader: DataLoader, seed: int, *, endless: bool, rank: int, world_size: int
    ) -> PositionLoader:
        """Make the loader with the settings of another one, which is not to be used any more.

        Args:
            loader: Loader for which ``why_not_positioned`` has nothing to say.
            seed: Seed of the run.
            endless: As in ``PositionedBatches``.
            rank: As in ``PositionedBatches``.
            world_size: As in ``PositionedBatches``.
        """
        new = cls.__new__(cls)
        vars(new).update(vars(loader))
        vars(new)["positions"] = PositionedBatches(
            loader.batch_sampler, seed, endless=endless, rank=rank, world_size=world_size
        )
        return new

    def seed_samples(self, seed: int) -> None:
        """Draw the augmentation of each sample from ``seed`` and its position from now on."""
        dataset: Any = self.dataset
        if isinstance(dataset, SeededDataset):
            vars(dataset)["seed"] = seed
        else:
            vars(self)["dataset"] = SeededDataset(dataset, seed)

    @property
    def _index_sampler(self) -> PositionedBatches:
        # torch takes the indices of each iteration, and the length, from here.
        return self.positions


def why_not_positioned(loader: Any) -> str:
    """Return why a loader's batches have no position; "" where they have."""
    if type(loader) not in (DataLoader, PositionLoader):
        return f"its loader is a {type(loader).__name__}"
    if isinstance(loader.dataset, IterableDataset):
        return f"its dataset, {type(loader.dataset).__name__}, can only be read from the start"
    if loader.batch_sampler is None:
        return "its loader has no batches"
    return ""
