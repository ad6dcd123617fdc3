"""Convert a source's weights into our layout, once; the result lies beside the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmattn.errors import CheckpointError

from .cache import SourceRecord, source_path
from .entries import Entry


def converted_path(entry: Entry, source: SourceRecord) -> Path:
    """Return where the converted weights of this very source lie; its digest is in the name."""
    from mmattn import __version__

    name = f"{source.sha256[:12]}.{entry.converter}.{__version__}.safetensors"
    return source_path(entry).with_name(name)


def convert_source(entry: Entry, source: SourceRecord, say: Callable[[str], None]) -> Path:
    """Return the converted weights of an entry; they are made if they are missing.

    The source is read as data only (``mmattn.io.read_checkpoint``).

    Raises:
        CheckpointError: The source cannot be read safely, or is not of the converter's layout.
        StorageError: The result cannot be written.
    """
    out = converted_path(entry, source)
    if out.is_file():
        return out
    from mmattn.io import read_checkpoint
    from mmattn.io.convert import convert_checkpoint, converters, write_converted
    from mmattn.plugin_imports import import_all_plugins

    ours = entry.converter in {converter.name for converter in converters()}
    broken = [] if ours else import_all_plugins()  # which register their converters
    path = source_path(entry)
    checkpoint = read_checkpoint(path, modules=True)
    try:
        conversion = convert_checkpoint(checkpoint, entry.converter)
    except CheckpointError as error:
        because = f" These plugins could not be imported: {broken[0]}" if broken else ""
        raise type(error)(f"{entry.name}: {path}: {error}{because}") from error
    assert conversion is not None, "a converter that is named converts or raises"
    meta = {**_classes(checkpoint), **conversion.meta}
    write_converted(out, conversion.state_dict, source=path, converter=entry.converter, meta=meta)
    for stale in out.parent.glob(f"*.{entry.converter}.*"):
        if stale not in (out, out.with_suffix(".json")):
            stale.unlink(missing_ok=True)
    left = f", {len(conversion.left_out)} left out" if conversion.left_out else ""
    say(f"{entry.name}: {len(conversion.state_dict)} weights converted by {entry.converter}{left}")
    return out


def _classes(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what mmdet's and mmseg's checkpoints say about the dataset of the training."""
    meta = checkpoint.get("meta")
    if not isinstance(meta, Mapping):
        return {}
    known = meta.get("dataset_meta")
    if not isinstance(known, Mapping):  # before 2023
        known = {key: meta[key] for key in ("CLASSES", "PALETTE") if meta.get(key)}
    told = {str(key).lower(): _plain(value) for key, value in known.items()}
    kept = {key: value for key, value in told.items() if key in ("classes", "palette") and value}
    return {"dataset_meta": kept} if kept else {}


def _plain(value: Any) -> Any:
    """Return lists, numbers and texts; other values, which JSON has no form for, as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if isinstance(value, (str, int, float)) else None
