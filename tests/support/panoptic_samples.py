"""Panoptic ground truth on a disk, and predictions in the form of mmdet's models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

from mmattn.detections.segment_map import id_colours
from tests.support.panoptic_cases import NUM_CLASSES, perturbed, random_truth

#: Three things and two stuff classes; the unicorn never occurs.
CLASSES = ("cat", "dog", "fox", "grass", "sky", "unicorn")
#: Ids with gaps and out of order.
CATEGORY_IDS = (7, 3, 12, 90, 40, 200)
META = {
    "classes": CLASSES,
    "thing_classes": ("cat", "dog", "fox", "unicorn"),
    "stuff_classes": ("grass", "sky"),
}


@dataclass
class Scene:
    """One image: maps of ids with their classes."""

    number: int
    truth: np.ndarray
    truth_labels: dict[int, int]
    crowd: set[int]
    found: np.ndarray
    found_labels: dict[int, int]

    def class_maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Class of each pixel in ground truth and prediction, -1 for void."""
        maps = []
        for ids, labels in ((self.truth, self.truth_labels), (self.found, self.found_labels)):
            classes = np.full(ids.shape, -1)
            for number, label in labels.items():
                classes[ids == number] = label
            maps.append(classes)
        return maps[0], maps[1]


def random_scenes(seed: int, count: int, labels: Sequence[int] = range(5)) -> list[Scene]:
    """Scenes with at least a segment each; crowds are of things, one of a class in an image."""
    rng = np.random.default_rng(seed)
    scenes: list[Scene] = []
    while len(scenes) < count:
        truth, truth_labels, crowd = random_truth(rng)
        if not truth_labels:
            continue
        found, found_labels, _ = perturbed((truth, truth_labels, crowd), rng)
        others = {label: int(rng.choice(list(labels))) for label in range(NUM_CLASSES)}
        truth_labels = {n: others[label] for n, label in truth_labels.items()}
        found_labels = {n: others[label] for n, label in found_labels.items()}
        of_class = {
            truth_labels[n]: n for n in crowd if CLASSES[truth_labels[n]] not in ("grass", "sky")
        }
        scenes.append(
            Scene(len(scenes), truth, truth_labels, set(of_class.values()), found, found_labels)
        )
    return scenes


def write_truth(root: Path, scenes: Sequence[Scene]) -> Path:
    """Write ``panoptic.json`` and the maps in ``panoptic``."""
    (root / "panoptic").mkdir(parents=True, exist_ok=True)
    annotations = []
    for scene in scenes:
        name = f"{scene.number:03d}.png"
        ids = np.where(np.isin(scene.truth, list(scene.truth_labels)), scene.truth, 0)
        assert cv2.imwrite(str(root / "panoptic" / name), id_colours(ids)[..., ::-1])
        segments = []
        for number, label in scene.truth_labels.items():
            ys, xs = np.nonzero(scene.truth == number)
            segments.append(
                {
                    "id": number,
                    "category_id": CATEGORY_IDS[label],
                    "iscrowd": int(number in scene.crowd),
                    "area": len(ys),
                    "bbox": [
                        *(int(xs.min()), int(ys.min())),
                        *(int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1),
                    ],
                }
            )
        annotations.append({"image_id": scene.number, "file_name": name, "segments_info": segments})
    content = {
        "images": [
            {
                "id": scene.number,
                "file_name": f"{scene.number:03d}.jpg",
                "height": scene.truth.shape[0],
                "width": scene.truth.shape[1],
            }
            for scene in scenes
        ],
        "categories": [
            {"id": number, "name": name, "isthing": int(name in META["thing_classes"])}
            for number, name in zip(CATEGORY_IDS, CLASSES, strict=True)
        ],
        "annotations": annotations,
    }
    (root / "panoptic.json").write_text(json.dumps(content))
    return root


def sample_of(scene: Scene, root: Path, *, instances: bool = False) -> dict[str, Any]:
    """The data sample of a panoptic model, as a metric gets it."""
    panoptic = np.full(scene.found.shape, len(CLASSES))  # void
    for instance, (number, label) in enumerate(scene.found_labels.items(), 1):
        panoptic[scene.found == number] = label + 1000 * instance
    sample: dict[str, Any] = {
        "img_id": scene.number,
        "img_path": str(root / f"images/{scene.number:03d}.jpg"),
        "ori_shape": scene.truth.shape,
        "pred_panoptic_seg": {"sem_seg": torch.tensor(panoptic)[None]},
    }
    if instances:
        sample["pred_instances"] = instances_of(scene)
    return sample


def instances_of(scene: Scene) -> dict[str, torch.Tensor]:
    """Predicted things with scores, as tensors; labels count things alone, which come first."""
    rng = np.random.default_rng(scene.number)
    things = [(n, label) for n, label in scene.found_labels.items() if label < 3]
    masks = np.stack([scene.found == n for n, _ in things] or [np.zeros((0, *scene.found.shape))])
    return {
        "bboxes": torch.zeros((len(things), 4)),
        "scores": torch.tensor(rng.random(len(things))),
        "labels": torch.tensor([label for _, label in things], dtype=torch.long),
        "masks": torch.tensor(masks.reshape(-1, *scene.found.shape).astype(bool)),
    }


def instance_file(root: Path, scenes: Sequence[Scene]) -> str:
    """Write the things of the ground truth as a file of instances; return its path."""
    annotations = []
    for scene in scenes:
        for number, label in scene.truth_labels.items():
            if CLASSES[label] not in META["thing_classes"]:
                continue
            mask = np.asfortranarray(scene.truth == number, np.uint8)
            rle = coco_mask.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": scene.number,
                    "category_id": META["thing_classes"].index(CLASSES[label]),
                    "iscrowd": int(number in scene.crowd),
                    "bbox": coco_mask.toBbox(rle).tolist(),
                    "area": int(mask.sum()),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    content = {
        "images": [
            {
                "id": s.number,
                "file_name": "",
                "height": s.truth.shape[0],
                "width": s.truth.shape[1],
            }
            for s in scenes
        ],
        "categories": [{"id": i, "name": n} for i, n in enumerate(META["thing_classes"])],
        "annotations": annotations,
    }
    (root / "instances.json").write_text(json.dumps(content))
    return str(root / "instances.json")
