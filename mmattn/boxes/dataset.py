"""Any folder of boxes, instance masks or panoptic maps as a dataset of mmdet; no Python needed.

    dict(type='mmattn.FolderDetDataset', data_root='my_boxes', split='train',
         pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True), …])

``mmattn.boxes`` says which formats are found (``layout.py``) and how each is read.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.datasets import BaseDetDataset

from mmattn.data.confine import linked_folders
from mmattn.data.folder.mask_reader import check_choice
from mmattn.data.transforms.load_image import LoadImageFromFile
from mmattn.errors import ConfigError, did_you_mean
from mmattn.images.reader import check_bit_depth
from mmattn.palette import complete_palette
from mmattn.registry import DATASETS

from .coco_layout import AnnFile
from .content import BoxFolder, class_findings
from .records import BoxImage, BoxRecords
from .sieve import is_mask

#: Arguments of mmdet's datasets that have another name here.
_OTHER_NAMES = {"data_prefix": "img_dir"}


@DATASETS.register_module()
class FolderDetDataset(BaseDetDataset):
    """The images of one split of a folder, with their boxes, instance masks or panoptic maps.

    COCO, Pascal VOC and YOLO come out as the same entries, which are those of mmdet's own
    datasets, so that every pipeline and metric of mmdet works. Format, splits and classes are found
    out by looking, the same way for every split; the folder is only read.

    Args:
        data_root: Path of the folder, of one COCO file, or of one ``data.yaml``.
        split: ``train``, ``val``, ``test``, or ``all`` for every image there is.
        targets: What the network learns: ``boxes``, ``masks`` or ``panoptic``.
        layout: ``auto``, or the format where several are there: ``coco``, ``voc``, ``yolo``.
        ann_file: COCO's annotation file in ``data_root``, or one for each split:
            ``dict(train=..., val=...)``.
        ann_dir: Folder of the annotations in ``data_root``, if it is not found.
        img_dir: Folder of the images in ``data_root``, likewise.
        map_dir: Folder of the panoptic maps in ``data_root``, likewise.
        val_fraction: Share of the images that is drawn for ``val`` where nothing is for it.
        split_seed: Random seed of that draw.
        classes_file: List of the classes in ``data_root``, if it is not found: names one a line, or
            a table (``mmattn.data.folder.class_list``). It sets their order, too.
        voc_offset: The number of the first pixel in Pascal VOC's files: 0, or 1 as in the files of
            the challenge, whose boxes begin at ``xmin - 1`` and end at ``xmax``.
        draw_by: ``folder``: where images lie in several sub-folders (patients, videos), these are
            drawn as wholes; ``image``: each image for itself.
        missing_images: ``error`` for annotations of images that are not there, or ``skip`` them.
        bad_objects: ``error`` for objects that cannot be meant so (no numbers, negative sizes,
            shares above 1), or ``skip`` them.
        allow_outside: Whether annotations may name files outside of ``data_root``, by an absolute
            path, ``..`` or a link; linked folders are followed always (``data/confine.py``).
        bit_depth: Bits in use of images that have more than 8.
        metainfo: ``classes`` may name some of the classes, in any order; objects of the others are
            not used then.
        **kwargs: As in ``BaseDetDataset``.

    Attributes:
        summary: One line on the split: images, objects, format, places.
        notes: What was found out about the folder, in short sentences.
        findings: What is odd about the annotations but does not stop their use.

    Raises:
        DataError: What the folder holds does not say what it means; the message says what to do.
        ConfigError: Options that do not exist or do not fit.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        *,
        targets: str = "boxes",
        layout: str = "auto",
        ann_file: AnnFile = None,
        ann_dir: str | None = None,
        img_dir: str | None = None,
        map_dir: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        draw_by: str = "folder",
        classes_file: str | None = None,
        voc_offset: int = 0,
        missing_images: str = "error",
        bad_objects: str = "error",
        allow_outside: bool = False,
        bit_depth: int | None = None,
        metainfo: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._check_names(kwargs)
        check_choice("split", split, ("train", "val", "test", "all"))
        check_choice("missing_images", missing_images, ("error", "skip"))
        check_choice("bad_objects", bad_objects, ("error", "skip"))
        check_bit_depth(bit_depth)
        self.bit_depth, self.targets = bit_depth, targets
        self.check_pipeline(kwargs.get("pipeline") or ())
        folder = BoxFolder(
            data_root,
            layout=layout,
            targets=targets,
            ann_file=ann_file,
            ann_dir=ann_dir,
            img_dir=img_dir,
            map_dir=map_dir,
            val_fraction=val_fraction,
            split_seed=split_seed,
            draw_by=draw_by,
            classes_file=classes_file,
            voc_offset=voc_offset,
            missing_images=missing_images,
            bad_objects=bad_objects,
            allow_outside=allow_outside,
        )
        self._folder, self._split = folder, split
        records = self.records
        classes = folder.classes()
        source = classes.source
        metainfo = dict(metainfo or {})
        if metainfo.get("classes"):
            classes = classes.select(metainfo["classes"])
        metainfo["classes"] = classes.names
        if targets == "panoptic":
            metainfo["thing_classes"] = classes.things
            metainfo["stuff_classes"] = classes.names[len(classes.things or ()) :]
        palette = metainfo.get("palette") or complete_palette((), len(classes.names))
        # mmdet draws in colours that are tuples, and fails on lists.
        metainfo["palette"] = [tuple(int(part) for part in colour) for colour in palette]
        self._things = frozenset(classes.things or ())
        self.findings = (*records.findings, *class_findings(records, classes))
        self._refuse_lost_masks(kwargs.get("pipeline") or ())
        self.summary = folder.describe(split, records)
        self.notes = (
            self.summary,
            f"{len(classes.names)} classes, from {source}",
            *folder.layout.notes,
            *records.notes,
            *linked_folders((os.path.dirname(i.path) for i in records.images), data_root),
        )
        super().__init__(data_root=data_root, data_prefix={}, metainfo=metainfo, **kwargs)

    @property
    def records(self) -> BoxRecords:
        """Records of this split, read again if they were forgotten (``forget_records``)."""
        return self._folder.records(self._split)

    @classmethod
    def _check_names(cls, kwargs: Mapping[str, Any]) -> None:
        known = {
            name
            for owner in cls.__mro__
            for name in inspect.signature(owner.__init__).parameters
            if name not in _OTHER_NAMES
        }
        for name in kwargs:
            if name not in known:
                other = _OTHER_NAMES.get(name)
                hint = f" Use {other}." if other else did_you_mean(name, known)
                raise ConfigError(f"unexpected argument {name!r} for {cls.__name__}.{hint}")

    def check_pipeline(self, pipeline: Sequence) -> None:
        """Refuse a pipeline that loads what the targets do not have.

        Raises:
            ConfigError: It loads masks, panoptic maps or semantic maps without the data for it, or
                knows nothing of the bit depth that is given.
        """
        for step in pipeline:
            cls = step.get("type") if isinstance(step, Mapping) else type(step)
            name = cls if isinstance(cls, str) else getattr(cls, "__name__", "")
            bare = name.rpartition(".")[2]
            options = step if isinstance(step, Mapping) else vars(step)
            if bare == "LoadPanopticAnnotations" and self.targets != "panoptic":
                raise ConfigError(
                    f"{name} loads panoptic maps, targets={self.targets!r} has none: set "
                    "data.targets=panoptic"
                )
            if bare == "LoadAnnotations" and self.targets == "panoptic":
                raise ConfigError(
                    f"{name} does not know panoptic maps: write LoadPanopticAnnotations, or set "
                    "data.targets=boxes"
                )
            if bare == "LoadAnnotations" and options.get("with_mask") and self.targets == "boxes":
                raise ConfigError(
                    f"{name}(with_mask=True) loads instance masks: set data.targets=masks"
                )
            if bare == "LoadAnnotations" and options.get("with_seg"):
                raise ConfigError(
                    f"{name}(with_seg=True) loads semantic maps beside the objects, which "
                    "mmattn.FolderDetDataset does not have: take a config without a semantic head"
                )
            plain = name in ("LoadImageFromFile", "mmcv.LoadImageFromFile")
            if plain and self.bit_depth is not None and cls is not LoadImageFromFile:
                raise ConfigError(
                    f"bit_depth={self.bit_depth}, of which {name} knows nothing: write "
                    "dict(type='mmattn.LoadImageFromFile') in its place in the pipeline"
                )

    def _refuse_lost_masks(self, pipeline: Sequence) -> None:
        """Refuse to load polygons alone where masks are run lengths, which would all be lost."""
        lost = [
            image.path
            for image in self.records.images
            for item in image.objects
            if isinstance(item.mask, Mapping) and not item.crowd
        ]
        for step in pipeline:
            options = step if isinstance(step, Mapping) else vars(step)
            if self.targets == "masks" and lost and options.get("poly2mask") is False:
                raise ConfigError(
                    f"LoadAnnotations(poly2mask=False) loads polygons alone; {len(lost)} masks, as "
                    f"in {lost[0]}, are run lengths and would be left out: set poly2mask=True"
                )

    def load_data_list(self) -> list[dict]:
        """Return one entry for each image, as mmdet's own datasets have them."""
        label_of = {name: label for label, name in enumerate(self.metainfo["classes"])}
        return [self._entry(image, label_of) for image in self.records.images]

    def _entry(self, image: BoxImage, label_of: Mapping[str, int]) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "img_path": image.path,
            "img_id": image.image_id,
            "seg_map_path": image.map_path,
            "height": image.size[0],
            "width": image.size[1],
        }
        if self.return_classes:
            entry["text"] = self.metainfo["classes"]
            entry["caption_prompt"] = self.caption_prompt
            entry["custom_entities"] = True
        instances, segments, void = [], [], list(image.left_segments)
        for item in image.objects:
            label = label_of.get(item.name)
            if label is None:
                if item.segment is not None:
                    void.append(item.segment)
                continue
            is_thing = item.name in self._things
            if self.targets == "panoptic":
                counted = is_thing and not item.crowd
                segments.append({"id": item.segment, "category": label, "is_thing": counted})
                if not counted:  # a crowd has no single mask
                    continue
            instance = {
                "bbox": list(item.box),
                "bbox_label": label,
                "ignore_flag": int(item.crowd),
                "area": item.area,
            }
            if self.targets == "masks":
                instance["mask"] = item.mask or _whole(item.box)  # crowds may have none
            elif not self.test_mode and item.mask and is_mask(item.mask, image.size):
                instance["mask"] = item.mask  # as mmdet's CocoDataset; for copy-paste
            instances.append(instance)
        entry["instances"] = instances
        if self.targets == "panoptic":
            entry["segments_info"] = segments
            if void:  # so that their pixels count nowhere in a metric
                entry["void_segments"] = void
        return entry

    def filter_data(self) -> list[dict]:
        """Return the entries that ``filter_cfg`` lets pass, in training alone.

        ``filter_empty_gt`` leaves images without an object out (of things, in panoptic data),
        ``min_size`` those of a shorter side.
        """
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        smallest = self.filter_cfg.get("min_size", 0)
        needs_objects = self.filter_cfg.get("filter_empty_gt", False)
        return [
            entry
            for entry in self.data_list
            if min(entry["height"], entry["width"]) >= smallest
            and (entry["instances"] or not needs_objects)
        ]

    def get_data_info(self, idx: int) -> dict:
        """Return an entry, with the bit depth of its image."""
        info = super().get_data_info(idx)
        return info if self.bit_depth is None else {**info, "bit_depth": self.bit_depth}


def _whole(box: tuple[float, float, float, float]) -> list[list[float]]:
    """Return a box as a mask."""
    x1, y1, x2, y2 = box
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]
