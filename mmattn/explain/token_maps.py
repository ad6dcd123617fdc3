"""Rollout and relevance of a network: its attention recorded, then propagated to image tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import ConfigError

from .attention.layer import Attention
from .attention.record import recorded_attention
from .attention.reduced import over_tokens
from .attention.sets import (
    chain_of,
    class_token,
    first_token,
    level_shares,
    query_of,
    region_rows,
    split_records,
    token_map,
)
from .attention.views import attention_modules
from .explanation import Explanation
from .networks import Network, Sample, evaluation
from .relevance import DecoderStep, decoder_relevance, relevance_rows
from .rollout import Join, merge_matrix, rollout_rows, with_residual
from .target import Target


def rollout_maps(
    network: Network, sample: Sample, target: Target, at: str = "auto"
) -> list[Explanation]:
    """Roll attention out from the region of a target down to the first layer.

    Heads are averaged. The map is the mean of the rows of the region's tokens; neither the class
    nor what comes behind the last layer takes part. Where classes have tokens of their own, the row
    of the class is a second map.

    Raises:
        ConfigError: The network has no chain of self-attention among image tokens.
    """
    modules = attention_modules(network.model, at)
    padded = sample.placement.padded
    with (
        evaluation(network.model),
        torch.no_grad(),
        recorded_attention(modules, padded, model=network.model) as records,
    ):
        network(sample.inputs, sample, queries=target.kind == "query")
    chain = chain_of(split_records(records)[0])
    layers = _joined(chain, [with_residual(over_tokens(r, r.matrix())) for r in chain])
    return [
        _explanation("rollout", target, what, chain, rollout_rows(layers, rows)[0])
        for what, rows in _rows(target, chain)
    ]


def relevance_maps(
    network: Network, sample: Sample, target: Target, at: str = "auto"
) -> list[Explanation]:
    """Propagate relevance: gradient times attention, through encoder and decoder.

    Raises:
        ConfigError: The network has no attention that is known, or y does not depend on it.
    """
    modules = attention_modules(network.model, at)
    padded = sample.placement.padded
    with evaluation(network.model), torch.enable_grad():
        inputs = sample.inputs.detach().requires_grad_()
        with recorded_attention(modules, padded, model=network.model) as records:
            outputs = network(inputs, sample, queries=target.kind == "query")
        y = target(outputs)
        gradients = _gradients(y, records)
    pairs = list(zip(records, gradients, strict=True))
    image, decoder = split_records(records)
    if any(record.kind == "cross" for record in decoder) and target.kind != "semantic":
        return [_decoder_map(target, pairs, image, decoder)]
    chain = chain_of(image)
    kept = [(r, g) for r, g in pairs if any(r is one for one in chain)]
    layers = _joined(chain, [over_tokens(r, r.positive(g)) for r, g in kept])
    joins = [layer for layer in layers if isinstance(layer, Join)]
    return [
        # R - I: what a token is to itself is no relevance.
        _explanation(
            "relevance",
            target,
            what,
            chain,
            (relevance_rows(layers, rows) - relevance_rows(joins, rows))[0],
        )
        for what, rows in _rows(target, chain)
    ]


def _rows(target: Target, chain: Sequence[Attention]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what it is and rows over the last layer's tokens: the region's, and the class's own."""
    last = chain[-1]
    layers = f"{len(chain)} layer{'s' * (len(chain) > 1)}"
    yield layers, region_rows(target, last)
    token = class_token(last, target.label) if target.kind == "semantic" else None
    if token is not None:
        row = np.zeros((1, last.queries))
        row[0, token] = 1
        yield f"token of the class, {layers}", row


def _gradients(y: Tensor, records: Sequence[Attention]) -> list[Tensor | None]:
    if not records:
        raise ConfigError("no attention layer was called whose weights are known")
    if not y.requires_grad:
        raise ConfigError("the predictions of this head carry no gradient; take --method attention")
    raws = [record.raw for record in records]
    gradients: list[Tensor | None] = [*torch.autograd.grad(y, raws, allow_unused=True)]
    if all(gradient is None for gradient in gradients):
        raise ConfigError("the target depends on none of the attention that was recorded")
    return gradients


