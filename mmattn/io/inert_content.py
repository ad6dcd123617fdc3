"""Rebuild the content of a torch file from its inert tree, by our own code alone.

Tensors, containers, numbers, text, and what numpy has of these are rebuilt; ``REBUILD`` lists by
which function. The result is the plain data that mmattn itself writes (see ``weights_only``):
numpy's numbers are Python's, numpy's arrays tensors, subclasses of ``dict`` dictionaries. Whatever
else the file names stays a ``Record``, which is left out, or refused where it is needed.
"""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from mmattn.errors import CheckpointError

from .inert_modules import ModuleWeights, is_module, named_tensors, own_attributes
from .inert_pickle import STORAGE, DamagedPickleError, Record
from .storage_types import STORAGE_DTYPES, StorageReference, storage_reference
from .torch_archive import TorchArchive

#: Entries without whose every value a model would be wrong, or a training go on as another one.
NEEDED = ("state_dict", "model", "ema_state_dict", "optimizer", "param_schedulers")
_DROPPED = object()
_DICTS = (
    "builtins.dict",
    "collections.defaultdict",
    "mmengine.config.config.ConfigDict",
    "mmcv.utils.config.ConfigDict",
    "addict.addict.Dict",
)
_NUMPY_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|c8|c16|[US][1-9]\d{0,5})")
_SCALARS = (type(None), bool, int, float, complex, str, bytes)


class NeedsExecutionError(CheckpointError):
    """Raised for an entry that is needed and could only be had by running what the file says.

    Attributes:
        of_module: Whether the entry is a network, whose weights could be had (``modules=True``).
    """

    of_module: bool = False


class LeftOut(NamedTuple):
    """Place of an entry that was left out, as ``"meta.hook"``, and the name of its class."""

    place: str
    class_name: str

    def __str__(self) -> str:
        return f"{self.place} ({self.class_name})"


def rebuild_content(
    archive: TorchArchive,
    place_storage: Callable[[torch.UntypedStorage, str], Any],
    *,
    modules: bool = False,
) -> tuple[Any, list[LeftOut]]:
    """Rebuild what a torch file holds.

    Args:
        archive: Content of the file.
        place_storage: Function from a storage in memory and the device that it was saved from to
            the storage to use.
        modules: Rebuild networks that were pickled as a whole as their weights
            (``inert_modules.ModuleWeights``).

    Returns:
        The content, and what was left out of it.

    Raises:
        NeedsExecutionError: If the whole content, an entry of ``NEEDED``, or one among weights that
            are the whole content, is an object that this function does not rebuild; or if no
            weights are left.
        DamagedPickleError: If storages are too small for their tensors, or containers hold
            themselves.
    """
    rebuilder = _Rebuilder(archive, place_storage, modules)
    try:
        return rebuilder.root(archive.tree), rebuilder.left_out
    except RecursionError:
        raise DamagedPickleError(
            "its containers hold themselves, or are nested too deeply"
        ) from None


class _NotPlainError(Exception):
    """Raised by a function of ``REBUILD`` for arguments that it does not take."""


