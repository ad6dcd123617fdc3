"""Gradients of compositions of torch operators, also below autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def differentiate(
    function: Callable, inputs: Sequence[Tensor | None], grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return gradients of a composition of torch operators, by running it again under autograd.

    Serves the ``backward`` of a ``reference.py`` that has no formula of its own, and second
    derivatives. It also works below autograd, where the kernels of an operator run.

    Args:
        function: Function from the inputs to a tensor or a tuple of tensors.
        inputs: Arguments of the function.
        grads: Gradient of each output; None for an output that was not used.

    Returns:
        Gradient of each input; None for an input that is None or not floating point, or on which
        no used output depends.
    """
    keys = (
        "AutogradFunctionality",
        "ADInplaceOrView",
        "AutogradOther",
        "AutogradCPU",
        "AutogradCUDA",
    )
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in keys:
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    included = torch._C._dispatch_tls_local_include_set()
    with torch._C._ForceDispatchKeyGuard(included, excluded), torch.enable_grad():
        leaves = [
            t if t is None else t.detach().requires_grad_(t.is_floating_point()) for t in inputs
        ]
        outputs = function(*leaves)
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        used = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
        needed = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
        gradients = iter(
            torch.autograd.grad(
                [o for o, _ in used], needed, [g for _, g in used], allow_unused=True
            )
        )
    return tuple(
        next(gradients) if leaf is not None and leaf.requires_grad else None for leaf in leaves
    )
