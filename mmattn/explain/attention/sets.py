"""Which recorded layers work on image tokens and which on queries, and maps of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import ConfigError

from ..target import Target
from .layer import Attention, Grid


def parent_of(name: str) -> str:
    """Return the layer that an attention module is part of.

    >>> parent_of("decoder.layers.0.cross_attn.attn"), parent_of("decoder.layers.0.self_attn")
    ('decoder.layers.0', 'decoder.layers.0')
    """
    parts = name.split(".")
    if parts[-1] == "attn" and len(parts) > 1:  # that of torch inside of mmcv's
        parts.pop()
    return ".".join(parts[:-1])


def split_records(records: Sequence[Attention]) -> tuple[list[Attention], list[Attention]]:
    """Return the layers of image tokens, and those of queries, in order of execution."""
    cross = [record for record in records if record.kind == "cross"]
    parents = {parent_of(record.name) for record in cross}
    image, queries = [], []
    for record in records:
        of_queries = record.kind == "cross" or parent_of(record.name) in parents
        if not of_queries and not record.query_grids:
            of_queries = any(record.queries == other.queries for other in cross)
        (queries if of_queries else image).append(record)
    return image, queries


def chain_of(image: Sequence[Attention]) -> list[Attention]:
    """Return the layers of image tokens that follow each other, up to the last one.

    Where the last one works on several levels, those before that work on one are left out.

    Raises:
        ConfigError: There is none, or the place of its tokens is not known.
    """
    placed = [record for record in image if record.kind == "self" and record.query_grids]
    if not placed:
        raise ConfigError(
            "no self-attention among image tokens is known here; gradient maps, such as "
            "--method hires-cam, work for every network"
        )
    last = placed[-1]
    if len(last.query_grids) > 1:
        return [record for record in placed if record.query_grids == last.query_grids]
    return [record for record in placed if len(record.query_grids) == 1]


def region_rows(target: Target, last: Attention) -> np.ndarray:
    """Return weights (1, tokens), sum 1, of the tokens that the target's region covers.

    Of several levels those of the finest count. Tokens without a place have none.

    Args:
        target: What is explained.
        last: Layer whose queries the tokens are.
    """
    grids = last.query_grids
    sizes = [h * w for h, w in grids]
    level = int(np.argmax(sizes))
    share = torch.nn.functional.adaptive_avg_pool2d(
        target.region[None, None].float(), grids[level]
    ).flatten()
    share = torch.where(share >= 0.5, 1.0, 0.0) if bool((share >= 0.5).any()) else share
    rows = np.zeros((1, last.queries))
    start = first_token(last) + sum(sizes[:level])
    rows[0, start : start + sizes[level]] = (share / share.sum()).double().cpu().numpy()
    return rows


def first_token(record: Attention) -> int:
    """Return the number of the first query that has a place: how many tokens are in front."""
    return record.queries - record.behind - sum(h * w for h, w in record.query_grids)


def class_token(record: Attention, label: int) -> int | None:
    """Return the number of the query that is a class's token, None where there is none."""
    return record.queries - record.behind + label if label < record.behind else None


def token_map(
    values: np.ndarray, grids: Sequence[Grid], *, behind: int = 0, mass: bool = False
) -> np.ndarray:
    """Put values of tokens on their grid; several levels are added up at the finest one's size.

    Args:
        values: (tokens,); those in front of the grids, such as a class token, are cut off.
        grids: Rows and columns of each level.
        behind: Tokens behind those of the grids, which are cut off too.
        mass: Whether a value of a coarse level is spread over its cells, not copied to each.
    """
    finest = max(grids, key=lambda grid: grid[0] * grid[1])
    start = len(values) - behind - sum(h * w for h, w in grids)
    total = np.zeros(finest)
    for height, width in grids:
        part = values[start : start + height * width].reshape(height, width)
        start += height * width
        tensor = torch.from_numpy(np.ascontiguousarray(part, np.float64))[None, None]
        copied = torch.nn.functional.interpolate(tensor, finest, mode="nearest")[0, 0].numpy()
        if mass and copied.sum() > 0:
            copied = copied * (part.sum() / copied.sum())
        total += copied
    return total


def level_shares(values: np.ndarray, grids: Sequence[Grid]) -> list[float]:
    """Return the share of the sum that each level has; there are no tokens behind them."""
    start, shares = len(values) - sum(h * w for h, w in grids), []
    for height, width in grids:
        shares.append(float(values[start : start + height * width].sum()))
        start += height * width
    total = sum(shares)
    return [share / total if total > 0 else 0.0 for share in shares]


def query_of(gradients: Sequence[Tensor | None], decoder: Sequence[Attention]) -> int | None:
    """Return the query that y is about: the only row of the last layer with a gradient.

    Args:
        gradients: dy/dA of the layers of ``decoder``, of the shape of their ``raw``.
        decoder: Layers of queries in order of execution.
    """
    for gradient, record in zip(reversed(gradients), reversed(decoder), strict=True):
        if gradient is not None and bool((gradient != 0).any()):
            strength = record.arrange(gradient).abs().sum((0, 2))
            return int(strength.argmax())
    return None