class _Rebuilder:
    def __init__(self, archive: TorchArchive, place_storage: Callable, modules: bool):
        self._modules = modules
        self.left_out: list[LeftOut] = []
        self._archive = archive
        self._place_storage = place_storage
        self._storages: dict[str, torch.UntypedStorage] = {}
        # What is shared is rebuilt once: a small file can refer to a value exponentially often.
        # Once for each rule of what may be left out, so that none is evaded by sharing.
        self._memos: dict[str, dict[int, Any]] = {}
        self._rule = ""

    def root(self, tree: Any) -> Any:
        self._rule = "needed"
        if not _is_dictionary(tree):
            return self.value(tree, "")
        try:
            pairs = self._pairs(tree)
        except _NotPlainError:
            return self._leave_out(tree, "")
        if not all(type(key) is str for key, _ in pairs):
            raise DamagedPickleError("its entries are not named by text")
        result: dict = OrderedDict() if tree.name.endswith("OrderedDict") else {}
        parts = {key for key, _ in pairs}
        weights_alone = not parts & set(NEEDED) and any(_is_tensor(value) for _, value in pairs)
        for key, value in pairs:
            needed = weights_alone or key in NEEDED
            if key == "model" and "state_dict" in parts:
                needed = False
            self._rule = "needed" if needed else "droppable"
            if key == "param_schedulers":
                self._rule = key
            item = self.value(value, key)
            if item is not _DROPPED:
                result[key] = item
        if self.left_out and not parts & set(NEEDED) and not self._storages:
            raise _needs_execution(self.left_out[0])  # a whole model under a name of its own, say
        self._rule = "droppable"
        return self._with_metadata(result, tree, "")

    def value(self, node: Any, place: str) -> Any:
        """Rebuild one node; ``_DROPPED`` where it is left out."""
        if type(node) in _SCALARS:
            return node
        memo = self._memos.setdefault(self._rule, {})
        if id(node) not in memo:
            memo[id(node)] = self._rebuild(node, place)
        return memo[id(node)]

    def _rebuild(self, node: Any, place: str) -> Any:
        if isinstance(node, list | tuple):
            return type(node)(self._items(node, place))
        if node.args is None:
            return self._named(node, place)
        function = REBUILD.get(node.name)
        if function is not None:
            try:
                return function(self, node, place)
            except _NotPlainError:
                pass
        if self._modules and is_module(node):
            return self.module(node, place)
        return self._leave_out(node, place)

    def _items(self, nodes: Any, place: str) -> list[Any]:
        items = [self.value(node, f"{place}[{index}]") for index, node in enumerate(nodes)]
        return [item for item in items if item is not _DROPPED]

    def _named(self, node: Record, place: str) -> Any:
        """Return what a name alone stands for: a type of numbers, or nothing that is needed."""
        dtype = _TORCH_DTYPES.get(node.name)
        return self._leave_out(node, place) if dtype is None else dtype

    def _leave_out(self, node: Record, place: str) -> Any:
        if self._rule == "param_schedulers" and _is_function(node):
            return _DROPPED  # the config makes it anew
        left_out = LeftOut(place or "the content", _class_name(node))
        if self._rule != "droppable":
            error = _needs_execution(left_out)
            error.of_module = is_module(node)
            raise error
        self.left_out.append(left_out)
        return _DROPPED

    # Containers

    def dictionary(self, node: Record, place: str) -> Any:
        return self._filled({}, node, place)

    def ordered(self, node: Record, place: str) -> Any:
        return self._with_metadata(self._filled(OrderedDict(), node, place), node, place)

    def counter(self, node: Record, place: str) -> Any:
        return self._filled(Counter(), node, place)

    def as_set(self, node: Record, place: str) -> Any:
        items = (*(node.args[0] if node.args and type(node.args[0]) is list else ()), *node.items)
        return {self._key(item) for item in items}

    def _filled(self, result: dict, node: Record, place: str) -> Any:
        for key, value in self._pairs(node):
            if isinstance(key, Record) and key.args is not None and key.name in _NUMPY_SCALARS:
                key = self.numpy_scalar(key, place)
            key = self._key(key)
            item = self.value(value, f"{place}.{key}")
            if item is not _DROPPED:
                result[key] = item
        return result

    def _pairs(self, node: Record) -> list[tuple[Any, Any]]:
        """Return keys and values: those that were passed on creation, and those set later."""
        given: list = []
        match node.args:
            case () | (None,) | (Record(args=None),):  # a defaultdict's default is not kept
                pass
            case (Record(name=name) as inner,) if name in _DICTS and inner is not node:
                given = self._pairs(inner)
            case (list(pairs),) if all(isinstance(p, list | tuple) and len(p) == 2 for p in pairs):
                given = [tuple(pair) for pair in pairs]
            case tuple(pairs) if all(type(pair) is tuple and len(pair) == 2 for pair in pairs):
                given = list(pairs)  # addict's way
            case _:
                raise _NotPlainError
        return [*given, *node.pairs]

    def _key(self, key: Any) -> Any:
        # Hashing deep tuples overflows the interpreter's stack.
        if type(key) in _SCALARS:
            return key
        if type(key) is tuple and all(type(part) in _SCALARS for part in key):
            return key
        raise _NotPlainError

    def _with_metadata(self, result: dict, node: Record, place: str) -> dict:
        """Keep a state dict's module versions, its only attribute."""
        state = node.state
        if isinstance(result, OrderedDict) and isinstance(state, Record):
            for key, value in state.pairs:
                if key == "_metadata":
                    metadata = self.value(value, f"{place}._metadata")
                    if isinstance(metadata, dict):
                        vars(result)["_metadata"] = metadata
        return result

    # torch

    def tensor(self, node: Record, place: str) -> torch.Tensor:
        match node.args:
            case (Record() as storage, int(offset), size, stride, *rest):
                pass
            case _:
                raise _NotPlainError
        reference = storage_reference(storage)
        if reference is None or not (_is_sizes(size) and _is_sizes(stride)):
            raise _NotPlainError
        size, stride = _sizes(size), _sizes(stride)
        dtype = reference.dtype
        if node.name.endswith("_v3"):
            dtype = _TORCH_DTYPES.get(rest[2].name) if _is_class(rest[2:3]) else None
            rest = rest[:2] + rest[3:]
        if dtype is None or (len(rest) > 2 and not _is_empty(rest[2])):
            raise _NotPlainError  # conjugated and negated views
        start, unaligned = divmod(reference.offset * reference.dtype.itemsize, dtype.itemsize)
        available = reference.view_count * reference.dtype.itemsize // dtype.itemsize
        if unaligned or not _is_within(offset, size, stride, available):
            raise DamagedPickleError(f"{place} reaches beyond its storage {reference.key!r}")
        memory = self._storage(reference)
        empty = torch.empty(0, dtype=dtype, device=memory.device)
        return empty.set_(memory, start + offset, size, stride)

    def parameter(self, node: Record, place: str) -> Any:
        if not node.args or not _is_tensor(node.args[0]):
            raise _NotPlainError
        return self.value(node.args[0], place)

    def size(self, node: Record, place: str) -> torch.Size:
        if len(node.given) != 1 or not _is_sizes(node.given[0]):
            raise _NotPlainError
        return torch.Size(_sizes(node.given[0]))

    def device(self, node: Record, place: str) -> torch.device:
        match node.args:
            case (str(kind),) | (str(kind), int()) if re.fullmatch(r"[a-z]+(:\d+)?", kind):
                try:
                    return torch.device(*node.args)
                except RuntimeError:
                    pass
        raise _NotPlainError

    def module(self, node: Record, place: str) -> ModuleWeights:
        """Rebuild a network as its weights, all of which are needed, and what data it holds."""
        rule, self._rule = self._rule, "needed"
        named = [(name, self.value(x, f"{place}.{name}")) for name, x in named_tensors(node)]
        self._rule = "droppable"
        rebuilt = {
            name: self.value(x, f"{place}.{name}") for name, x in own_attributes(node).items()
        }
        self._rule = rule
        kept = {name: value for name, value in rebuilt.items() if value is not _DROPPED}
        weights = ModuleWeights(node.name, kept)
        for name, value in named:
            if not isinstance(value, torch.Tensor):
                raise DamagedPickleError(f"{place}.{name} is in a tensor's place and none")
            weights[name] = value
        return weights

    def _storage(self, reference: StorageReference) -> torch.UntypedStorage:
        if reference.key not in self._storages:
            data = self._archive.read_storage(reference.key)
            memory = torch.empty(len(data), dtype=torch.uint8)
            if len(data):
                memory.numpy()[:] = np.frombuffer(data, dtype=np.uint8)
            storage = self._place_storage(memory.untyped_storage(), reference.location)
            self._storages[reference.key] = storage
        storage = self._storages[reference.key]
        if storage.nbytes() < reference.count * reference.dtype.itemsize:
            raise DamagedPickleError(
                f"its storage {reference.key!r} has {storage.nbytes()} bytes where "
                f"{reference.count * reference.dtype.itemsize} are declared"
            )
        return storage

    # numpy

    def numpy_scalar(self, node: Record, place: str) -> Any:
        if len(node.given) != 2:
            raise _NotPlainError
        dtype = _numpy_dtype(node.given[0])
        data = _bytes(node.given[1])
        if len(data) != dtype.itemsize:
            raise _NotPlainError
        return np.frombuffer(data, dtype)[0].item()

    def numpy_array(self, node: Record, place: str) -> Any:
        match node.args, node.state:
            case (Record(name="numpy.ndarray", args=None), *_), (int(), shape, dtype, order, data):
                return _array(data, dtype, shape, "F" if order else "C")
        raise _NotPlainError

    def numpy_from_buffer(self, node: Record, place: str) -> Any:
        match node.args:
            case (data, dtype, shape, "C" | "F" as order):
                return _array(data, dtype, shape, order)
        raise _NotPlainError

    # Python

    def bytes_(self, node: Record, place: str) -> bytes:
        return _bytes(node)

    def complex_(self, node: Record, place: str) -> complex:
        match node.args:
            case (float(real), float(imaginary)):
                return complex(real, imaginary)
        raise _NotPlainError

    def path(self, node: Record, place: str) -> str:
        """Return a path as text, which is how mmattn writes one."""
        if not all(type(part) is str for part in node.given):
            raise _NotPlainError
        head, *rest = node.given or (".",)
        return head.rstrip("/") + "/" + "/".join(rest) if rest else head

    def queue(self, node: Record, place: str) -> list:
        match node.args:
            case () | ((), int() | None):
                return self._items(node.items, place)
            case (list() | tuple() as given, *_):
                return self._items([*given, *node.items], place)
        raise _NotPlainError

    # mmengine

    def history(self, node: Record, place: str) -> dict[str, Any]:
        """Rebuild a log of mmengine as mmattn stores it; the bridge makes it a log again."""
        pairs = node.state.pairs if isinstance(node.state, Record) else []
        state = {key: value for key, value in pairs if type(key) is str}
        values, counts, length = map(state.get, ("_log_history", "_count_history", "max_length"))
        arrays = [self.value(node, place) for node in (values, counts)]
        arrays = [torch.tensor(a).double() if _is_numbers(a) else a for a in arrays]
        if type(length) is not int or not all(isinstance(a, torch.Tensor) for a in arrays):
            raise _NotPlainError
        return {"log_history": arrays[0], "count_history": arrays[1], "max_length": length}


