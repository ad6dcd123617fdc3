"""Small random datasets in COCO's format, with everything that evaluators get wrong."""

from __future__ import annotations

import copy
import io
from contextlib import redirect_stdout

import numpy as np
from faster_coco_eval import COCO
from pycocotools import mask as rle
from pycocotools.coco import COCO as PlainCOCO
from pycocotools.cocoeval import COCOeval as PlainCOCOeval

from mmattn.evaluation.detection.matching import Matches, match_dataset
from tests.support.panoptic_reference import plain_boundary, plain_iou

#: Ids out of order and with gaps; the last class never occurs.
CATEGORIES = [{"id": i, "name": n} for i, n in ((7, "cat"), (3, "dog"), (12, "fox"), (9, "cow"))]
SIDE = 160
THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETS = [100, 300, 1000]
#: Sides of squares whose areas are the ends of COCO's ranges, or next to them.
_BORDERS = (31, 32, 33, 95, 96, 97)


def _mask(box: list[float], rng: np.random.Generator) -> dict:
    x, y, w, h = (round(value) for value in box)
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[y : y + max(h, 1), x : x + max(w, 1)] = 1
    if rng.random() < 0.5:  # a corner is missing: box and mask have other areas
        mask[y : y + max(h, 1) // 2, x : x + max(w, 1) // 2] = 0
    encoded = rle.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def _box(rng: np.random.Generator) -> list[float]:
    if rng.random() < 0.3:
        side = float(rng.choice(_BORDERS))
        return [*map(float, rng.integers(0, SIDE - 97, 2)), side, side]
    w, h = rng.uniform(2, 130, 2)
    return [float(rng.uniform(0, SIDE - w)), float(rng.uniform(0, SIDE - h)), float(w), float(h)]


def _near(box: list[float], rng: np.random.Generator) -> list[float]:
    """A box that is the same, shifted, or of the same place and another size."""
    x, y, w, h = box
    if rng.random() < 0.2:
        return list(box)
    dx, dy = rng.normal(0, 0.12, 2) * (w, h)
    w, h = w * rng.uniform(0.7, 1.4), h * rng.uniform(0.7, 1.4)
    x, y = max(0.0, x + dx), max(0.0, y + dy)
    return [float(x), float(y), float(min(w, SIDE - x)), float(min(h, SIDE - y))]


def random_case(seed: int, *, ties: bool = True) -> tuple[dict, list[dict]]:
    """Ground truth and detections: crowds, ties, empty images and classes, doubles, misses.

    Args:
        seed: Decides everything.
        ties: Whether many detections have equal scores.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    images = [
        {"id": int(i), "width": SIDE, "height": SIDE, "file_name": f"{i}.png"}
        for i in rng.permutation(np.arange(1, 4 * count, 3))
    ]
    annotations, detections = [], []
    for image in images:
        for _ in range(int(rng.choice([0, 1, 2, 4, 6]))):
            box = _box(rng)
            category = CATEGORIES[int(rng.integers(3))]["id"]
            segmentation = _mask(box, rng)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": box,
                    "area": float(rle.area(segmentation)),
                    "iscrowd": int(rng.random() < 0.15),
                    "segmentation": segmentation,
                }
            )
            for _ in range(int(rng.choice([0, 1, 1, 2, 3]))):
                near = _near(box, rng)
                other = CATEGORIES[int(rng.integers(4))]["id"]
                detections.append(
                    {
                        "image_id": image["id"],
                        "category_id": category if rng.random() < 0.75 else other,
                        "bbox": near,
                        "segmentation": _mask(near, rng),
                    }
                )
        for _ in range(int(rng.choice([0, 0, 1, 3]))):  # on the background
            box = _box(rng)
            detections.append(
                {
                    "image_id": image["id"],
                    "category_id": CATEGORIES[int(rng.integers(4))]["id"],
                    "bbox": box,
                    "segmentation": _mask(box, rng),
                }
            )
    if rng.random() < 0.05:
        detections = []
    for detection in detections:
        score = float(rng.random())
        detection["score"] = round(score, 1) if ties and rng.random() < 0.6 else score
    rng.shuffle(detections)
    dataset = {"images": images, "annotations": annotations, "categories": CATEGORIES, "info": {}}
    return dataset, detections


def without_boxes(detections: list[dict], iou_type: str) -> list[dict]:
    """As the metric hands masks to an evaluator."""
    if iou_type == "bbox":
        return [{k: v for k, v in d.items() if k != "segmentation"} for d in detections]
    return [{k: v for k, v in d.items() if k != "bbox"} for d in detections]


class _PlainBoundaryEval(PlainCOCOeval):
    """The smaller one of mask IoU and boundary IoU; crowds have no outline."""

    def computeIoU(self, imgId, catId):
        ious = super().computeIoU(imgId, catId)
        detections = sorted(self._dts[imgId, catId], key=lambda d: -d["score"])
        for row, detection in enumerate(detections[: len(ious)]):
            for column, truth in enumerate(self._gts[imgId, catId]):
                if not truth["iscrowd"]:
                    masks = [rle.decode(one["segmentation"]) > 0 for one in (detection, truth)]
                    of_bands = plain_iou(*map(plain_boundary, masks), np.zeros((SIDE, SIDE), bool))
                    ious[row, column] = min(ious[row, column], of_bands)
        return ious


def plain_evaluation(
    dataset: dict, detections: list[dict], iou_type: str, thresholds: np.ndarray = THRESHOLDS
) -> PlainCOCOeval:
    """pycocotools' own evaluation, accumulated; by outline with IoUs of plain masks."""
    with redirect_stdout(io.StringIO()):
        truth = PlainCOCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        records = copy.deepcopy(without_boxes(detections, iou_type))
        if records:
            found = truth.loadRes(records)
        else:  # loadRes takes no empty list
            found = PlainCOCO()
            found.dataset = {**copy.deepcopy(dataset), "annotations": []}
            found.createIndex()
        if iou_type == "boundary":
            evaluation = _PlainBoundaryEval(truth, found, "segm")
        else:
            evaluation = PlainCOCOeval(truth, found, iou_type)
        evaluation.params.maxDets = MAX_DETS
        evaluation.params.iouThrs = thresholds
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def matched(
    dataset: dict, detections: list[dict], iou_type: str = "bbox", max_dets: int = MAX_DETS[-1]
) -> Matches:
    """Our matches of the same data."""
    return match_dataset(
        COCO(copy.deepcopy(dataset)),
        without_boxes(detections, iou_type),
        iou_type,
        image_ids=[image["id"] for image in dataset["images"]],
        category_ids=[category["id"] for category in dataset["categories"]],
        thresholds=THRESHOLDS,
        max_dets=max_dets,
    )


def simple_case(
    objects: list[tuple], detections: list[tuple], images: int = 1
) -> tuple[dict, list[dict]]:
    """A case by hand.

    Args:
        objects: (image, category id, box) or (image, category id, box, iscrowd).
        detections: (image, category id, box, score).
        images: Number of images, with ids from 1.
    """
    annotations = [
        {
            "id": place + 1,
            "image_id": image,
            "category_id": category,
            "bbox": list(map(float, box)),
            "area": float(box[2] * box[3]),
            "iscrowd": int(bool(crowd)),
        }
        for place, (image, category, box, *crowd) in enumerate(objects)
        for crowd in [bool(crowd and crowd[0])]
    ]
    found = [
        {"image_id": image, "category_id": category, "bbox": list(map(float, box)), "score": score}
        for image, category, box, score in detections
    ]
    records = [
        {"id": i + 1, "width": SIDE, "height": SIDE, "file_name": f"{i + 1}.png"}
        for i in range(images)
    ]
    dataset = {"images": records, "annotations": annotations, "categories": CATEGORIES, "info": {}}
    return dataset, found
