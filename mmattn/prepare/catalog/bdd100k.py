"""BDD100K: the 10,000 images with semantic masks."""

from __future__ import annotations

from mmattn.prepare.card import DatasetCard, Split
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

_IMAGES = SourceFile(
    "bdd100k_images_10k.zip",
    about="1.1 GB",
    digests=("md5:08f26aecceda982568063d3d5873378e",),
    top="bdd100k",
    holds=("images/10k/train/*.jpg", "images/10k/val/*.jpg"),
)
_MASKS = SourceFile(
    "bdd100k_sem_seg_labels_trainval.zip",
    about="331 to 419 MB",
    # Two releases, each with its digest in the publisher's documentation of the time.
    digests=("md5:098c0c17ca58364c47c5882b3eb7058d", "md5:9a2968dde3345eeb689cffb1e26f9c78"),
    top="bdd100k",
    holds=("labels/sem_seg/masks/train/*.png", "labels/sem_seg/masks/val/*.png"),
)
_SPLITS = {"train": 7000, "val": 1000}


def _arrange(stage: Stage) -> None:
    for split in _SPLITS:
        images, masks = f"images/10k/{split}/", f"labels/sem_seg/masks/{split}/"
        names = stage.names(_IMAGES.name, images, ".jpg")
        if stage.subset:
            names = stage.subset.choose(names)
        stage.put(_IMAGES.name, {name: name for name in names})
        wanted = [name.replace(images, masks).replace(".jpg", ".png") for name in names]
        stage.put(_MASKS.name, {name: name for name in wanted})


BDD100K = DatasetCard(
    name="bdd100k",
    title="BDD100K, semantic segmentation",
    task="semantic segmentation of streets",
    classes=19,
    terms="BDD100K's own licence: education, research and other purposes that are not for profit; "
    "anything else by agreement with UC Berkeley",
    terms_url="https://doc.bdd100k.com/license.html",
    home="https://bdd-data.berkeley.edu/ (10K Images, Semantic Segmentation)",
    files=(_MASKS, _IMAGES),
    splits=tuple(
        Split(name, f"images/10k/{name}", count, f"labels/sem_seg/masks/{name}")
        for name, count in _SPLITS.items()
    ),
    arrange=_arrange,
    account=True,
    labels=frozenset({*range(19), 255}),
    configs="mmseg::_base_/datasets/bdd100k.py",
    default_root="data/bdd100k",
    notes=("colour maps, polygons and the test images, which have no masks, are left out",),
)
