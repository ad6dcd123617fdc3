"""Which ResNet a state dict holds, and what OpenMMLab calls its parts.

torchvision, the authors who started from it, timm, mmdet and mmseg use the same names but for a
stem of three convolutions: timm's ``conv1.0 conv1.1 conv1.3 conv1.4 conv1.6 bn1`` are
``stem.0 stem.1 stem.3 stem.4 stem.6 stem.7`` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mmattn.errors import CheckpointError

from .name_pairs import Pairs

#: (has bottlenecks, blocks in each stage) -> depth, of the ResNets that mmdet and mmseg have.
_DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
}
_FIRST = "conv1.weight"
_ENTRY = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_DEEP_STEM = {"conv1.0": 0, "conv1.1": 1, "conv1.3": 3, "conv1.4": 4, "conv1.6": 6, "bn1": 7}
_BLOCK = re.compile(rf"layer[1-4]\.\d+\.((conv|bn)[123]|downsample\.[012])\.{_ENTRY}")
_STEM = re.compile(rf"(conv1|bn1)\.{_ENTRY}")

#: Names of detectron2's ResNet and of mmdet's and mmseg's, see ``name_pairs``.
DETECTRON2_PAIRS: Pairs = [
    ("stem.conv1.norm", "bn1"),
    ("stem.conv1", "conv1"),
    *(
        pair
        for stage in range(1, 5)
        for theirs, ours in [(f"res{stage + 1}.#", f"layer{stage}.#")]
        for pair in [
            *((f"{theirs}.conv{i}.norm", f"{ours}.bn{i}") for i in (1, 2, 3)),
            *((f"{theirs}.conv{i}", f"{ours}.conv{i}") for i in (1, 2, 3)),
            (f"{theirs}.shortcut.norm", f"{ours}.downsample.1"),
            (f"{theirs}.shortcut", f"{ours}.downsample.0"),
        ]
    ),
]


@dataclass(frozen=True)
class ResNetLayout:
    """A ResNet as mmdet and mmseg describe it.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        blocks: Number of blocks in each stage.
        channels: Channels of the first stage's inner convolutions, 64 in all published ones.
        deep_stem: Whether the stem is three convolutions.
        avg_down: Whether shortcuts pool before their convolution.
        in_channels: Channels of the images, 3 unless a network is made for others.
        stem_channels: Channels of the stem's output; ``channels`` in all published ones.
    """

    depth: int
    blocks: tuple[int, ...]
    channels: int
    deep_stem: bool
    avg_down: bool
    in_channels: int
    stem_channels: int

    @property
    def after_last_conv(self) -> str:
        """Position of plugins before the addition."""
        return "after_conv2" if self.depth < 50 else "after_conv3"

    def config(self, plugins: str) -> str:
        """Write the network as the text of a config; ``plugins`` is the text of the blocks'."""
        arguments = [f"type='ResNet', depth={self.depth}"]
        if self.channels != 64:
            arguments.append(f"base_channels={self.channels}")
        if self.in_channels != 3:
            arguments.append(f"in_channels={self.in_channels}")
        if self.stem_channels != self.channels:
            arguments.append(f"stem_channels={self.stem_channels}")
        arguments += [f"{name}=True" for name in ("deep_stem", "avg_down") if getattr(self, name)]
        return f"dict({', '.join(arguments)}, plugins={plugins})"


