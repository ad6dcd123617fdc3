"""Promise: every index of a training knows its position, whatever type the sampler gives."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmattn.data.datasets.seeded import SeededDataset, with_number
from mmattn.data.positions import PositionLoader


class Frames:
    """Videos of three frames, as mmdet's datasets of videos: an index is (video, frame)."""

    def __getitem__(self, index: tuple[int, int]) -> tuple[int, int, float]:
        assert type(index) is tuple
        return *index, float(torch.rand(()))

    def __len__(self) -> int:
        return 2


PAIRS = [(video, frame) for video in range(2) for frame in range(3)]


def loaded(start: int) -> list:
    loader = PositionLoader.of(
        DataLoader(Frames(), batch_size=2, sampler=PAIRS, collate_fn=list),  # type: ignore[arg-type]
        0, endless=False, rank=0, world_size=1,
    )  # fmt: skip
    loader.seed_samples(7)
    loader.positions.begin(0, start)
    return [sample for batch in loader for sample in batch]


def test_indices_of_videos_are_seeded_by_their_position() -> None:
    whole = loaded(0)
    assert [sample[:2] for sample in whole] == PAIRS
    assert len({sample[2] for sample in whole}) == 6
    assert loaded(2) == whole[4:]


@pytest.mark.parametrize("index", [3, np.int64(3), torch.tensor(3), (3, 1)])
def test_a_position_survives_the_way_to_a_worker(index: object) -> None:
    numbered = pickle.loads(pickle.dumps(with_number(index, 9, 2)))
    assert numbered == index and (numbered.number, numbered.epoch) == (9, 2)


def test_an_index_of_another_type_is_left_alone() -> None:
    assert with_number("left", 9) == "left"


def test_an_index_without_a_number_draws_the_same_each_time() -> None:
    dataset = SeededDataset(Frames(), 0)  # type: ignore[arg-type]
    assert dataset[(1, 2)] == dataset[(1, 2)] != dataset[(1, 1)]
