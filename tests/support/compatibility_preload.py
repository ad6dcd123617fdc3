"""Imported once by the server that the processes of ``compatibility_runs`` are forked from.

Importing torch, mmcv, mmdet and mmseg takes longer than most configs take to run.
"""

from __future__ import annotations

import contextlib
import warnings

import mmattn  # noqa: F401  (the bridge)

warnings.simplefilter("ignore")
for package in ("mmdet", "mmseg"):
    with contextlib.suppress(ImportError):
        __import__(f"{package}.utils", fromlist=["register_all_modules"]).register_all_modules(
            init_default_scope=False
        )
