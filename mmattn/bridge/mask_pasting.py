"""Lets mmdet paste instance masks on a CPU where a box lies outside of the image.

On a CPU mmdet pastes each mask into the region around its box alone. A box beyond the image, or
one whose corners are swapped, as QueryInst's are without training, has no such region, and
``torch.arange`` fails. On a GPU the whole image is pasted; so are such boxes here.
"""

from __future__ import annotations

import functools
from types import ModuleType

from torch import Tensor

from ._replacing import replace


def patch_mask_pasting(fcn_mask_head: ModuleType) -> None:
    """Replace ``_do_paste_mask`` of ``mmdet.models.roi_heads.mask_heads.fcn_mask_head``, once."""
    original = fcn_mask_head._do_paste_mask
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def paste(masks: Tensor, boxes: Tensor, img_h: int, img_w: int, skip_empty: bool = True):
        skip_empty = skip_empty and _has_region(boxes, img_h, img_w)
        return original(masks, boxes, img_h, img_w, skip_empty)

    replace(fcn_mask_head, "_do_paste_mask", paste)


def _has_region(boxes: Tensor, img_h: int, img_w: int) -> bool:
    """Whether the region that mmdet cuts out around ``boxes`` (N, 4) is one of the image."""
    left, top = (boxes[:, :2].amin(dim=0).floor() - 1).clamp(min=0).tolist()
    right, bottom = (boxes[:, 2:].amax(dim=0).ceil() + 1).tolist()
    return left < min(right, img_w) and top < min(bottom, img_h)
