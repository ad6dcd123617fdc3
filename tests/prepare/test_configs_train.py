"""Promise: a config's datasets load what ``mmattn data prepare`` has put into ``data_root``."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmattn.config import find_config
from mmattn.registry import DATASETS

REPO = Path(__file__).resolve().parents[2]
OURS = REPO / "configs/_base_/datasets"
#: Dataset -> config of its loaders, scope, and the values that labels of the first item have.
CASES = {
    "ade20k": (OURS / "ade20k_512x512.py", "mmseg", {255, 0, 149}),
    "bdd100k": ("mmseg::_base_/datasets/bdd100k.py", "mmseg", {0, 18, 255}),
    "camvid": (OURS / "camvid_360x480.py", "mmseg", {0, 3, 8, 255}),
    "camvid-960x720": (OURS / "camvid_720x960.py", "mmseg", {0, 8, 3, 255}),
    "cityscapes": (OURS / "cityscapes_512x1024.py", "mmseg", {0, 13, 18, 255}),
    "drive": ("mmseg::_base_/datasets/drive.py", "mmseg", {0, 1}),
    "voc2012": (OURS / "voc12aug_512x512.py", "mmseg", {0, 15, 255}),
}


def loaders(config: Any, root: Path) -> list[dict]:
    """Return the datasets of a config, in the folder ``root``, without their wrappers."""
    file = config if isinstance(config, Path) else find_config(config)
    cfg = Config.fromfile(file)
    found = []
    for split in ("train", "val"):
        dataset = cfg[f"{split}_dataloader"]["dataset"]
        while "dataset" in dataset:
            dataset = dataset["dataset"]
        found += dataset.get("datasets", [dataset])
    return [{**part, "data_root": f"{root}/"} for part in found]


def prepared(name: str, archives: Callable, run: Callable, tmp_path: Path) -> Path:
    root = tmp_path / "data"
    code, out, err = run(
        *("prepare", name, "--root", root, "--from", archives(name), "--accept-terms"),
        "--full-check",
    )
    assert (code, err) == (0, ""), err
    assert f"{root}: " in out
    return root


@pytest.mark.parametrize("name", CASES)
def test_semantic_segmentation(
    name: str, archives: Callable, run: Callable, tmp_path: Path
) -> None:
    root = prepared(name, archives, run, tmp_path)
    config, scope, values = CASES[name]
    for part in loaders(config, root):
        # The whole pipeline of the validation; of the training what reads, as it crops by chance.
        reads = [step for step in part["pipeline"] if step["type"].startswith("Load")]
        pipeline = [*reads, {"type": "PackSegInputs"}]
        with DefaultScope.overwrite_default_scope(scope):
            dataset = DATASETS.build({**part, "pipeline": pipeline})
            assert len(dataset) > 0
            item = dataset[0]
        labels = item["data_samples"].gt_sem_seg.data
        assert item["inputs"].shape[1:] == labels.shape[1:]
        if "Aug" not in str(part["data_prefix"]) and "val" not in str(part["data_prefix"]):
            assert set(labels.unique().tolist()) == values


def test_voc_and_sbd_together(archives: Callable, run: Callable, tmp_path: Path) -> None:
    root = prepared("voc2012", archives, run, tmp_path)
    lists = root / "ImageSets/Segmentation"
    assert (lists / "aug.txt").read_text().split() == ["2008_4", "2008_5"]
    assert (lists / "trainaug.txt").read_text().split() == ["2007_1", "2007_2", "2008_4", "2008_5"]
    masks = sorted(path.stem for path in (root / "SegmentationClassAug").iterdir())
    assert masks == ["2007_1", "2007_2", "2008_4", "2008_5"]
    own = (root / "SegmentationClass/2007_1.png").read_bytes()
    assert (root / "SegmentationClassAug/2007_1.png").read_bytes() == own


def test_cityscapes_polygons_are_drawn_as_its_scripts_do(
    archives: Callable, run: Callable, tmp_path: Path
) -> None:
    """A group is its class, a licence plate is a part of its car, what is not trained on is 255."""
    from mmattn.prepare.pixels import read_pixels

    root = prepared("cityscapes", archives, run, tmp_path)
    stem = "valtown/valtown_000000_000019_gtFine_labelTrainIds.png"
    mask = read_pixels(root / "gtFine/val" / stem)
    assert mask[15, 15] == 10  # sky
    assert mask[5, 5] == mask[2, 2] == 13  # car, and the plate on it
    assert mask[22, 5] == 255  # ego vehicle
    assert sorted(set(mask.ravel().tolist())) == [10, 13, 255]


@pytest.mark.parametrize("kind", ["instance", "panoptic"])
def test_coco(kind: str, archives: Callable, run: Callable, tmp_path: Path) -> None:
    root = prepared("coco2017", archives, run, tmp_path)
    names = ("person", "car", "flower")
    things = {"thing_classes": names[:2], "stuff_classes": names[2:]}
    metainfo = {"classes": names, **(things if kind == "panoptic" else {})}
    for part, count in zip(loaders(OURS / f"coco_{kind}_lsj.py", root), (6, 2), strict=True):
        reads = [step for step in part["pipeline"] if step["type"].startswith("Load")]
        with DefaultScope.overwrite_default_scope("mmdet"):
            dataset = DATASETS.build(
                {**part, "metainfo": metainfo, "pipeline": [*reads, {"type": "PackDetInputs"}]}
            )
            item = dataset[0]["data_samples"]
            assert len(dataset) == count
        if kind == "panoptic":
            assert set(item.gt_sem_seg.sem_seg.unique().tolist()) >= {2}
        else:
            assert item.gt_instances.masks.masks.any(axis=(1, 2)).all()


def test_lvis(
    archives: Callable, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Val has images of both folders of COCO; a reader of COCO stands in for the package lvis."""
    monkeypatch.setitem(sys.modules, "lvis", lvis_by_coco())
    root = prepared("lvis", archives, run, tmp_path)
    parts = loaders("mmdet::_base_/datasets/lvis_v1_instance.py", root)
    for part, count in zip(parts, (4, 3), strict=True):
        steps = [{"type": "LoadImageFromFile"}, {"type": "PackDetInputs"}]
        with DefaultScope.overwrite_default_scope("mmdet"):
            metainfo = {"classes": ("person", "car", "flower")}
            dataset = DATASETS.build({**part, "pipeline": steps, "metainfo": metainfo})
            assert len(dataset) == count
            assert [dataset[i]["inputs"].shape[1:] for i in range(count)] == [(32, 40)] * count


def lvis_by_coco() -> types.ModuleType:
    """A module with the few functions of lvis' reader that mmdet calls."""
    from mmdet.datasets.api_wrappers import COCO

    class LVIS:
        def __init__(self, path: str) -> None:
            coco = COCO(path)
            self.get_cat_ids, self.load_imgs, self.load_anns = (
                coco.get_cat_ids, coco.load_imgs, coco.load_anns
            )  # fmt: skip
            self.cat_img_map, self._coco = coco.cat_img_map, coco

        def get_img_ids(self) -> list[int]:
            return sorted(self._coco.imgs)

        def get_ann_ids(self, img_ids: list[int]) -> list[int]:
            return [one["id"] for one in self._coco.anns.values() if one["image_id"] in img_ids]

    module = types.ModuleType("lvis")
    module.LVIS = LVIS  # type: ignore[attr-defined]
    return module
