"""Pages about runs, from what they left in their folders: nothing is measured again.

``left`` reads a folder; ``training`` and ``test`` write its page; ``several`` puts runs side by
side. What only the run itself knows, such as the parts of its model, is in ``facts``.
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__, {"write_training_report": "training", "write_test_report": "test"}
)
