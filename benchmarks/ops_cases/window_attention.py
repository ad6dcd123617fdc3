"""Swin's window attention against mmdet's own, with the same weights.

First its layers (projections, attention, padding, shift) at the sizes of Swin-T on 512 x 512, where
the first three levels and the last are padded to windows of 7; then the whole backbone.
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from ops_cases import Contender, Results, Row

OP = "window_attention"
CHANNELS, HEADS, DEPTHS = 96, (3, 6, 12, 24), (2, 2, 6, 2)  # Swin-T
FORWARD, TRAINING = {"mmdet": 1.5}, {"mmdet": 1.3}


def rows(device: str) -> list[Row]:
    """A rolled layer of each level, then the backbone, forward and as a training step."""
    if device != "cpu":
        return []
    result = []
    for training in (False, True):
        passes = "forward + backward" if training else "forward"
        goals = TRAINING if training else FORWARD
        for level in range(4):
            side, channels = 128 >> level, CHANNELS << level
            name = f"Swin-T's layer {level + 1}, {side} x {side}, C={channels}, {passes}"
            setup = partial(_layers, level, side, training)
            result.append(Row(OP, name, setup, goals, tolerance=1e-3))
        passes = "training step" if training else "forward"
        name = f"Swin-T, backbone, 512 x 512, {passes}"
        result.append(Row(OP, name, partial(_backbones, training), goals, tolerance=1e-3))
    return result


def _networks() -> tuple[nn.Module, nn.Module]:
    import mmattn  # noqa: F401  turns the bridge on, before mmdet is imported
    from mmattn.layers.fast_windows import use_fast_windows

    from mmdet.models.backbones import SwinTransformer  # isort: skip

    torch.manual_seed(0)
    theirs = SwinTransformer(
        embed_dims=CHANNELS, depths=DEPTHS, num_heads=HEADS, drop_path_rate=0.0
    )
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias_table"):
            nn.init.trunc_normal_(parameter, std=0.02)
    ours = copy.deepcopy(theirs)
    use_fast_windows(ours)
    return ours, theirs


def _layers(level: int, side: int, training: bool) -> dict[str, Contender]:
    x = torch.randn(1, side * side, CHANNELS << level, generator=torch.Generator().manual_seed(0))
    return {
        name: _contender(
            network.stages[level].blocks[1].attn,
            x,
            training,
            lambda layer, x: [layer(x, (side,) * 2)],
        )
        for name, network in zip(("mmattn", "mmdet"), _networks(), strict=True)
    }


def _backbones(training: bool) -> dict[str, Contender]:
    x = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    return {
        name: _contender(network, x, training, lambda network, x: list(network(x)))
        for name, network in zip(("mmattn", "mmdet"), _networks(), strict=True)
    }


def _contender(network: nn.Module, x: Tensor, training: bool, call) -> Contender:
    network.train(training)
    wanted = [x.clone().requires_grad_(), *network.parameters()]

    def forward() -> Results:
        with torch.no_grad():
            return call(network, x)

    def forward_backward() -> Results:
        maps = call(network, wanted[0])
        # Neither the mean of squares, which the norms of the maps make constant, nor numbers that
        # cancel in the gradients of biases: both would compare rounding.
        generator = torch.Generator().manual_seed(1)
        signals = [torch.rand(m.shape, generator=generator) for m in maps]
        grads = torch.autograd.grad(maps, wanted, signals)
        return [*(m.detach() for m in maps), *grads]

    return forward_backward if training else forward
