"""Images of a training pipeline, without a network: mosaic, affine map, colours, flip; 640 x 640.

``cached`` keeps decoded images in memory, which mmdet's ``CachedMosaic`` does too: it decodes one
image for each output and takes the other three from the last 40. The others decode four images for
each output, whose draws are from the whole dataset.

Draws are random, so results are not compared but for their shape; that a mosaic of mmattn shows
what mmdet's two steps show is asserted in ``tests/data/transforms/test_mosaic_affine.py``.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ops_cases import Row

IMAGES = 100
PER_RUN = 8
SIZE = (640, 640)


def rows(device: str) -> list[Row]:
    """Return one case; it runs on the CPU whatever the device."""
    name = f"{PER_RUN} mosaics of {IMAGES} JPEG images of 640 x 480"
    goals = {"mmdet, CachedMosaic": 1.5}
    return [Row("data pipeline", name, contenders, goals, comparable="mmattn".__eq__)]


def contenders() -> dict[str, Any]:
    """Return the pipelines by name, each with its own random draws."""
    import mmattn  # noqa: F401  turns the bridge on

    load = {"type": "mmattn.LoadImageFromFile"}
    cached = {**load, "cache_mib": 256}
    stock = {"type": "LoadImageFromFile"}
    mosaic = [
        {"type": "mmattn.MosaicAffine", "scale": SIZE, "affine": {"scale": 0.5}},
        {"type": "mmattn.HSVGain"},
    ]
    affine = [
        {
            "type": "mmdet.RandomAffine",
            "max_rotate_degree": 0,
            "max_shear_degree": 0,
            "scaling_ratio_range": (0.5, 1.5),
            "border": (-SIZE[0] // 2, -SIZE[1] // 2),
        },
        {"type": "mmdet.YOLOXHSVRandomAug"},
    ]
    flip = {"type": "mmdet.RandomFlip", "prob": 0.5}
    from_cache = {"type": "mmdet.CachedMosaic", "img_scale": SIZE, "max_cached_images": 40}
    stock_mosaic = {"type": "mmdet.Mosaic", "img_scale": SIZE}
    return {
        "mmattn": images(mixing("mmattn", cached, [*mosaic, flip])),
        "mmattn, nothing cached": images(mixing("mmattn", load, [*mosaic, flip])),
        "mmdet, CachedMosaic": images(plain([stock, annotations(), from_cache, *affine, flip])),
        "mmdet, Mosaic": images(mixing("mmdet", stock, [stock_mosaic, *affine, flip])),
    }


def annotations() -> dict[str, Any]:
    return {"type": "mmdet.LoadAnnotations", "with_bbox": True}


def plain(pipeline: list[dict]) -> Any:
    """Return a dataset with this pipeline."""
    from mmdet.registry import DATASETS

    return DATASETS.build(
        {
            "type": "CocoDataset",
            "data_root": dataset_folder(),
            "ann_file": "annotations/instances_train.json",
            "data_prefix": {"img": "images/train/"},
            "metainfo": {"classes": ("circle", "square", "triangle", "star", "ring", "cross")},
            "pipeline": pipeline,
        }
    )


def mixing(scope: str, load: dict, pipeline: list[dict]) -> Any:
    """Return the dataset of ``scope`` that mixes images, with this loader and pipeline."""
    from mmattn.registry import DATASETS

    cls = DATASETS.get(f"{scope}.MultiImageMixDataset")
    return cls(plain([load, annotations()]), pipeline)


def images(dataset: Any) -> Any:
    """Return a contender that draws ``PER_RUN`` images."""
    draws = np.random.default_rng(0)

    def run() -> tuple[torch.Tensor]:
        for index in draws.integers(0, len(dataset), PER_RUN):
            image = dataset[int(index)]["img"]
            assert image.shape == (SIZE[1], SIZE[0], 3), image.shape
        return (torch.tensor(image.shape),)

    for index in range(IMAGES):  # fills the caches; CachedMosaic joins nothing before
        dataset[index]
    return run


@functools.cache
def dataset_folder() -> str:
    """Write the generated shapes, which are JPEG files, once, and return their folder."""
    from mmattn.data import write_shapes_dataset

    folder = Path(tempfile.mkdtemp(prefix="shapes-")) / "shapes"
    write_shapes_dataset(folder, num_train=IMAGES, num_val=1, size=(480, 640))
    return str(folder)
