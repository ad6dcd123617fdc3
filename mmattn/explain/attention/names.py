"""Classes by name, so that nothing is imported before a network has such a module."""

from __future__ import annotations

from torch import nn


def qualified_names(module: nn.Module) -> list[str]:
    """Return the names of a module's class and of its bases, such as ``torch.nn...Linear``."""
    return [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]
