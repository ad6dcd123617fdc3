"""Convert the weights of attention blocks, wherever in a checkpoint they are.

Released networks hold many blocks under prefixes of their own (``layers.0.blocks.1.attn.``). The
prefix stays, the entries below it get their new names, and all other keys of the file stay as they
are: they belong to the network, for which a block has no names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mmattn.errors import CheckpointError

from .convert import Converter, StateDict


def block_converter(
    *,
    name: str,
    description: str,
    marks: Sequence[str],
    convert: Callable[[StateDict], StateDict],
    reverse_marks: Sequence[str] = (),
    reverse: Callable[[StateDict], StateDict] | None = None,
    describe: Callable[[StateDict], str] | None = None,
) -> Converter:
    """Return a converter of every block in a checkpoint, by itself or under any prefix.

    Args:
        name: Name of the converter.
        description: One line for the list.
        marks: Entries that, together under one prefix, tell a block of the source's layout.
        convert: Function from the entries of one block, without prefix, to ours; it raises
            ``CheckpointError`` on an entry it does not know.
        reverse_marks: Entries that tell one of our blocks, for the way back.
        reverse: Function from the entries of one of our blocks to the source's.
        describe: Function that returns the config of a block with these entries (the source's).
    """

    def note(state_dict: StateDict) -> str:
        found = block_prefixes(state_dict, marks)
        inside = sum(any(key.startswith(prefix) for prefix in found) for key in state_dict)
        others = len(state_dict) - inside
        kept = f"; {others} other keys keep their names" if others else ""
        lines = [f"{len(found)} blocks converted{kept}."]
        if describe is not None:
            configs = dict.fromkeys(describe(_entries(state_dict, prefix)) for prefix in found)
            lines.append(f"Matching blocks: {', '.join(configs)}")
        return " ".join(lines)

    def back(state_dict: StateDict) -> StateDict:
        assert reverse is not None
        return convert_blocks(state_dict, reverse_marks, reverse)

    return Converter(
        name=name,
        description=description,
        recognises=lambda state_dict: bool(block_prefixes(state_dict, marks)),
        convert=lambda state_dict: convert_blocks(state_dict, marks, convert),
        reverse=None if reverse is None else back,
        note=note,
    )


def block_prefixes(state_dict: Mapping[str, Tensor], marks: Sequence[str]) -> list[str]:
    """Return the prefixes under which all entries ``marks`` are, in the order of the file."""
    first = marks[0]
    return [
        prefix
        for prefix in (
            key.removesuffix(first)
            for key in state_dict
            if key == first or key.endswith(f".{first}")
        )
        if all(f"{prefix}{mark}" in state_dict for mark in marks)
    ]


def convert_blocks(
    state_dict: Mapping[str, Tensor],
    marks: Sequence[str],
    convert: Callable[[StateDict], StateDict],
) -> StateDict:
    """Convert the entries of every block; other keys keep their names and places.

    Raises:
        CheckpointError: There is no block, a block has an entry that ``convert`` does not know, or
            two keys would get one name.
    """
    prefixes = block_prefixes(state_dict, marks)
    if not prefixes:
        raise CheckpointError(
            f"no block with the entries {', '.join(marks)} found; the keys begin with "
            f"{', '.join(list(state_dict)[:3])}"
        )
    result: StateDict = {}
    done: set[str] = set()
    for key, value in state_dict.items():
        prefix = next((p for p in prefixes if key.startswith(p)), None)
        if prefix is None:
            new = {key: value}
        elif prefix in done:
            continue
        else:
            done.add(prefix)
            entries = convert(_entries(state_dict, prefix))
            new = {f"{prefix}{name}": entry for name, entry in entries.items()}
        if taken := new.keys() & result.keys():
            raise CheckpointError(f"two keys would be called {sorted(taken)[0]}")
        result.update(new)
    return result


def renamed_entries(entries: Mapping[str, Tensor], names: Mapping[str, str]) -> StateDict:
    """Give the entries of a block their new names.

    Args:
        entries: Entries of one block, without its prefix.
        names: Old name -> new name, of every entry that a block may have.

    Raises:
        CheckpointError: An entry is not in ``names``.
    """
    unknown = sorted(entries.keys() - names.keys())
    if unknown:
        raise CheckpointError(
            f"the block has entries that are not of this layout: {', '.join(unknown)}; it has "
            f"{', '.join(names)}"
        )
    return {names[name]: value for name, value in entries.items()}


def join_queries(entries: Mapping[str, Tensor]) -> StateDict:
    """Return ``q`` and ``kv``, the form of PVT, as one layer ``qkv``; other entries as they are."""
    joined: StateDict = {}
    for name, value in entries.items():
        layer, _, part = name.partition(".")
        if layer == "q" and f"kv.{part}" in entries:
            joined[f"qkv.{part}"] = torch.cat([value, entries[f"kv.{part}"]])
        elif not (layer == "kv" and f"q.{part}" in entries):
            joined[name] = value
    return joined


def split_queries(entries: Mapping[str, Tensor]) -> StateDict:
    """Return a layer ``qkv`` as ``q`` and ``kv``, the form of PVT; other entries as they are."""
    apart: StateDict = {}
    for name, value in entries.items():
        layer, _, part = name.partition(".")
        if layer == "qkv":
            channels = value.shape[0] // 3
            apart[f"q.{part}"], apart[f"kv.{part}"] = value[:channels], value[channels:]
        else:
            apart[name] = value
    return apart


def _entries(state_dict: Mapping[str, Tensor], prefix: str) -> StateDict:
    return {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }
