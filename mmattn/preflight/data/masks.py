"""Index masks: their values, their size, and the mistakes that make them useless."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmattn.errors import DataError
from mmattn.images import evenly

from .faults import FaultyFiles

ImageSize = Callable[[str], tuple[int, int]]

_IGNORED = 255


@dataclass(frozen=True)
class MaskRules:
    """Rules by which the loading transform turns mask values into labels.

    Attributes:
        classes: Names of the classes; labels count from 0.
        ignored: Labels that the loss leaves out.
        reduce_zero_label: 0 becomes ignored and every other value one less.
        label_map: Value -> label, applied after that.
    """

    classes: tuple[str, ...]
    ignored: frozenset[int] = frozenset({_IGNORED})
    reduce_zero_label: bool = False
    label_map: dict[int, int] | None = None

    def label(self, value: int) -> int:
        """Return the label of a mask value, as ``LoadAnnotations`` computes it."""
        if self.reduce_zero_label:
            value = _IGNORED if value in (0, _IGNORED) else value - 1
        return (self.label_map or {}).get(value, value)

    def is_known(self, label: int) -> bool:
        """Return whether the loss can take this label."""
        return 0 <= label < len(self.classes) or label in self.ignored


def check_masks(
    entries: Sequence[dict],
    read: Callable[[str], np.ndarray],
    image_size: ImageSize,
    rules: MaskRules,
    faults: FaultyFiles,
    limit: int | None,
) -> dict[int, int]:
    """Decode masks and check values and size against classes and image.

    Args:
        entries: Entries of the dataset, with ``img_path`` and ``seg_map_path``.
        read: Function from the path of a mask to its pixels, as the pipeline's loader decodes them.
        image_size: Function from the path of an image to its height and width as loaded.
        rules: Rules by which values become labels.
        faults: Takes up a mask that is wrong, with the likely mistake; knows the config key.
        limit: Largest number of files to look at, evenly spread; None looks at all.

    Returns:
        Pixels of each label in the masks looked at.

    Raises:
        DataError: The masks as a whole are useless.
    """
    where = faults.where
    pixels: dict[int, int] = {}
    values_seen: set[int] = set()
    chosen = evenly(len(entries), limit)
    for index in chosen:
        image, path = entries[index]["img_path"], entries[index]["seg_map_path"]
        with faults.collected():
            mask = _plain(read(path), path, where, rules)
            _check_size(mask, path, image, image_size, where)
            counts = _histogram(mask)
            values_seen.update(counts)
            wrong = [v for v in counts if not 0 <= v <= 255 or not rules.is_known(rules.label(v))]
            if wrong:
                raise _out_of_range(path, where, wrong, values_seen, rules)
            for value, count in counts.items():
                label = rules.label(value)
                pixels[label] = pixels.get(label, 0) + count
    faults.refuse()
    _refuse_useless(pixels, values_seen, entries, rules, where)
    rest = (entries[index]["seg_map_path"] for index in _others(len(entries), chosen))
    labels = (
        {rules.label(v) for v in _histogram(_plain(read(path), path, where, rules))}
        for path in rest
    )
    found = set(pixels) - rules.ignored
    _refuse_one_class(found, labels, rules.classes, rules.ignored, entries, where)
    return pixels


def check_read_masks(
    entries: Sequence[dict],
    reader: Callable[[str], np.ndarray],
    image_size: ImageSize,
    classes: Sequence[str],
    faults: FaultyFiles,
    limit: int | None,
) -> dict[int, int]:
    """Check masks as ``check_masks`` does, of a dataset that reads a format of its own.

    Args:
        entries: Entries of the dataset, with ``img_path`` and ``seg_map_path``.
        reader: Function from a path to labels ``(H, W)``, 255 for ignored; raises a DataError.
        image_size: Function from the path of an image to its height and width as loaded.
        classes: Names of the labels.
        faults: Takes up a mask that is wrong, with the likely mistake; knows the config key.
        limit: Largest number of files to look at, evenly spread; None looks at all.
    """

    def read(path: str) -> np.ndarray:
        try:
            return reader(path)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    where = faults.where
    pixels: dict[int, int] = {}
    chosen = evenly(len(entries), limit)
    for index in chosen:
        path = entries[index]["seg_map_path"]
        with faults.collected():
            labels = read(path)
            _check_size(labels, path, entries[index]["img_path"], image_size, where)
            for label, count in _histogram(labels).items():
                pixels[label] = pixels.get(label, 0) + count
    faults.refuse()
    rest = (entries[index]["seg_map_path"] for index in _others(len(entries), chosen))
    others = (set(_histogram(read(path))) for path in rest)
    ignored = frozenset({_IGNORED})
    _refuse_one_class(set(pixels) - ignored, others, classes, ignored, entries, where)
    return pixels


def _others(count: int, chosen: np.ndarray) -> list[int]:
    """Return the indices of ``range(count)`` that were not chosen."""
    return sorted(set(range(count)) - set(chosen.tolist()))


def _refuse_one_class(
    found: set[int],
    others: Iterable[set[int]],
    classes: Sequence[str],
    ignored: Collection[int],
    entries: Sequence[dict],
    where: str,
) -> None:
    """Refuse masks that leave nothing to tell apart.

    A few validation images may lack classes; whoever trains needs two of them.

    Args:
        found: Labels of the masks looked at, without ignored ones.
        others: Labels of each further mask, read only until two are found.
        classes: Names of the labels.
        ignored: Labels that the loss leaves out.
        entries: Entries of the dataset.
        where: Config key of the dataset, used in messages.
    """
    if not entries:
        return
    trains = where.startswith("train")
    if trains and len(classes) == 1:
        raise DataError(
            f"{where}: {classes[0]!r} is the only class, so every labelled pixel belongs to it and "
            "there is nothing to learn. What is not "
            f"{classes[0]!r} has to be a class of its own, such as 'background'"
        )
    needed = 2 if trains else 1
    for labels in others if len(found) < needed else ():
        found |= labels - set(ignored)
        if len(found) >= needed:
            break
    if len(found) < needed:
        only = repr(classes[min(found)]) if found else "ignored"
        raise DataError(
            f"{where}: every labelled pixel of the {len(entries)} masks, such as those of "
            f"{entries[0]['seg_map_path']}, is {only}: there is nothing to learn. Compare the "
            "masks' values with the classes and with mask_format"
        )


def _plain(mask: np.ndarray, path: str, where: str, rules: MaskRules) -> np.ndarray:
    """Return the mask as ``(H, W)`` integers; one channel may be a trailing axis."""
    if mask.ndim == 3 and mask.shape[2] == 1:
        mask = mask[..., 0]
    if mask.ndim == 3:
        colours = np.unique(mask.reshape(-1, mask.shape[2]), axis=0)
        raise DataError(
            f"{where}: the mask {path} has {mask.shape[2]} channels and {len(colours)} colours, "
            f"such as {tuple(colours[-1].tolist())}. A mask is one channel of class indices 0 to "
            f"{len(rules.classes) - 1}: convert the colours to indices first"
        )
    if mask.dtype.kind not in "uib":
        raise DataError(f"{where}: the mask {path} holds {mask.dtype}, not class indices")
    return mask


def _histogram(mask: np.ndarray) -> dict[int, int]:
    """Pixels of each value that occurs, ascending."""
    if mask.dtype in (np.uint8, np.bool_):  # far quicker than sorting
        counts = np.bincount(mask.reshape(-1), minlength=256)
        return {int(v): int(counts[v]) for v in np.flatnonzero(counts)}
    values, counts = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _check_size(mask: np.ndarray, path: str, image: str, image_size: ImageSize, where: str) -> None:
    size = image_size(image)
    if mask.shape != size:
        raise DataError(
            f"{where}: the mask {path} is {mask.shape[0]} x {mask.shape[1]} (height x width), its "
            f"image {image} is {size[0]} x {size[1]}. {_size_advice(mask.shape, size)}"
        )


def _size_advice(mask: tuple[int, ...], image: tuple[int, int]) -> str:
    if mask == image[::-1]:
        return (
            "One of the two lies on its side, perhaps turned by its EXIF orientation: save both "
            "turned, without this entry"
        )
    return "Pair the right files, or resize the mask by nearest neighbour to the image"


def _out_of_range(
    path: str, where: str, wrong: Sequence[int], seen: Collection[int], rules: MaskRules
) -> DataError:
    count = len(rules.classes)
    listed = ", ".join(map(str, wrong[:10])) + (", ..." if len(wrong) > 10 else "")
    reduced = " after reduce_zero_label" if rules.reduce_zero_label else ""
    return DataError(
        f"{where}: the mask {path} holds {listed}; with {count} classes the labels{reduced} are "
        f"0 to {count - 1}, and {', '.join(map(str, sorted(rules.ignored)))} is ignored. "
        f"{_likely_mistake(wrong, seen, rules)}"
    )


def _likely_mistake(wrong: Sequence[int], seen: Collection[int], rules: MaskRules) -> str:
    """Return the usual cause of such values, and the fix."""
    count = len(rules.classes)
    if max(wrong) > 255:
        return "Values above 255 wrap around when loaded: store the mask with 8 bits"
    if not rules.reduce_zero_label and rules.label_map is None and list(wrong) == [count]:
        return (
            "If the classes count from 1 and 0 is the background, set reduce_zero_label=True in "
            f"the dataset; if {count} means unlabelled, write {_IGNORED} instead; if a class is "
            "missing in metainfo.classes, add it"
        )
    positive = sorted(v for v in seen if v > 0)
    step = np.gcd.reduce(positive) if len(positive) > 1 else positive[0]
    if step > 1 and max(positive) // step < max(count, 2) and max(positive) > count:
        return (
            f"The values are multiples of {step}: a mask stretched for viewing. Divide it by {step}"
        )
    return "Map these values to class indices, or to 255 where nothing is labelled"


def _refuse_useless(
    pixels: dict[int, int],
    seen: Collection[int],
    entries: Sequence[dict],
    rules: MaskRules,
    where: str,
) -> None:
    """Refuse masks in range that cannot train: binary ones of {0, 255}, or without any label."""
    labels = {label for label in pixels if label not in rules.ignored}
    folder = entries[0]["seg_map_path"] if entries else ""
    if not labels and pixels:
        raise DataError(
            f"{where}: every pixel of the masks looked at, such as {folder}, is ignored "
            f"(values {sorted(seen)}): there is nothing to learn"
        )
    if set(seen) == {0, _IGNORED} and labels == {0} and len(rules.classes) > 1:
        raise DataError(
            f"{where}: the masks, such as {folder}, hold 0 and 255 only. 255 is ignored, so "
            f"{rules.classes[1]!r} would never be learnt: binary masks must hold 0 and 1, "
            "divide them by 255"
        )
