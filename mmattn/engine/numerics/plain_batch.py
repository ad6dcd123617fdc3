"""A batch as plain data and back: tensors, numbers and strings, with the names of their holders.

A data sample of mmengine is written as its class's name, its metadata and its fields. Only the
classes of ``_HOLDERS`` are made again, so that a file cannot name a class to be called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch

from mmattn.errors import DataError

_KIND = "__kind__"
#: Class -> its module.
_HOLDERS = {
    "BaseDataElement": "mmengine.structures",
    "InstanceData": "mmengine.structures",
    "PixelData": "mmengine.structures",
    "LabelData": "mmengine.structures",
    "DetDataSample": "mmdet.structures",
    "SegDataSample": "mmseg.structures",
    "DataSample": "mmpretrain.structures",
    "HorizontalBoxes": "mmdet.structures.bbox",
    "BitmapMasks": "mmdet.structures.mask",
    "PolygonMasks": "mmdet.structures.mask",
}
_PLAIN = (type(None), bool, int, float, str, bytes, complex)


def plain_batch(value: Any) -> Any:
    """Return a batch as plain data; tensors are copied, to the CPU.

    What cannot be written is replaced by its type's name, which ``batch_of`` refuses.
    """
    from mmengine.structures import BaseDataElement

    if type(value) in _PLAIN:
        return value
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
        return {_KIND: "array", "values": torch.from_numpy(array.copy())}
    if isinstance(value, np.generic):
        return value.item()
    name = type(value).__name__
    if isinstance(value, BaseDataElement):
        return {
            _KIND: name,
            "metainfo": {key: plain_batch(item) for key, item in value.metainfo_items()},
            "fields": {key: plain_batch(item) for key, item in value.items()},
        }
    if name == "HorizontalBoxes":
        return {_KIND: name, "tensor": plain_batch(value.tensor)}
    if name in ("BitmapMasks", "PolygonMasks"):
        masks = plain_batch(value.masks)
        return {_KIND: name, "masks": masks, "height": value.height, "width": value.width}
    if isinstance(value, Mapping):
        return {str(key): plain_batch(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain_batch(item) for item in value)
    if isinstance(value, (list, set, frozenset)):
        return [plain_batch(item) for item in value]
    if isinstance(value, (bool, int, float, str)):  # subclasses of these
        return next(base(value) for base in (bool, int, float, str) if isinstance(value, base))
    return {_KIND: "unknown", "type": f"{type(value).__module__}.{type(value).__qualname__}"}


def batch_of(plain: Any) -> Any:
    """Return the batch that ``plain_batch`` has written.

    Raises:
        DataError: It holds objects that were not written, or that this installation lacks.
    """
    if isinstance(plain, list):
        return [batch_of(item) for item in plain]
    if isinstance(plain, tuple):
        return tuple(batch_of(item) for item in plain)
    if not isinstance(plain, Mapping):
        return plain
    kind = plain.get(_KIND)
    if kind is None:
        return {key: batch_of(item) for key, item in plain.items()}
    if kind == "array":
        return plain["values"].numpy()
    if kind not in _HOLDERS:
        raise DataError(
            f"the batch holds a {plain.get('type', kind)}, which is no plain data and was not "
            "saved, so this step cannot be repeated from the file"
        )
    try:
        holder = getattr(import_module(_HOLDERS[kind]), kind)
    except (ImportError, AttributeError) as error:
        raise DataError(
            f"the batch holds a {kind}, and {_HOLDERS[kind]} cannot be imported here: {error}"
        ) from error
    if kind == "HorizontalBoxes":
        return holder(plain["tensor"], clone=False)
    if kind in ("BitmapMasks", "PolygonMasks"):
        return holder(batch_of(plain["masks"]), plain["height"], plain["width"])
    element = holder(metainfo=batch_of(plain["metainfo"]))
    for key, item in plain["fields"].items():
        setattr(element, key, batch_of(item))
    return element


def image_names(batch: Any) -> list[str]:
    """Return the path, else the id, of every image of a batch whose data samples know them."""
    names = []
    for sample in data_samples(batch):
        meta = dict(sample.metainfo_items())
        name = next((meta[k] for k in ("img_path", "ori_filename", "img_id") if k in meta), None)
        if name is not None:
            names.append(str(name))
    return names


def data_samples(batch: Any) -> Iterator[Any]:
    """Yield the data samples of a batch, wherever they lie."""
    from mmengine.structures import BaseDataElement

    if isinstance(batch, BaseDataElement):
        yield batch
    elif isinstance(batch, Mapping):
        for item in batch.values():
            yield from data_samples(item)
    elif isinstance(batch, (list, tuple)):
        for item in batch:
            yield from data_samples(item)
