"""Effective receptive field (Luo et al., NeurIPS 2016): which pixels move one place of a map.

    |d sum_c F[c, centre] / d input|, summed over the colours, mean over images

and the share of the input that the smallest centred square with a given share of it has (Ding et
al., RepLKNet, CVPR 2022, table 8, where t = 20, 30, 50, 99 %). It is of a layer, not of a target.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import ConfigError

from .explanation import Explanation
from .layers import captured, feature_layer
from .networks import Network, Sample, evaluation

#: Shares of the whole that squares hold.
SHARES = (0.2, 0.3, 0.5, 0.99)
#: Share of another sum of the channels below which their sum is constant but for rounding.
_ROUNDING = 1e-4
#: Images from which on a mean says something of the layer.
ENOUGH = 50


def receptive_field_map(network: Network, sample: Sample, at: str = "auto") -> Explanation:
    """Return the field of the middle of a feature map, at the size of the network's input.

    Args:
        network: Network.
        sample: Image.
        at: Name of the module, ``module[i]`` for the i-th of its maps; ``auto`` takes the last map
            of the backbone, or of a detector's neck.

    Raises:
        ConfigError: The module is not there, or returns no map that depends on the input.
    """
    layer = feature_layer(network.model, at)
    with evaluation(network.model), torch.enable_grad():
        inputs = sample.inputs.detach().requires_grad_()
        with captured(layer, sample.placement.padded) as kept:
            network(inputs, sample, queries=network.kind == "masks")
        count = len(kept.leaves)
        item = count - 1 if layer.item is None else layer.item
        if not -count <= item < count:
            raise ConfigError(f"--at {layer.name}[{item}]: the module returns {count} feature maps")
        item %= count
        values = kept.as_map(item, kept.leaves[item])[0]
        height, width = values.shape[1:]
        cell = (height // 2, width // 2)
        middle = values[:, cell[0], cell[1]]
        signs = 1 - 2 * (torch.arange(len(middle), device=middle.device) % 2)
        fields = [_field(y, inputs) for y in (middle.sum(), (middle * signs).sum())]
    name = layer.name if count == 1 else f"{layer.name}[{item}]"
    field, other = fields
    if field.sum() <= _ROUNDING * other.sum():
        raise ConfigError(
            f"--at {name}: the sum over its channels does not depend on the image, as behind a "
            "norm over channels; give --at a module in front of that"
        )
    found = Explanation(
        "receptive-field",
        f"of the middle of {height} x {width}",
        name,
        field,
        position=cell,
        position_grid=(height, width),
    )
    centre = middle_of(cell, (height, width), field.shape)
    found.numbers |= {f"area_with_{t:.0%}": smallest_square(field, centre, t)[1] for t in SHARES}
    return found


def _field(y: Tensor, inputs: Tensor) -> np.ndarray:
    """Return |dy / d input|, (H, W), summed over the colours; zeros where there is no gradient."""
    (gradient,) = torch.autograd.grad(y, inputs, allow_unused=True, retain_graph=True)
    if gradient is None:
        return np.zeros(inputs.shape[2:])
    return gradient[0].abs().sum(0).double().cpu().numpy()


def middle_of(
    cell: tuple[int, int], grid: tuple[int, int], size: tuple[int, ...]
) -> tuple[float, float]:
    """Return row and column, in pixels of the input, of the middle of a cell of a grid over it."""
    y, x = ((c + 0.5) * s / g - 0.5 for c, g, s in zip(cell, grid, size, strict=True))
    return y, x


def smallest_square(
    field: np.ndarray, centre: tuple[float, float], share: float
) -> tuple[float, float]:
    """Return side and area of the smallest centred square that holds a share of a field.

    Args:
        field: (H, W), not negative.
        centre: Row and column of its middle.
        share: 0 to 1.

    Returns:
        The side in pixels, and the share of the input that the square covers: without what lies
        beyond the edge.
    """
    row, column = (np.arange(n) for n in field.shape)
    distance = np.maximum(np.abs(row - centre[0])[:, None], np.abs(column - centre[1])[None])
    order = np.argsort(distance, axis=None, kind="stable")
    held = np.cumsum(field.ravel()[order])
    if not held[-1] > 0:
        return float("nan"), float("nan")
    index = int(np.searchsorted(held, share * held[-1] * (1 - 1e-12)))
    radius = distance.ravel()[order[min(index, field.size - 1)]]
    return 2 * float(radius) + 1, float((distance <= radius).mean())
