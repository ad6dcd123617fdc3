"""Fuse a network for inference: the same function, with all that is constant computed once.

A module that can be fused says so by one method,

    def fused(self) -> nn.Module

which is called on a private copy in eval mode. It returns the module's replacement, a new module
or itself changed, with the same inputs and outputs, and is responsible for all of its submodules
(``fuse_children`` fuses those that can be).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextvars import ContextVar
from typing import cast

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

# Modules and their replacements in the running ``fuse``, by the module's id: a module may have
# several names. The module is kept too, lest another one gets its id.
_replacements: ContextVar[dict[int, tuple[nn.Module, nn.Module]]] = ContextVar("replacements")


def fuse(network: nn.Module) -> nn.Module:
    """Return a fused copy of ``network``, which itself is not changed.

    Modules whose arithmetic is not theirs alone, or not constant, keep their place, and so do the
    modules around them: those that carry forward hooks, blocks of ``WithPlugins`` for example,
    those with parametrisations of torch, and batch norms without running statistics.

    Args:
        network: Any network.

    Returns:
        The copy, in eval mode, which cannot be trained; or ``network``, where no part of it can be
        fused.
    """
    if not any(_fused_method(module) for module in network.modules()):
        return network
    copied = copy.deepcopy(network)
    copied.eval()  # train() of some of mmdet's detectors returns None
    copied.requires_grad_(False)
    token = _replacements.set({})
    try:
        return _fused(copied)
    finally:
        _replacements.reset(token)


def fuse_children(module: nn.Module) -> nn.Module:
    """Fuse every submodule that can be, in place, and return ``module``.

    For methods ``fused``, which ``fuse`` calls.
    """
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _fused(child)
    return module


def _fused(module: nn.Module) -> nn.Module:
    replacements = _replacements.get()
    if id(module) not in replacements:
        method = _fused_method(module)
        if method is None or any(map(_stays, module.modules())):
            method = fuse_children
        result = method(module)
        replacements[id(module)] = replacements[id(result)] = (module, result)
    return replacements[id(module)][1]


def _fused_method(module: nn.Module) -> Callable[[nn.Module], nn.Module] | None:
    # Of the class: a foreign module may have an attribute of this name that says something else.
    method = getattr(type(module), "fused", None)
    return cast(Callable[[nn.Module], nn.Module], method) if callable(method) else None


def _stays(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks
    of_the_batch = isinstance(module, nn.modules.batchnorm._BatchNorm) and (
        module.running_var is None
    )
    return bool(hooked or of_the_batch or is_parametrized(module))
