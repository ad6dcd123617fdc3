"""Read and write weights as data.

A pickle is a program: whoever loads one runs it. So nothing here unpickles. A file is either
safetensors, or it is read by torch's ``weights_only`` reader, which knows tensors, numbers, strings
and containers of these, and refuses every other name; no further names are allowed. A file that it
refuses, as nearly all of mmengine, is parsed by ``inert_pickle``, which calls nothing, and rebuilt
by ``inert_content``, whose functions are all ours. The one exception is spelt out in
``read_trusted_pickle``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import shlex
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from mmattn.errors import CheckpointError, MissingCheckpointError, did_you_mean

from .atomic import atomic_write
from .digests import (
    DIGEST,
    DigestWriter,
    add_digest,
    check_digest,
    check_safetensors_digest,
    damaged,
    safetensors_with_digest,
)
from .inert_content import LeftOut, NeedsExecutionError, rebuild_content
from .inert_pickle import DamagedPickleError
from .pickle_names import names_in_pickle
from .plain_pickle import open_plain_pickle
from .storage import telling_storage_errors
from .torch_archive import open_archive

MapLocation = str | torch.device | Callable | dict[str, str] | None

_WAY_OUT = (
    "If you trust where it comes from, convert it once: mmattn convert "
    "--i-trust-this-file {name} OUT.safetensors"
)
_WAY_OUT_OF_MODULE = (
    "Its weights alone can be had, without running anything: mmattn convert {name} OUT.safetensors"
)
#: Metadata that say nothing about the weights: what writers add by habit, and the digest.
_HABITS = ("format", DIGEST)
_logger = logging.getLogger(__name__)
#: Files that were found whole, with what says that they are the same: no run reads them all twice.
_whole: dict[Path, tuple[int, int, int]] = {}
#: Files that another process has just found whole, for as long as this one reads them.
_found_whole: set[Path] = set()
_allowances = threading.Lock()


def read_checkpoint(
    path: str | os.PathLike[str], map_location: MapLocation = "cpu", *, modules: bool = False
) -> dict[str, Any]:
    """Read a whole checkpoint as data; nothing in the file is executed.

    The content decides how it is read, not the name. A torch file gives what was saved; objects in
    it that are not data are left out with a warning, or refused where they are needed. A
    safetensors file gives its tensors by name; where the file carries metadata, it gives
    ``{"state_dict": tensors, "meta": metadata}``, with metadata values that are JSON lists or
    objects decoded.

    Args:
        path: File of the weights.
        map_location: Device of the tensors, as in ``torch.load``.
        modules: Read a network that was pickled as a whole, with its classes, as its weights
            (``mmattn.io.inert_modules.ModuleWeights``). Without, such a file is refused: a model
            has to be built from a config anyway, which names other weights.

    Raises:
        CheckpointError: If the file is missing, empty, truncated, corrupt, not a checkpoint, or
            would have to be executed to be read. The message names the file, the cause (the
            refused name, say) and what to do.
    """
    content = read_weights_file(path, map_location, modules=modules)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, not a dictionary of weights."
        )
    return content


def read_weights_file(
    path: str | os.PathLike[str],
    map_location: MapLocation = "cpu",
    *,
    modules: bool = False,
    warn: Callable[[str], None] = _logger.warning,
) -> Any:
    """Read a file as ``read_checkpoint`` does; its content need not be a dictionary.

    Args:
        path: File of the weights.
        map_location: Device of the tensors, as in ``torch.load``.
        modules: As in ``read_checkpoint``.
        warn: Function that is called with a line about what was left out.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingCheckpointError(_why_missing(path))
    try:
        with open(path, "rb") as file:
            return read_weights_stream(
                file,
                map_location,
                name=str(path),
                modules=modules,
                warn=warn,
                verify=path.absolute() not in _found_whole,
            )
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}.") from error


