"""ELA's published weights: the blocks of the authors' YOLOX-Nano.

The one public file holds a whole YOLOX of a third project, in which the blocks are
``backbone.feat06``, ``feat1``, … and are used several times each. The result is a dictionary of
blocks by these names, without the network around them. The file does not store the number of groups
of the norms; the table of versions gives it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys

from .ela import VERSIONS

_THEIRS = re.compile(r"backbone\.(feat\w+\.(conv\.weight|gn\.weight|gn\.bias))")
_OURS = re.compile(r"feat\w+\.(conv\.weight|gn\.weight|gn\.bias)")


def version_of(weight: Tensor, name: str) -> str:
    """Return the version whose convolution has a weight of this shape.

    Args:
        weight: Weight of the convolution. Shape (C, channels per group, k).
        name: Name of the weight, used in the message.

    Raises:
        CheckpointError: No version has such a weight.
    """
    shape = tuple(weight.shape)
    for version, row in VERSIONS.items():
        if shape[1:] == (row.width, row.kernel_size):
            return version
    known = ", ".join(f"{v} (C, {row.width}, {row.kernel_size})" for v, row in VERSIONS.items())
    raise CheckpointError(
        f"{name} has shape {shape}, which fits none of ELA's versions: {known}; the authors' "
        "other modules of that name cannot be loaded"
    )


def _versions(state_dict: Mapping[str, Tensor]) -> dict[str, tuple[int, str]]:
    """Return channels and version by block."""
    blocks = {}
    for key, weight in state_dict.items():
        if key.endswith(".conv.weight"):
            name = key.removeprefix("backbone.").removesuffix(".conv.weight")
            blocks[name] = (len(weight), version_of(weight, key))
    return blocks


def _recognises(state_dict: Mapping[str, Tensor]) -> bool:
    return any(
        key.endswith("conv.weight") and key.replace("conv.weight", "gn.weight") in state_dict
        for key in state_dict
        if _THEIRS.fullmatch(key)
    )


def _convert(state_dict: StateDict) -> StateDict:
    _versions(state_dict)

    def rename(key: str) -> str | None:
        match = _THEIRS.fullmatch(key)
        return match and match[1]

    return rename_keys(state_dict, rename)


def _reverse(state_dict: StateDict) -> StateDict:
    return rename_keys(state_dict, lambda key: f"backbone.{key}" if _OURS.fullmatch(key) else None)


def _describe(state_dict: StateDict) -> str:
    blocks = [
        f"{name}: ELA({channels}, version='{version}')"
        for name, (channels, version) in _versions(state_dict).items()
    ]
    return f"Blocks by name: {', '.join(blocks)}"


register_converter(
    Converter(
        name="ela-official",
        description="the blocks in Xuwei86/ELA_Code's YOLOX-Nano -> mmattn.ELA, one for each name",
        recognises=_recognises,
        convert=_convert,
        ignores=lambda key: not _THEIRS.fullmatch(key),
        reverse=_reverse,
        note=_describe,
    )
)
