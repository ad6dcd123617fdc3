"""Let pycocotools read annotation files with a byte order mark, as Windows' editors write it."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def read_byte_order_marks(coco_module: ModuleType) -> None:
    """Make pycocotools open texts as UTF-8, with or without a byte order mark, on every system."""

    def open_text(path: Any, mode: str = "r", **options: Any) -> Any:
        if "b" not in mode and "w" not in mode:
            options.setdefault("encoding", "utf-8-sig")
        return open(path, mode, **options)

    coco_module.open = open_text
