"""Which blocks of a backbone gather their weights by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn

#: The part of a model in which every process runs the same blocks in the same order, whatever its
#: images hold; a head may leave layers out where there is no object.
_PART = "backbone"
#: A block with fewer parameters is not worth a communication of its own.
MIN_PARAMETERS = 100_000


def find_blocks(model: nn.Module, min_parameters: int = MIN_PARAMETERS) -> list[str]:
    """Return the names of the blocks of a model's backbone, such as ``backbone.layer1.0``.

    A block is a member of a ``ModuleList`` or ``Sequential`` that repeats no blocks itself: of Swin
    each attention block, of ResNet each bottleneck. One that shares a weight with what is outside
    of it is none.

    Args:
        model: Model; without a backbone it has no blocks.
        min_parameters: Smallest number of parameters of a block.
    """
    backbone = getattr(model, _PART, None)
    if not isinstance(backbone, nn.Module):
        return []
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    return [
        name
        for name, block in _members(backbone, _PART)
        if sum(p.numel() for p in block.parameters()) >= min_parameters
        and all(
            uses[key] == count
            for key, count in Counter(
                id(p) for _, p in block.named_parameters(remove_duplicate=False)
            ).items()
        )
    ]


def _members(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        path = f"{prefix}.{name}"
        in_list = isinstance(module, (nn.ModuleList, nn.Sequential))
        if in_list and _is_block(child):
            yield path, child
        else:
            yield from _members(child, path)


def _is_block(module: nn.Module) -> bool:
    """Return whether a member of a list is called as a whole and repeats nothing that has parts."""
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)) or not _has_parts(module):
        return False
    for inner in module.modules():
        if isinstance(inner, (nn.ModuleList, nn.Sequential)):
            repeated = Counter(type(child) for child in inner if _has_parts(child))
            if any(count > 1 for count in repeated.values()):
                return False
    return True


def _has_parts(module: nn.Module) -> bool:
    """Return whether a module has both parameters and modules of its own."""
    return any(True for _ in module.children()) and any(True for _ in module.parameters())