_TENSORS = tuple(
    f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter")
)
_NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_TORCH_DTYPES = {
    str(dtype): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and not str(dtype).startswith(("torch.q", "torch.bits"))
}
#: Full name in a file -> the function of ours that rebuilds it.
REBUILD: dict[str, Callable[[_Rebuilder, Record, str], Any]] = {
    **dict.fromkeys(_DICTS, _Rebuilder.dictionary),
    "collections.OrderedDict": _Rebuilder.ordered,
    "collections.Counter": _Rebuilder.counter,
    "builtins.set": _Rebuilder.as_set,
    "builtins.frozenset": _Rebuilder.as_set,
    "collections.deque": _Rebuilder.queue,
    **{f"pathlib.{name}": _Rebuilder.path for name in ("PosixPath", "PurePosixPath")},
    "builtins.bytes": _Rebuilder.bytes_,
    "_codecs.encode": _Rebuilder.bytes_,
    "builtins.complex": _Rebuilder.complex_,
    **dict.fromkeys(_TENSORS[:3], _Rebuilder.tensor),
    "torch._utils._rebuild_parameter": _Rebuilder.parameter,
    "torch.Size": _Rebuilder.size,
    "torch.device": _Rebuilder.device,
    **dict.fromkeys(_NUMPY_SCALARS, _Rebuilder.numpy_scalar),
    "numpy.core.multiarray._reconstruct": _Rebuilder.numpy_array,
    "numpy._core.multiarray._reconstruct": _Rebuilder.numpy_array,
    "numpy.core.numeric._frombuffer": _Rebuilder.numpy_from_buffer,
    "numpy._core.numeric._frombuffer": _Rebuilder.numpy_from_buffer,
    "mmengine.logging.history_buffer.HistoryBuffer": _Rebuilder.history,
}


