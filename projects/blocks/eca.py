"""ECA: efficient channel attention (Wang et al., ECA-Net, CVPR 2020, arXiv:1910.03151).

The mean of every channel, mixed with those of its neighbours by k weights, scales that channel:

    g = mean_{y,x} F;   w[c] = sigmoid(sum_j v[j] g[c + j - (k - 1) / 2]);   F'[c] = w[c] F[c]

In plain torch::

    gate = conv(x.mean((2, 3))[:, None]).squeeze(1).sigmoid()  # conv = Conv1d(1, 1, k, ...); (N, C)
    return x * gate[:, :, None, None]

v is one kernel for all channels, odd, without bias, with zeros beyond the first and the last
channel. The paper chooses its size from the number of channels (``kernel_rule``), the authors'
code by hand, one for each stage; their published ResNet-50 has 3, 5, 5, 7, which is not the rule's.

Differs from the authors' code: half precision and autocast compute w in float32.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.channel_gate import scale_channels
from mmattn.layers.checks import require_at_least, require_odd
from mmattn.ops import accumulate_dtype, autocast_off
from mmattn.registry import MODELS


def kernel_rule(channels: int, gamma: int = 2, b: int = 1) -> int:
    """Return the paper's kernel size: the odd number nearest to (log2(C) + b) / gamma.

    If two odd numbers are equally near, as for 128 (4: 3 or 5) and 2048 channels (6: 5 or 7), the
    larger one is taken, as in all public code; the paper does not say. Computed in integers, so
    that the rounding of a logarithm plays no part. timm's minimum is 3, which differs below 8
    channels.

    Args:
        channels: Channels C of the block's input: 256 and more in a ResNet-50.
        gamma: Divisor of the rule; 2 in the paper.
        b: Offset of the rule; 1 in the paper.

    Raises:
        TypeError: An argument is not an integer.
        ValueError: ``channels`` or ``gamma`` is less than 1, or ``b`` is negative.

    Example:
        >>> [kernel_rule(channels) for channels in (64, 128, 256, 512, 1024, 2048)]
        [3, 5, 5, 5, 5, 7]
    """
    for name, value, least in (("channels", channels, 1), ("gamma", gamma, 1), ("b", b, 0)):
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        require_at_least(least, **{name: value})
    # (n gamma - b) <= log2(C) holds for an integer n exactly if it does for floor(log2(C)).
    floor = (channels.bit_length() - 1 + b) // gamma
    # The odd number nearest to t is floor(t) if that is odd, else floor(t) + 1.
    return floor | 1


@MODELS.register_module()
class ECA(nn.Module):
    """One gate per channel, computed from the means of neighbouring channels.

    The k weights depend on the order of the channels: after channels are shuffled or pruned, they
    mean nothing. The kernel sizes of the authors' ResNet-50, stage by stage::

        plugins=[
            dict(cfg=dict(type='mmattn.ECA', kernel_size=3), stages=(True, False, False, False),
                 position='after_conv3'),
            dict(cfg=dict(type='mmattn.ECA', kernel_size=5), stages=(False, True, True, False),
                 position='after_conv3'),
            dict(cfg=dict(type='mmattn.ECA', kernel_size=7), stages=(False, False, False, True),
                 position='after_conv3')]

    Loads the authors' weights and those of timm's ``EcaModule``.

    Args:
        in_channels: Channels C of the input.
        kernel_size: Kernel size k, odd; None takes ``kernel_rule(in_channels, gamma, b)``.
        gamma: Divisor of the rule.
        b: Offset of the rule.
        per_channel: Whether every channel has k weights of its own, the paper's ablation.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> ECA(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "every residual block of a ResNet, after the last convolution, before the addition"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        kernel_size: int | None = None,
        gamma: int = 2,
        b: int = 1,
        per_channel: bool = False,
    ):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        if kernel_size is None:
            kernel_size = kernel_rule(in_channels, gamma, b)
        require_odd(kernel_size=kernel_size)
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.per_channel = per_channel
        if per_channel:
            self.conv = nn.Conv1d(
                in_channels, in_channels, kernel_size, groups=in_channels, bias=False
            )
        else:
            self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return scale_channels(x, self.gate(_means(x)))

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gate, ``"channel"``, of shape (N, C, 1, 1)."""
        return {"channel": self.gate(_means(x))[:, :, None, None]}

    def gate(self, means: Tensor) -> Tensor:
        """Return w from the means g; both (N, C)."""
        # As products: on a CPU, calling ``conv`` on so few values takes longer than all the rest.
        padded = F.pad(means, 2 * (self.kernel_size // 2,))
        neighbours = padded.unfold(1, self.kernel_size, 1)  # (N, C, k)
        weight = self.conv.weight[:, 0].to(means.dtype)  # (1, k), or (C, k)
        if self.per_channel:
            return (neighbours * weight).sum(2).sigmoid()
        with autocast_off(means.device.type):
            return (neighbours @ weight.T).squeeze(2).sigmoid()

    def extra_repr(self) -> str:
        return f"in_channels={self.in_channels}"


def _means(x: Tensor) -> Tensor:
    """Return g. Shape (N, C, H, W) -> (N, C), at least float32."""
    dtype = accumulate_dtype(x.dtype)
    return x.mean((2, 3)) if x.dtype == dtype else x.mean((2, 3), dtype=dtype)
