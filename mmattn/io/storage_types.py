"""What a torch checkpoint says about a storage, the memory that tensors are views of."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .inert_pickle import STORAGE, Record

_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
    "Untyped": torch.uint8,
}
#: Name of a storage's class -> type of its numbers.
STORAGE_DTYPES = {
    f"{module}.{name}Storage": dtype
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, dtype in _DTYPES.items()
}


@dataclass(frozen=True)
class StorageReference:
    """Reference to a storage.

    Attributes:
        key: Name of the storage in the file.
        dtype: Type of its numbers.
        location: Device that it was saved from, such as ``"cuda:0"``.
        count: Quantity of its numbers.
        offset: Number that a view of it begins at.
        view_count: Quantity of numbers in the view.
    """

    key: str
    dtype: torch.dtype
    location: str
    count: int
    offset: int
    view_count: int


def storage_reference(record: Record) -> StorageReference | None:
    """Read a reference as torch pickles it; None where ``record`` is something else."""
    if record.name != STORAGE or record.args is None:
        return None
    match record.args[0]:
        case ("storage", Record(args=None) as storage_type, str(key), str(location), int(count)):
            view = None
        case (
            "storage",
            Record(args=None) as storage_type,
            str(key),
            str(location),
            int(count),
            view,
        ):
            pass
        case _:
            return None
    dtype = STORAGE_DTYPES.get(storage_type.name)
    if dtype is None or count < 0:
        return None
    match view:
        case None:
            return StorageReference(key, dtype, location, count, 0, count)
        case (_, int(offset), int(length)) if 0 <= offset <= offset + length <= count:
            return StorageReference(key, dtype, location, count, offset, length)
    return None
