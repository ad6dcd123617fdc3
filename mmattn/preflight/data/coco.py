"""COCO annotation files: do the labels mean what the config's class names say?

mmdet numbers the labels in the order of the categories in the file, not in the order of
``metainfo.classes``; a misspelt or reordered name silently trains one class under another's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmattn.boxes.coco_content import is_coco, refuse_form
from mmattn.boxes.coco_rules import check_all, read_before
from mmattn.errors import DataError

from .boxes import as_metainfo, nearest_name, none_used


class RecordingCocoReader:
    """Stands for a dataset's COCO reader and keeps what it read, which the dataset drops."""

    def __init__(
        self, reader: Callable[..., Any], where: str, ann_file: str, *, masks: bool = False
    ) -> None:
        self._reader = reader
        classes = getattr(reader, "__mro__", ())
        panoptic = any(one.__name__ == "COCOPanoptic" for one in classes)
        #: Form of the annotations that the reader is for.
        self.form = "panoptic" if panoptic else "instances"
        self._where = where
        self._ann_file = ann_file
        self._masks = masks
        self._checked = False
        self.coco: Any = None

    def check_before(self) -> None:
        """Check a file that is not too large to be read twice before its reader stumbles over it.

        Raises:
            DataError: Its text, entries or values are wrong.
        """
        content = read_before(self._ann_file, f"{self._where}: ")
        if content is not None:
            refuse_form(content["annotations"], self.form, f"{self._where}: {self._ann_file}")
            self._check(content)

    def _check(self, content: Mapping[str, Any]) -> None:
        if not self._checked:
            shown = f"{self._where}: {self._ann_file}"
            check_all(content, shown, plain=True, masks=self._masks)
            self._checked = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        coco = self._reader(*args, **kwargs)
        if is_coco(coco.dataset):
            self._check(coco.dataset)
        self.coco = coco
        return coco

    @property
    def content(self) -> Mapping[str, Any] | None:
        """Content of the file; None before reading and where it is not in COCO's format."""
        return self.coco.dataset if self.coco is not None and is_coco(self.coco.dataset) else None

    @property
    def names(self) -> dict[int, str]:
        """Category id to name, in the file's order; empty before reading."""
        return {} if self.coco is None else {c["id"]: c["name"] for c in self.coco.cats.values()}

    def objects_by_name(self) -> Counter[str]:
        """Return the number of objects of each category, by its name."""
        names = self.names
        used = (
            item.get("category_id")
            for entry in (self.content or {}).get("annotations", ())
            for item in entry.get("segments_info", (entry,))
        )
        return Counter(names[number] for number in used if number in names)


def check_names(
    names: Mapping[int, str],
    label_of: Mapping[int, int],
    classes: Sequence[str],
    where: str,
    ann_file: str,
    objects: Counter[str],
) -> None:
    """Compare each category's name with that of the label it gets.

    Args:
        names: Category id -> name, in the order of the file.
        label_of: Category id -> label, as the dataset computed it.
        classes: Class names of the config; the position is the label.
        where: Config key of the dataset, used in messages.
        ann_file: Path of the annotation file.
        objects: Name -> number of its objects in the file.

    Raises:
        DataError: They differ; the message names both and the line to write.
    """
    swapped = [
        (names[category], label)
        for category, label in label_of.items()
        if label >= len(classes) or names[category] != classes[label]
    ]
    unknown = [name for name in classes if name not in names.values()]
    if not swapped and (label_of or not classes):
        return
    reasons = []
    if not any(objects[name] for name in classes):
        reasons.append(f"  {none_used(objects)}")
    for name in unknown[:5]:
        reasons.append(
            f"  {name!r} is no category of the file.{nearest_name(name, names.values())}"
        )
    if len(unknown) > 5:
        reasons.append(f"  ... and {len(unknown) - 5} more")
    for name, label in swapped[:3]:
        called = repr(classes[label]) if label < len(classes) else "out of range"
        reasons.append(f"  boxes of {name!r} would get label {label}, which is {called}")
    wanted = [name for name in names.values() if name in classes] if not unknown else names.values()
    raise DataError(
        f"{where}: metainfo.classes does not fit the categories of {ann_file}:\n"
        + "\n".join(reasons)
        + f"\nWrite the names as the file has them, in its order: {as_metainfo(wanted)}"
    )


def why_empty(coco: Any, label_of: Mapping[int, int], filter_cfg: Mapping | None) -> str:
    """Say how many images an annotation file has and why none is left."""
    used = sum(a["category_id"] in label_of for a in coco.anns.values() if isinstance(a, Mapping))
    filtered = f"; filter_cfg={dict(filter_cfg)} left none" if filter_cfg else ""
    return (
        f"{len(coco.imgs)} images and {len(coco.anns)} annotations, {used} of them of the "
        f"configured classes{filtered}"
    )


def check_instance_masks(entries: Sequence[dict], where: str) -> None:
    """Raise when the pipeline wants instance masks and an annotation has none."""
    for entry in entries:
        for instance in entry.get("instances", ()):
            if "mask" not in instance and not instance.get("ignore_flag"):
                raise DataError(
                    f"{where}: the pipeline loads instance masks (with_mask=True), but the "
                    f"annotation of {entry['img_path']} with box {instance.get('bbox')} has no "
                    "segmentation. Set with_mask=False, or use an annotation file with masks"
                )
