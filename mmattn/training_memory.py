"""Memory that training keeps between the forward and the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


def saved_for_backward(
    run: Callable[[], Any], owners: Mapping[str, Iterable[Tensor]] | None = None
) -> dict[str, int]:
    """Count the bytes that autograd keeps for the backward pass of ``run``, each storage once.

    Args:
        run: Function that computes a forward pass.
        owners: Tensors that exist anyway, such as parameters, by a name for them.

    Returns:
        Bytes by the names of ``owners``, and under ``other`` those of all other tensors.

    Example:
        >>> x = torch.ones(8, requires_grad=True)
        >>> saved_for_backward(lambda: x.exp().sum(), {"input": [x]})
        {'input': 0, 'other': 32}
    """
    owner_of = {
        tensor.untyped_storage().data_ptr(): name
        for name, tensors in (owners or {}).items()
        for tensor in tensors
    }
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    totals: dict[str, int] = dict.fromkeys((*(owners or {}), "other"), 0)
    for pointer, size in saved.items():
        totals[owner_of.get(pointer, "other")] += size
    return totals
