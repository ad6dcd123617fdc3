"""Attention blocks put into any network: ``mmattn.WithPlugins`` and what it is made of."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(__name__, {"WithPlugins": "with_plugins"})
