"""Weights of Swin transformers between the layout of its authors and mmdet's.

Patch merging joins four neighbours: the authors' channels are those of one neighbour after the
other, top left, bottom left, top right, bottom right; mmdet's are four for each channel, in the
order of reading. The tables of relative positions are the same, their index is a constant.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io.convert import StateDict
from mmattn.io.name_pairs import Pairs

_MERGING = re.compile(r"stages\.\d+\.downsample\.(reduction|norm)\.(weight|bias)$")
_TABLE, _INDEX = "relative_position_bias_table", "relative_position_index"
# Ours at place i is theirs at place _ORDER[i], and the other way round.
_ORDER = [0, 2, 1, 3]

#: Names of the authors' modules and of mmdet's and mmseg's, see ``name_pairs``.
AUTHORS_PAIRS: Pairs = [
    ("patch_embed.proj", "patch_embed.projection"),
    ("patch_embed.norm", "patch_embed.norm"),
    ("layers.#.blocks.#.norm1", "stages.#.blocks.#.norm1"),
    ("layers.#.blocks.#.attn", "stages.#.blocks.#.attn.w_msa"),
    ("layers.#.blocks.#.norm2", "stages.#.blocks.#.norm2"),
    ("layers.#.blocks.#.mlp.fc1", "stages.#.blocks.#.ffn.layers.0.0"),
    ("layers.#.blocks.#.mlp.fc2", "stages.#.blocks.#.ffn.layers.1"),
    ("layers.#.downsample", "stages.#.downsample"),
    *((f"norm{i}", f"norm{i}") for i in range(4)),
]


def to_mmdet(state_dict: StateDict) -> StateDict:
    """Reorder patch merging, and complete the index of relative positions, which files may lack.

    Args:
        state_dict: The authors' weights under mmdet's names.

    Raises:
        CheckpointError: An index is another one.
    """
    changed: StateDict = {}
    for key, value in state_dict.items():
        if _MERGING.search(key):
            value = merging_to_mmdet(value)
        elif key.endswith(_INDEX):
            continue
        changed[key] = value
        if key.endswith(_TABLE):
            name = key.replace(_TABLE, _INDEX)
            changed[name] = index = relative_position_index(_window_of(key, value))
            given = state_dict.get(name)
            # Only a constant can be compared, not what has no memory.
            if given is not None and not given.is_meta and not torch.equal(given.long(), index):
                raise CheckpointError(
                    f"{name} is not the index of windows of {_window_of(key, value)} x "
                    f"{_window_of(key, value)}, so its table would be read in another order"
                )
    return changed


def to_authors(state_dict: StateDict) -> StateDict:
    """Order patch merging as the authors; the names stay.

    Args:
        state_dict: Weights in mmdet's layout.
    """
    changed: StateDict = {}
    for key, value in state_dict.items():
        if _MERGING.search(key):
            value = merging_to_authors(value)
        changed[key] = value
    return changed


def merging_to_mmdet(value: Tensor) -> Tensor:
    """Reorder the input of patch merging, a weight or a norm of it, (..., 4 C) -> (..., 4 C)."""
    blocks = value.unflatten(-1, (4, -1))[..., _ORDER, :]
    return blocks.transpose(-1, -2).flatten(-2)


def merging_to_authors(value: Tensor) -> Tensor:
    """Undo ``merging_to_mmdet``."""
    blocks = value.unflatten(-1, (-1, 4))[..., _ORDER]
    return blocks.transpose(-1, -2).flatten(-2)


def relative_position_index(window: int) -> Tensor:
    """Return which row of the table is for a pixel and another, (W W, W W) int64.

    Row (dy + W - 1) (2 W - 1) + dx + W - 1 is for a distance (dy, dx).

    Args:
        window: Side W of a window.
    """
    places = torch.arange(window)
    y, x = (grid.flatten() for grid in torch.meshgrid(places, places, indexing="ij"))
    rows, columns = (side[:, None] - side + window - 1 for side in (y, x))
    return rows * (2 * window - 1) + columns


def _window_of(key: str, table: Tensor) -> int:
    side = math.isqrt(len(table))
    if side * side != len(table) or side % 2 == 0:
        raise CheckpointError(f"{key} has {len(table)} rows, which no square window has")
    return (side + 1) // 2
