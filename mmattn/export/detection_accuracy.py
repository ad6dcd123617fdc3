"""Average precision of any detector, so that torch and an exported file are measured alike."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.boxes.coco import load_coco
from mmattn.detections import Detections
from mmattn.errors import DataError
from mmattn.inference.images import find_images

#: Largest difference of an AP between torch and a file; AP is 0 to 1.
MAX_AP_DIFFERENCE = 0.005


@dataclass(frozen=True)
class AccuracyPair:
    """AP of a model in torch and of its file on the same images, 0 to 1.

    Attributes:
        images: Number of images.
        torch, file: AP over IoU 0.50 to 0.95, ``mAP``, and at 0.50, ``mAP_50``.
        limit: Largest difference allowed.
    """

    images: int
    torch: dict[str, float]
    file: dict[str, float]
    limit: float = MAX_AP_DIFFERENCE

    @property
    def passed(self) -> bool:
        # Written so that NaN fails.
        return all(abs(self.torch[key] - self.file[key]) <= self.limit for key in self.torch)

    @property
    def compared(self) -> bool:
        """Whether anything of the annotations was found, so that equal numbers say something."""
        return max(*self.torch.values(), *self.file.values()) > 0

    def describe(self) -> str:
        """Return one line for the report."""
        if self.passed and not self.compared:
            return (
                f"{self.images} annotated images: nothing to compare, mAP is 0 in torch and in the "
                "file: neither finds an annotated object. Give images and annotations of the "
                "detector's objects, or export a checkpoint that was trained longer"
            )
        parts = [
            f"{key} {self.torch[key]:.4f} in torch, {self.file[key]:.4f} in the file"
            for key in self.torch
        ]
        state = "ok" if self.passed else f"FAILS, the limit is {self.limit:g}"
        return f"{self.images} annotated images: {'; '.join(parts)}: {state}"


class AnnotatedImages:
    """Images with COCO annotations.

    Args:
        annotations: COCO's JSON file.
        paths: Image files and folders of images, sub-folders included; images without annotations
            are left out.
        classes: Class names of the detector by index; the file has to have these categories.

    Raises:
        DataError: The file is missing, is not COCO's, lacks a class, or none of the images is in
            it.
    """

    def __init__(
        self, annotations: str | Path, paths: Iterable[str | Path], classes: Sequence[str]
    ) -> None:
        if not Path(annotations).is_file():
            raise DataError(f"{annotations}: there is no such file of annotations")
        content = load_coco(str(annotations))
        by_name = {category["name"]: category["id"] for category in content["categories"]}
        missing = [name for name in classes if name not in by_name]
        if missing:
            raise DataError(
                f"{annotations} has no category {', '.join(missing[:5])}; its categories are "
                f"{', '.join(list(by_name)[:10])}. Give the annotations of the model's classes"
            )
        self.category_ids = [by_name[name] for name in classes]
        id_of = _ByName(content["images"])
        found = ((id_of(file), file) for file in find_images(paths, below=True))
        self.files = {image: file for image, file in found if image is not None}
        if not self.files:
            raise DataError(f"{annotations} has none of the images; is it the right file?")
        chosen = set(self.files)
        self.content = {
            "images": [image for image in content["images"] if image["id"] in chosen],
            "categories": content["categories"],
            "annotations": [a for a in content["annotations"] if a["image_id"] in chosen],
        }

    def __len__(self) -> int:
        return len(self.files)

    def average_precision(self, detect: Callable[[Path], Detections]) -> dict[str, float]:
        """Return ``mAP`` and ``mAP_50``, 0 to 1, of a function from an image file to detections."""
        from faster_coco_eval import COCO, COCOeval_faster

        results = [
            entry
            for image, file in self.files.items()
            for entry in self._results(image, detect(file))
        ]
        if not results:
            return {"mAP": 0.0, "mAP_50": 0.0}
        truth = COCO(self.content)
        evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=_debug)
        evaluation.params.catIds = list(self.category_ids)
        evaluation.params.imgIds = list(self.files)
        evaluation.evaluate()
        evaluation.accumulate()
        # (IoU thresholds, recalls, classes, areas, numbers of detections)
        precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
        return {"mAP": _mean(precision), "mAP_50": _mean(precision[:1])}

    def _results(self, image: int, found: Detections) -> list[dict[str, Any]]:
        return [
            {
                "image_id": image,
                "category_id": self.category_ids[int(label)],
                "bbox": [float(v) for v in (*box[:2], *(box[2:] - box[:2]))],
                "score": float(score),
            }
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
        ]


class _ByName:
    """Finds the entry of an image file by its name and, where entries share one, by its folders."""

    def __init__(self, images: Sequence[dict[str, Any]]) -> None:
        self._entries: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for image in images:
            parts = Path(image["file_name"].replace("\\", "/")).parts
            self._entries.setdefault(parts[-1], []).append((parts, image["id"]))

    def __call__(self, file: Path) -> int | None:
        entries = self._entries.get(file.name, [])
        if len(entries) == 1:
            return entries[0][1]
        whole = Path(os.path.abspath(file)).parts
        fitting = [image for parts, image in entries if whole[-len(parts) :] == parts]
        return fitting[0] if len(fitting) == 1 else None


def _mean(precision: np.ndarray) -> float:
    """COCO's mean over what occurs; -1 marks a class without an object."""
    there = precision[precision > -1]
    return float(there.mean()) if there.size else 0.0


def _debug(*message: object) -> None:
    logging.getLogger(__name__).debug(" ".join(map(str, message)))
