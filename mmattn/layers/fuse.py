"""The inference form of a network: the same function, with all that is constant computed once.

A module that has such a form says so by one method,

    def fused(self) -> nn.Module

which is called on a private copy in eval mode. It returns what takes the module's place, a new
module or itself changed, with the same inputs and outputs, and answers for all of its submodules
(``fuse_children`` does it for those that know how).
"""

from __future__ import annotations

import copy
from contextvars import ContextVar

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

# What the running ``fuse`` has made, by the id of what it stands for: a module may have several
# names. The module is kept too, lest another one gets its id.
_forms: ContextVar[dict[int, tuple[nn.Module, nn.Module]]] = ContextVar("forms")


def fuse(network: nn.Module) -> nn.Module:
    """A copy of ``network`` in its inference form; ``network`` itself stays as it is.

    Modules whose arithmetic is not theirs alone, or not constant, keep their place, and so do the
    modules around them: those that carry forward hooks, blocks of ``WithPlugins`` for example,
    those with parametrisations of torch, and batch norms without running statistics.

    Args:
        network: Any network.

    Returns:
        The copy, in eval mode, which cannot be trained; or ``network``, where no part of it has an
        inference form.
    """
    if not any(map(_has_form, network.modules())):
        return network
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    token = _forms.set({})
    try:
        return _form_of(copied)
    finally:
        _forms.reset(token)


def fuse_children(module: nn.Module) -> nn.Module:
    """Replace every submodule that has an inference form by it, in place; returns ``module``.

    For methods ``fused``, which ``fuse`` calls.
    """
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _form_of(child)
    return module


def _form_of(module: nn.Module) -> nn.Module:
    forms = _forms.get()
    if id(module) not in forms:
        fusable = _has_form(module) and not any(map(_stays, module.modules()))
        form = module.fused() if fusable else fuse_children(module)
        forms[id(module)] = forms[id(form)] = (module, form)
    return forms[id(module)][1]


def _has_form(module: nn.Module) -> bool:
    # Of the class: a foreign module may have an attribute of this name that says something else.
    return callable(getattr(type(module), "fused", None))


def _stays(module: nn.Module) -> bool:
    hooked = module._forward_hooks or module._forward_pre_hooks
    of_the_batch = isinstance(module, nn.modules.batchnorm._BatchNorm) and (
        module.running_var is None
    )
    return bool(hooked or of_the_batch or is_parametrized(module))
