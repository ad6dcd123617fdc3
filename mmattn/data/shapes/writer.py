"""Writes a shapes dataset to disk in every format the systems read.

Layout under the root::

    images/{train,val}/000000.jpg
    annotations/{train,val}/000000.png           label maps, uint8 (see classes.py for the table)
    annotations/instances_{train,val}.json       COCO detection and instance segmentation, RLE masks
    annotations/panoptic_{train,val}.json        COCO panoptic; the images' segment ids are in
    annotations/panoptic_{train,val}/000000.png  ... these, id = R + 256 G + 256^2 B
    classes.json                                 names of the classes, by value in the label maps
    shapes.json                                  the parameters, written last
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmattn.errors import ConfigError, DataError

from .classes import CLASSES, STUFF_CLASSES, THING_CLASSES, category_id
from .scene import Scene, ShapesSceneGenerator

MANIFEST = "shapes.json"
CLASSES_FILE = "classes.json"
_FORMAT = 2  # changes whenever the same parameters draw other images
_SPLITS = ("train", "val")


def write_shapes_dataset(
    root: str | os.PathLike[str],
    *,
    num_train: int,
    num_val: int,
    size: tuple[int, int] = (192, 256),
    seed: int = 0,
    crowd_probability: float = 0.0,
    colour_hint: float = 0.8,
    overwrite: bool = False,
) -> Path:
    """Write the dataset, or reuse the one that is there with the same parameters.

    The files appear under ``root`` all at once: they are written beside it and renamed, so an
    interrupted run leaves no half dataset. The same parameters and library versions give the same
    bytes.

    Args:
        root: Folder to create.
        num_train: Images in the train split.
        num_val: Images in the val split.
        size: Height and width of the images.
        seed: Random seed of the dataset.
        crowd_probability: Share of the images with a crowd region (``iscrowd=1``).
        colour_hint: Share of the shapes whose hue is near their class's own.
        overwrite: Replace a shapes dataset that has other parameters; anything else is never
            replaced.

    Returns:
        ``root`` as a path.

    Raises:
        ConfigError: Parameters out of range.
        DataError: ``root`` exists and holds something else.
    """
    root = Path(root)
    if num_train < 1 or num_val < 1:
        raise ConfigError(f"num_train={num_train}, num_val={num_val}: give at least 1 of each")
    generator = ShapesSceneGenerator(tuple(size), seed, crowd_probability, colour_hint)
    manifest = {
        "generator": "mmattn.shapes",
        "format": _FORMAT,
        "num_train": int(num_train),
        "num_val": int(num_val),
        "size": list(generator.size),
        "seed": generator.seed,
        "crowd_probability": generator.crowd_probability,
        "colour_hint": generator.colour_hint,
    }
    if _is_complete(root, manifest):
        return root
    _refuse_foreign(root, manifest, overwrite)

    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}.writing-"))
    try:
        for split, count in zip(_SPLITS, (num_train, num_val), strict=True):
            _write_split(work, generator, split, count)
        names = json.dumps(CLASSES)
        (work / CLASSES_FILE).write_text(names + "\n", encoding="utf-8")
        (work / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        work.chmod(0o755)  # mkdtemp makes private folders
        _publish(work, root, manifest)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return root


def _is_complete(root: Path, manifest: dict) -> bool:
    """Return whether ``root`` holds the very set: same manifest, no file removed since."""
    if _read_manifest(root) != manifest or not (root / CLASSES_FILE).is_file():
        return False
    for split in _SPLITS:
        for folder in (f"images/{split}", f"annotations/{split}", f"annotations/panoptic_{split}"):
            path = root / folder
            if not path.is_dir() or len(os.listdir(path)) != manifest[f"num_{split}"]:
                return False
        for kind in ("instances", "panoptic"):
            if not (root / f"annotations/{kind}_{split}.json").is_file():
                return False
    return True


def _read_manifest(root: Path) -> dict | None:
    try:
        return json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _refuse_foreign(root: Path, manifest: dict, overwrite: bool) -> None:
    """Stop before generating when the folder must not be replaced."""
    if not root.exists() or (root.is_dir() and not os.listdir(root)):
        return
    found = _read_manifest(root) if root.is_dir() else None
    if found is None or found.get("generator") != manifest["generator"]:
        raise DataError(
            f"{root} exists and is not a shapes dataset (no {MANIFEST} of ours in it): "
            "give another folder, nothing was written"
        )
    if not overwrite and found != manifest:
        other = [f"{k}={found.get(k)}" for k in manifest if found.get(k) != manifest[k]]
        raise DataError(
            f"{root} holds a shapes dataset with other parameters ({', '.join(other)}): "
            "give another folder, or overwrite=True (--overwrite) to replace it"
        )


def _publish(work: Path, root: Path, manifest: dict) -> None:
    """Rename the finished folder into place; another process may have done so meanwhile."""
    if root.exists() and os.listdir(root):
        old = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}.old-"))
        if _is_complete(root, manifest):
            old.rmdir()
            return
        os.rename(root, old / "set")
        shutil.rmtree(old, ignore_errors=True)
    try:
        os.rename(work, root)
    except OSError:
        if not _is_complete(root, manifest):
            raise


def _write_split(root: Path, generator: ShapesSceneGenerator, split: str, count: int) -> None:
    images, masks = root / "images" / split, root / "annotations" / split
    panoptic_maps = root / "annotations" / f"panoptic_{split}"
    for folder in (images, masks, panoptic_maps):
        folder.mkdir(parents=True)
    records, instances, panoptic = [], [], []
    height, width = generator.size
    for index in range(count):
        scene, name = generator.scene(split, index), f"{index:06d}"
        _write_image(images / f"{name}.jpg", scene.image[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 95)
        _write_image(masks / f"{name}.png", scene.semantic)
        record = {"id": index, "file_name": f"{name}.jpg", "height": height, "width": width}
        records.append(record)
        instances.extend(_instances(scene, index, first_id=len(instances) + 1))
        ids, segments = _segments(scene, np.random.default_rng([generator.seed, index]))
        rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
        _write_image(panoptic_maps / f"{name}.png", rgb[..., ::-1])
        panoptic.append({"image_id": index, "file_name": f"{name}.png", "segments_info": segments})

    things = [{"id": category_id(i), "name": name} for i, name in enumerate(THING_CLASSES)]
    everything = [
        {"id": category_id(i), "name": name, "isthing": int(name not in STUFF_CLASSES)}
        for i, name in enumerate(CLASSES)
    ]
    for kind, categories, labels in (
        ("instances", things, instances),
        ("panoptic", everything, panoptic),
    ):
        content = {"images": records, "categories": categories, "annotations": labels}
        path = root / "annotations" / f"{kind}_{split}.json"
        path.write_text(json.dumps(content), encoding="utf-8")


def _write_image(path: Path, pixels: np.ndarray, *options: int) -> None:
    """Encode and write; ``cv2.imwrite`` alone would report a full disk by its return value only."""
    done, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(pixels), list(options))
    if not done:
        raise DataError(f"{path}: OpenCV could not encode an image of shape {pixels.shape}")
    path.write_bytes(encoded.tobytes())


def _region(mask: np.ndarray) -> dict:
    """Return the area in pixels and bounding box ``[x, y, width, height]`` of a mask ``(H, W)``."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = int(columns[0]), int(rows[0])
    box = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
    return {"area": int(mask.sum()), "bbox": box}


