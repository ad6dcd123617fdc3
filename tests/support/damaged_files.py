"""Damaged images, masks, annotation files and configs, each from a number, and their outcome."""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmattn.boxes import BoxFolder
from mmattn.config import load_config
from mmattn.data.folder.stored_mask import read_mask
from mmattn.errors import ConfigError, DataError, MissingPackageError
from mmattn.images import decode_image
from mmattn.preflight.data import check_dataset
from tests.support.box_folders import coco_content, objects_of, write_coco

#: Pixels of an image at most: a damaged header may claim hundreds of millions, which a machine
#: with little memory decodes slowly, and which the limit that users can set refuses.
MOST_PIXELS = 1_000_000
_ODD = (
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**63, 2**80, "", " ", "0", "1", "x"),
    *([], {}, [[]], [1, 2, 3], {"id": 1}, "../x", "\x00", float("nan"), float("inf")),
)


# --- damage --------------------------------------------------------------------------------------


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return bytes of which some are changed, missing, doubled or cut off."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        if not data:
            break
        # The first bytes decide most.
        reach = len(data) if rng.random() < 0.6 else min(len(data), 64)
        place, length = rng.randrange(reach), rng.choice([1, 2, 4, 16, 64])
        kind = rng.choice(["bit", "bit", "byte", "zero", "ones", "cut", "drop", "double", "swap"])
        if kind == "bit":
            data[place] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            data[place] = rng.randrange(256)
        elif kind in ("zero", "ones"):
            fill = b"\0" if kind == "zero" else b"\xff"
            data[place : place + length] = fill * min(length, len(data) - place)
        elif kind == "cut":
            del data[place:]
        elif kind == "drop":
            del data[place : place + length]
        elif kind == "double":
            data[place:place] = data[place : place + length]
        else:
            other = rng.randrange(len(data))
            data[place], data[other] = data[other], data[place]
    return bytes(data)


def damage_tree(content: Any, rng: random.Random) -> Any:
    """Return JSON of which some values are others, missing, doubled or moved."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        holders = [node for node in _holders(content) if node]
        if not holders:
            break
        node = rng.choice(holders)
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        kind = rng.choice(["odd", "odd", "odd", "drop", "double", "nest", "move", "rename"])
        if kind == "drop":
            del node[key]
        elif kind == "double" and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        elif kind == "nest":
            node[key] = [node[key]]
        elif kind == "move":
            node[key] = copy.deepcopy(rng.choice(holders))
        elif kind == "rename" and isinstance(node, dict):
            node[rng.choice(["id", "type", "name", "x", ""])] = node.pop(key)
        else:
            node[key] = copy.deepcopy(rng.choice(_ODD))
    return content


def _holders(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, (dict, list)) else []
    return own + [holder for one in inner for holder in _holders(one)]


# --- images and masks ----------------------------------------------------------------------------


def images() -> list[bytes]:
    """Whole images of every format, mode and kind of compression."""
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(24), np.arange(31))[..., None] * [3, 5, 2] % 256
    rgb = Image.fromarray((smooth + rng.integers(0, 9, smooth.shape)).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray((np.asarray(rgb)[..., 0].astype(np.uint16) << 8) + 3)
    saved: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (rgb, "JPEG", {"quality": 90}),
        (rgb, "JPEG", {"progressive": True, "exif": exif}),
        (rgb.convert("L"), "JPEG", {}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgb, "PNG", {"exif": exif}),
        (rgb.convert("P"), "PNG", {}),
        (rgb.convert("RGBA"), "PNG", {}),
        (rgb.convert("1"), "PNG", {}),
        (deep, "PNG", {}),
        (rgb, "TIFF", {}),
        (rgb, "TIFF", {"compression": "tiff_lzw"}),
        (rgb.convert("L"), "TIFF", {"compression": "tiff_adobe_deflate"}),
        (rgb.convert("1"), "TIFF", {"compression": "group4"}),
        (deep, "TIFF", {}),
        (rgb.convert("F"), "TIFF", {}),
        (rgb.convert("P"), "GIF", {}),
        (rgb.convert("P"), "GIF", {"save_all": True, "append_images": [rgb.convert("P")]}),
        (rgb, "BMP", {}),
        (rgb, "WEBP", {"lossless": True}),
        (rgb, "WEBP", {}),
    ]
    contents = []
    for image, form, options in saved:
        file = io.BytesIO()
        image.save(file, form, **options)
        contents.append(file.getvalue())
    return contents


def try_image(contents: list[bytes], number: int) -> str:
    """Decode a damaged image: ``image``, or ``refused``."""
    rng = random.Random(number)
    content = damage(contents[number % len(contents)], rng)
    try:
        pixels = decode_image(content, "folder/x", bit_depth=rng.choice([None, 16]))
    except DataError as error:
        assert "folder/x" in str(error)
        return "refused"
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
    return "image"


def try_mask(contents: list[bytes], folder: Path, number: int) -> str:
    """Read a damaged mask: ``image``, or ``refused``."""
    path = folder / "mask.png"
    path.write_bytes(damage(contents[number % len(contents)], random.Random(number)))
    try:
        mask = read_mask(str(path))
        assert mask.shape == mask.rgb().shape[:2]
        mask.grey()
    except DataError as error:
        assert str(path) in str(error)
        return "refused"
    return "image"


# --- annotation files and configs ----------------------------------------------------------------


def coco_folder(folder: Path) -> tuple[Path, Any]:
    """Write a folder in COCO's layout; return it and the content of its training file."""
    root = write_coco(folder / "coco", 2, 1, masks="polygons")
    content = coco_content({f"{i:03d}.png": objects_of(i) for i in range(2)}, masks="rle")
    content["annotations"][0]["segmentation"] = [[4, 8, 28, 8, 28, 32, 4, 32]]
    # The whole file is read in both ways; the packages that takes are imported once.
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))
    assert BoxFolder(str(root), targets="masks").records("train").images
    assert not check_dataset(_plain_coco(root, True), "train_dataloader.dataset").warnings
    return root, content


