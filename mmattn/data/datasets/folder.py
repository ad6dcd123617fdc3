"""Any folder of images and masks as a semantic segmentation dataset; no Python needed.

    dict(type='mmattn.FolderSegDataset', data_root='my_images', split='train',
         pipeline=[dict(type='LoadImageFromFile'), dict(type='mmattn.LoadFolderMask'), ...])

``mmattn.data.folder`` says which layouts are found (``layout.py``), how ``classes.json`` is written
(``classes_file.py``) and how masks become labels (``mask_format.py``).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mmseg.datasets import BaseSegDataset

from mmattn.data.confine import linked_folders, refuse_outside
from mmattn.data.files import check_place
from mmattn.data.folder import (
    FolderClasses,
    FolderLayout,
    MaskReader,
    check_halves,
    choose_format,
    classes_from_masks,
    find_layout,
    read_classes,
    survey_masks,
)
from mmattn.data.folder.class_list import find_class_list
from mmattn.data.folder.classes_file import IGNORED, LIKE_IGNORE
from mmattn.data.folder.mask_reader import MASK_FORMATS, check_choice
from mmattn.data.folder.patterns import Pattern
from mmattn.data.transforms.load_image import LoadImageFromFile
from mmattn.errors import ConfigError, did_you_mean
from mmattn.images.reader import check_bit_depth
from mmattn.palette import complete_palette
from mmattn.registry import DATASETS

CLASSES_FILE = "classes.json"
#: Enough to tell which format masks have; to find the classes themselves all are read.
_LOOKED_AT = 200
#: Number of files left out that are named.
_NAMED = 5


@DATASETS.register_module()
class FolderSegDataset(BaseSegDataset):
    """The images of one split of a folder, with their masks.

    Layout, classes and the format of the masks are found out by looking, the same way for every
    split; the folder is only read. Masks are loaded by ``mmattn.LoadFolderMask``, which takes the
    place of ``LoadAnnotations`` in the pipeline.

    Args:
        data_root: Path of the folder.
        split: ``train``, ``val``, ``test``, or ``all`` for every image there is.
        classes_file: Names of the classes, relative to ``data_root``; by default ``classes.json``
            or a list such as ``classes.txt`` or ``labels.csv`` (``folder/class_list.py``) if it is
            there, else the classes are counted in the masks.
        mask_format: ``auto``, ``index``, ``binary``, ``rgb`` or ``alpha``.
        unknown_values: ``error`` for values and colours that no class has, or ``ignore`` their
            pixels.
        missing_masks: ``error`` for images without a mask, or ``skip`` them.
        val_fraction: Share of the images that is drawn for ``val`` where no folder is for it.
        split_seed: Random seed of that draw.
        draw_by: ``folder``: where images lie in several sub-folders (patients, videos), these are
            drawn as wholes; ``image``: each image for itself.
        img_dir: Folder of images in ``data_root``, if it is not found by its name.
        ann_dir: Folder of masks, likewise.
        img_suffix: Ending of the images, where not all files are.
        seg_map_suffix: Ending that follows an image's stem in the name of its mask.
        image_pattern: Pattern of the names of images, such as ``{name}_{split}`` for
            ``21_training.tif``; one for all splits, or one for each: ``dict(train=..., test=...)``.
        mask_pattern: Pattern of the names of masks, likewise, such as ``mask_{name}``.
        bit_depth: Bits in use of images that have more than 8: 12 for 12-bit values in 16-bit
            files. The upper 8 of them are kept.
        allow_outside: Whether files may be links to others outside of ``data_root``; linked folders
            are followed always (``data/confine.py``).
        reduce_zero_label: The values of index masks count from 1, 0 is ignored.
        data_prefix: ``img_path`` and ``seg_map_path`` of this very split, as other datasets have
            them, instead of looking; ``split`` is not used then.
        metainfo: ``classes`` may name some of the classes; pixels of the others are ignored then.
        **kwargs: As in ``BaseSegDataset``.

    Attributes:
        mask_reader: Turns a mask file into labels.
        notes: What was found out about the folder, in short sentences.

    Raises:
        DataError: What the folder holds does not say what it means; the message says what to do.
        ConfigError: Options that do not exist or do not fit.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        *,
        classes_file: str | None = None,
        mask_format: str = "auto",
        unknown_values: str = "error",
        missing_masks: str = "error",
        val_fraction: float = 0.2,
        split_seed: int = 0,
        draw_by: str = "folder",
        img_dir: str | None = None,
        ann_dir: str | None = None,
        img_suffix: str | None = None,
        seg_map_suffix: str | None = None,
        image_pattern: Pattern = None,
        mask_pattern: Pattern = None,
        bit_depth: int | None = None,
        allow_outside: bool = False,
        reduce_zero_label: bool = False,
        data_prefix: Mapping[str, str] | None = None,
        metainfo: Mapping[str, Any] | None = None,
        ignore_index: int = IGNORED,
        **kwargs: Any,
    ) -> None:
        self._check_names(kwargs)
        check_choice("split", split, ("train", "val", "test", "all"))
        check_choice("mask_format", mask_format, MASK_FORMATS)
        check_choice("missing_masks", missing_masks, ("error", "skip"))
        if ignore_index != IGNORED:
            raise ConfigError(
                f"ignore_index={ignore_index}: this dataset marks ignored pixels by {IGNORED}. "
                f'To leave a mask value out, call its class "ignore" in {CLASSES_FILE}'
            )
        check_bit_depth(bit_depth)
        self.bit_depth = bit_depth
        self.check_pipeline(kwargs.get("pipeline") or ())
        options = {
            "image_pattern": image_pattern,
            "mask_pattern": mask_pattern,
            "img_suffix": img_suffix,
            "seg_map_suffix": seg_map_suffix,
            "skip_missing_masks": missing_masks == "skip",
            "val_fraction": val_fraction,
            "split_seed": split_seed,
            "draw_by": draw_by,
        }
        if data_prefix is None:
            layout = find_layout(data_root, img_dir=img_dir, ann_dir=ann_dir, **options)
        else:
            split, folders = "all", _given_folders(data_root, data_prefix)
            layout = FolderLayout(data_root, {"all": folders}, **options)
        self._pairs = layout.pairs(split)
        tops = [data_root, *(os.path.join(data_root, name) for name in layout.folders_of(split))]
        if not allow_outside:
            files = (file for pair in self._pairs for file in (pair.image, pair.mask))
            refuse_outside(files, tops, f"{type(self).__name__}, {split}")
        classes, mask_format, why, white = _meaning(
            data_root, layout, classes_file, mask_format, reduce_zero_label
        )
        palette = complete_palette(classes.palette or (), len(classes.names))
        classes = replace(classes, palette=palette)
        metainfo = dict(metainfo or {})
        if metainfo.get("classes"):
            classes = classes.select(metainfo["classes"])
        self.mask_reader = MaskReader(
            mask_format,
            classes,
            white=white,
            unknown_values=unknown_values,
            reduce_zero_label=reduce_zero_label,
        )
        self.notes = _notes(layout, split, classes, mask_format, why)
        self.notes += tuple(linked_folders(tops[1:], data_root))
        if classes_file is None and not os.path.exists(os.path.join(data_root, CLASSES_FILE)):
            self.notes += tuple(find_class_list(data_root, os.listdir(data_root), least=2)[1])
        metainfo.update(classes=classes.names)
        metainfo.setdefault("palette", [list(colour) for colour in classes.palette])
        prefix = dict(zip(("img_path", "seg_map_path"), layout.folders_of(split), strict=True))
        super().__init__(
            data_root=data_root,
            data_prefix=prefix,
            metainfo=metainfo,
            reduce_zero_label=reduce_zero_label,
            **kwargs,
        )

    @classmethod
    def _check_names(cls, kwargs: Mapping[str, Any]) -> None:
        known = {
            name
            for owner in (cls, BaseSegDataset)
            for name in inspect.signature(owner.__init__).parameters
        }
        for name in kwargs:
            if name not in known:
                raise ConfigError(
                    f"unexpected argument {name!r} for {cls.__name__}.{did_you_mean(name, known)}"
                )

    def check_pipeline(self, pipeline: Sequence) -> None:
        """Refuse the usual ``LoadAnnotations``, which knows nothing of mask formats.

        Raises:
            ConfigError: It is in the pipeline; or mmcv's ``LoadImageFromFile``, which knows nothing
                of bit depths, where one is given.
        """
        for step in pipeline:
            kind = step.get("type") if isinstance(step, Mapping) else type(step)
            name = kind if isinstance(kind, str) else kind.__name__
            if name.rpartition(".")[2] == "LoadAnnotations":
                raise ConfigError(
                    f"{name} reads 8-bit index masks only: write "
                    "dict(type='mmattn.LoadFolderMask') in its place in the pipeline of "
                    "mmattn.FolderSegDataset"
                )
            plain = name in ("LoadImageFromFile", "mmcv.LoadImageFromFile")
            if plain and self.bit_depth is not None and kind is not LoadImageFromFile:
                raise ConfigError(
                    f"bit_depth={self.bit_depth}, of which {name} knows nothing: write "
                    "dict(type='mmattn.LoadImageFromFile') in its place in the pipeline"
                )

    def load_data_list(self) -> list[dict]:
        """Return one entry for each image, as mmseg's own datasets have them."""
        return [
            {
                "img_path": pair.image,
                "seg_map_path": pair.mask,
                "label_map": None,
                "reduce_zero_label": self.reduce_zero_label,
                "seg_fields": [],
            }
            for pair in self._pairs
        ]

    def get_data_info(self, idx: int) -> dict:
        """Return an entry, with the reader of its mask and the bit depth of its image."""
        info = {**super().get_data_info(idx), "mask_reader": self.mask_reader}
        return info if self.bit_depth is None else {**info, "bit_depth": self.bit_depth}


