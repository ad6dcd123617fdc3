"""Convert other projects' checkpoint layouts; converters are found by name or by the keys.

A converter knows one source layout and one target layout. Whoever owns the target registers it:
plugins do when they are imported (``mmattn.plugin_imports``), ``mmattn.io`` brings those for whole
backbones.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from mmattn.errors import CheckpointError, did_you_mean

from .atomic import atomic_write
from .checkpoint_files import save_safetensors
from .inert_modules import ModuleWeights

StateDict = dict[str, Tensor]

_BUILT_IN = ("mmattn.io.torchvision_mobilenetv2", "mmattn.io.torchvision_resnet")


@dataclass(frozen=True)
class Converter:
    """Conversion of one checkpoint layout into another.

    Attributes:
        name: Name on the command line, ``source-target``.
        description: One line for the list.
        recognises: Predicate for state dicts of the source layout.
        convert: Function that returns the target's state dict. It raises ``CheckpointError`` on a
            key it does not know, so that nothing is lost silently.
        ignores: Prefixes of source keys that have no place in the target, or a test for them.
        reverse: Function from the target's layout back to the source's, as ``convert``; or None.
        only_by_name: Whether the converter is passed over where the layout decides: another one
            reads the same files for a target that is wanted more often.
        note: Function that says what a user of the converted weights has to know, such as which
            network takes them.
        metadata: Function from the attributes of a network that was pickled as a whole to what is
            written beside the weights, such as ``{"dataset_meta": {"classes": [...]}}``.
    """

    name: str
    description: str
    recognises: Callable[[Mapping[str, Tensor]], bool]
    convert: Callable[[StateDict], StateDict]
    ignores: tuple[str, ...] | Callable[[str], bool] = ()
    reverse: Callable[[StateDict], StateDict] | None = None
    note: Callable[[StateDict], str] | None = None
    only_by_name: bool = False
    metadata: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None

    def leaves_out(self, key: str) -> bool:
        """Return whether the source's ``key`` has no place in the target."""
        return self.ignores(key) if callable(self.ignores) else key.startswith(self.ignores)


_converters: dict[str, Converter] = {}


@dataclass(frozen=True)
class Conversion:
    """A converted state dict, which source keys were left out on purpose, and what to know.

    ``meta`` is for the metadata of the file, what the source says besides weights.
    """

    converter: str
    state_dict: StateDict
    left_out: tuple[str, ...]
    note: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


def register_converter(converter: Converter) -> Converter:
    """Add ``converter`` to those that ``converters`` lists.

    Raises:
        ValueError: The name is taken by another converter.
    """
    if _converters.setdefault(converter.name, converter) is not converter:
        raise ValueError(f"there is a converter called {converter.name!r} already")
    return converter


def converters() -> tuple[Converter, ...]:
    """Return every converter registered so far, by name."""
    for module in _BUILT_IN:
        import_module(module)
    return tuple(_converters[name] for name in sorted(_converters))


def find_converter(state_dict: Mapping[str, Tensor], name: str | None = None) -> Converter | None:
    """Return the converter called ``name``, or the only one that recognises the layout, or None.

    Raises:
        CheckpointError: There is no converter of that name, it does not recognise the layout, or
            no name was given and several recognise it.
    """
    known = converters()
    fitting = [converter for converter in known if converter.recognises(state_dict)]
    names = [converter.name for converter in fitting]
    if name is None:
        fitting = [converter for converter in fitting if not converter.only_by_name]
        names = [converter.name for converter in fitting]
        if len(fitting) > 1:
            raise CheckpointError(
                f"several converters recognise this layout: {', '.join(names)}; "
                "say which one with --converter"
            )
        return fitting[0] if fitting else None
    converter = _named(name)
    if converter not in fitting:
        instead = f"; {' or '.join(names)} would" if names else ""
        raise CheckpointError(
            f"converter {name!r} does not recognise this layout, whose keys begin with "
            f"{', '.join(list(state_dict)[:3])}{instead}"
        )
    return converter


def _named(name: str | None) -> Converter:
    known = {converter.name: converter for converter in converters()}
    if name is None:
        raise CheckpointError(
            "the way back from our layout needs the name of a converter: one of "
            f"{', '.join(sorted(known))}"
        )
    if name not in known:
        raise CheckpointError(
            f"there is no converter {name!r}.{did_you_mean(name, known)} --list shows them."
        )
    return known[name]


