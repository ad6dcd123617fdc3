"""Ground truth of panoptic metrics: of COCO's annotation file, or of what comes with the images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmengine.fileio import get, get_local_path

from mmattn.boxes.panoptic_segments import PanopticFile, check_map, read_panoptic_file
from mmattn.detections.segment_map import SegmentMap, find_ids, segment_ids
from mmattn.errors import ConfigError, DataError


@dataclass(frozen=True)
class PanopticClasses:
    """The classes of a panoptic metric.

    Attributes:
        names: Class names; the position is the label.
        things: Whether each is a thing, which is counted.
        category_ids: Id of each in the annotation file; the labels themselves without one.
    """

    names: tuple[str, ...]
    things: tuple[bool, ...]
    category_ids: tuple[Any, ...]

    @property
    def thing_labels(self) -> tuple[int, ...]:
        """Labels of the things."""
        return tuple(label for label, thing in enumerate(self.things) if thing)


class TruthReader:
    """Reads the segments of one image after another.

    Args:
        ann_file: COCO's panoptic annotation file; None takes ``segments_info`` and
            ``seg_map_path`` of the samples.
        seg_prefix: Folder of the maps; by default that of the file's own name.
        backend_args: Where mmengine reads files from.

    Raises:
        DataError: The file is not in COCO's panoptic form.
    """

    def __init__(
        self,
        ann_file: str | None,
        seg_prefix: str | None,
        backend_args: dict | None,
    ) -> None:
        self._backend_args = backend_args
        self._file: PanopticFile | None = None
        if ann_file is not None:
            with get_local_path(ann_file, backend_args=backend_args) as path:
                self._file = read_panoptic_file(str(path))
            seg_prefix = seg_prefix or os.path.splitext(ann_file)[0]
        self._folder = seg_prefix
        self._source = ann_file or "the dataset"
        self._label_of = np.zeros(0, np.int64)

    def classes(self, meta: Mapping[str, Any] | None) -> PanopticClasses:
        """Return the classes, by the dataset's names.

        Args:
            meta: ``metainfo`` of the dataset: ``classes``, and ``thing_classes`` without a file.

        Raises:
            ConfigError: The dataset does not say which classes are things.
            DataError: The names are not those of the file, in its order.
        """
        meta = meta or {}
        names = tuple(meta.get("classes") or ())
        if self._file is None:
            if "thing_classes" not in meta:
                raise ConfigError(
                    "ClasswisePanopticMetric: the dataset's metainfo names no thing_classes. Set "
                    "metainfo=dict(classes=..., thing_classes=..., stuff_classes=...), or give the "
                    "metric ann_file, COCO's panoptic annotation file"
                )
            things = set(meta["thing_classes"])
            return PanopticClasses(
                names, tuple(n in things for n in names), tuple(range(len(names)))
            )
        # As mmdet's datasets number them: in the order of the file.
        chosen = [category for category in self._file.categories if category["name"] in names]
        if tuple(category["name"] for category in chosen) != names:
            listed = ", ".join(category["name"] for category in self._file.categories)
            raise DataError(
                f"{self._source}: the dataset's classes ({', '.join(names)}) are not the "
                f"categories of the file in its order ({listed}). Labels follow the file: write "
                "metainfo.classes as the file has them"
            )
        places = {category["id"]: label for label, category in enumerate(chosen)}
        self._label_of = np.array([places.get(c["id"], -1) for c in self._file.categories])
        return PanopticClasses(
            names, tuple(bool(c["isthing"]) for c in chosen), tuple(c["id"] for c in chosen)
        )

    def read(self, sample: Mapping[str, Any], classes: PanopticClasses) -> SegmentMap:
        """Read the ground truth of an image; segments of other classes are void.

        Args:
            sample: Result of the model, with the meta information of the image.
            classes: Result of ``classes``.

        Raises:
            DataError: The map is missing, cannot be read, or does not fit to its segments.
            ConfigError: The sample lacks what the metric needs.
        """
        if self._file is not None:
            found = self._file.of_image(sample["img_id"])
            labels = self._label_of[found.categories]
            known = labels >= 0
            return self._map(
                os.path.join(str(self._folder), found.file_name),
                dict(zip(found.ids[known].tolist(), labels[known].tolist(), strict=True)),
                found.ids[known & found.crowd].tolist(),
                found.ids[~known].tolist(),
            )
        for key in ("segments_info", "seg_map_path"):
            if not isinstance(sample.get(key), (str, list, tuple)):
                raise ConfigError(
                    f"ClasswisePanopticMetric: the samples have no {key}. Give the metric ann_file "
                    "and seg_prefix, or let the test pipeline pack it: "
                    "dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', "
                    "'img_shape', 'scale_factor', 'segments_info', 'seg_map_path', "
                    "'void_segments'))"
                )
        segments = sample["segments_info"]
        # The datasets say that a crowd region is no thing.
        crowd = [s["id"] for s in segments if classes.things[s["category"]] and not s["is_thing"]]
        labels = {segment["id"]: segment["category"] for segment in segments}
        return self._map(sample["seg_map_path"], labels, crowd, sample.get("void_segments") or ())

    def _map(
        self, path: str, labels: Mapping[int, int], crowd: Sequence[int], void: Sequence[int]
    ) -> SegmentMap:
        ids = segment_ids(self._colours(path))
        present, _, counts = find_ids(ids)
        pixels = dict(zip(present.tolist(), counts.tolist(), strict=True))
        check_map(path, pixels, labels.keys(), self._source, void=void)
        return SegmentMap.of(ids, labels, crowd)

    def _colours(self, path: str) -> np.ndarray:
        """Return the pixels of a map, (H, W, 3) uint8 RGB."""
        try:
            content = get(path, backend_args=self._backend_args)
        except OSError as error:
            raise DataError(
                f"the panoptic map {path} cannot be read ({type(error).__name__}). Set seg_prefix "
                "to the folder of the maps, or fetch the file again"
            ) from error
        encoded = np.frombuffer(content, np.uint8)
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if len(encoded) else None
        if pixels is None:
            raise DataError(
                f"the panoptic map {path} is no image that can be decoded ({len(content)} bytes). "
                "Fetch or export it again"
            )
        if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype != np.uint8:
            raise DataError(
                f"the panoptic map {path} has no three colour channels of 8 bits. Segment ids are "
                "stored as R + 256 G + 256^2 B: use the panoptic PNG, not an index mask"
            )
        return pixels[..., 2::-1]
