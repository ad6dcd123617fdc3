"""COCO annotation files: do the labels mean what the config's class names say?

mmdet numbers the labels in the order of the categories in the file, not in the order of
``metainfo.classes``; a misspelt or reordered name silently trains one class under another's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmattn.errors import DataError, did_you_mean


class KeepCoco:
    """Stands for a dataset's COCO reader and keeps what it read, which the dataset drops."""

    def __init__(self, reader: Callable[..., Any]) -> None:
        self._reader = reader
        self.coco: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.coco = self._reader(*args, **kwargs)
        return self.coco

    @property
    def names(self) -> dict[int, str]:
        """Category id to name, in the file's order; empty before reading."""
        return {} if self.coco is None else {c["id"]: c["name"] for c in self.coco.cats.values()}


def check_names(
    names: Mapping[int, str],
    label_of: Mapping[int, int],
    classes: Sequence[str],
    where: str,
    ann_file: str,
) -> None:
    """Compare each category's name with that of the label it gets.

    Args:
        names: Category id -> name, in the order of the file.
        label_of: Category id -> label, as the dataset computed it.
        classes: Class names of the config; the position is the label.
        where: Config key of the dataset, used in messages.
        ann_file: Path of the annotation file.

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
    for name in unknown[:5]:
        reasons.append(f"  {name!r} is no category of the file.{_nearest(name, names.values())}")
    if len(unknown) > 5:
        reasons.append(f"  ... and {len(unknown) - 5} more")
    for name, label in swapped[:3]:
        called = repr(classes[label]) if label < len(classes) else "out of range"
        reasons.append(f"  boxes of {name!r} would get label {label}, which is {called}")
    wanted = [name for name in names.values() if name in classes] if not unknown else names.values()
    raise DataError(
        f"{where}: metainfo.classes does not fit the categories of {ann_file}:\n"
        + "\n".join(reasons)
        + f"\nWrite the names as the file has them, in its order: {_as_metainfo(wanted)}"
    )


def _nearest(name: str, known) -> str:
    known = list(known)
    same = [other for other in known if other.lower() == name.lower()]
    return f" Did you mean {same[0]!r}?" if same else did_you_mean(name, known)


def _as_metainfo(names) -> str:
    names = list(names)
    if len(names) > 20:
        return f"metainfo=dict(classes=({names[0]!r}, {names[1]!r}, ... {len(names)} names))"
    comma = "," if len(names) == 1 else ""
    return f"metainfo=dict(classes=({', '.join(map(repr, names))}{comma}))"


def check_ids(coco: Any, where: str, ann_file: str) -> None:
    """Raise when two images share an id: the reader would keep the last one alone."""
    images = coco.dataset.get("images", [])
    if len(images) == len(coco.imgs):
        return
    seen: dict[Any, str] = {}
    for image in images:
        if image["id"] in seen:
            raise DataError(
                f"{where}: {ann_file} gives the id {image['id']!r} to {seen[image['id']]!r} and to "
                f"{image['file_name']!r} ({len(images) - len(coco.imgs)} ids are used twice): one "
                "image of each pair would vanish. Number the images anew"
            )
        seen[image["id"]] = image["file_name"]


def why_empty(coco: Any, label_of: Mapping[int, int], filter_cfg: Mapping | None) -> str:
    """Say how many images an annotation file has and why none is left."""
    used = sum(a["category_id"] in label_of for a in coco.anns.values() if isinstance(a, Mapping))
    return (
        f"{len(coco.imgs)} images and {len(coco.anns)} annotations, {used} of them of the "
        f"configured classes; filter_cfg={dict(filter_cfg or {})} left none"
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