def _decoder_map(
    target: Target,
    pairs: Sequence[tuple[Attention, Tensor | None]],
    image: Sequence[Attention],
    decoder: Sequence[Attention],
) -> Explanation:
    cross = [record for record in decoder if record.kind == "cross"]
    # Tokens of the encoder if the decoder reads them, else those of the maps that it reads.
    grids = next((r.query_grids for r in reversed(image) if _holds(r.query_grids, cross)), None)
    if grids is None:
        grids = tuple(dict.fromkeys(grid for record in cross for grid in record.key_grids))
        if not grids:
            raise ConfigError(
                f"{cross[0].name}: the place of the tokens that it reads is not known"
            )
    tokens = sum(h * w for h, w in grids)
    encoder, steps, of_decoder = [], [], []
    for record, gradient in pairs:
        if any(record is other for other in decoder):
            ahat = record.positive(gradient)
            if record.kind == "cross":
                ahat = _at_levels(ahat, record.key_grids, grids)
            steps.append(DecoderStep(record.kind, ahat))
            of_decoder.append((record, gradient))
        elif record.query_grids == grids:
            encoder.append(over_tokens(record, record.positive(gradient)))
    queries = cross[-1].queries
    steps = [s for s in steps if s.ahat.shape[0] == queries]
    across, _ = decoder_relevance(encoder, steps, queries, tokens)
    index = target.index if target.kind == "query" else None
    if index is None:
        index = query_of([g for _, g in of_decoder], [r for r, _ in of_decoder])
    if index is None:
        raise ConfigError("the target depends on no query of the decoder")
    values = across[index]
    layer = f"{len(encoder)} + {len(steps)} layers"
    name = target.name if target.kind == "query" else f"{target.name}, query {index}"
    found = Explanation("relevance", name, f"{cross[-1].name}, {layer}", token_map(values, grids))
    found.kind = "the target"
    if len(grids) > 1:
        found.notes.append(_levels_note(values, grids))
    return found


def _holds(grids: Sequence[tuple[int, int]], cross: Sequence[Attention]) -> bool:
    return bool(grids) and all(
        record.key_grids and set(record.key_grids) <= set(grids) for record in cross
    )


def _at_levels(ahat: Any, own: Sequence[tuple[int, int]], grids: Sequence[tuple[int, int]]) -> Any:
    """Put the columns of some levels at their places among all."""
    if tuple(own) == tuple(grids):
        return ahat
    dense = ahat if isinstance(ahat, np.ndarray) else ahat.toarray()
    placed = np.zeros((dense.shape[0], sum(h * w for h, w in grids)))
    first = 0
    for grid in own:
        count = grid[0] * grid[1]
        start = sum(h * w for h, w in grids[: list(grids).index(grid)])
        placed[:, start : start + count] = dense[:, first : first + count]
        first += count
    return placed


def _joined(chain: Sequence[Attention], matrices: Sequence[Any]) -> list[Any]:
    """Put between layers how tokens of the later one were made of those of the earlier one."""
    layers: list[Any] = []
    for index, (record, matrix) in enumerate(zip(chain, matrices, strict=True)):
        join = _join(record, chain[index - 1]) if index else None
        layers += [matrix] if join is None else [join, matrix]
    return layers


def _join(later: Attention, earlier: Attention) -> Join | None:
    """Return how tokens were merged, or came and went, None where they are the same.

    Tokens in front, such as a class token, are the same ones if there are as many; what else has no
    place, such as Segmenter's classes, comes from no token before.
    """
    fronts = [first_token(record) for record in (later, earlier)]
    tokens = [(r.query_grids, r.queries, r.behind) for r in (later, earlier)]
    if tokens[0] == tokens[1]:
        return None
    between = merge_matrix(later.query_grids[0], earlier.query_grids[0]).tocoo()
    row, column = between.row + fronts[0], between.col + fronts[1]
    values = between.data
    if fronts[0] == fronts[1]:
        front = np.arange(fronts[0])
        row, column = np.append(row, front), np.append(column, front)
        values = np.append(values, np.ones(len(front)))
    return Join((values, (row, column)), shape=(later.queries, earlier.queries))


def _explanation(
    method: str, target: Target, what: str, chain: Sequence[Attention], values: np.ndarray
) -> Explanation:
    grids = chain[0].query_grids
    first, last = chain[0].name, chain[-1].name
    layer = last if first == last else f"{first} to {last}"
    on_grid = token_map(values, grids, behind=chain[0].behind)
    found = Explanation(method, f"{target.name}, {what}", layer, on_grid, kind=what)
    if len(grids) > 1:
        found.notes.append(_levels_note(values, grids))
    return found


def _levels_note(values: np.ndarray, grids: Sequence[tuple[int, int]]) -> str:
    shares = level_shares(values, grids)
    return "levels " + ", ".join(
        f"{h} x {w}: {share:.0%}" for (h, w), share in zip(grids, shares, strict=True)
    )
