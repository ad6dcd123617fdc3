"""The inference form of a network: the same function, with all that is constant computed once.

A module that has such a form says so by one method,

    def fused(self) -> nn.Module

which is called on a private copy in eval mode. It returns what takes the module's place, a new
module or itself changed, with the same inputs and outputs, and answers for all of its submodules
(``fuse_children`` does it for those that know how).
"""

from __future__ import annotations

import copy

from torch import nn


def fuse(network: nn.Module) -> nn.Module:
    """A copy of ``network`` in its inference form; ``network`` itself stays as it is.

    Modules that carry forward hooks, blocks of ``WithPlugins`` for example, keep their place, and
    so do the modules around them.

    Args:
        network: Any network.

    Returns:
        The copy, in eval mode, which cannot be trained; or ``network``, where no part of it has an
        inference form.
    """
    if not any(hasattr(module, "fused") for module in network.modules()):
        return network
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    return _form_of(copied)


def fuse_children(module: nn.Module) -> nn.Module:
    """Replace every submodule that has an inference form by it, in place; returns ``module``."""
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _form_of(child)
    return module


def _form_of(module: nn.Module) -> nn.Module:
    if hasattr(module, "fused") and not any(map(_hooked, module.modules())):
        return module.fused()
    return fuse_children(module)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
