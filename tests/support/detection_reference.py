"""Slow, plain analyses of a detector, written from their definitions over whole IoU matrices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as rle

RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Detection:
    """A detection or, without a score, an object."""

    image: int
    label: int
    shape: object
    score: float = 0.0
    crowd: bool = False
    place: int = 0


def split_case(dataset: dict, detections: list[dict], iou_type: str = "bbox"):
    """(objects, crowds, detections by falling score), labels by the order of the category ids."""
    labels = {c: i for i, c in enumerate(sorted(c["id"] for c in dataset["categories"]))}
    key = "bbox" if iou_type == "bbox" else "segmentation"
    truths = [
        Detection(
            a["image_id"], labels[a["category_id"]], a[key], crowd=bool(a["iscrowd"]), place=i
        )
        for i, a in enumerate(dataset["annotations"])
    ]
    found = [
        Detection(d["image_id"], labels[d["category_id"]], d[key], d["score"], place=i)
        for i, d in enumerate(detections)
    ]
    # Images by id, as COCO concatenates them; then by score, equal ones in this order.
    found.sort(key=lambda d: d.image)
    found.sort(key=lambda d: -d.score)
    return [t for t in truths if not t.crowd], [t for t in truths if t.crowd], found


def iou(detection: Detection, truth: Detection) -> float:
    if detection.image != truth.image:
        return 0.0
    return float(rle.iou([detection.shape], [truth.shape], [int(truth.crowd)])[0, 0])


def match(objects, crowds, detections, threshold: float = 0.5) -> dict[int, int | None]:
    """Place of a detection -> place of its object, or None; ignored ones are left out."""
    taken: set[int] = set()
    result: dict[int, int | None] = {}
    for detection in detections:
        best, best_iou = None, min(threshold, 1 - 1e-10)
        for truth in objects:
            overlap = iou(detection, truth)
            same = truth.label == detection.label
            if same and truth.place not in taken and overlap >= best_iou:
                best, best_iou = truth.place, overlap
        if best is not None:
            taken.add(best)
        elif any(c.label == detection.label and iou(detection, c) >= threshold for c in crowds):
            continue
        result[detection.place] = best
    return result


def mean_ap(hits: list[tuple[int, float, bool]], positives: dict[int, int]) -> float:
    """Mean AP of (label, score, hit) in the order of falling scores."""
    values = []
    for label, count in positives.items():
        if count <= 0:
            continue
        own = [hit for one, _, hit in hits if one == label]
        points = []
        true = 0
        for place, hit in enumerate(own):
            true += hit
            points.append((true / count, true / (place + 1)))
        values.append(
            np.mean([max([p for r, p in points if r >= recall], default=0.0) for recall in RECALLS])
        )
    return float(np.mean(values)) if values else float("nan")


def tide(objects, crowds, detections, t_f: float = 0.5, t_b: float = 0.1):
    """Type of each wrong detection, the missed objects, and the gain of AP of each type."""
    hits = match(objects, crowds, detections)
    used = {place for place in hits.values() if place is not None}
    types: dict[int, str] = {}
    target: dict[int, Detection] = {}
    by_place = {d.place: d for d in detections}
    for place, hit in hits.items():
        if hit is not None:
            continue
        detection = by_place[place]
        own = [(iou(detection, t), t) for t in objects if t.label == detection.label]
        other = [(iou(detection, t), t) for t in objects if t.label != detection.label]
        own_iou, own_object = max(own, key=lambda e: e[0], default=(0.0, None))
        other_iou, other_object = max(other, key=lambda e: e[0], default=(0.0, None))
        if t_b <= own_iou < t_f:
            types[place], target[place] = "localisation", own_object
        elif other_iou >= t_f:
            types[place], target[place] = "classification", other_object
        elif own_iou >= t_f:
            types[place] = "duplicate"
        elif max(own_iou, other_iou) < t_b:
            types[place] = "background"
        else:
            types[place] = "both"
    aimed = {t.place for t in target.values()}
    missed = {t.place for t in objects if t.place not in used and t.place not in aimed}

    labels = sorted({t.label for t in objects})
    positives = {label: sum(t.label == label for t in objects) for label in labels}
    kept = [d for d in detections if d.place in hits]

    def evaluate(fixed: str | None, count: dict[int, int]) -> float:
        entries, mended = [], set(used)
        for detection in kept:
            hit = hits[detection.place] is not None
            if types.get(detection.place) == fixed and not hit:
                goal = target.get(detection.place)
                if goal is None or goal.place in mended:
                    continue
                mended.add(goal.place)
                detection, hit = replace(detection, label=goal.label), True
            entries.append((detection.label, detection.score, hit))
        return mean_ap(entries, count)

    base = evaluate("none", positives)
    gains = {
        name: evaluate(name, positives) - base
        for name in ("classification", "localisation", "both", "duplicate", "background")
    }
    fewer = {
        label: count - sum(t.label == label and t.place in missed for t in objects)
        for label, count in positives.items()
    }
    gains["missed"] = evaluate("none", fewer) - base
    return base, types, missed, gains


def confusion(objects, crowds, detections, num_classes: int, confidence: float) -> np.ndarray:
    """Hits of the right class first, then what is left across classes, by score and overlap."""
    shown = [d for d in detections if d.score >= confidence]
    hits = match(objects, crowds, shown)
    free_objects = {t.place: t for t in objects}
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    left = []
    for detection in shown:
        if detection.place not in hits:
            continue
        hit = hits[detection.place]
        if hit is None:
            left.append(detection)
        else:
            matrix[detection.label, detection.label] += 1
            del free_objects[hit]
    for detection in left:
        near = [(iou(detection, t), t) for t in free_objects.values()]
        overlap, truth = max(near, key=lambda e: e[0], default=(0.0, None))
        if truth is not None and overlap >= 0.5:
            matrix[truth.label, detection.label] += 1
            del free_objects[truth.place]
        else:
            matrix[num_classes, detection.label] += 1
    for truth in free_objects.values():
        matrix[truth.label, num_classes] += 1
    return matrix
