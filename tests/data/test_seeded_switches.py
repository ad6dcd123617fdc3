"""A pipeline that changes at a sample of the run, whoever loads it and in whatever order."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from torch.utils.data import DataLoader

from mmattn.data.datasets.multi_image_mix import MultiImageMixDataset
from mmattn.data.datasets.seeded import NumberedIndex, SeededDataset, SeededSampler
from mmattn.errors import ConfigError
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class WriteStage(BaseTransform):
    """Adds its name to what went through it."""

    def __init__(self, name: str):
        self.name = name

    def transform(self, results: dict) -> dict:
        return {**results, "stages": [*results.get("stages", []), self.name]}


@TRANSFORMS.register_module(force=True)
class WriteMixed(WriteStage):
    """Another type, to be skipped."""


class Numbers(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [{"number": number} for number in range(4)]


def steps(*names: str) -> list[dict]:
    return [
        {"type": f"mmattn.Write{'Mixed' if n == 'mixed' else 'Stage'}", "name": n} for n in names
    ]


def numbers(*names: str) -> Numbers:
    return Numbers(pipeline=steps(*names))


def stages(dataset: Any, *samples: int) -> list[list[str]]:
    return [dataset[NumberedIndex(n % 4, n)].get("stages", []) for n in samples]


def test_the_number_of_the_sample_decides_not_the_order() -> None:
    switches = [{"sample": 9, "pipeline": steps("c")}, {"sample": 6, "pipeline": steps("b", "b")}]
    dataset = SeededDataset(numbers("a"), 0, switches)
    assert stages(dataset, 0, 5, 6, 8, 9, 100) == [
        ["a"],
        ["a"],
        ["b", "b"],
        ["b", "b"],
        ["c"],
        ["c"],
    ]
    assert stages(dataset, 7, 2) == [["b", "b"], ["a"]]
    assert stages(pickle.loads(pickle.dumps(dataset)), 2, 9) == [["a"], ["c"]]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_that_load_ahead_change_at_the_same_batch(workers: int) -> None:
    dataset = SeededDataset(numbers("a"), 0, [{"sample": 6, "pipeline": steps("b")}])
    sampler = SeededSampler(dataset, {"type": "DefaultSampler", "shuffle": True}, seed=0)
    loader = DataLoader(dataset, 2, sampler=sampler, num_workers=workers, collate_fn=list)
    batches = [
        [item["stages"] for item in batch] for batch, _ in zip(loader, range(6), strict=False)
    ]
    assert batches == [[["a"], ["a"]]] * 3 + [[["b"], ["b"]]] * 3


def test_a_dataset_that_mixes_images_skips_or_changes_its_own_steps() -> None:
    def mixing(switch: dict) -> SeededDataset:
        mixed = MultiImageMixDataset(numbers("loaded"), steps("mixed", "last"))
        return SeededDataset(mixed, 0, [{"sample": 3, **switch}])

    before = ["loaded", "mixed", "last"]
    skipping = mixing({"skip": ["mmattn.WriteMixed"]})
    assert stages(skipping, 2, 3, 2) == [before, ["loaded", "last"], before]
    changing = mixing({"pipeline": steps("other")})
    assert stages(changing, 2, 3) == [before, ["loaded", "other"]]


def test_a_dataset_that_cannot_change_is_refused() -> None:
    with pytest.raises(ConfigError, match="a list, which has no pipeline of its own"):
        SeededDataset([1, 2], 0, [{"sample": 1, "pipeline": []}])
    with pytest.raises(ConfigError, match="Numbers and no MultiImageMixDataset"):
        SeededDataset(numbers("a"), 0, [{"sample": 1, "skip": ["Mosaic"]}])