def convert_checkpoint(
    checkpoint: Mapping, name: str | None = None, *, reverse: bool = False
) -> Conversion | None:
    """Convert what ``read_checkpoint`` gave.

    Args:
        checkpoint: State dict, or a dictionary that holds one as ``state_dict`` or ``model``.
        name: Name of the converter; without it the layout decides.
        reverse: Convert from our layout to the other project's; ``name`` has to be given.

    Returns:
        The conversion, or None where no name is given and no converter recognises the layout.

    Raises:
        CheckpointError: As ``find_converter``, or the converter met a key it does not know, or it
            has no way back.
    """
    state_dict = weights_of(checkpoint)
    if reverse:
        back = _named(name)
        if back.reverse is None:
            ways = ", ".join(converter.name for converter in converters() if converter.reverse)
            raise CheckpointError(f"converter {name!r} has no way back; these have: {ways}")
        return Conversion(f"{back.name} --reverse", back.reverse(state_dict), ())
    converter = find_converter(state_dict, name)
    if converter is None:
        return None
    left_out = tuple(key for key in state_dict if converter.leaves_out(key))
    kept = {key: value for key, value in state_dict.items() if key not in left_out}
    converted = converter.convert(kept)
    note = converter.note(kept) if converter.note else ""
    meta = {}
    network = _part_of(checkpoint)
    if converter.metadata and isinstance(network, ModuleWeights):
        meta = converter.metadata(network.attributes)
    return Conversion(converter.name, converted, left_out, note, meta)


def _part_of(checkpoint: Mapping) -> Mapping:
    """Return the part of a checkpoint that holds the weights.

    Of pickled networks, ``ema`` is the running mean of the weights, which is what is evaluated.
    """
    if isinstance(checkpoint.get("ema"), ModuleWeights):
        return checkpoint["ema"]
    for key in ("state_dict", "model"):
        if isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    return checkpoint


def weights_of(checkpoint: Mapping) -> StateDict:
    """Return the weights in a checkpoint, without the ``module.`` of data-parallel wrappers.

    Raises:
        CheckpointError: There are no tensors.
    """
    checkpoint = _part_of(checkpoint)
    weights = {key: value for key, value in checkpoint.items() if isinstance(value, Tensor)}
    if not weights:
        raise CheckpointError(
            f"no weights found; the keys are {', '.join(map(str, list(checkpoint)[:5])) or 'none'}"
        )
    if all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
    return weights


def rename_keys(state_dict: StateDict, rename: Callable[[str], str | None]) -> StateDict:
    """Give every key its new name.

    Raises:
        CheckpointError: ``rename`` answers None for a key, or one name for two keys.
    """
    renamed: dict[str, str] = {}
    unknown = []
    for key in state_dict:
        new = rename(key)
        if new is None:
            unknown.append(key)
        else:
            renamed[key] = new
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} keys are not of this layout: {', '.join(unknown[:5])}"
        )
    if len(set(renamed.values())) < len(renamed):
        names = list(renamed.values())
        twice = next(name for name in names if names.count(name) > 1)
        keys = ", ".join(key for key, name in renamed.items() if name == twice)
        raise CheckpointError(f"two keys of this layout would be called {twice}: {keys}")
    return {renamed[key]: value for key, value in state_dict.items()}


def write_converted(
    out: str | os.PathLike[str],
    state_dict: StateDict,
    *,
    source: str | os.PathLike[str],
    converter: str | None,
    meta: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights as safetensors and, beside them, a JSON record of where they come from.

    Args:
        out: Path of the safetensors file; the record has its name with the ending ``.json``.
        state_dict: Weights by name.
        source: File that they were read from; its size and SHA-256 are recorded.
        converter: Name of the converter, None where the names were kept.
        meta: Further metadata of the file, such as ``dataset_meta`` with the class names; lists
            and dictionaries of what JSON has.

    Returns:
        The path of the record.
    """
    content = Path(source).read_bytes()
    record = {
        "source": Path(source).name,
        "source_bytes": len(content),
        "source_sha256": hashlib.sha256(content).hexdigest(),
        "converter": converter,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "keys": len(state_dict),
    }
    told = {"provenance": record, **(meta or {})}
    save_safetensors(out, state_dict, {key: json.dumps(value) for key, value in told.items()})
    record_path = Path(out).with_suffix(".json")
    with atomic_write(record_path) as file:
        file.write(json.dumps(record, indent=2).encode() + b"\n")
    return record_path
