"""LVIS v1: boxes and instance masks of 1203 categories on COCO's images."""

from __future__ import annotations

from mmattn.prepare.card import CocoSplit, DatasetCard
from mmattn.prepare.coco import classes_by_image, cut, file_of, read_annotations
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

from .coco2017 import TRAIN_IMAGES, VAL_IMAGES, put_images

_CDN = "https://dl.fbaipublicfiles.com/LVIS"
_S3 = "https://s3-us-west-2.amazonaws.com/dl.fbaipublicfiles.com/LVIS"

_FILES = {
    "train": SourceFile(
        "lvis_v1_train.json.zip",
        (f"{_CDN}/lvis_v1_train.json.zip", f"{_S3}/lvis_v1_train.json.zip"),
        size=350264821,
        digests=("sha256:334a4caa374030a7817cf050364525e910f7960f9b6968cef47cffbf3893f8ba",),
        holds=("lvis_v1_train.json",),
    ),
    "val": SourceFile(
        "lvis_v1_val.json.zip",
        (f"{_CDN}/lvis_v1_val.json.zip", f"{_S3}/lvis_v1_val.json.zip"),
        size=64026968,
        digests=("sha256:5cae9a3c79aadb667550c2b5dcf7f4d86e059a41ec91ef690225b667e28e9ba5",),
        holds=("lvis_v1_val.json",),
    ),
}


def _arrange(stage: Stage) -> None:
    wanted: set[str] = set()
    for split, archive in _FILES.items():
        name = f"lvis_v1_{split}.json"
        base = stage.tree / "annotations" if stage.subset is None else stage.work / "whole"
        stage.put(archive.name, {name: name}, base=base)
        content = read_annotations(base / name)
        if stage.subset is None:
            wanted |= {file_of(image) for image in content["images"]}
            continue
        chosen = stage.subset.choose_balanced(classes_by_image(content))
        stage.write(f"annotations/{name}", cut(content, chosen))
        wanted |= set(chosen)
    for archive in (TRAIN_IMAGES.name, VAL_IMAGES.name):  # val has images of both
        there = stage.source(archive).sizes()
        start = archive.replace(".zip", "/")
        put_images(stage, archive, sorted(n for n in wanted if n in there and n.startswith(start)))


LVIS = DatasetCard(
    name="lvis",
    title="LVIS v1",
    task="object detection and instance segmentation with rare classes",
    classes=1203,
    terms="annotations CC BY 4.0; the images are those of COCO, under Flickr's terms of use",
    terms_url="https://www.lvisdataset.org",
    home="https://www.lvisdataset.org/dataset",
    files=(*_FILES.values(), VAL_IMAGES, TRAIN_IMAGES),
    splits=(
        CocoSplit("train", "annotations/lvis_v1_train.json", "", 100170, 1203),
        CocoSplit("val", "annotations/lvis_v1_val.json", "", 19809, 1203),
    ),
    arrange=_arrange,
    configs="mmdet::lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py",
    default_root="data/lvis_v1",
    notes=(
        "the images may come from a folder prepared as coco2017: --from that folder",
        "mmdet's configs need the package lvis besides",
    ),
)
