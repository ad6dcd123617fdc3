"""Networks of attention papers' authors, rebuilt in torchvision's names to test converters against.

Most authors added one module to each residual block of torchvision's ResNet, before the addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class _BasicBlock(BasicBlock):
    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = getattr(self, self.attention)(self.bn2(self.conv2(y)))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class _Bottleneck(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = getattr(self, self.attention)(self.bn3(self.conv3(y)))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def official_resnet(depth: int, name: str, attention: Callable[[int, int], nn.Module]) -> ResNet:
    """torchvision's ResNet with a module called ``name`` at the end of every residual branch.

    Args:
        depth: 18, 34, 50 or 101.
        name: Of the module in its block.
        attention: The module for a stage (0 to 3) and a number of channels.
    """
    block = _BasicBlock if depth < 50 else _Bottleneck
    net = ResNet(block, list(BLOCKS[depth]))
    for stage in range(4):
        for one in getattr(net, f"layer{stage + 1}"):
            one.attention = name
            one.add_module(name, attention(stage, 64 * 2**stage * block.expansion))
    return net


def with_trained_norms(net: nn.Module) -> nn.Module:
    """``net`` in eval mode, its batch norms as after training and not amplifying with depth."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.8)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return net.eval()


def stage_maps(net: nn.Module, x: Tensor) -> list[Tensor]:
    """The maps of the four stages of torchvision's or timm's ResNet."""
    x, maps = net.maxpool(net.bn1(net.conv1(x)).relu()), []
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = getattr(net, name)(x)
        maps.append(x)
    return maps


def assert_same_maps(found: Iterable[Tensor], expected: Iterable[Tensor]) -> None:
    """Two networks return the same, and something that varies."""
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 1e-3
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def network_of_note(note: str, scope: str | None = None) -> nn.Module:
    """Build the network of a converter's note (``Matching network: dict(…)``), in eval mode."""
    text = note.partition("Matching network: ")[2]
    cfg = Config.fromstring(f"network = {text}", ".py").network
    if scope:
        cfg.type = f"{scope}.{cfg.type}"
    net = MODELS.build(cfg)
    net.eval()
    return net
