"""The two linear layers behind each attention of a transformer: W_2 relu(W_1 x)."""

from __future__ import annotations

from torch import Tensor, nn


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between; weights have the names of mmcv's ``FFN``.

    Args:
        channels: Channels of input and output.
        hidden_channels: Channels between the layers.
    """

    def __init__(self, channels: int, hidden_channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(channels, hidden_channels), nn.ReLU(inplace=True)),
            nn.Linear(hidden_channels, channels),
        )

    def init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