def require_whole(path: str | os.PathLike[str]) -> None:
    """Refuse a file that is missing, damaged or not a checkpoint.

    One that carries a digest is compared with it; any other one is read.

    Raises:
        CheckpointError: It is one of these.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingCheckpointError(_why_missing(path))
    state = _state_of(path)
    if state == _whole.get(path.absolute()):
        return
    try:
        with open(path, "rb") as file:
            if path.suffix != ".safetensors" and check_digest(file, str(path)):
                _whole[path.absolute()] = state
                return
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}.") from error
    read_weights_file(path, warn=_logger.debug)
    _whole[path.absolute()] = state


@contextlib.contextmanager
def found_whole(path: str | os.PathLike[str]) -> Iterator[None]:
    """Read a file inside without comparing its digest: somebody has just done so."""
    known = Path(path).expanduser().absolute()
    _found_whole.add(known)
    try:
        yield
    finally:
        _found_whole.discard(known)


def _state_of(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def read_weights_stream(
    file: BinaryIO,
    map_location: MapLocation = "cpu",
    *,
    name: str = "<stream>",
    modules: bool = False,
    warn: Callable[[str], None] = _logger.warning,
    verify: bool = True,
) -> Any:
    """Read an open, seekable binary file, which messages call ``name``.

    Unless ``verify``, its digest is not compared.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    if size == 0:
        raise CheckpointError(f"{name}: is empty (0 bytes); copy or download it again.")
    if _is_safetensors(start, size):
        return _read_safetensors(file, map_location, name, verify)
    if name.endswith(".safetensors"):
        raise CheckpointError(
            f"{name}: is not a safetensors file in spite of its name, or a truncated one (its "
            f"{size} bytes start with {start[:8]!r})."
        )
    if verify:
        _say_digest(check_digest(file, name), name)
    return _read_torch(file, map_location, name, modules, warn)


def save_safetensors(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights as safetensors, with a digest; the file appears only when complete.

    Tensors that share memory are written each on its own.

    Args:
        path: File to write.
        state_dict: Tensors by name.
        metadata: Strings by name; encode lists and dictionaries with ``json.dumps``, and
            ``read_checkpoint`` gives them back decoded.

    Raises:
        CheckpointError: If a value is not a tensor, or a metadata value not a string.
        StorageError: If the file cannot be written.
    """
    content = safetensors_bytes(path, state_dict, metadata)
    with telling_storage_errors(path, len(content)), atomic_write(path) as file:
        file.write(content)


def safetensors_bytes(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the content of the file that ``save_safetensors`` writes with these arguments."""
    from safetensors.torch import save

    for key, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path}: {key!r} is a {type(value).__name__}; safetensors holds tensors only. "
                "Pass the state dict itself, and everything else as metadata."
            )
    for key, value in (metadata or {}).items():
        if not isinstance(value, str):
            raise CheckpointError(
                f"{path}: metadata {key!r} is a {type(value).__name__}, not a string; "
                "encode it with json.dumps."
            )
    seen: set[int] = set()
    tensors = {}
    for key, value in state_dict.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        tensors[key] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return safetensors_with_digest(save(tensors, metadata={"format": "pt", **(metadata or {})}))


