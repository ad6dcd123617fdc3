"""A fair comparison of attention blocks in one network: ``tools/compare.py``.

``compare`` in ``run`` is the whole of it; what is random, and how it is held equal, is told in
``shared_config``, ``initial_weights`` and ``mmattn.data.datasets.seeded``; what may be concluded in
``statistics``. It loads on first use, so that ``budget`` can be read without torch.
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "compare": "run",
    },
)
