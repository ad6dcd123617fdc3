"""A fair comparison of attention blocks in one network: ``tools/compare.py``.

``compare`` in ``comparing`` is the whole of it; what is random, and how it is held equal, is told
in ``fair``, ``start`` and ``mmattn.data.datasets.seeded``; what may be concluded in ``statistics``.
It loads on first use, so that ``budget`` can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .comparing import compare

__all__ = ["compare"]


def __getattr__(name: str):
    if name != "compare":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .comparing import compare

    return compare