def try_coco(root: Path, content: Any, number: int) -> str:
    """Read a damaged COCO file as a folder or as mmdet's dataset: ``read`` or ``refused``."""
    rng = random.Random(number)
    file = root / "annotations/instances_train2017.json"
    if rng.random() < 0.7:
        file.write_text(json.dumps(damage_tree(content, rng)))
    else:
        file.write_bytes(damage(json.dumps(content).encode(), rng))
    masks = rng.random() < 0.5
    try:
        if rng.random() < 0.6:
            bad = rng.choice(["error", "skip"])
            folder = BoxFolder(str(root), targets="masks" if masks else "boxes", bad_objects=bad)
            for image in folder.records("train").images:
                for item in image.objects:
                    assert item.box[2] > item.box[0] and item.box[3] > item.box[1]
        else:
            check_dataset(_plain_coco(root, masks), "train_dataloader.dataset")
    except (DataError, ConfigError) as error:
        assert str(error).strip()
        return "refused"
    return "read"


def _plain_coco(root: Path, masks: bool) -> dict[str, Any]:
    return {
        "type": "mmdet.CocoDataset",
        "data_root": str(root),
        "ann_file": "annotations/instances_train2017.json",
        "data_prefix": {"img": "train2017/"},
        "metainfo": {"classes": ("dot", "cell", "rod")},
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": masks},
        ],
    }


CONFIG = {
    "default_scope": "mmseg",
    "custom_imports": {"imports": ["mmattn"], "allow_failed_imports": False},
    "model": {
        "type": "EncoderDecoder",
        "backbone": {"type": "ResNetV1c", "depth": 18, "out_indices": [0, 1, 2, 3]},
        "decode_head": {"type": "FCNHead", "in_channels": 512, "num_classes": 4},
        "test_cfg": {"mode": "whole", "nms": {"type": "nms", "iou_threshold": 0.5}},
    },
    "train_dataloader": {
        "batch_size": 2,
        "sampler": {"type": "InfiniteSampler", "shuffle": True},
        "dataset": {"type": "BaseSegDataset", "pipeline": [{"type": "Resize", "scale": [32, 32]}]},
    },
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
    "param_scheduler": [{"type": "PolyLR", "begin": 0, "end": 10, "by_epoch": False}],
    "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1}},
    "work_dir": "work_dirs/x",
}


def try_config(folder: Path, number: int) -> str:
    """Read a damaged config of data: ``read`` or ``refused``."""
    import yaml

    rng = random.Random(number)
    content = damage_tree(CONFIG, rng) if rng.random() < 0.7 else CONFIG
    is_yaml = rng.random() < 0.5
    text = yaml.safe_dump(content) if is_yaml else json.dumps(content)
    data = text.encode() if content is not CONFIG else damage(text.encode(), rng)
    path = folder / ("config.yaml" if is_yaml else "config.json")
    path.write_bytes(data)
    try:
        load_config(path)
    except (ConfigError, MissingPackageError) as error:
        assert str(error).strip()
        return "refused"
    return "read"


def trial(kind: str, folder: Path) -> Callable[[int], str]:
    """Return the function of a kind of file: number -> outcome."""
    import functools

    if kind == "images":
        return functools.partial(try_image, images())
    if kind == "masks":
        return functools.partial(try_mask, images(), folder)
    if kind == "coco":
        return functools.partial(try_coco, *coco_folder(folder))
    return functools.partial(try_config, folder)
