"""Public datasets by name: found or fetched, verified, unpacked, converted, checked, recorded.

``mmattn data prepare`` is the command; ``catalog`` says what is known about each dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.lazy import lazy_attributes

if TYPE_CHECKING:
    from .run import Wishes as Wishes
    from .run import check_prepared as check_prepared
    from .run import prepare as prepare
    from .subset import parse_subset as parse_subset
    from .table import catalog_rows as catalog_rows

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "Wishes": "run",
        "catalog_rows": "table",
        "check_prepared": "run",
        "parse_subset": "subset",
        "prepare": "run",
    },
)