def _needs_execution(entry: LeftOut) -> NeedsExecutionError:
    return NeedsExecutionError(
        f"{entry.place} is an object of {entry.class_name!r}, which only running code of the file "
        "could rebuild; weights are tensors, numbers and strings"
    )


def _array(data: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> Any:
    """Return numbers as a tensor, text as nested lists."""
    dtype = _numpy_dtype(dtype)
    content = _bytes(data)
    if not _is_sizes(shape) or len(content) != math.prod(shape) * dtype.itemsize:
        raise _NotPlainError
    array = np.empty(0, dtype) if not content else np.frombuffer(content, dtype)
    array = array.reshape(shape, order=order)
    if dtype.kind in "US":
        return array.tolist()
    # Copied, because torch cannot wrap foreign byte orders nor what cannot be written.
    return torch.from_numpy(np.array(array, dtype=dtype.newbyteorder("=")))


def _numpy_dtype(node: Any) -> np.dtype:
    """Rebuild a type of numbers or text; all others, objects above all, are none of ours."""
    match node:
        case Record(name="numpy.dtype", args=(str(name), *_), state=state) if (
            _NUMPY_DTYPE.fullmatch(name)
        ):
            dtype = np.dtype(name)
        case _:
            raise _NotPlainError
    match state:
        case None:
            return dtype
        case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            return dtype.newbyteorder(order)
    raise _NotPlainError


def _bytes(node: Any) -> bytes:
    """Return bytes, which protocols before 3 store as text of one character per byte."""
    match node:
        case bytes():
            return node
        case str() | Record(name="_codecs.encode", args=(str(), "latin1")):
            text = node if isinstance(node, str) else node.given[0]
            try:
                return text.encode("latin1")
            except UnicodeEncodeError:
                raise _NotPlainError from None
        case Record(name="builtins.bytes", args=()):
            return b""
    raise _NotPlainError


def _is_sizes(node: Any) -> bool:
    if isinstance(node, Record) and node.name == "torch.Size" and node.args:
        node = node.args[0]
    return isinstance(node, list | tuple) and all(
        type(size) is int and 0 <= size < 2**62 for size in node
    )


def _sizes(node: Any) -> tuple[int, ...]:
    return tuple(node.given[0] if isinstance(node, Record) else node)


def _is_within(offset: int, size: tuple, stride: tuple, available: int) -> bool:
    """Return whether a view stays within its memory; all lengths are in numbers."""
    if offset < 0 or len(size) != len(stride) or offset > available:
        return False
    if 0 in size:
        return True
    steps = zip(size, stride, strict=True)
    return offset + sum((length - 1) * step for length, step in steps) < available


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) in (int, float) for item in value)


def _is_class(nodes: Any) -> bool:
    return len(nodes) == 1 and isinstance(nodes[0], Record) and nodes[0].args is None


def _is_empty(node: Any) -> bool:
    return node is None or (isinstance(node, Record) and not node.pairs and not node.items)


def _is_dictionary(node: Any) -> bool:
    names = (*_DICTS, "collections.OrderedDict")
    return isinstance(node, Record) and node.args is not None and node.name in names


def _is_tensor(node: Any) -> bool:
    return isinstance(node, Record) and node.args is not None and node.name in _TENSORS


def _is_function(node: Record) -> bool:
    """Return whether a record is a function by name, or a method of a class by name."""
    match node:
        case Record(args=None):
            return True
        case Record(name="builtins.getattr", args=(Record(args=None), str())):
            return True
    return False


def _class_name(node: Any) -> str:
    """Return the name of what a record would be, for messages."""
    if not isinstance(node, Record):
        return type(node).__name__
    if node.name == STORAGE:
        reference = storage_reference(node)
        if not reference:
            return "a reference outside the file"
        return next(name for name, dtype in STORAGE_DTYPES.items() if dtype == reference.dtype)
    return node.name
