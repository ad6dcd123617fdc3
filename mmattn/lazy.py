"""Package attributes that are imported at first use, so that importing a package stays cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_attributes(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Build ``__getattr__``, ``__dir__`` and ``__all__`` of a package (PEP 562).

    Args:
        package: ``__name__`` of the package.
        homes: Attribute name -> name of the submodule of ``package`` that defines it. Neither may
            carry the other's name: importing a submodule sets the attribute of its name.

    Example:
        >>> homes = {"LoadReport": "load_into_model"}
        >>> __getattr__, __dir__, __all__ = lazy_attributes("mmattn.io", homes)
        >>> __getattr__("LoadReport").__module__
        'mmattn.io.load_into_model'
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)
