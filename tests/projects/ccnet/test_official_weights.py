"""Promise: the authors' checkpoints load with no key left over, and compute what they did."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.config import load_config
from mmattn.errors import CheckpointError
from mmattn.inference import build_model
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from mmattn.ops import criss_cross_attention

CONFIG = "configs/ccnet/ccnet_r101-d8-authors_4xb2-60k_cityscapes-769x769.py"
WIDTH = 4  # of the first stage; 64 in the paper


class ABN(nn.BatchNorm2d):
    """The authors' norm: it scales by |weight| + eps, and may end in a leaky ReLU."""

    def __init__(self, channels: int, leaky: bool = True):
        super().__init__(channels)
        self.leaky = leaky

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight.abs() + 1e-5
        x = F.batch_norm(x, self.running_mean, self.running_var, scale, self.bias, eps=self.eps)
        return F.leaky_relu(x, 0.01) if self.leaky else x


def conv(cin: int, cout: int, size: int = 3, stride=1, dilation=1, bias=False) -> nn.Conv2d:
    padding = size // 2 * dilation
    return nn.Conv2d(cin, cout, size, stride, padding, dilation, bias=bias)


class Block(nn.Module):
    def __init__(self, cin: int, width: int, stride: int, dilation: int):
        super().__init__()
        self.conv1, self.bn1 = conv(cin, width, 1), ABN(width, leaky=False)
        self.conv2 = conv(width, width, 3, stride, dilation)
        self.bn2 = ABN(width, leaky=False)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), ABN(4 * width, leaky=False)
        self.downsample = None
        if stride != 1 or cin != 4 * width:
            shortcut = conv(cin, 4 * width, 1, stride)
            self.downsample = nn.Sequential(shortcut, ABN(4 * width, leaky=False))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (self.downsample(x) if self.downsample else x)).relu()


