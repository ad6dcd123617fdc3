"""A stream of batches from any place is the rest of the whole one, and reads no image before."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler

from mmattn.data.positions import PositionLoader, why_not_positioned
from mmattn.errors import DataError


class Numbers:
    """Gives the index and a draw of each generator; counts what is read."""

    def __init__(self, length: int = 10) -> None:
        self.length, self.reads = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple:
        self.reads += 1
        return int(index), random.random(), float(np.random.rand()), float(torch.rand(()))

    def get_data_info(self, index: int) -> dict:
        return {"width": index % 3, "height": 1}


class Remembers(Sampler):
    """An order that depends on the passes before, drawn from the global generators."""

    def __init__(self, dataset: Numbers) -> None:
        self.order = list(range(len(dataset)))

    def __iter__(self):
        random.shuffle(self.order)
        return iter(list(self.order))

    def __len__(self) -> int:
        return len(self.order)


def loaders(dataset: Numbers) -> dict[str, dict[str, Any]]:
    aspect = AspectRatioBatchSampler(DefaultSampler(dataset, seed=0), 3)
    return {
        "default": {"sampler": DefaultSampler(dataset, seed=0), "batch_size": 3},
        "drop last": {
            "sampler": DefaultSampler(dataset, seed=0),
            "batch_size": 3,
            "drop_last": True,
        },
        "infinite": {"sampler": InfiniteSampler(dataset, seed=0), "batch_size": 3},
        "aspect": {"batch_sampler": aspect},
        "torch": {"sampler": RandomSampler(dataset), "batch_size": 3},
        "remembers": {"sampler": Remembers(dataset), "batch_size": 4},
    }


NAMES = list(loaders(Numbers()))


def positioned(name: str, *, endless: bool, workers: int = 0) -> tuple[PositionLoader, Numbers]:
    dataset = Numbers()
    settings = loaders(dataset)[name]
    loader = DataLoader(dataset, num_workers=workers, collate_fn=list, **settings)
    made = PositionLoader.of(loader, 7, endless=endless, rank=0, world_size=1)
    made.seed_samples(7)
    return made, dataset


@pytest.mark.parametrize("name", NAMES)
def test_an_endless_stream_from_any_place(name: str) -> None:
    whole = list(islice(positioned(name, endless=True)[0], 25))
    for start in (0, 1, 3, 4, 9, 17):
        loader, dataset = positioned(name, endless=True)
        loader.positions.begin(0, start)
        random.seed(start)  # what others draw has no part in it
        part = list(islice(loader, 25 - start))
        assert part == whole[start:]
        assert dataset.reads == sum(map(len, part))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "infinite"])
def test_an_epoch_from_any_place(name: str) -> None:
    def epochs(count: int) -> list[list]:
        loader, made = positioned(name, endless=False)[0], []
        for epoch in range(count):
            loader.positions.begin(epoch, 0)
            made.append(list(loader))
            random.seed(epoch)
        return made

    whole = epochs(3)
    assert whole[0] != whole[1] and len(whole[0]) == len(positioned(name, endless=False)[0])
    for epoch, start in ((0, 2), (1, 0), (2, 1), (2, len(whole[2]))):
        loader, dataset = positioned(name, endless=False)
        loader.positions.begin(epoch, start)
        part = list(loader)
        assert part == whole[epoch][start:]
        assert dataset.reads == sum(map(len, part))


@pytest.mark.parametrize("name", ["default", "drop last", "aspect"])
def test_batches_are_those_of_the_loader_that_it_is_made_of(name: str) -> None:
    dataset = Numbers()
    stock = DataLoader(dataset, collate_fn=list, **loaders(dataset)[name])
    ours = positioned(name, endless=False)[0]
    for epoch in range(2):
        sampler = stock.batch_sampler.sampler
        sampler.set_epoch(epoch)
        ours.positions.begin(epoch, 0)
        indices = [[[sample[0] for sample in batch] for batch in part] for part in (stock, ours)]
        assert indices[0] == indices[1]
    assert (ours.batch_size, type(ours.sampler)) == (stock.batch_size, type(stock.sampler))


def test_workers_change_nothing() -> None:
    runs = [list(islice(positioned("default", endless=True, workers=w)[0], 9)) for w in (0, 2)]
    assert runs[0] == runs[1]


def test_two_processes_draw_what_one_draws_for_the_same_images() -> None:
    """Image by image, as DefaultSampler hands them out in turn."""

    def stream(rank: int, of: int) -> list:
        dataset = Numbers(8)
        sampler = DefaultSampler(dataset, seed=0)
        order = list(sampler)[rank::of]
        batches = BatchSampler(order, 1, False)
        loader = DataLoader(dataset, batch_sampler=batches, collate_fn=list)
        made = PositionLoader.of(loader, 7, endless=False, rank=rank, world_size=of)
        made.seed_samples(7)
        return [sample for batch in made for sample in batch]

    one = stream(0, 1)
    assert stream(0, 2) == one[0::2] and stream(1, 2) == one[1::2]


def test_no_batch_in_a_pass_is_refused() -> None:
    dataset = Numbers(2)
    loader = DataLoader(dataset, 3, sampler=DefaultSampler(dataset, seed=0), drop_last=True)
    made = PositionLoader.of(loader, 0, endless=True, rank=0, world_size=1)
    with pytest.raises(DataError, match="fewer images than one batch"):
        next(iter(made))


def test_what_has_no_position() -> None:
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    class Own(DataLoader):
        pass

    assert why_not_positioned(DataLoader(Numbers())) == ""
    assert "Stream" in why_not_positioned(DataLoader(Stream()))
    assert "Own" in why_not_positioned(Own(Numbers()))
    assert "no batches" in why_not_positioned(DataLoader(Numbers(), batch_size=None))
