"""Train, test and check, as the commands ``train``, ``test`` and ``check`` do."""

from __future__ import annotations

from .check import check as check
from .test import test as test
from .train import train as train

__all__ = ["check", "test", "train"]