class Attention(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.query_conv = conv(channels, channels // 8, 1, bias=True)
        self.key_conv = conv(channels, channels // 8, 1, bias=True)
        self.value_conv = conv(channels, channels, 1, bias=True)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query_conv(x), self.key_conv(x), self.value_conv(x)
        return self.gamma * criss_cross_attention(q, k, v) + x


class Head(nn.Module):
    def __init__(self, cin: int, classes: int):
        super().__init__()
        inter = cin // 4
        self.conva = nn.Sequential(conv(cin, inter), ABN(inter))
        self.cca = Attention(inter)
        self.convb = nn.Sequential(conv(inter, inter), ABN(inter))
        self.bottleneck = nn.Sequential(
            conv(cin + inter, inter),
            ABN(inter),
            nn.Dropout2d(0.1),
            conv(inter, classes, 1, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.cca(self.cca(self.conva(x)))
        return self.bottleneck(torch.cat([x, self.convb(y)], 1))


class Official(nn.Module):
    """The authors' network, written down from its description, with their names."""

    def __init__(self, classes: int = 19):
        super().__init__()
        stem = [(3, WIDTH, 2), (WIDTH, WIDTH, 1), (WIDTH, 2 * WIDTH, 1)]
        for i, (cin, cout, stride) in enumerate(stem, 1):
            self.add_module(f"conv{i}", conv(cin, cout, 3, stride))
            self.add_module(f"bn{i}", ABN(cout, leaky=False))
        cin = 2 * WIDTH
        stages = [(3, 1, 1), (4, 2, 1), (23, 1, 2), (3, 1, 4)]
        for i, (blocks, stride, dilation) in enumerate(stages):
            width = WIDTH * 2**i
            layer = []
            for b in range(blocks):
                layer.append(Block(cin, width, stride if b == 0 else 1, dilation))
                cin = 4 * width
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))
        self.head = Head(cin, classes)
        # 512 of 1024 input channels, and a bias.
        self.dsn = nn.Sequential(
            conv(cin // 2, cin // 4, bias=True),
            ABN(cin // 4),
            nn.Dropout2d(0.1),
            conv(cin // 4, classes, 1, bias=True),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for i in (1, 2, 3):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)).relu()
        x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.head(self.layer4(x)), self.dsn(x)


@pytest.fixture(scope="module")
def official() -> Official:
    """Random weights: norms with negative weights too, gamma away from 0."""
    torch.manual_seed(0)
    net = Official().eval()
    for module in net.modules():
        if isinstance(module, ABN):
            nn.init.normal_(module.weight, std=1.0)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    nn.init.constant_(net.head.cca.gamma, 0.8)
    return net


def state(net: Official) -> dict[str, Tensor]:
    """As the authors' files have it: their norm counts no batches, their wrapper adds a prefix."""
    return {
        f"module.{key}": value
        for key, value in net.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


@pytest.fixture(scope="module")
def ours(repo) -> nn.Module:
    """The model of the authors' config, narrowed to ``WIDTH``."""
    cfg = load_config(repo / CONFIG)
    cfg.model.backbone.update(base_channels=WIDTH, stem_channels=2 * WIDTH)
    cfg.model.decode_head.update(in_channels=32 * WIDTH, channels=8 * WIDTH)
    cfg.model.auxiliary_head.update(in_channels=16 * WIDTH, channels=8 * WIDTH)
    return build_model(cfg)


def test_converts_strictly_and_computes_the_same(official: Official, ours: nn.Module) -> None:
    conversion = convert_checkpoint({"state_dict": state(official)})
    assert conversion.converter == "ccnet-official"
    assert conversion.left_out == ()
    assert len(conversion.state_dict) == len(state(official))
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 72, 56)  # 9 x 7 maps; floor pooling would give the same, 68 below not
    for image in (x, x[:, :, :68]):
        with torch.no_grad():
            expected_head, expected_dsn = official(image)
            features = ours.backbone(image)
            head, dsn = ours.decode_head(features), ours.auxiliary_head(features)
        assert expected_head.std() > 1e-3
        torch.testing.assert_close(head, expected_head, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(dsn, expected_dsn, rtol=1e-3, atol=1e-4)


def test_only_scales_of_norms_change(official: Official) -> None:
    converted = convert_checkpoint(state(official)).state_dict
    theirs = {key.removeprefix("module."): value for key, value in state(official).items()}
    for name, value in converted.items():
        if name.endswith("bn.weight"):
            assert (value > 0).all()
    pairs = {
        "layer1.0.downsample.1.weight": "backbone.layer1.0.downsample.1.weight",
        "bn3.weight": "backbone.stem.7.weight",
        "dsn.1.weight": "auxiliary_head.convs.0.bn.weight",
    }
    for old, new in pairs.items():
        assert torch.equal(converted[new], theirs[old].abs() + 1e-5)
    unchanged = {
        "layer1.0.downsample.0.weight": "backbone.layer1.0.downsample.0.weight",
        "bn3.bias": "backbone.stem.7.bias",
        "dsn.0.bias": "auxiliary_head.convs.0.conv.bias",
        "dsn.3.weight": "auxiliary_head.conv_seg.weight",
        "head.bottleneck.3.weight": "decode_head.conv_seg.weight",
        "head.cca.gamma": "decode_head.cca.gamma",
    }
    for old, new in unchanged.items():
        assert torch.equal(converted[new], theirs[old])


def test_goes_back_to_a_file_of_the_same_network(official: Official) -> None:
    theirs = {key.removeprefix("module."): value for key, value in state(official).items()}
    there = convert_checkpoint(theirs).state_dict
    back = convert_checkpoint(there, "ccnet-official", reverse=True).state_dict
    assert back.keys() == theirs.keys()
    again = convert_checkpoint(back)
    assert again.converter == "ccnet-official"
    for key, value in back.items():
        norm = f"{key.rpartition('.')[0]}.running_var" in theirs and key.endswith("weight")
        if norm:  # only its absolute value counts, and adding 1e-5 rounds
            torch.testing.assert_close(value, theirs[key].abs(), rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(value, theirs[key])
    for key, value in again.state_dict.items():
        torch.testing.assert_close(value, there[key], rtol=1e-6, atol=1e-7)


def test_a_network_trained_here_goes_back_and_computes_the_same(ours: nn.Module) -> None:
    """Also with scales that their norm, |weight| + 1e-5, cannot have: negative ones, and zeros."""
    torch.manual_seed(1)
    for module in ours.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.weight, std=0.7)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            with torch.no_grad():
                module.weight[:3] = torch.tensor([0.0, 4e-6, -4e-6])
    nn.init.constant_(ours.decode_head.cca.gamma, 0.8)
    back = convert_checkpoint(ours.state_dict(), "ccnet-official", reverse=True).state_dict
    assert not any("num_batches" in key for key in back)
    theirs = Official().eval()
    missing, unexpected = theirs.load_state_dict(back, strict=False)
    assert not unexpected
    assert all("num_batches" in key for key in missing)
    ours.eval()
    x = torch.randn(1, 3, 72, 56)
    with torch.no_grad():
        features = ours.backbone(x)
        for found, expected in zip(
            theirs(x), (ours.decode_head(features), ours.auxiliary_head(features)), strict=True
        ):
            assert expected.std() > 1e-3
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(CheckpointError, match=r"not of this layout: backbone\.stem\.9\.weight"):
        convert_checkpoint(
            {**ours.state_dict(), "backbone.stem.9.weight": torch.zeros(1)},
            "ccnet-official",
            reverse=True,
        )


def test_unknown_key_is_an_error_not_a_loss(official: Official) -> None:
    with pytest.raises(
        CheckpointError, match=r"1 keys are not of this layout: head\.extra\.weight"
    ):
        convert_checkpoint({**state(official), "module.head.extra.weight": torch.zeros(1)})


def test_imagenet_backbone_converts_without_its_classifier(
    official: Official, ours: nn.Module
) -> None:
    classifier = {
        key.removeprefix("module."): value
        for key, value in state(official).items()
        if not key.startswith(("module.head", "module.dsn"))
    }
    classifier |= {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}
    conversion = convert_checkpoint(classifier)
    assert conversion.converter == "ccnet-official-backbone"
    assert conversion.left_out == ("fc.weight", "fc.bias")
    assert load_state_dict(ours.backbone, conversion.state_dict, strict=True).complete
    name = conversion.converter
    back = convert_checkpoint(conversion.state_dict, name, reverse=True).state_dict
    assert back.keys() == classifier.keys() - {"fc.weight", "fc.bias"}
    again = convert_checkpoint(back)  # also without a classifier it is one of theirs
    assert again.converter == name
    for key, value in again.state_dict.items():
        torch.testing.assert_close(value, conversion.state_dict[key], rtol=1e-6, atol=1e-7)
