"""Train and test, as ``tools/train.py`` and ``tools/test.py`` do."""

from __future__ import annotations

from .test import test as test
from .train import train as train

__all__ = ["test", "train"]