def _given_folders(root: str, data_prefix: Mapping[str, str]) -> tuple[str, str]:
    for key in ("img_path", "seg_map_path"):
        if not data_prefix.get(key):
            raise ConfigError(f"data_prefix has no {key}: leave data_prefix out to have it found")
        check_place(os.path.join(root, data_prefix[key]), f"data_prefix.{key}", folder=True)
    return data_prefix["img_path"], data_prefix["seg_map_path"]


def _meaning(
    root: str,
    layout: FolderLayout,
    classes_file: str | None,
    mask_format: str,
    reduce_zero_label: bool,
) -> tuple[FolderClasses, str, str, int | None]:
    """Return classes, mask format, its reason and white, which are equal for all splits."""
    path = _classes_path(root, classes_file)
    classes = None if path is None else read_classes(path)
    if classes is not None and mask_format not in ("auto", "binary"):
        return classes, mask_format, "as set", None
    masks = [pair.mask for pair in layout.pairs("all")]
    survey = survey_masks(masks, _LOOKED_AT if classes else None)
    why, white = "as set", None
    if mask_format == "auto":
        mask_format, why = choose_format(survey, classes, root)
        white = survey.white if mask_format == "binary" else None
    elif mask_format == "binary":
        check_halves(survey, root)
    if classes is None:
        classes = classes_from_masks(survey, mask_format, root, reduce_zero_label=reduce_zero_label)
    return classes, mask_format, why, white


