"""Registers the adapters of scope ``mmattn``; the registry imports this at its first look-up."""

from . import with_plugins  # noqa: F401