def _instances(scene: Scene, image_id: int, first_id: int) -> list[dict]:
    """Return the COCO annotations of a scene's shapes."""
    annotations = []
    for owner, (label, crowd) in enumerate(zip(scene.labels, scene.crowds, strict=True)):
        mask = scene.owner == owner
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        annotations.append(
            {
                "id": first_id + owner,
                "image_id": image_id,
                "category_id": category_id(label),
                "iscrowd": int(crowd),
                **_region(mask),
                "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode()},
            }
        )
    return annotations


def _segments(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, list[dict]]:
    """Return segment ids ``(H, W)`` int64 and ``segments_info``: shapes, then grounds."""
    parts = [
        (scene.owner == owner, label, crowd)
        for owner, (label, crowd) in enumerate(zip(scene.labels, scene.crowds, strict=True))
    ]
    for label in np.unique(scene.semantic[scene.owner < 0]).tolist():
        parts.append(((scene.owner < 0) & (scene.semantic == label), label, False))
    # Ids are arbitrary 24-bit numbers in COCO's own files; a reader that drops a byte must not get
    # by here.
    numbers = rng.choice(1 << 24, len(parts) + 1, replace=False)
    numbers = numbers[numbers != 0][: len(parts)].tolist()
    ids = np.zeros(scene.semantic.shape, np.int64)
    segments = []
    for number, (mask, label, crowd) in zip(numbers, parts, strict=True):
        ids[mask] = number
        info = {"id": number, "category_id": category_id(label), "iscrowd": int(crowd)}
        segments.append({**info, **_region(mask)})
    return ids, segments
