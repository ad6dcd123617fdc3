"""Detections matched with objects, once per image, as arrays that every analysis reads.

The rules are COCO's: in each image and class, detections choose in the order of their scores, each
the free object that it overlaps most, if by no less than the threshold. A detection that finds no
object but lies in a crowd region of its class counts nowhere. Overlap with a crowd is measured
against the area of the detection alone.

By outline, the overlap is the smaller one of mask IoU and boundary IoU (Cheng et al., Boundary IoU,
CVPR 2021, arXiv:2103.16562, section 5.1); overlap with a crowd is that of the masks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from faster_coco_eval import COCO

#: IoU from which on a detection hits an object, in everything but AP over several thresholds.
FOREGROUND = 0.5
#: IoU below which a detection has nothing to do with an object (TIDE, arXiv:2008.08115, t_b).
BACKGROUND = 0.1
#: Entries of ``Matches.match`` that are no objects.
UNMATCHED, IGNORED = -1, -2


@dataclass(frozen=True, eq=False)
class Matches:
    """Results of matching a dataset of I images and K classes.

    The D detections are sorted by image and, within it, by falling score; crowd regions are not
    among the O objects. Only overlaps of ``BACKGROUND`` and more are kept.

    Attributes:
        image_ids: Ids of the images, sorted; arrays hold places in this tuple.
        num_classes: Number of classes, K.
        thresholds: IoU thresholds, (T,); ``FOREGROUND`` is among them.
        det_image: int32 (D,)
        det_label: int32 (D,), class index of each detection.
        det_score: float64 (D,)
        det_source: int64 (D,), place of each detection in the list that was given.
        match: int32 (T, D), object that a detection hits, ``UNMATCHED`` or ``IGNORED``.
        obj_image: int32 (O,)
        obj_label: int32 (O,)
        obj_area: float64 (O,), in pixels.
        obj_id: int64 (O,), id of the annotation.
        pair_det: int32 (P,), detection of each overlap of any two classes.
        pair_obj: int32 (P,), object of each overlap.
        pair_iou: float64 (P,)
    """

    image_ids: tuple[Any, ...]
    num_classes: int
    thresholds: np.ndarray
    det_image: np.ndarray
    det_label: np.ndarray
    det_score: np.ndarray
    det_source: np.ndarray
    match: np.ndarray
    obj_image: np.ndarray
    obj_label: np.ndarray
    obj_area: np.ndarray
    obj_id: np.ndarray
    pair_det: np.ndarray
    pair_obj: np.ndarray
    pair_iou: np.ndarray

    def at(self, threshold: float) -> np.ndarray:
        """Return the row of ``match`` for an IoU threshold."""
        return self.match[int(np.flatnonzero(np.isclose(self.thresholds, threshold))[0])]

    @property
    def positives(self) -> np.ndarray:
        """Number of objects of each class, int64 (K,)."""
        return np.bincount(self.obj_label, minlength=self.num_classes).astype(np.int64)

    @property
    def images_with(self) -> np.ndarray:
        """Number of images that hold an object of each class, int64 (K,)."""
        places = np.unique(np.stack([self.obj_image, self.obj_label], axis=1), axis=0)
        return np.bincount(places[:, 1], minlength=self.num_classes).astype(np.int64)

    def hit_scores(self, threshold: float = FOREGROUND) -> np.ndarray:
        """Return the score of the detection that hits each object, (O,); -inf if none does."""
        scores = np.full(len(self.obj_label), -np.inf)
        match = self.at(threshold)
        hits = match >= 0
        scores[match[hits]] = self.det_score[hits]
        return scores


def match_dataset(
    truth: COCO,
    detections: Sequence[Mapping[str, Any]],
    iou_type: str,
    *,
    image_ids: Sequence[Any],
    category_ids: Sequence[int],
    thresholds: Sequence[float] | np.ndarray,
    max_dets: int,
) -> Matches:
    """Match the detections of all images.

    Args:
        truth: Annotations; those of other images and classes are left out.
        detections: Records of COCO's results format: ``image_id``, ``category_id``, ``score`` and
            ``bbox`` (x, y, width, height) or ``segmentation`` (RLE).
        iou_type: ``bbox``, ``segm`` or ``boundary``.
        image_ids: Ids of the images, in any order.
        category_ids: Ids of the classes; class indices follow their order by size.
        thresholds: IoU thresholds; ``FOREGROUND`` is added if it is missing.
        max_dets: Largest number of detections of a class in an image; those of the highest scores.
    """
    images = tuple(np.unique(np.asarray(image_ids)).tolist())
    label_of = {int(c): label for label, c in enumerate(np.unique(category_ids))}
    levels = np.asarray(thresholds, np.float64).reshape(-1)
    if not np.isclose(levels, FOREGROUND).any():
        levels = np.sort(np.append(levels, FOREGROUND))
    sources: dict[Any, list[int]] = defaultdict(list)
    for place, detection in enumerate(detections):
        if detection["category_id"] in label_of:
            sources[detection["image_id"]].append(place)

    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    first_det = first_obj = 0
    for index, image in enumerate(images):
        annotations = [a for a in truth.imgToAnns.get(image, ()) if a["category_id"] in label_of]
        crowd = np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool)
        labels = np.array([label_of[a["category_id"]] for a in annotations], np.int32)
        places = np.array(sources.get(image, ()), np.int64)
        scores = np.array([detections[p]["score"] for p in places], np.float64)
        order = np.argsort(-scores, kind="stable")
        places, scores = places[order], scores[order]
        det_labels = np.array([label_of[detections[p]["category_id"]] for p in places], np.int32)
        kept = _rank_in_class(det_labels) < max_dets
        places, scores, det_labels = places[kept], scores[kept], det_labels[kept]
        ious = _overlaps(truth, [detections[p] for p in places], annotations, iou_type, crowd)
        same = det_labels[:, None] == labels
        match = _match_image(ious, same, crowd, levels)
        # Crowds are no objects, so that the places of the others shift.
        real = np.flatnonzero(~crowd)
        rows, columns = np.nonzero(ious[:, real] >= BACKGROUND)
        parts["pair_det"].append(rows + first_det)
        parts["pair_obj"].append(columns + first_obj)
        parts["pair_iou"].append(ious[:, real][rows, columns])
        parts["match"].append(np.where(match >= 0, match + first_obj, match))
        parts["det_image"].append(np.full(len(places), index))
        parts["det_label"].append(det_labels)
        parts["det_score"].append(scores)
        parts["det_source"].append(places)
        parts["obj_image"].append(np.full(len(real), index))
        parts["obj_label"].append(labels[real])
        parts["obj_area"].append(np.array([annotations[i]["area"] for i in real], np.float64))
        parts["obj_id"].append(np.array([annotations[i]["id"] for i in real], np.int64))
        first_det += len(places)
        first_obj += len(real)

    def join(name: str, dtype: type) -> np.ndarray:
        empty = np.zeros((len(levels), 0) if name == "match" else 0)
        return np.concatenate(parts.get(name, [empty]), axis=-1).astype(dtype)

    return Matches(
        image_ids=images,
        num_classes=len(label_of),
        thresholds=levels,
        det_image=join("det_image", np.int32),
        det_label=join("det_label", np.int32),
        det_score=join("det_score", np.float64),
        det_source=join("det_source", np.int64),
        match=join("match", np.int32),
        obj_image=join("obj_image", np.int32),
        obj_label=join("obj_label", np.int32),
        obj_area=join("obj_area", np.float64),
        obj_id=join("obj_id", np.int64),
        pair_det=join("pair_det", np.int32),
        pair_obj=join("pair_obj", np.int32),
        pair_iou=join("pair_iou", np.float64),
    )


def best_detections(matches: Matches, limit: int) -> Matches:
    """Keep the detections of the highest scores, ``limit`` of each class in each image.

    Detections choose their objects in the order of their scores, so that those of the others stay.
    """
    order = np.lexsort((-matches.det_score, matches.det_label, matches.det_image))
    groups = np.stack([matches.det_image, matches.det_label])[:, order]
    first = np.ones(len(order), bool)
    first[1:] = (groups[:, 1:] != groups[:, :-1]).any(axis=0)
    starts = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    kept = np.zeros(len(order), bool)
    kept[order] = np.arange(len(order)) - starts < limit
    if kept.all():
        return matches
    names = ("det_image", "det_label", "det_score", "det_source")
    columns: dict[str, Any] = {name: getattr(matches, name)[kept] for name in names}
    pairs = kept[matches.pair_det]
    places = (np.cumsum(kept) - 1).astype(np.int32)
    return replace(
        matches,
        match=matches.match[:, kept],
        pair_det=places[matches.pair_det[pairs]],
        pair_obj=matches.pair_obj[pairs],
        pair_iou=matches.pair_iou[pairs],
        **columns,
    )


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """Return for each entry how many before it have its label."""
    ranks = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        places = labels == label
        ranks[places] = np.arange(places.sum())
    return ranks


def _overlaps(
    truth: COCO,
    detections: Sequence[Mapping[str, Any]],
    annotations: Sequence[dict],
    iou_type: str,
    crowd: np.ndarray,
) -> np.ndarray:
    """Compute IoU, with crowds over the area of the detection, (detections, annotations)."""
    if not detections or not annotations:
        return np.zeros((len(detections), len(annotations)))
    from faster_coco_eval.core import mask

    crowds = crowd.astype(int).tolist()
    if iou_type == "bbox":
        found = [detection["bbox"] for detection in detections]
        there = [annotation["bbox"] for annotation in annotations]
        return np.asarray(mask.iou(found, there, crowds), np.float64)
    found = [detection["segmentation"] for detection in detections]
    there = [truth.annToRLE(annotation) for annotation in annotations]
    ious = np.asarray(mask.iou(found, there, crowds), np.float64)
    if iou_type == "boundary":
        bands = ([mask.rleToBoundary(one) for one in masks] for masks in (found, there))
        of_bands = np.asarray(mask.iou(*bands, crowds), np.float64)
        ious[:, ~crowd] = np.minimum(ious, of_bands)[:, ~crowd]
    return ious


def _match_image(
    ious: np.ndarray, same: np.ndarray, crowd: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Match the detections of one image, sorted by score, class by class.

    Args:
        ious: (D, G)
        same: (D, G), whether the classes are the same.
        crowd: (G,)
        thresholds: (T,)

    Returns:
        int64 (T, D): place among the objects that are no crowds, ``UNMATCHED`` or ``IGNORED``.
    """
    match = np.full((len(thresholds), len(ious)), UNMATCHED)
    least = min(thresholds.min(), 1 - 1e-10)
    own = np.where(same, ious, -1.0)
    real, in_crowd = own[:, ~crowd], own[:, crowd].max(axis=1, initial=-1.0)
    rows, columns = np.nonzero(real >= least)
    overlaps = real[rows, columns]
    # By score, then by overlap; of equal overlaps COCO takes the last object.
    order = np.lexsort((-columns, -overlaps, rows))
    rows, columns, overlaps = rows[order], columns[order], overlaps[order]
    for level, threshold in enumerate(np.minimum(thresholds, 1 - 1e-10)):
        near = overlaps >= threshold
        matched: dict[int, int] = {}
        taken: set[int] = set()
        for row, place in zip(rows[near].tolist(), columns[near].tolist(), strict=True):
            if row not in matched and place not in taken:
                matched[row] = place
                taken.add(place)
        match[level, list(matched)] = list(matched.values())
        match[level, (match[level] == UNMATCHED) & (in_crowd >= threshold)] = IGNORED
    return match
