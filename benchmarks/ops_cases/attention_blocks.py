"""Attention blocks against their eager textbook forms: one torch call for each sign of the formula.

The textbook forms are those of public code: pooled vectors come from torch's pooling, CBAM's F' is
a tensor, every product is one. They use the block's own weights. Forward is in evaluation mode;
forward and backward is in training mode, with gradients of the input and of all weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ops_cases import Contender, Results, Row, forward

OP = "attention_blocks"
SIZE = (1, 256, 64, 64)
# Where the calls themselves take most of the time.
SMALL = (2, 64, 28, 28)
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
TEXTBOOK = "textbook"


def rows(device: str) -> list[Row]:
    """Each block in both layouts and sizes, forward and training; some have a goal forward."""
    goals = {"CBAM": {TEXTBOOK: 3.0}, "ELA": {TEXTBOOK: 3.0}} if device == "cpu" else {}
    return [
        _row(
            name, size, layout, training, device,
            {} if training or size != SIZE else goals.get(name, {}),
        )
        for name in TEXTBOOKS
        for size in (SIZE, SMALL)
        for training in (False, True)
        for layout in LAYOUTS
    ]  # fmt: skip


def cbam(block: nn.Module, x: Tensor) -> Tensor:
    """The authors' code."""
    mlp = block.ChannelGate.mlp
    mean, peak = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
    channel = (mlp(mean) + mlp(peak)).sigmoid()
    x = x * channel[:, :, None, None]
    maps = torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)
    return x * block.SpatialGate.spatial(maps).sigmoid()


def ela(block: nn.Module, x: Tensor) -> Tensor:
    """The paper's code."""
    rows, columns = x.mean(3), x.mean(2)
    rows, columns = block.gn(block.conv(rows)).sigmoid(), block.gn(block.conv(columns)).sigmoid()
    return x * rows[:, :, :, None] * columns[:, :, None, :]


def eca(block: nn.Module, x: Tensor) -> Tensor:
    """The authors' code."""
    means = F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(1, 2)  # (N, 1, C)
    gate = block.conv(means).transpose(1, 2).unsqueeze(-1).sigmoid()
    return x * gate.expand_as(x)


def squeeze_excitation(block: nn.Module, x: Tensor) -> Tensor:
    """torchvision's code."""
    return x * block.fc2(block.fc1(F.adaptive_avg_pool2d(x, 1)).relu()).sigmoid()


def coordinate_attention(block: nn.Module, x: Tensor) -> Tensor:
    """The authors' code."""
    rows = F.adaptive_avg_pool2d(x, (None, 1))
    columns = F.adaptive_avg_pool2d(x, (1, None)).transpose(2, 3)
    strips = F.hardswish(block.bn1(block.conv1(torch.cat([rows, columns], 2))))
    rows, columns = strips.split([x.shape[2], x.shape[3]], 2)
    gate_h = block.conv_h(rows).sigmoid()
    return x * block.conv_w(columns.transpose(2, 3)).sigmoid() * gate_h


def simam(block: nn.Module, x: Tensor) -> Tensor:
    """The authors' code."""
    others = x.shape[2] * x.shape[3] - 1
    squares = (x - x.mean((2, 3), keepdim=True)).pow(2)
    variance = squares.sum((2, 3), keepdim=True) / others
    return x * (squares / (4 * (variance + block.regularisation)) + 0.5).sigmoid()


def global_context(block: nn.Module, x: Tensor) -> Tensor:
    """The authors' code."""
    n, c, height, width = x.shape
    attention = block.conv_mask(x).view(n, 1, height * width).softmax(2).unsqueeze(3)
    context = x.view(n, c, height * width).unsqueeze(1) @ attention
    return x + block.channel_add_conv(context.view(n, c, 1, 1))


TEXTBOOKS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "CBAM": cbam,
    "ELA": ela,
    "ECA": eca,
    "SE": squeeze_excitation,
    "CoordAtt": coordinate_attention,
    "SimAM": simam,
    "GlobalContext": global_context,
}


def _block(name: str, channels: int, device: str, *, training: bool) -> nn.Module:
    import mmattn  # noqa: F401  turns the bridge on
    from mmattn.registry import MODELS

    block = MODELS.build({"type": f"mmattn.{name}", "in_channels": channels})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in block.parameters():  # some start at zero and would hide errors
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
    return block.to(device).train(training)


def _training(function: Callable[[Tensor], Tensor], block: nn.Module, x: Tensor, grad: Tensor):
    leaves = (x.detach().requires_grad_(), *block.parameters())

    def run() -> Results:
        result = function(leaves[0])
        grad_x, *others = torch.autograd.grad(result, leaves, grad)
        # Compared as one: that of a bias before a batch norm is nothing but rounding errors.
        together = torch.cat([grad_x.new_zeros(1), *(g.flatten() for g in others)])
        return result.detach(), grad_x, together

    return run


def _row(
    name: str,
    shape: tuple[int, ...],
    layout: str,
    training: bool,
    device: str,
    goals: dict[str, float],
) -> Row:
    def setup() -> dict[str, Contender]:
        block = _block(name, shape[1], device, training=training)
        generator = torch.Generator().manual_seed(0)
        x, grad = (
            torch.randn(shape, generator=generator)
            .to(device)
            .contiguous(memory_format=LAYOUTS[layout])
            for _ in range(2)
        )

        def textbook(x: Tensor) -> Tensor:
            return TEXTBOOKS[name](block, x)

        functions = {"mmattn": block, TEXTBOOK: textbook}
        if training:
            return {key: _training(f, block, x, grad) for key, f in functions.items()}
        return {key: forward(f, x) for key, f in functions.items()}

    size = " x ".join(map(str, shape[1:]))
    passes = "forward + backward" if training else "forward"
    return Row(OP, f"{name}, {size}, {layout}, {passes}", setup, goals)
