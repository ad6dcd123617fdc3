"""Promise: dataset configs follow the usual protocols; where mmseg has one, they are equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmattn.config import find_config
from mmattn.registry import TRANSFORMS

FOLDER = Path(__file__).resolve().parents[2] / "configs/_base_/datasets"
#: Their names end with the size of their crops.
SEMANTIC = sorted(
    file.stem
    for file in FOLDER.glob("*_*[0-9]x[0-9]*.py")
    if not {"instance", "panoptic"} & set(file.stem.split("_"))
)
UPSTREAM = {
    "ade20k_512x512": "ade20k",
    "cityscapes_512x1024": "cityscapes",
    "cityscapes_769x769": "cityscapes_769x769",
    "cityscapes_1024x1024": "cityscapes_1024x1024",
}


def read(name: str) -> Config:
    return Config.fromfile(FOLDER / f"{name}.py")


def upstream(name: str) -> Config:
    return Config.fromfile(find_config(f"mmseg::_base_/datasets/{name}.py"))


def plain(pipeline: list) -> list[dict]:
    return [{k: tuple(v) if isinstance(v, list) else v for k, v in dict(step).items()}
            for step in pipeline]  # fmt: skip


@pytest.mark.parametrize("name", UPSTREAM)
def test_pipelines_are_those_of_mmseg(name: str) -> None:
    ours, theirs = read(name), upstream(UPSTREAM[name])
    for split in ("train", "val"):
        loader = f"{split}_dataloader"
        a, b = ours[loader].dataset, theirs[loader].dataset
        assert plain(a.pipeline) == plain(b.pipeline)
        assert a.data_prefix == b.data_prefix


@pytest.mark.parametrize("name", SEMANTIC)
def test_crops_and_data_sets(name: str) -> None:
    cfg = read(name)
    height, width = map(int, name.rpartition("_")[2].split("x"))
    train = cfg.train_dataloader.dataset
    train = train.datasets[0] if "datasets" in train else train
    (crop,) = [step for step in train.pipeline if step["type"] == "RandomCrop"]
    assert tuple(crop["crop_size"]) == tuple(cfg.crop_size) == (height, width)
    assert cfg.test_dataloader == cfg.val_dataloader
    # After the resize: metrics are those of the images' own size.
    kinds = [step["type"] for step in cfg.val_dataloader.dataset.pipeline]
    assert kinds[-2].endswith(("LoadAnnotations", "LoadFolderMask"))
    if not name.startswith("folder"):
        import mmseg.datasets  # noqa: F401  (registers them)
        from mmseg.registry import DATASETS

        for dataset in (train, cfg.val_dataloader.dataset):
            assert len(DATASETS.get(dataset["type"]).METAINFO["classes"]) in (11, 19, 21, 150)


def test_whole_images_of_camvid_are_tested() -> None:
    for name, scale in {"camvid_360x480": (480, 360), "camvid_720x960": (960, 720)}.items():
        cfg = read(name)
        (resize,) = [s for s in cfg.val_dataloader.dataset.pipeline if s["type"] == "Resize"]
        assert tuple(resize["scale"]) == scale
    assert cfg.train_dataloader.dataset.img_suffix == ".png"
    assert cfg.val_dataloader.dataset.data_root == cfg.data_root == "data/camvid_960x720/"


def test_voc_without_and_with_sbd() -> None:
    lists = {name: [d["ann_file"] for d in read(name).train_dataloader.dataset.datasets]
             for name in ("voc12_512x512", "voc12aug_512x512")}  # fmt: skip
    only, both = lists.values()
    assert only == ["ImageSets/Segmentation/train.txt"]
    assert both == [*only, "ImageSets/Segmentation/aug.txt"]


CROPPED = ("folder_masks", "folder_panoptic", "nuclei_instance_192x192")


@pytest.mark.parametrize("name", CROPPED)
def test_objects_without_a_pixel_in_the_crop_are_left_out(name: str) -> None:
    """Their boxes would be zeros, whose logarithms make the loss of a box NaN."""
    pipeline = read(name).train_dataloader.dataset.pipeline
    kinds = [step["type"] for step in pipeline]
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[0, 2:12, 2:12] = 1
    results = {
        "img": np.zeros((40, 40, 3), np.uint8),
        "img_shape": (40, 40),
        # The second object has no pixel here.
        "gt_bboxes": HorizontalBoxes(np.array([[2, 2, 12, 12], [3, 3, 9, 9]], np.float32)),
        "gt_bboxes_labels": np.array([0, 1]),
        "gt_ignore_flags": np.array([False, False]),
        "gt_masks": BitmapMasks(masks, 40, 40),
    }
    with DefaultScope.overwrite_default_scope("mmdet"):
        for step in pipeline[kinds.index("RandomCrop") : kinds.index("PackDetInputs")]:
            results = TRANSFORMS.build(step)(results)
            assert results is not None
    assert results["gt_bboxes_labels"].tolist() == [0]
    assert len(results["gt_masks"]) == 1
    assert (results["gt_bboxes"].widths > 0).all()