def read_resnet(state_dict: Mapping[str, Tensor]) -> ResNetLayout:
    """Tell the ResNet from names and shapes in torchvision's or timm's layout.

    Raises:
        CheckpointError: It is not one that mmdet and mmseg can build.
    """
    counts = [0, 0, 0, 0]
    for key in state_dict:
        if match := re.match(r"layer([1-4])\.(\d+)\.conv1\.weight$", key):
            stage = int(match[1]) - 1
            counts[stage] = max(counts[stage], int(match[2]) + 1)
    bottleneck = "layer1.0.conv3.weight" in state_dict
    blocks = tuple(counts)
    depth = _DEPTHS.get((bottleneck, blocks))
    if depth is None:
        block = "bottlenecks" if bottleneck else "basic blocks"
        raise CheckpointError(
            f"a ResNet of {', '.join(map(str, blocks))} {block}, which is none of those that mmdet "
            "and mmseg have (18, 34, 50, 101, 152)"
        )
    channels = len(state_dict["layer1.0.conv1.weight"])
    _check_widths(state_dict, channels)
    deep = "conv1.0.weight" in state_dict
    if deep and len(state_dict["conv1.0.weight"]) != len(state_dict["conv1.3.weight"]):
        widths = ", ".join(str(len(state_dict[f"conv1.{i}.weight"])) for i in (0, 3, 6))
        raise CheckpointError(
            f"a stem of {widths} channels; the first two are equal in mmdet's and mmseg's ResNet"
        )
    avg_down = "layer2.0.downsample.2.weight" in state_dict
    in_channels, stem_channels = read_stem(state_dict)
    return ResNetLayout(depth, blocks, channels, deep, avg_down, in_channels, stem_channels)


def read_stem(state_dict: Mapping[str, Tensor]) -> tuple[int, int]:
    """Return the channels of the images and of the stem's output.

    Raises:
        CheckpointError: The stem is neither one convolution of 7 x 7 nor three of 3 x 3, as in
            networks for CIFAR, or it is missing.
    """
    deep = "conv1.0.weight" in state_dict
    for name in ("conv1.0.weight", "conv1.3.weight", "conv1.6.weight") if deep else (_FIRST,):
        if name not in state_dict:
            raise CheckpointError(f"{name} is missing, a part of the ResNet's stem")
        side = tuple(state_dict[name].shape[2:])
        if side != ((3, 3) if deep else (7, 7)):
            raise CheckpointError(
                f"{name} has a kernel of {' x '.join(map(str, side))}"
                + (", as ResNets for images of CIFAR's size have" if side == (3, 3) else "")
                + ": a stem that mmdet's and mmseg's ResNet cannot have (one convolution of 7 x 7, "
                "or three of 3 x 3)"
            )
    first, last = ("conv1.0.weight", "conv1.6.weight") if deep else (_FIRST, _FIRST)
    return state_dict[first].shape[1], len(state_dict[last])


def _check_widths(state_dict: Mapping[str, Tensor], channels: int) -> None:
    """Refuse pruned and grouped networks: each stage is twice as wide as the one before."""
    for key, weight in state_dict.items():
        if match := re.match(r"layer([1-4])\.\d+\.conv2\.weight$", key):
            width = channels << (int(match[1]) - 1)
            if tuple(weight.shape) != (width, width, 3, 3):
                raise CheckpointError(
                    f"{key} has shape {tuple(weight.shape)}, and {(width, width, 3, 3)} in a plain "
                    f"ResNet whose first stage has {channels} channels"
                )


def mm_resnet_name(key: str, *, deep_stem: bool = False) -> str | None:
    """Return mmdet's and mmseg's name for a key of torchvision's or timm's ResNet, or None."""
    if _BLOCK.fullmatch(key):
        return key
    if not deep_stem:
        return key if _STEM.fullmatch(key) else None
    part, _, entry = key.rpartition(".")
    if part in _DEEP_STEM and re.fullmatch(_ENTRY, entry):
        return f"stem.{_DEEP_STEM[part]}.{entry}"
    return None


def timm_resnet_name(key: str) -> str | None:
    """Return timm's name for a key of mmdet's and mmseg's ResNet, or None."""
    if _BLOCK.fullmatch(key) or _STEM.fullmatch(key):
        return key
    parts = {number: part for part, number in _DEEP_STEM.items()}
    match = re.fullmatch(rf"stem\.(\d)\.{_ENTRY}", key)
    if match and int(match[1]) in parts:
        return f"{parts[int(match[1])]}.{match[2]}"
    return None
