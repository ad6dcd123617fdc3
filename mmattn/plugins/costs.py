"""Cost of a block at a place: parameters, and operations for a feature map of a given size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from mmattn.complexity import count_flops, count_parameters

from .blocks import build_block


@dataclass(frozen=True)
class BlockCost:
    """Cost of one block.

    Attributes:
        parameters: Number of parameters.
        flops: Operations for one feature map, 2 per multiply-add; matrix products and convolutions
            are counted. None where they cannot be counted without computing.
    """

    parameters: int
    flops: int | None


def block_cost(
    cfg: Mapping[str, Any], channels: int, height: int, width: int, *, place: str
) -> BlockCost:
    """Build the block of ``cfg`` and count.

    Args:
        cfg: Config of the block, as for ``build_block``.
        channels, height, width: Size of the feature map.
        place: Place of the block, used in messages.

    Raises:
        ConfigError: There is no such block, or it cannot work with that number of channels.
    """
    with torch.random.fork_rng(devices=[]):
        _, block = build_block(cfg, channels, place=place)
    parameters = count_parameters(block)
    try:
        return BlockCost(parameters, count_flops(block.to("meta"), 1, channels, height, width))
    except (RuntimeError, NotImplementedError):  # what it computes decides what it does
        return BlockCost(parameters, None)
