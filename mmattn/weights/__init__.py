"""Weights by name: an index, a cache, mirrors, digests, licences, and conversion on arrival.

Importing this package is cheap; torch is imported where a checkpoint is converted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.lazy import lazy_attributes

if TYPE_CHECKING:
    from .bundle import write_bundle as write_bundle
    from .index import find_entry as find_entry
    from .index import load_index as load_index
    from .names import entry_name as entry_name
    from .pull import Pulled as Pulled
    from .pull import pull_weights as pull_weights
    from .verify import verify_cache as verify_cache

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "Pulled": "pull",
        "entry_name": "names",
        "find_entry": "index",
        "load_index": "index",
        "pull_weights": "pull",
        "verify_cache": "verify",
        "write_bundle": "bundle",
    },
)
