"""Maps of the attention of one place, or of one query, of every layer that has any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..explanation import Explanation, NothingToShow
from ..layers import find_modules
from ..networks import Network, Sample, evaluation
from ..target import Target
from .contract import tells_attention, weights_of
from .inputs import Call, recorded_calls
from .layer import Attention, Grid
from .record import extractor_of, recorded_attention
from .reduced import square_shares
from .sets import class_token, first_token, query_of, split_records, token_map


def attention_views(
    network: Network, sample: Sample, target: Target, at: str = "auto"
) -> list[Explanation]:
    """Show the attention of the place of a target, or of its query.

    Args:
        network: Network.
        sample: Image.
        target: Whose attention it is.
        at: Name or pattern of modules; ``auto`` takes the last layer that has attention.

    Raises:
        NothingToShow: No module has attention, or none that ``at`` names.
    """
    modules = attention_modules(network.model, at)
    recorded = {name: m for name, m in modules.items() if extractor_of(m) is not None}
    telling = {name: m for name, m in modules.items() if name not in recorded}
    # A detection of a decoder is that of the query whose gradient is not zero.
    graph = target.kind == "detection" and bool(recorded)
    with evaluation(network.model), torch.set_grad_enabled(graph):
        inputs = sample.inputs.detach().requires_grad_(graph)
        padded = sample.placement.padded
        with (
            recorded_calls(telling) as calls,
            recorded_attention(recorded, padded, model=network.model) as records,
        ):
            outputs = network(inputs, sample, queries=target.kind == "query")
        query = target.index if target.kind == "query" else None
        image, decoder = split_records(records)
        if graph and decoder:
            raws = [record.raw for record in decoder]
            y = target(outputs)
            if y.requires_grad:
                query = query_of(torch.autograd.grad(y, raws, allow_unused=True), decoder)
    if not calls and not records:
        raise NothingToShow(f"--at {at}: none of these modules is called when an image is")
    groups = [_of_block(call, sample, target) for call in calls]
    groups += _of_records(image, sample, target, network.classes)
    if query is not None:
        groups += [_of_query(record, query) for record in decoder if record.kind == "cross"]
    groups = [group for group in groups if group]
    if not groups:
        raise NothingToShow(
            f"--at {at}: what is there has gates, or attention of queries alone; take --method "
            "gates, or --target query=N or detection=N"
        )
    return groups[-1] if at == "auto" else [one for group in groups for one in group]


def attention_modules(model: nn.Module, at: str) -> dict[str, nn.Module]:
    """Return the modules with attention among those that ``at`` names, in order of their names.

    Raises:
        NothingToShow: There are none.
    """
    candidates = dict(model.named_modules()) if at == "auto" else _and_inside(model, at)
    found = {name: module for name, module in candidates.items() if name and _has_any(module)}
    if not found:
        raise NothingToShow(
            f"--at {at}: no attention is known there; a block tells its own by a method "
            "attention_maps(x). Gradient maps, such as --method hires-cam, work for every network"
        )
    return found


def _and_inside(model: nn.Module, at: str) -> dict[str, nn.Module]:
    """Return the named modules, and where they have no attention themselves, those inside."""
    found: dict[str, nn.Module] = {}
    for name, outer in find_modules(model, at).items():
        if _has_any(outer):
            found[name] = outer
        else:
            found |= {f"{name}.{key}" if key else name: m for key, m in outer.named_modules()}
    return found


def _has_any(module: nn.Module) -> bool:
    return tells_attention(module) or extractor_of(module) is not None


def _of_block(call: Call, sample: Sample, target: Target) -> list[Explanation]:
    """Return the maps of a block that tells its attention itself."""
    x = call.args[0]
    grid = (x.shape[2], x.shape[3])
    cell = sample.placement.cell(*target.point, grid)
    return [
        Explanation(
            "attention", name, call.name, values.cpu().numpy(), position=cell, call=call.number
        )
        for name, values in weights_of(call, cell).items()
    ]


def _of_records(
    records: Sequence[Attention], sample: Sample, target: Target, classes: Sequence[str]
) -> list[list[Explanation]]:
    """Return the maps of layers among image tokens, those of one call together."""
    groups: list[list[Explanation]] = []
    for index, record in enumerate(records):
        if not record.query_grids:
            continue
        if record.step > 1:
            passes = [r for r in records[: index + 1] if r.name == record.name][-record.step :]
            group = groups.pop()
            group = [one for one in group if not one.name.startswith("all")]
            group.insert(0, _of_place(passes, sample, target, f"all {record.step} passes"))
            groups.append([*group, _of_place([record], sample, target, f"pass {record.step}")])
        else:
            name = "pass 1" if record.step else _title(record)
            groups.append([_of_place([record], sample, target, name)])
            token = class_token(record, target.label) if target.kind == "semantic" else None
            if token is not None:  # what the class itself reads
                name = f"token of {classes[target.label]}, {name}"
                groups[-1].append(_shown(record, record.row(token), token, name))
                groups[-1][-1].kind = f"token of the class, {_title(record)}"
    return groups


def _title(record: Attention) -> str:
    heads = len(record.weights)
    return "weights" if heads == 1 else f"mean of {heads} heads"


def _of_place(
    passes: Sequence[Attention], sample: Sample, target: Target, name: str
) -> Explanation:
    """Return the row of the target's place; of several passes the last one comes first."""
    record = passes[-1]
    level = int(np.argmax([h * w for h, w in record.query_grids]))
    grid = record.query_grids[level]
    cell = sample.placement.cell(*target.point, grid)
    start = first_token(record) + sum(h * w for h, w in record.query_grids[:level])
    query = start + cell[0] * grid[1] + cell[1]
    row = record.row(query)
    for earlier in reversed(passes[:-1]):
        row = np.asarray(row @ earlier.matrix()).ravel()
    found = _shown(record, row, query, name)
    found.position, found.position_grid = cell, grid
    return found


def _of_query(record: Attention, query: int) -> list[Explanation]:
    """Return the map of what a query reads of the image."""
    if not record.key_grids:
        return []
    name = f"query {query}, {_title(record)}"
    found = _shown(record, record.row(query), query, name)
    found.kind = f"the query, {_title(record)}"
    return [found]


def _shown(record: Attention, row: np.ndarray, query: int, name: str) -> Explanation:
    grids: tuple[Grid, ...] = record.key_grids or record.query_grids
    end = len(row) - record.behind
    start = end - sum(h * w for h, w in grids)
    found = Explanation(
        "attention",
        name,
        record.name,
        _on_grid(record, row, grids),
        points=record.points_of(query),
        call=record.call,
    )
    lost = 1 - float(row.sum())
    if abs(lost) > 1e-4:  # points beside the maps, or padding inside of windows
        found.numbers["lost"] = lost
    if start or record.behind:
        found.numbers["on_class_tokens"] = float(row[:start].sum() + row[end:].sum())
    return found


def _on_grid(record: Attention, row: np.ndarray, grids: tuple[Grid, ...]) -> np.ndarray:
    """Return the map of a row: on the keys' grid, where that covers all of the image."""
    side = record.reduction
    if side > 1 and any(n % side for n in record.query_grids[0]):
        return token_map(row @ square_shares(record), record.query_grids)
    return token_map(row, grids, behind=record.behind, mass=True)
