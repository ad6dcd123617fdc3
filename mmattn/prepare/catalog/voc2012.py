"""PASCAL VOC 2012, with the masks of SBD for training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from mmattn.errors import DataError, MissingPackageError, one_line
from mmattn.prepare.card import DatasetCard, Split
from mmattn.prepare.masks import png
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

_VOC = SourceFile(
    "VOCtrainval_11-May-2012.tar",
    (
        "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "http://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
    ),
    size=1999639040,
    digests=(
        "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        "md5:6cd6e144f989b92b3379bac3b3de84fd",
    ),
    top="VOCdevkit/VOC2012",
    holds=("JPEGImages/*.jpg", "SegmentationClass/*.png", "ImageSets/Segmentation/train.txt"),
)
_SBD = SourceFile(
    "benchmark.tgz",
    (
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
        "benchmark.tgz",
        "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
        "benchmark.tgz",
    ),
    digests=("md5:82b4d87ceb2ed10f6038a1cba92111cb",),
    top="benchmark_RELEASE/dataset",
    holds=("cls/*.mat", "train.txt", "val.txt"),
)
_LISTS = "ImageSets/Segmentation"


def _arrange(stage: Stage) -> None:
    lists = _lists(stage)
    for name, stems in lists.items():
        text = "".join(f"{stem}\n" for stem in stems)
        stage.write(f"{_LISTS}/{name}.txt", text.encode())
    own = sorted({*lists["train"], *lists["val"]})
    if stage.subset is None:
        every = stage.names(_VOC.name)
        there = {f"{_LISTS}/{name}.txt" for name in lists}
        stage.put(_VOC.name, {name: name for name in every if name not in there})
    else:
        stage.say("  the lists of ImageSets/Main and Layout, and masks of objects, are left out")
        stems = sorted({*own, *lists["aug"]})
        names = [f"JPEGImages/{stem}.jpg" for stem in stems]
        names += [f"Annotations/{stem}.xml" for stem in stems]
        names += [f"SegmentationClass/{stem}.png" for stem in own]
        there = stage.source(_VOC.name).sizes()
        stage.put(_VOC.name, {n: n for n in names if n in there or n.startswith("JPEG")})
    # trainaug.txt names the images of train too, whose own masks are better than SBD's.
    own_masks = {
        f"SegmentationClass/{stem}.png": f"SegmentationClassAug/{stem}.png"
        for stem in lists["train"]
    }
    stage.put(_VOC.name, own_masks)
    masks = {f"cls/{stem}.mat": f"SegmentationClassAug/{stem}.png" for stem in lists["aug"]}
    stage.put(_SBD.name, masks, mask_of_mat)


def _lists(stage: Stage) -> dict[str, list[str]]:
    """Return the names of each split; SBD's are those that VOC has no masks of its own for."""
    texts = stage.work / "lists"
    stage.put(_VOC.name, {f"{_LISTS}/{n}.txt": f"{n}.txt" for n in ("train", "val")}, base=texts)
    stage.put(_SBD.name, {f"{n}.txt": f"sbd_{n}.txt" for n in ("train", "val")}, base=texts)
    lists = {name: sorted(_words(texts / f"{name}.txt")) for name in ("train", "val")}
    sbd = {*_words(texts / "sbd_train.txt"), *_words(texts / "sbd_val.txt")}
    lists["aug"] = sorted(sbd - {*lists["train"], *lists["val"]})
    if stage.subset:
        lists = {name: stage.subset.choose(stems) for name, stems in lists.items()}
    lists["trainaug"] = sorted([*lists["train"], *lists["aug"]])
    return lists


def _words(path: Path) -> Iterator[str]:
    for line in path.read_text("utf-8").splitlines():
        if line.strip():
            yield line.strip()


def mask_of_mat(name: str, content: bytes) -> bytes:
    """Return the mask of a file of MATLAB's, ``GTcls.Segmentation``, as a PNG.

    Raises:
        MissingPackageError: scipy is not installed.
        DataError: The file has no such mask.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingPackageError(
            f"SBD's masks ({_SBD.name}) are files of MATLAB's, which scipy reads: pip install scipy"
        ) from error
    try:
        return png(loadmat(io.BytesIO(content))["GTcls"][0]["Segmentation"][0])
    except Exception as error:  # loadmat raises nearly anything for damaged files
        raise DataError(
            f"{name} in {_SBD.name} has no mask GTcls.Segmentation ({one_line(error)}): get the "
            "archive again"
        ) from error


VOC2012 = DatasetCard(
    name="voc2012",
    title="PASCAL VOC 2012 with SBD",
    task="semantic segmentation and object detection",
    classes=21,
    terms="the images belong to their authors on Flickr, under Flickr's terms of use; SBD's masks "
    "are given without a licence, for research",
    terms_url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/#rights",
    home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    files=(_VOC, _SBD),
    splits=tuple(
        Split(name, "JPEGImages", count, folder, listing=f"{_LISTS}/{name}.txt")
        for name, count, folder in (
            ("train", 1464, "SegmentationClass"),
            ("val", 1449, "SegmentationClass"),
            ("aug", 9118, "SegmentationClassAug"),
        )
    ),
    arrange=_arrange,
    labels=frozenset({*range(21), 255}),
    configs="mmattn::ccnet/ccnet_r101-d8_4xb4-20k_voc12aug-512x512.py",
    default_root="data/VOCdevkit/VOC2012",
)