def save_torch(path: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as ``torch.save`` does, with a digest; the file appears when complete.

    It goes to the disk as it is made, so that no copy of it lies in memory.

    Args:
        path: File to write.
        content: Tensors, numbers, strings and containers of these.

    Raises:
        StorageError: If the file cannot be written.
    """
    with telling_storage_errors(path, lambda: _size_of(content)), atomic_write(path) as file:
        _write_torch(file, content)


def _write_torch(file: IO[bytes], content: Any) -> None:
    writer = DigestWriter(file)
    torch.save(content, cast("IO[bytes]", writer))  # which calls write and flush alone
    writer.finish()


def _size_of(content: Any) -> int:
    """Return the bytes of the file that ``save_torch`` writes; it takes as long, without a disk."""
    count = _CountedFile()
    _write_torch(cast("IO[bytes]", count), content)
    return count.size


class _CountedFile:
    """A file that keeps nothing but its size."""

    size = 0

    def write(self, data: bytes | memoryview) -> None:
        self.size += len(data)


def torch_bytes(content: Any) -> io.BytesIO:
    """Return the content of the file that ``save_torch`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    add_digest(buffer)
    return buffer


def _say_digest(carried: bool, name: str) -> None:
    if not carried:
        _logger.info("%s: no digest", name)


def read_trusted_pickle(
    path: str | os.PathLike[str], map_location: MapLocation = "cpu"
) -> tuple[Any, str]:
    """Unpickle a file, which EXECUTES whatever it contains. Only for the converter.

    This is the one place of mmattn that does so, for ``mmattn convert
    --i-trust-this-file``. Precisely the bytes whose hash is recorded are the ones executed.

    Returns:
        What the file held, and the SHA-256 of its bytes in hexadecimal, which is logged as well.

    Raises:
        CheckpointError: If the file is missing, or no torch file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingCheckpointError(_why_missing(path))
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    _logger.warning("Unpickling %s as trusted; sha256 %s", path, sha256)
    try:
        content = torch.load(io.BytesIO(data), map_location=map_location, weights_only=False)
    except Exception as error:
        raise CheckpointError(
            f"{path}: cannot be unpickled: {type(error).__name__}: {error}"
        ) from error
    return content, sha256


def _is_safetensors(start: bytes, size: int) -> bool:
    """Return whether a file starts as the format says: length of a JSON header, then the header."""
    return len(start) == 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size


def _read_safetensors(
    file: BinaryIO, map_location: MapLocation, name: str, verify: bool
) -> dict[str, Any]:
    import safetensors.torch

    data = file.read()
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except Exception as error:
        raise CheckpointError(f"{name}: truncated or corrupt safetensors file: {error}.") from error
    if verify:
        _say_digest(check_safetensors_digest(data, name), name)
    if map_location is not None:
        tensors = {key: _place(tensor, map_location) for key, tensor in tensors.items()}
    meta = {k: _decoded(v) for k, v in header.get("__metadata__", {}).items() if k not in _HABITS}
    return {"state_dict": tensors, "meta": meta} if meta else tensors


def _place(tensor: torch.Tensor, map_location: MapLocation) -> torch.Tensor:
    """Place a tensor that is on the CPU as ``torch.load`` does with ``map_location``."""
    if isinstance(map_location, dict):
        return tensor.to(map_location.get("cpu", "cpu"))
    if callable(map_location):
        storage = map_location(tensor.untyped_storage(), "cpu")
        return tensor if storage is None else tensor.to(storage.device)
    return tensor.to(map_location)


def _decoded(value: str) -> Any:
    if value[:1] in ("[", "{"):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(value)
    return value


@contextlib.contextmanager
def _no_allowances() -> Iterator[None]:
    """Forget, for the time of one load, the names that other packages had torch allow."""
    with _allowances:
        allowed = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            yield
        finally:
            torch.serialization.add_safe_globals(allowed)


def _read_torch(
    file: BinaryIO,
    map_location: MapLocation,
    name: str,
    modules: bool,
    warn: Callable[[str], None],
) -> Any:
    try:
        with _no_allowances(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the result, or the error, says all there is to say
            return torch.load(file, map_location=map_location, weights_only=True)
    except Exception as error:  # a damaged file can raise nearly anything
        refused = error
    if "Weights only load failed" not in str(refused):
        raise CheckpointError(_why_refused(file, name, refused)) from refused
    return _read_inert(file, map_location, name, refused, modules, warn)


def _read_inert(
    file: BinaryIO,
    map_location: MapLocation,
    name: str,
    refused: Exception,
    modules: bool,
    warn: Callable[[str], None],
) -> Any:
    """Read a torch file that names more than weights; nothing of it is called.

    Args:
        file: File that torch's reader refused.
        map_location: Device of the tensors.
        name: Name of the file, for messages.
        refused: Error of torch's reader; it is told where the format is not torch's.
        modules: As in ``read_checkpoint``.
        warn: Function that is called with a line about what was left out.
    """
    try:
        archive = open_archive(file) or open_plain_pickle(file)
        if archive is None:
            raise CheckpointError(_why_refused(file, name, refused))
        content, left_out = rebuild_content(
            archive,
            lambda storage, location: _placed(storage, location, map_location),
            modules=modules,
        )
    except NeedsExecutionError as error:
        way_out = _WAY_OUT_OF_MODULE if error.of_module else _WAY_OUT
        raise CheckpointError(_refusal(name, str(error), way_out)) from error
    except DamagedPickleError as error:
        raise CheckpointError(_damaged(name, str(error)[:200])) from error
    except CheckpointError:
        raise
    except Exception as error:  # sizes that no memory has, devices that are not there
        raise CheckpointError(_damaged(name, f"{type(error).__name__}: {error}"[:200])) from error
    if left_out:
        warn(f"{name}: left out what is not data: {_listed(left_out)}.")
    return content


def _placed(
    storage: torch.UntypedStorage, location: str, map_location: MapLocation
) -> torch.UntypedStorage:
    """Move a storage from memory to its device, as ``torch.load`` does with ``map_location``."""
    if isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif callable(map_location):
        placed = map_location(storage, location)
        if placed is not None:
            return placed
    elif map_location is not None:
        location = str(map_location)
    device = torch.device(location)
    if device.type == "cpu":
        return storage
    memory = torch.empty(0, dtype=torch.uint8).set_(storage)
    return memory.to(device).untyped_storage()


def _listed(left_out: list[LeftOut]) -> str:
    shown = ", ".join(str(entry) for entry in left_out[:4])
    more = f" and {len(left_out) - 4} more" if len(left_out) > 4 else ""
    return shown + more


def _why_refused(file: BinaryIO, name: str, error: Exception) -> str:
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    if "weights_only" not in text:
        return _damaged(name, f"{type(error).__name__}: {lines[0][:120]}")
    refused = re.search(r"(?:unsupported GLOBAL|Unsupported global: GLOBAL) (\S+)", text)
    names = [refused[1]] if refused else names_in_pickle(file)[:3]
    file.seek(0)
    start = file.read(16)
    if names:
        cause = (
            f"it is a pickle that asks for {', '.join(map(repr, names))} and so would run code "
            "when loaded; weights are tensors, numbers and strings"
        )
    elif start.startswith((b"PK", b"\x80")):
        # torch's message advises to switch the protection off; only the cause it ends with is kept.
        kept = [line for line in lines if "weights_only" not in line and "docs/" not in line]
        cause = f"it holds more than weights ({kept[-1] if kept else lines[0].split('. ')[0]})"
    else:
        return _damaged(name, f"it starts with {start!r}")
    return _refusal(name, cause)


def _refusal(name: str, cause: str, way_out: str = _WAY_OUT) -> str:
    return f"{name}: refused, because {cause}. {way_out.format(name=shlex.quote(name))}"


def _damaged(name: str, cause: str) -> str:
    return str(damaged(name, cause))


def _why_missing(path: Path) -> str:
    if path.is_dir():
        files = sorted(
            p.name for p in path.iterdir() if p.suffix in (".pth", ".pt", ".safetensors")
        )
        holds = f"; it holds {', '.join(files[:5])}" if files else ""
        return f"{path}: is a directory, not a checkpoint{holds}."
    if not path.parent.is_dir():
        return f"{path}: does not exist; there is no directory {path.parent}."
    return f"{path}: does not exist." + did_you_mean(
        path.name, (p.name for p in path.parent.iterdir())
    )
