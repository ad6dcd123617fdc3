"""A fair comparison of attention blocks in one network: ``tools/compare.py``.

``compare`` in ``comparing`` is the whole of it; what is random, and how it is held equal, is told
in ``fair``, ``start`` and ``mmattn.data.datasets.seeded``; what may be concluded in ``statistics``.
"""

from __future__ import annotations

from .comparing import compare

__all__ = ["compare"]