def _classes_path(root: str, classes_file: str | None) -> str | None:
    """Return the file that names the classes; None where there is none."""
    path = os.path.join(root, classes_file or CLASSES_FILE)
    if classes_file or os.path.exists(path):
        return path
    return find_class_list(root, os.listdir(root), least=2)[0]


def _notes(
    layout: FolderLayout, split: str, classes: FolderClasses, mask_format: str, why: str
) -> tuple[str, ...]:
    notes = [
        f"{len(classes.names)} classes, from {classes.source}",
        f"mask_format {mask_format}: {why}",
    ]
    for name, (images, masks) in layout.folders.items():
        if split in (name, "all") or name == "all" or (split == "val" and name == layout.drawn):
            where = "images" if name == "all" else f"{name}: images"
            notes.append(f"{where} in {images}, masks in {masks}")
    if layout.not_used:
        notes.append(f"not used: {', '.join(layout.not_used)} (ann_dir, img_dir choose)")
    for like in classes.names:
        if like.casefold() in LIKE_IGNORE:
            notes.append(f'{like!r} is trained as a class; only one called "ignore" is left out')
    if layout.drawn and split in ("train", "val"):
        notes.append(f"{split} drawn from {layout.folders_of(split)[0]}: {layout.draw().text}")
    unused = layout.unused_masks()
    if unused:
        count = "1 mask belongs" if len(unused) == 1 else f"{len(unused)} masks belong"
        notes.append(f"{count} to no image, such as {unused[0]}")
    left_out = layout.left_out()
    if left_out:
        shown = [f"{file} ({reason})" for file, reason in list(left_out.items())[:_NAMED]]
        more = f", and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        count = "1 file" if len(left_out) == 1 else f"{len(left_out)} files"
        notes.append(f"{count} beside the images left out: {', '.join(shown)}{more}")
    return tuple(notes)
