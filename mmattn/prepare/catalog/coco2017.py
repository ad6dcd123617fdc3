"""COCO 2017: boxes, instance masks and panoptic maps of 80 and 133 categories."""

from __future__ import annotations

from mmattn.prepare.card import CocoSplit, DatasetCard
from mmattn.prepare.coco import classes_by_image, cut, read_annotations
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.sources import open_source
from mmattn.prepare.stage import Stage

_S3 = "https://s3.amazonaws.com/images.cocodataset.org"  # the same bucket, with a certificate
_HTTP = "http://images.cocodataset.org"

TRAIN_IMAGES = SourceFile(
    "train2017.zip",
    (f"{_S3}/zips/train2017.zip", f"{_HTTP}/zips/train2017.zip"),
    size=19336861798,
    digests=("sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",),
    holds=("train2017/*.jpg",),
)
VAL_IMAGES = SourceFile(
    "val2017.zip",
    (f"{_S3}/zips/val2017.zip", f"{_HTTP}/zips/val2017.zip"),
    size=815585330,
    digests=("sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",),
    holds=("val2017/*.jpg",),
)
_INSTANCES = SourceFile(
    "annotations_trainval2017.zip",
    (
        f"{_S3}/annotations/annotations_trainval2017.zip",
        f"{_HTTP}/annotations/annotations_trainval2017.zip",
    ),
    size=252907541,
    digests=("sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",),
    holds=("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
)
_PANOPTIC = SourceFile(
    "panoptic_annotations_trainval2017.zip",
    (
        f"{_S3}/annotations/panoptic_annotations_trainval2017.zip",
        f"{_HTTP}/annotations/panoptic_annotations_trainval2017.zip",
    ),
    size=860725834,
    digests=("sha256:c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",),
    holds=("annotations/panoptic_train2017.json", "annotations/panoptic_val2017.json"),
)
_IMAGES = {"train": TRAIN_IMAGES.name, "val": VAL_IMAGES.name}


def _arrange(stage: Stage) -> None:
    for split, archive in _IMAGES.items():
        instances = f"annotations/instances_{split}2017.json"
        panoptic = f"annotations/panoptic_{split}2017.json"
        if stage.subset is None:
            stage.put(_INSTANCES.name, {instances: instances})
            stage.put(_PANOPTIC.name, {panoptic: panoptic})
            _put_maps(stage, split, None)
            put_images(stage, archive, stage.names(archive, f"{split}2017/", ".jpg"))
            continue
        whole = stage.work / "whole"
        stage.put(_INSTANCES.name, {instances: instances}, base=whole)
        stage.put(_PANOPTIC.name, {panoptic: panoptic}, base=whole)
        content = read_annotations(whole / instances)
        chosen = stage.subset.choose_balanced(classes_by_image(content))
        stage.write(instances, cut(content, chosen))
        content = read_annotations(whole / panoptic)
        stage.write(panoptic, cut(content, chosen))
        _put_maps(stage, split, {name.replace(".jpg", ".png") for name in chosen})
        put_images(stage, archive, [f"{split}2017/{name}" for name in chosen])


def put_images(stage: Stage, archive: str, names: list[str]) -> None:
    """Write images of COCO under the names that they have in their archive."""
    stage.put(archive, {name: name for name in names})


def _put_maps(stage: Stage, split: str, chosen: set[str] | None) -> None:
    """Write the panoptic maps, which lie in an archive inside of the archive."""
    folder = f"annotations/panoptic_{split}2017"
    if f"{folder}.zip" in stage.source(_PANOPTIC.name).sizes():
        nested = stage.work / "nested"
        stage.put(_PANOPTIC.name, {f"{folder}.zip": f"{folder}.zip"}, base=nested)
        top = f"panoptic_{split}2017"
        source = open_source(nested / f"{folder}.zip", top, ("*.png",))
        files = {name: f"{folder}/{name}" for name in source.sizes() if name.endswith(".png")}
        if chosen is not None:
            files = {name: place for name, place in files.items() if name in chosen}
        stage.put(source, files)
        return
    names = stage.names(_PANOPTIC.name, f"{folder}/", ".png")  # unpacked by the user
    if chosen is not None:
        names = [name for name in names if name.rpartition("/")[2] in chosen]
    stage.put(_PANOPTIC.name, {name: name for name in names})


COCO2017 = DatasetCard(
    name="coco2017",
    title="COCO 2017",
    task="object detection, instance and panoptic segmentation",
    classes=133,
    terms="annotations CC BY 4.0; the images belong to their authors on Flickr, under Flickr's "
    "terms of use",
    terms_url="https://cocodataset.org/#termsofuse",
    home="https://cocodataset.org/#download",
    files=(_INSTANCES, _PANOPTIC, VAL_IMAGES, TRAIN_IMAGES),
    splits=(
        CocoSplit("train", "annotations/instances_train2017.json", "train2017", 118287, 80),
        CocoSplit(
            "train",
            "annotations/panoptic_train2017.json",
            "train2017",
            118287,
            133,
            maps="annotations/panoptic_train2017",
        ),
        CocoSplit("val", "annotations/instances_val2017.json", "val2017", 5000, 80),
        CocoSplit(
            "val",
            "annotations/panoptic_val2017.json",
            "val2017",
            5000,
            133,
            maps="annotations/panoptic_val2017",
        ),
    ),
    arrange=_arrange,
    configs="mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    default_root="data/coco",
    notes=("instances and panoptic maps; captions, keypoints and stuff maps are left out",),
)
