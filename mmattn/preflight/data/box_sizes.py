"""Sizes of boxes as the network gets them, against the finest grid that its head predicts on."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmattn.boxes import BoxRecords, Finding, Place
from mmattn.config.walk import walk
from mmattn.type_names import bare_name

#: Steps that set the size of an image, of which the first one in a pipeline counts.
_RESIZES = (
    *("Resize", "FixScaleResize", "RandomResize", "RandomChoiceResize", "ResizeShortestEdge"),
    *("Mosaic", "CachedMosaic", "MosaicAffine"),
)
#: Steps of these that fit each image into their scale.
_MOSAICS = ("Mosaic", "CachedMosaic", "MosaicAffine")
_SHOWN = 3


class SizedObject(NamedTuple):
    """One box of a dataset.

    Attributes:
        label: Label of its class.
        sides: Width and height of the box in pixels.
        size: Height and width of its image.
        place: Where it is stated.
    """

    label: int
    sides: tuple[float, float]
    size: tuple[int, int]
    place: Place


def sized_objects(entries: Sequence[Any], records: BoxRecords | None) -> Iterator[SizedObject]:
    """Yield the boxes of a dataset's entries.

    Args:
        entries: Entries of the dataset, as mmdet has them; others hold no box.
        records: What a folder of boxes holds, which knows the place of each box.
    """
    known = {image.path: image for image in records.images} if records is not None else {}
    for entry in entries:
        if not isinstance(entry, Mapping) or not entry.get("height") or not entry.get("width"):
            continue
        path = str(entry.get("img_path"))
        image = known.get(path)
        items = {item.box: item.item for item in image.objects} if image is not None else {}
        size = (int(entry["height"]), int(entry["width"]))
        for instance in entry.get("instances") or ():
            box, label = instance.get("bbox"), instance.get("bbox_label")
            if not isinstance(label, int) or box is None or len(box) != 4:
                continue
            x1, y1, x2, y2 = map(float, box)
            item = items.get((x1, y1, x2, y2))
            place = Place(path) if image is None or item is None else Place(image.source, item)
            yield SizedObject(label, (x2 - x1, y2 - y1), size, place)


def below_stride(
    objects: Iterable[SizedObject],
    classes: Sequence[str],
    pipeline: Sequence[Mapping[str, Any]],
    stride: int,
) -> Finding | None:
    """Return the boxes that are smaller than one cell of the finest grid; None where there is none.

    A box is smaller where the square root of its area, behind the pipeline's resize, is less than
    the stride.

    Args:
        objects: Boxes of a dataset.
        classes: Class names by label.
        pipeline: Steps of the dataset's pipeline, those of its wrappers behind them.
        stride: Smallest stride of the head in pixels.
    """
    step = next((step for step in pipeline if bare_name(step.get("type")) in _RESIZES), None)
    small, totals = [], Counter()
    for item in objects:
        totals[item.label] += 1
        across, down = scale_of(step, item.size) if step is not None else (1.0, 1.0)
        if math.sqrt(max(item.sides[0] * across * item.sides[1] * down, 0)) < stride:
            small.append(item)
    if not small:
        return None
    counts = Counter(item.label for item in small)
    shares = [
        f"{classes[label]} {count} of {totals[label]}"
        for label, count in counts.most_common(_SHOWN)
        if 0 <= label < len(classes)
    ]
    behind = f" behind {describe(step)}" if step is not None else ""
    return Finding(
        "below-stride",
        f"{len(small)} boxes are smaller than the smallest stride, {stride} pixels,{behind}: "
        f"{', '.join(shares)}",
        tuple(item.place for item in small),
        shown=0,
    )


def scale_of(step: Mapping[str, Any], size: tuple[int, int]) -> tuple[float, float]:
    """Return by how much a step stretches an image of a size across and down.

    Of a random step the middle of its scales counts.

    Args:
        step: Config of the step.
        size: Height and width of the image.
    """
    height, width = size
    scale = _middle(step)
    if isinstance(scale, (int, float)):
        return float(scale), float(scale)
    if scale is None:
        return 1.0, 1.0
    name = bare_name(step.get("type"))
    wide, high = scale
    keep = step.get("keep_ratio", name == "FixScaleResize")
    if name in _MOSAICS:
        factor = min(wide / width, high / height)
        return factor, factor
    if name == "ResizeShortestEdge":
        factor = min(min(scale) / min(size), max(scale) / max(size))
        return factor, factor
    if keep:
        factor = min(max(scale) / max(size), min(scale) / min(size))
        return factor, factor
    return wide / width, high / height


def describe(step: Mapping[str, Any]) -> str:
    """Return a resizing step in words."""
    scale = _middle(step)
    name = bare_name(step.get("type"))
    if isinstance(scale, (int, float)):
        return f"{name} by {scale:g}"
    return f"{name} to {scale[0]:g} x {scale[1]:g}" if scale else name


def _middle(step: Mapping[str, Any]) -> tuple[float, float] | float | None:
    """Return the scale (width, height) of a step, or its factor; None where it is not known."""
    scale = step.get("scale") or step.get("img_scale")
    if step.get("scales"):
        scales = sorted(step["scales"], key=lambda s: min(s) if isinstance(s, Sequence) else s)
        scale = scales[len(scales) // 2]
    if isinstance(scale, Sequence) and scale and isinstance(scale[0], Sequence):
        scale = tuple(sum(pair) / len(pair) for pair in zip(*scale, strict=True))
    if scale is None:
        factor = step.get("scale_factor")
        return float(factor) if isinstance(factor, (int, float)) else None
    if isinstance(scale, Sequence) and len(scale) == 2:
        return float(scale[0]), float(scale[1])
    return (float(scale), float(scale)) if isinstance(scale, (int, float)) else None


def smallest_stride(model: Mapping[str, Any]) -> int | None:
    """Return the smallest stride of the grids that a detector predicts on; None without grids.

    The config's scope must have been entered (``enter_scope``).
    """
    found = []
    for path, value in walk(model, "model"):
        if "head" not in path and path.rpartition(".")[2] != "strides":
            continue
        if path.rpartition(".")[2] == "strides":
            found += _numbers(value)
    if found:
        return min(found)
    for key in ("bbox_head", "rpn_head"):
        head = model.get(key)
        default = _default_strides(head) if isinstance(head, Mapping) else ()
        if default:
            return min(default)
    return None


def _numbers(value: Any) -> list[int]:
    flat = [v for one in value or () for v in (one if isinstance(one, Sequence) else [one])]
    return [int(v) for v in flat if isinstance(v, (int, float)) and v > 0]


def _default_strides(head: Mapping[str, Any]) -> list[int]:
    from mmengine.registry import MODELS

    cls = head.get("type")
    if isinstance(cls, str):
        with MODELS.switch_scope_and_registry(head.get("_scope_")) as registry:
            cls = registry.get(cls)
    if not inspect.isclass(cls):
        return []
    parameter = inspect.signature(cls.__init__).parameters.get("strides")
    default = None if parameter is None else parameter.default
    return _numbers(default) if isinstance(default, Sequence) else []
