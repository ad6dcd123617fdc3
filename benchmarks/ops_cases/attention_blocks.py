"""Attention blocks against their textbook forms (``textbook_blocks``), with the same weights.

Forward is in evaluation mode; forward and backward is in training mode, with gradients of the input
and of all weights. ``benchmarks/blocks.py`` shows the ratios in one table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from textbook_blocks import TEXTBOOKS
from torch import Tensor, nn

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


def _block(name: str, channels: int, device: str, *, training: bool) -> nn.Module:
    import mmattn  # noqa: F401  turns the bridge on
    from mmattn.registry import MODELS

    block = MODELS.build({"type": f"mmattn.{name}", "in_channels": channels})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in block.parameters():  # some start at zero and would hide errors
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) / max(8, channels**0.5)
            )
    return block.to(device).train(training)


class _Textbook(nn.Module):
    """A textbook form as one uses it, as a module; the weights stay those of the block."""

    def __init__(self, name: str, block: nn.Module):
        super().__init__()
        self.form = partial(TEXTBOOKS[name], block)  # not a submodule: it has no weights of its own

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x)


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

        functions = {"mmattn": block, TEXTBOOK: _Textbook(name, block)}
        if training:
            return {key: _training(f, block, x, grad) for key, f in functions.items()}
        return {key: forward(f, x) for key, f in functions.items()}

    size = " x ".join(map(str, shape[1:]))
    passes = "forward + backward" if training else "forward"
    # Gradients through softmax and batch norm over 4096 positions are sums that nearly cancel.
    tolerance = 2e-3 if training else 1e-4
    return Row(OP, f"{name}, {size}, {layout}, {passes}", setup, goals, tolerance=tolerance)
