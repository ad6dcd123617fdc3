"""Rewrites for the time of torch.export, so that height and width stay free.

None of them changes a result; each names what it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.layers.pooling import cell_weights

aten = torch.ops.aten


@contextmanager
def sizes_stay_symbolic() -> Iterator[None]:
    """Keep mmseg's ``resize`` and ``Upsample`` from fixing sizes in the graph.

    With ``align_corners`` a warning of ``resize`` converts sizes to int. The switch is the default
    of its last parameter; changing that default reaches every module that imported the function.

    ``Upsample`` by a factor, as in HRNet, computes sizes by way of floats; torch.export then takes
    those of the traced image for every size. Whole factors are multiplied instead.
    """
    from mmseg.models.utils.wrappers import Upsample, resize

    defaults = resize.__defaults__
    resize.__defaults__ = (*defaults[:-1], False)
    upsample = Upsample.forward
    Upsample.forward = _upsample
    try:
        yield
    finally:
        resize.__defaults__ = defaults
        Upsample.forward = upsample


def _upsample(layer: Any, x: Tensor) -> Tensor:
    """mmseg's ``Upsample``, whose whole factors stay whole."""
    factor = layer.scale_factor
    size = layer.size or [
        side * int(factor) if factor == int(factor) else int(side * factor) for side in x.shape[-2:]
    ]
    return F.interpolate(x, size, mode=layer.mode, align_corners=layer.align_corners)


def adaptive_avg_pool2d(x: Tensor, output_size: list[int]) -> Tensor:
    """Adaptive average pooling as two matrix products, for any input size.

    ONNX has no adaptive pooling, and the exporter's own translation freezes the bins of the
    traced size: the file then fails, or is wrong, at any other.

    Args:
        x: (N, C, H, W)
        output_size: (h, w)

    Returns:
        (N, C, h, w), each bin the mean of the positions that torch's pooling takes.
    """
    bins_h, bins_w = output_size
    if bins_h == bins_w == 1:
        return x.mean((-2, -1), keepdim=True)
    x = x @ cell_weights(x.shape[-1], bins_w, x).T  # (N, C, H, w)
    return cell_weights(x.shape[-2], bins_h, x) @ x  # (N, C, h, w)


def meshgrid(tensors: list[Tensor]) -> list[Tensor]:
    """Return the grids of ``torch.meshgrid`` with its first, "ij", indexing.

    torch's own decomposition asks for the argument that the calls of mmdet's prior generators leave
    out.
    """
    count = len(tensors)
    sizes = [t.shape[0] for t in tensors]
    return [
        t.view([-1 if axis == position else 1 for axis in range(count)]).expand(sizes)
        for position, t in enumerate(tensors)
    ]


DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable] = {
    aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten._adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten.meshgrid.default: meshgrid,
}
