"""List the places of a network where ``mmattn.WithPlugins`` can put a block.

A place is legal if the network calls the submodule there and what it returns is one feature map,
whose channels the dry run can tell: the rule of ``PluginEntry``, so what is listed can be built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from mmattn.errors import ConfigError

from .dry_run import Input, RecordedOutputs, Shape, dry_run, is_head, record_outputs
from .entries import InsertionPoint, PluginEntry
from .feature_maps import Grid
from .patterns import match_submodules

_POSITIONS = ("after_conv1", "after_conv2", "after_conv3")


@dataclass(frozen=True)
class Slot:
    """Places of a network that look alike: the same path but for numbers, and the same shape.

    Attributes:
        where: Entry of ``plugins`` without its ``cfg``: ``at`` or ``stages`` of ``WithPlugins``, or
            ``position`` and ``stages`` of a ResNet's own ``plugins``.
        names: Names of the submodules, ``""`` for the network; one block goes behind each.
        channels: Channels of the feature map.
        sizes: Height and width of the feature map for the given input. A submodule that is called
            several times in a forward pass, as a head's at every level, has one for each call; one
            block serves all calls.
        stride: Side of the image over that of the first feature map, as a power of two; None
            without an image.
        last: Whether this is a ResNet's position in front of the addition of its shortcut.
    """

    where: Mapping[str, Any]
    names: tuple[str, ...]
    channels: int
    sizes: tuple[Grid, ...]
    stride: int | None = None
    last: bool = False


@dataclass
class Slots:
    """Places of one network.

    Attributes:
        slots: Legal places, in the order of the network.
        refused: Reason -> names of the submodules behind which no block can be put.
        input_shapes: What ``WithPlugins`` has to be told to run the network; None for nothing.
    """

    slots: list[Slot] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    input_shapes: list[Shape] | None = None


def find_slots(network: nn.Module, example: Input, *, image: Grid | None = None) -> Slots:
    """Find all legal places of a backbone, neck or head.

    Args:
        network: Network; nothing in it is changed.
        example: Input that the network takes, an image or a list of feature maps.
        image: Height and width of the image behind ``example``, for the strides.

    Raises:
        ConfigError: The network cannot be run.
    """
    names = [
        name for name, _ in network.named_modules() if name and name.partition(".")[0] != "plugins"
    ]
    recorded, input_shapes = _dry_run(network, ["", *names], example)
    here = record_outputs(network, ["", *names], [example])
    found = Slots(input_shapes=input_shapes)
    legal: dict[str, InsertionPoint] = {}
    for name in names:
        entry = PluginEntry(0, {}, None, (name,), frozen=False)
        try:
            (legal[name],) = entry.insertion_points(network, [name], recorded)
        except ConfigError as error:
            found.refused.setdefault(_reason(error, name), []).append(name)
    for group in _groups(legal, here):
        found.slots.append(_slot(_at(network, group), group, legal[group[0]], here, image))
    found.slots += _positions(network, legal, here, image)
    found.slots += _maps(network, recorded, here, image)
    return found


def _dry_run(
    network: nn.Module, names: Sequence[str], example: Input
) -> tuple[dict[str, RecordedOutputs], list[Shape] | None]:
    """Run the network as ``WithPlugins`` will; tell the shapes of its inputs only if necessary."""
    try:
        return dry_run(network, names), None
    except ConfigError:
        maps = [example] if isinstance(example, torch.Tensor) else example
        shapes = [Shape(one.shape[1:]) for one in maps]
        return dry_run(network, names, input_shapes=shapes), shapes


def _reason(error: ConfigError, name: str) -> str:
    """Return why there is no place, without what differs from module to module."""
    text = str(error)
    for known in (
        "never calls it",
        "windows or regions of the image",
        "not a map of 4 dimensions",
        "the number of channels changes",
        "does not tell it the height and width of their grid",
    ):
        if known in text:
            return known
    return "returns something else than one map"


def _groups(
    legal: Mapping[str, InsertionPoint], here: Mapping[str, RecordedOutputs]
) -> Iterator[list[str]]:
    """Yield names that differ in numbers alone, and whose maps have the same shape."""
    groups: dict[tuple, list[str]] = {}
    for name in legal:
        path = re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)
        record = here[name]
        key = (path, str(record.outputs))
        groups.setdefault(key, []).append(name)
    yield from groups.values()


def _at(network: nn.Module, names: Sequence[str]) -> dict[str, Any]:
    """Return ``at`` for the submodules called ``names``: a pattern of them alone, or a list."""
    columns = [
        list(dict.fromkeys(parts)) for parts in zip(*(n.split(".") for n in names), strict=True)
    ]
    for several in (lambda _: "*", _span):
        pattern = ".".join(c[0] if len(c) == 1 else several(c) for c in columns)
        if match_submodules(network, [pattern], where="at") == list(names):
            return {"at": pattern}
    return {"at": list(names)}


def _span(numbers: Sequence[str]) -> str:
    """Return ``[2-5]`` for numbers of one digit that follow each other, else ``*``."""
    first, last = numbers[0], numbers[-1]
    digits = all(len(number) == 1 for number in numbers)
    if digits and [str(n) for n in range(int(first), int(last) + 1)] == list(numbers):
        return f"[{first}-{last}]"
    return "*"


def _slot(
    where: Mapping[str, Any],
    names: Sequence[str],
    point: InsertionPoint,
    here: Mapping[str, RecordedOutputs],
    image: Grid | None,
) -> Slot:
    record = here[names[-1]]  # in a ResNet's stage the first block has other sizes inside
    sizes = []
    for shape, grid in zip(record.shapes(point.item), record.grids, strict=True):
        if point.layout.order == "NLC":
            sizes.append(grid or (1, shape[1]))
        else:
            sizes.append(shape[1:3] if point.layout.order == "NHWC" else shape[2:4])
    stride = None if image is None else 2 ** round(math.log2(image[1] / sizes[0][1]))
    return Slot(where, tuple(names), point.layout.channels, tuple(sizes), stride)


def _positions(
    network: nn.Module,
    legal: Mapping[str, InsertionPoint],
    here: Mapping[str, RecordedOutputs],
    image: Grid | None,
) -> Iterator[Slot]:
    """Yield the positions of ``plugins`` of mmdet's and mmseg's ResNets, stage by stage."""
    if not hasattr(network, "make_stage_plugins"):
        return
    layers: list[str] = [*network.res_layers]  # type: ignore[misc]
    for position in _POSITIONS:
        for number, layer in enumerate(layers):
            blocks = list(network.get_submodule(layer).named_children())
            norms = [getattr(block, f"norm{position[-1]}_name", None) for _, block in blocks]
            names = [f"{layer}.{key}.{norm}" for (key, _), norm in zip(blocks, norms, strict=True)]
            if all(name in legal for name in names):
                stages = tuple(stage == number for stage in range(len(layers)))
                last = all(not hasattr(b, f"norm{int(position[-1]) + 1}_name") for _, b in blocks)
                where = {"position": position, "stages": stages}
                slot = _slot(where, names, legal[names[0]], here, image)
                yield replace(slot, last=last)


def _maps(
    network: nn.Module,
    recorded: Mapping[str, RecordedOutputs],
    here: Mapping[str, RecordedOutputs],
    image: Grid | None,
) -> Iterator[Slot]:
    """Yield the feature maps that the network returns."""
    if is_head(network):
        return
    for number in range(len(recorded[""].item_keys())):
        entry = PluginEntry(0, {}, (number,), (), frozen=False)
        try:
            (point,) = entry.insertion_points(network, [""], recorded)
        except ConfigError:
            continue
        yield _slot({"stages": (number,)}, ("",), point, here, image)
