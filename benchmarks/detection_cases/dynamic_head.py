"""One block of Dynamic Head on the pyramid of an image of 800 x 1344, or 400 x 672; 256 channels.

Contenders are mmdet's neck with torchvision's compiled deformable convolution, which is the
algorithm of mmcv's kernels, and mmdet's neck as it runs here, where the bridge lends mmcv our
operator: what is left between them and the first is the pass that norms, gates, mean and activation
are computed in. All have the same weights, without biases, and read the coarser level's offsets in
the order of the published weights. A training step is forward and backward, with gradients of
levels and weights. The two lines of the activation do not meet within the data: there the gradient
jumps, and rounding would decide for some of the millions of positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from ops_cases import Contender, Results, Row
from torch import Tensor, nn

CHANNELS = 256
IMAGES = ((800, 1344), (400, 672))
STRIDES = (8, 16, 32, 64, 128)
TORCHVISION, BRIDGE = "mmdet, torchvision's operator", "mmdet, our operator"


def rows(device: str) -> list[Row]:
    """Forward and training, for both images."""
    return [
        Row(
            "Dynamic Head",
            f"a block, {size[0]} x {size[1]}, {'training step' if training else 'forward'}",
            lambda size=size, training=training: contenders(device, size, training),
            goals={TORCHVISION: 1.5},
            # The gradient of a bilinear reading jumps too, at whole offsets.
            tolerance=1e-2 if training else 1e-3,
        )
        for size in IMAGES
        for training in (False, True)
    ]


def contenders(device: str, image: tuple[int, int], training: bool) -> dict[str, Contender]:
    """Return a pass of each neck over the same levels."""
    import mmattn  # noqa: F401  # isort: skip  (the bridge: mmdet imports mmcv's extension)
    from mmdet.models.necks import DyHead

    from mmattn.projects.dynamic_head import DynamicHead

    torch.manual_seed(0)
    theirs = _trained(DyHead(CHANNELS, CHANNELS, num_blocks=1)).to(device)
    ours = DynamicHead(CHANNELS, CHANNELS, num_blocks=1).to(device)
    ours.load_state_dict(theirs.state_dict())
    sizes = [(-(-image[0] // stride), -(-image[1] // stride)) for stride in STRIDES]
    levels, grads = (
        [torch.randn(1, CHANNELS, *size).to(device) for size in sizes] for _ in range(2)
    )
    run = _training if training else _forward

    def with_torchvision() -> Results:
        with _torchvision_s_operator():
            return run(theirs, levels, grads)

    return {
        "mmattn": lambda: run(ours, levels, grads),
        TORCHVISION: with_torchvision,
        BRIDGE: lambda: run(theirs, levels, grads),
    }


def _forward(neck: nn.Module, levels: list[Tensor], grads: list[Tensor]) -> Results:
    with torch.no_grad():
        return neck(levels)


def _training(neck: nn.Module, levels: list[Tensor], grads: list[Tensor]) -> Results:
    leaves = [x.detach().requires_grad_() for x in levels]
    outputs = neck(leaves)
    named = dict(neck.named_parameters())
    wanted = [*leaves, *(named[name] for name in sorted(named))]
    return [*(y.detach() for y in outputs), *torch.autograd.grad(outputs, wanted, grads)]


def _trained(neck: nn.Module) -> nn.Module:
    """Give the neck offsets of about a pixel, and the activation max(x + 0.4, 0.8 x - 0.4)."""
    with torch.no_grad():
        for block in neck.dyhead_blocks:
            nn.init.normal_(block.spatial_conv_offset.weight, std=0.02)
            block.scale_attn_module[1].bias.fill_(0.5)  # behind it is a ReLU
            a1, b1, a2, b2 = 0.0, 2.4, 2.4, -2.4
            line = torch.tensor([a1, b1, a2, b2]).repeat_interleave(CHANNELS)
            block.task_attn_module.conv2.conv.bias.copy_(line)
    return neck


@contextmanager
def _torchvision_s_operator() -> Iterator[None]:
    from mmdet.models.necks.dyhead import ModulatedDeformConv2d

    cls: Any = ModulatedDeformConv2d
    before: Callable = cls.forward
    cls.forward = _by_torchvision
    try:
        yield
    finally:
        cls.forward = before


def _by_torchvision(conv: Any, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    import torchvision

    stride = conv.stride if isinstance(conv.stride, int) else conv.stride[0]
    size = [-(-side // stride) for side in x.shape[2:]]
    if tuple(size) != tuple(offset.shape[2:]):  # as mmcv's kernels read them
        count = size[0] * size[1]
        offset = offset.flatten(1)[:, : 18 * count].reshape(-1, 18, *size)
        mask = mask.flatten(1)[:, : 9 * count].reshape(-1, 9, *size)
    return torchvision.ops.deform_conv2d(x, offset, conv.weight, conv.bias, stride, 1, 1, mask)
