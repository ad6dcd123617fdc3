"""Initial weights that most transformers share."""

from __future__ import annotations

from torch import nn


def init_transformer_layers(*layers: nn.Linear | nn.Conv2d) -> None:
    """Draw weights from N(0, 0.02^2), cut off at -2 and 2, and set biases to 0, layer by layer.

    Args:
        *layers: Layers with or without a bias.
    """
    for layer in layers:
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
