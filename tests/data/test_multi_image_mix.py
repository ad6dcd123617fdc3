"""The dataset that mixes images gives mmdet's images, and never hangs on None."""

from __future__ import annotations

import mmdet.datasets
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmdet.registry import DATASETS

from mmattn.data.datasets.multi_image_mix import MultiImageMixDataset
from mmattn.errors import DataError
from mmattn.registry import TRANSFORMS


class Numbers:
    """Ten images that are their own index."""

    metainfo: dict = {}

    def full_init(self) -> None: ...

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict:
        return {"img": np.full((2, 2), float(index))}


@TRANSFORMS.register_module(force=True)
class AddAnother(BaseTransform):
    """Adds a random other image."""

    def get_indexes(self, dataset) -> int:
        return int(np.random.randint(0, len(dataset)))

    def transform(self, results: dict) -> dict:
        (other,) = results["mix_results"]
        return {**results, "img": results["img"] + 100 * other["img"]}


@TRANSFORMS.register_module(force=True)
class DropBelow(BaseTransform):
    """Gives no image below a limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def transform(self, results: dict) -> dict | None:
        return results if results["img"][0, 0] >= self.limit else None


ADD = {"type": "mmattn.AddAnother"}


@pytest.fixture(autouse=True)
def numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS._module_dict, "Numbers", Numbers)


def drawn(cls: type, pipeline: list[dict], **options) -> list[float]:
    dataset = cls({"type": "Numbers"}, pipeline, **options)
    np.random.seed(0)
    return [dataset[index]["img"][0, 0] for index in range(10)]


def test_images_are_mmdets() -> None:
    theirs = drawn(mmdet.datasets.MultiImageMixDataset, [ADD, ADD])
    assert drawn(MultiImageMixDataset, [ADD, ADD]) == theirs
    assert len(set(theirs)) == 10


def test_skipped_transforms_are_skipped() -> None:
    skipping = drawn(MultiImageMixDataset, [ADD], skip_type_keys=["mmattn.AddAnother"])
    assert skipping == list(range(10))


def test_another_image_is_drawn_for_one_that_is_none() -> None:
    values = drawn(MultiImageMixDataset, [{"type": "mmattn.DropBelow", "limit": 5}])
    assert min(values) >= 5 and values[5:] == [5, 6, 7, 8, 9]


def test_it_does_not_hang_where_no_image_is_left() -> None:
    with pytest.raises(DataError, match="DropBelow, return None"):
        drawn(MultiImageMixDataset, [{"type": "mmattn.DropBelow", "limit": 99}])
