"""The worst images of a detector: those with the lowest F1 at IoU 0.5 and one confidence.

Of equal ones, as there are many without any hit, the one with more errors is worse, then the name
decides. Images without an object and a detection have no F1 and are left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.reports.detection.numbers import DrawnObject, WorstImage

from .matching import FOREGROUND, IGNORED, Matches

if TYPE_CHECKING:
    from faster_coco_eval import COCO


def worst_images(
    matches: Matches,
    confidence: float,
    limit: int,
    *,
    truth: COCO,
    detections: Sequence[Mapping[str, Any]],
    iou_type: str,
    names: Mapping[Any, str],
    best: bool = False,
) -> tuple[WorstImage, ...]:
    """Choose the worst images, and collect what is drawn of them.

    Args:
        matches: Matches of a dataset.
        confidence: Lowest score of a detection that counts.
        limit: Number of images.
        truth: Annotations that were matched.
        detections: Detections that were matched, in COCO's results format.
        iou_type: ``bbox``, ``segm`` or ``boundary``; masks are drawn for all but the first.
        names: Id of an image -> path of its file.
        best: Whether to choose the best images instead: the highest F1, then the most hits.
    """
    match = matches.at(FOREGROUND)
    shown = (matches.det_score >= confidence) & (match != IGNORED)
    found = matches.hit_scores() >= confidence
    count = len(matches.image_ids)
    hits = np.bincount(matches.det_image[shown & (match >= 0)], minlength=count)
    false = np.bincount(matches.det_image[shown & (match < 0)], minlength=count)
    missed = np.bincount(matches.obj_image[~found], minlength=count)
    errors = false + missed
    some = np.flatnonzero(hits + errors > 0)
    f1 = np.full(count, np.nan)
    f1[some] = 2 * hits[some] / (2 * hits + errors)[some]

    def rank(index: int) -> tuple[float, int, str]:
        image = matches.image_ids[index]
        name = names.get(image) or str(image)
        if best:
            return -f1[index], -int(hits[index]), name
        return f1[index], -int(errors[index]), name

    top = _shared_folder(names)
    result = []
    for index in sorted(some.tolist(), key=rank)[:limit]:
        image = matches.image_ids[index]
        record = truth.imgs[image]
        objects = tuple(
            _drawn(
                truth.anns[int(matches.obj_id[o])],
                int(matches.obj_label[o]),
                bool(found[o]),
                iou_type,
                truth,
            )
            for o in np.flatnonzero(matches.obj_image == index).tolist()
        )
        drawn = []
        for d in np.flatnonzero((matches.det_image == index) & shown).tolist():
            source = detections[int(matches.det_source[d])]
            right = bool(match[d] >= 0)
            drawn.append(_drawn(source, int(matches.det_label[d]), right, iou_type, truth))
        result.append(
            WorstImage(
                name=names.get(image) or str(image),
                size=(int(record["height"]), int(record["width"])),
                f1=float(f1[index]),
                hits=int(hits[index]),
                false=int(false[index]),
                missed=int(missed[index]),
                objects=objects,
                detections=tuple(drawn),
                title=os.path.relpath(names[image], top).replace(os.sep, "/")
                if top and names.get(image)
                else "",
            )
        )
    return tuple(result)


def _shared_folder(names: Mapping[Any, str]) -> str:
    """Return the folder that all images lie in, "" where there is none."""
    places = {os.path.dirname(name) for name in names.values() if name}
    try:
        return os.path.commonpath(places) if places else ""
    except ValueError:  # some are relative, or on another drive
        return ""


def _drawn(
    record: Mapping[str, Any], label: int, right: bool, iou_type: str, truth: COCO
) -> DrawnObject:
    mask = None
    if iou_type != "bbox":
        mask = truth.annToMask(dict(record)).astype(bool)
        box = _box_of(mask)
    else:
        x, y, w, h = map(float, record["bbox"])
        box = (x, y, w, h)
    return DrawnObject(label, box, right, float(record.get("score", np.nan)), mask)


def _box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return x, y, width, height around a mask; 0 for an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    x, y = float(columns[0]), float(rows[0])
    return x, y, float(columns[-1] + 1 - x), float(rows[-1] + 1 - y)
