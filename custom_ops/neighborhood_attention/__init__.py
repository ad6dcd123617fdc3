"""Neighborhood attention (Hassani et al., NAT, CVPR 2023, arXiv:2204.07143; DiNAT, 2209.15001)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._operator import forced_backend, is_exporting
from .._precision import accumulate_dtype
from . import natten_backend, reference
from .checks import check_neighborhood
from .op import operator as operator


def neighborhood_attention_2d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    rpb: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Let every position attend to the k x k positions nearest to it.

        y[u] = sum_j softmax_j(scale query[u] . key[j] + rpb[(j - u) / e + k - 1]) value[j]

    At a border the window is moved inside, so that it has k^2 keys everywhere. With dilation e, the
    positions with equal residues modulo e, in each axis, are maps of their own. A map (or residue
    class) of fewer than k positions along an axis is seen as a whole along it; nothing outside of
    the map is ever attended to.

    The backward pass keeps the inputs alone and computes the weights again. Logits and softmax are
    float32 for half-precision inputs and float64 for float64. Exported graphs hold gathers and
    standard products. On a GPU the package ``natten`` runs where it is installed and computes the
    same: without ``rpb``, and for maps of at least k e positions. The call of it was tested with a
    stand-in, not on a GPU.

    Args:
        query: Queries. Shape (N, heads, H, W, d). Views of a channels-last map are read as they
            are; other layouts are copied.
        key: Keys. Same shape.
        value: Values. Same shape.
        kernel_size: k, one odd number or two (height, width).
        dilation: e, one number or two.
        rpb: Relative position bias, key minus query. Shape (heads, 2 k - 1, 2 k - 1), in the dtype
            of ``query``, or float32 where that is half precision.
        scale: Factor of the products; 1 / sqrt(d) by default. The bias is not scaled.

    Returns:
        Weighted sums of the values, a view of a channels-last map. Shape (N, heads, H, W, d).

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: Shapes or devices do not agree, or a kernel is even.

    Example:
        >>> q = k = v = torch.ones(1, 2, 5, 7, 4)
        >>> neighborhood_attention_2d(q, k, v, kernel_size=3, dilation=2).shape
        torch.Size([1, 2, 5, 7, 4])
    """
    kernel, steps = check_neighborhood(query, key, value, kernel_size, dilation, rpb)
    factor = query.shape[-1] ** -0.5 if scale is None else float(scale)
    q, k, v = (t.permute(0, 2, 3, 1, 4) for t in (query, key, value))
    if is_exporting():
        out = reference.forward(q, k, v, rpb, kernel, steps, factor)
    elif forced_backend() is None and natten_backend.serves(q, kernel, steps, rpb):
        out = natten_backend.attend(q, k, v, kernel, steps, factor)
    else:
        if rpb is not None:
            rpb = rpb.to(accumulate_dtype(query.dtype))
        out = torch.ops.mmattn.neighborhood_attention(q, k, v, rpb, kernel, steps, factor)
    return out.permute(0, 3, 1, 2, 4)
