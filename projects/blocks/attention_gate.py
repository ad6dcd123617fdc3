"""Attention gate of Attention U-Net (Oktay et al., MIDL 2018, arXiv:1804.03999).

A coarse feature map g of the decoder decides at which positions of a finer one x, that a skip
connection brings, something relevant is found:

    t = W_x x                               r x r convolution, stride r, no bias
    p = resize(W_g g + b_g)                 bilinearly, to the size of t
    a = resize(sigmoid(psi relu(t + p) + b_psi))          one gate per position, to the size of x
    x' = BN(W (a x) + b)

In plain torch::

    p = F.interpolate(phi(g), size=t.shape[2:], mode="bilinear")
    a = F.interpolate(psi((t + p).relu()).sigmoid(), size=x.shape[2:], mode="bilinear")
    return W(a * x)

The gate is for what a decoder concatenates, ``cat(gate(skip, coarse), up)``; it has two inputs, so
it is not for ``plugins=[...]``. ``mmattn.GatedUNet`` is a network with it.

Follows the authors' code where it says more than the paper: r = 2, no bias in W_x, W and its batch
norm behind the product. Differs from it: a feature map smaller than r is padded with zeros for W_x
(theirs fails); under half precision and autocast, psi, the sigmoid and the last resize are float32.

Other implementations of that name have 1 x 1 convolutions with batch norms for x and g of equal
size, and no W: their weights do not fit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.precision import run_in_float32
from mmattn.registry import MODELS

#: Number of spatial dimensions -> convolution, batch norm, how feature maps are resized.
_LAYERS: dict[int, tuple[type[nn.Module], type[nn.Module], str]] = {
    2: (nn.Conv2d, nn.BatchNorm2d, "bilinear"),
    3: (nn.Conv3d, nn.BatchNorm3d, "trilinear"),
}


@MODELS.register_module()
class AttentionGate(nn.Module):
    """One gate per position of a skip connection, from a coarser feature map.

    Any ratio between the sizes of x and g works. A fresh gate is near 1/2.

    Args:
        in_channels: Channels F_l of x.
        gating_channels: Channels F_g of g.
        hidden_channels: Channels of t and p; by default F_l // 2, at least 1.
        subsample: r, how much coarser than x the gate is computed.
        output_transform: Whether W and its batch norm follow the product.
        spatial_dims: 2 for images, 3 for the volumes of the paper's networks.

    Shape:
        - x: (N, F_l, H, W)
        - g: (N, F_g, H', W')
        - output: (N, F_l, H, W)

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> import torch
        >>> AttentionGate(8, 16)(torch.ones(2, 8, 10, 14), torch.ones(2, 16, 5, 7)).shape
        torch.Size([2, 8, 10, 14])
    """

    def __init__(
        self,
        in_channels: int,
        gating_channels: int,
        *,
        hidden_channels: int | None = None,
        subsample: int = 2,
        output_transform: bool = True,
        spatial_dims: int = 2,
    ):
        super().__init__()
        require_at_least(
            1,
            in_channels=in_channels,
            gating_channels=gating_channels,
            hidden_channels=hidden_channels,
            subsample=subsample,
        )
        if spatial_dims not in _LAYERS:
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
        if hidden_channels is None:
            hidden_channels = max(in_channels // 2, 1)
        conv, norm, self.mode = _LAYERS[spatial_dims]
        self.subsample = subsample
        # The authors' names.
        self.theta = conv(in_channels, hidden_channels, subsample, stride=subsample, bias=False)
        self.phi = conv(gating_channels, hidden_channels, 1)
        self.psi = conv(hidden_channels, 1, 1)
        self.W = None
        if output_transform:
            self.W = nn.Sequential(conv(in_channels, in_channels, 1), norm(in_channels))
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Conv3d):
                module.reset_parameters()
                nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
            elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.reset_parameters()
                nn.init.normal_(module.weight, 1, 0.02)

    def forward(
        self, x: Tensor, g: Tensor, *, return_gate: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the gated x, and with ``return_gate`` the gate, (N, 1, H, W), too."""
        gate = self._gate(x, g)
        y = x * gate.to(x.dtype)
        if self.W is not None:
            y = self.W(y)
        return (y, gate) if return_gate else y

    def attention_maps(self, x: Tensor, g: Tensor) -> dict[str, Tensor]:
        """Return the gate, ``"spatial"``, of shape (N, 1, H, W)."""
        return {"spatial": self._gate(x, g)}

    def _gate(self, x: Tensor, g: Tensor) -> Tensor:
        """Return a, at least float32. Shape (N, 1, H, W)."""
        t = self.theta(_at_least(self.subsample, x))
        p = self._resize(self.phi(g), t)
        coarse = run_in_float32(self.psi, (t + p).relu()).sigmoid()
        return self._resize(coarse, x)

    def _resize(self, feature_map: Tensor, like: Tensor) -> Tensor:
        size = like.shape[2:]
        return F.interpolate(feature_map, size=size, mode=self.mode, align_corners=False)


def _at_least(side: int, x: Tensor) -> Tensor:
    """Append zeros where a spatial side of ``x`` is shorter than ``side``."""
    # A graph for any size has no branches, and torch.sym_max where there are no numbers.
    tracing = torch.compiler.is_compiling()
    larger: Callable = torch.sym_max if tracing else max
    missing = [larger(side - length, 0) for length in x.shape[2:]]
    if not tracing and not any(missing):
        return x
    return F.pad(x, [amount for end in reversed(missing) for amount in (0, end)])
