"""Rewrites for the time of torch.export, so that height and width stay free.

None of them changes a result; each names what it replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mmattn.layers.pooling import cell_weights

aten = torch.ops.aten


@contextmanager
def sizes_stay_symbolic() -> Iterator[None]:
    """Turn off the alignment warning of mmseg's ``resize``.

    With ``align_corners`` the warning converts sizes to int, which would fix them in the graph.
    The switch is the default of the last parameter; changing that default reaches every module
    that imported the function.
    """
    from mmseg.models.utils.wrappers import resize

    defaults = resize.__defaults__
    resize.__defaults__ = (*defaults[:-1], False)
    try:
        yield
    finally:
        resize.__defaults__ = defaults


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
