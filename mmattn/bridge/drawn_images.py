"""Lets the drawing hooks of mmseg and mmdet show images of any depth.

They decode a file with ``mmcv.imfrombytes``, which takes the upper 8 bits of 16: of 12-bit values
in a 16-bit file hardly anything is left to see, and of floating-point ones nothing.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

DRAWING = ("mmseg.engine.hooks.visualization_hook", "mmdet.engine.hooks.visualization_hook")


def read_for_drawing(hook: ModuleType) -> None:
    """Give a module with drawing hooks our reader in the place of mmcv's, once."""
    if not isinstance(hook.mmcv, _WithOurReader):
        setattr(hook, "mmcv", _WithOurReader(hook.mmcv))  # noqa: B010  (a module of theirs)


class _WithOurReader:
    """``mmcv`` as the hooks use it, whose ``imfrombytes`` reads images for display."""

    def __init__(self, mmcv: ModuleType) -> None:
        self._mmcv = mmcv

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mmcv, name)

    def imfrombytes(
        self, content: bytes, flag: str = "color", channel_order: str = "bgr", **options: Any
    ) -> Any:
        """Decode (H, W, 3) uint8; what is asked for in another form is left to mmcv."""
        from mmattn.errors import DataError
        from mmattn.images import decode_for_display

        if flag == "color" and not options:
            try:
                image = decode_for_display(content, "the image")
            except DataError:
                pass  # mmcv's own error, or what it makes of the file
            else:
                return image if channel_order.lower() == "rgb" else image[..., ::-1].copy()
        return self._mmcv.imfrombytes(content, flag=flag, channel_order=channel_order, **options)
