"""Promise: CBAM is the authors' module, and each variant is what its project has."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import ResNet as MMDetResNet
from mmseg.models.backbones import ResNet as MMSegResNet
from timm.layers.cbam import CbamModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.projects.blocks.cbam import CBAM
from mmattn.testing.module_costs import kept_for_backward
from mmattn.testing.plugin import PluginTester


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def channel_gate(module: CBAM, image: Tensor) -> Tensor:
    """M_c of one image (C, H, W), shape (C,)."""
    mlp = module.ChannelGate.mlp

    def perceptron(pooled: Tensor) -> Tensor:
        hidden = mlp[1].weight @ pooled + (0 if mlp[1].bias is None else mlp[1].bias)
        return mlp[3].weight @ hidden.clamp(min=0) + (0 if mlp[3].bias is None else mlp[3].bias)

    flat = image.reshape(len(image), -1)
    return sigmoid(perceptron(flat.sum(1) / flat.shape[1]) + perceptron(flat.amax(1)))


def spatial_gate(module: CBAM, image: Tensor) -> Tensor:
    """M_s of one image (C, H, W), shape (H, W)."""
    spatial = module.SpatialGate.spatial
    conv, bn = spatial.conv, getattr(spatial, "bn", None)
    maps = [image.amax(0), image.sum(0) / len(image)]
    if module.SpatialGate.mean_first:
        maps = maps[::-1]
    reach = conv.kernel_size[0] // 2
    padded = F.pad(torch.stack(maps), 4 * (reach,))
    height, width = image.shape[1:]
    gate = image.new_empty(height, width)
    for y in range(height):
        for x in range(width):
            window = padded[:, y : y + 2 * reach + 1, x : x + 2 * reach + 1]
            value = (conv.weight[0] * window).sum() + (0 if conv.bias is None else conv.bias[0])
            if bn is not None:
                value = (value - bn.running_mean[0]) / torch.sqrt(bn.running_var[0] + 1e-5)
                value = value * bn.weight[0] + bn.bias[0]
            gate[y, x] = sigmoid(value)
    return gate


def by_steps(module: CBAM, x: Tensor) -> Tensor:
    """The equations, image by image and position by position."""
    refined = []
    for image in x:
        if module.ChannelGate is not None:
            image = channel_gate(module, image)[:, None, None] * image
        if module.SpatialGate is not None:
            image = spatial_gate(module, image) * image
        refined.append(image)
    return torch.stack(refined)


MLP = {f"ChannelGate.mlp.{i}.{entry}" for i in (1, 3) for entry in ("weight", "bias")}
CONV = {"SpatialGate.spatial.conv.weight"}
BN = {
    f"SpatialGate.spatial.bn.{entry}"
    for entry in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def hidden(channels: int) -> int:
    return channels // 16


class TestCBAM(PluginTester):
    module = CBAM
    in_channels = 32
    state_keys = MLP | CONV | BN
    parameters = staticmethod(lambda c: 2 * c * hidden(c) + hidden(c) + c + 98 + 2)
    reference = staticmethod(by_steps)
    output_is_gated_input = True

    @staticmethod
    def expected_at_init(module: CBAM, x: Tensor) -> Tensor:
        """The spatial gate is 1/2 everywhere: half of the channel-gated input."""
        gates = torch.stack([channel_gate(module, image) for image in x])
        return 0.5 * gates[:, :, None, None] * x

    def randomize_zero_init(self, module: CBAM) -> None:
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.constant_(layer.weight, 0.8)
                nn.init.constant_(layer.bias, 0.1)
                nn.init.constant_(layer.running_mean, 0.3)
                nn.init.constant_(layer.running_var, 1.7)
            elif getattr(layer, "bias", None) is not None:
                nn.init.normal_(layer.bias, std=0.1)


class TestTimmsVariant(TestCBAM):
    arguments = {**CBAM.variants["timm"], "mean_first": True}
    state_keys = {key for key in MLP if "bias" not in key} | CONV | BN
    parameters = staticmethod(lambda c: 2 * c * hidden(c) + 98 + 2)
    expected_at_init = None  # the gate's norm starts at 1

    # The graph is the same as that of the authors' module.
    @pytest.mark.slow
    def test_compiles_as_one_graph(self) -> None:
        super().test_compiles_as_one_graph()

    @pytest.mark.slow
    def test_onnx_runs_at_sizes_it_was_not_traced_at(self) -> None:
        super().test_onnx_runs_at_sizes_it_was_not_traced_at()


class TestMMYolosVariant(TestCBAM):
    arguments = {**CBAM.variants["mmyolo"], "mean_first": True}
    state_keys = MLP | CONV | {"SpatialGate.spatial.conv.bias"}
    parameters = staticmethod(lambda c: 2 * c * hidden(c) + hidden(c) + c + 98 + 1)
    expected_at_init = None


class TestChannelGateAlone(TestCBAM):
    arguments = CBAM.variants["channel"]
    state_keys = MLP
    parameters = staticmethod(lambda c: 2 * c * hidden(c) + hidden(c) + c)
    expected_at_init = None


class TestSpatialGateAlone(TestCBAM):
    arguments = CBAM.variants["spatial"]
    state_keys = CONV | BN
    parameters = staticmethod(lambda c: 98 + 2)
    expected_at_init = staticmethod(lambda module, x: 0.5 * x)


def randomized(channels: int = 32, **kwargs) -> CBAM:
    torch.manual_seed(0)
    module = CBAM(channels, **kwargs).eval()
    TestCBAM().randomize_zero_init(module)
    return module


def test_initial_state_is_the_authors() -> None:
    bn = CBAM(32).SpatialGate.spatial.bn
    assert (bn.weight.item(), bn.bias.item(), bn.momentum, bn.eps) == (0, 0, 0.01, 1e-5)
    module = CBAM(512)
    for i in (1, 3):
        linear = module.ChannelGate.mlp[i]
        assert not linear.bias.any()
        # Linear layers keep torch's own initialisation, uniform within 1 / sqrt(inputs).
        assert linear.weight.abs().max().item() == pytest.approx(linear.in_features**-0.5, rel=0.02)
    # Kaiming's normal one over the outputs: 7 * 7 of the single channel.
    conv = torch.cat([CBAM(16).SpatialGate.spatial.conv.weight for _ in range(50)])
    assert conv.std().item() == pytest.approx((2 / 49) ** 0.5, rel=0.05)


def test_order_of_the_two_maps_matters() -> None:
    """Weights of the other order load without an error and mean something else."""
    module, x = randomized(), torch.randn(2, 32, 5, 7)
    other = randomized(mean_first=True)
    other.load_state_dict(module.state_dict())
    assert (other(x) - module(x)).abs().max() > 0.01
    conv = other.SpatialGate.spatial.conv
    conv.weight.data = conv.weight.flip(1)
    torch.testing.assert_close(other(x), module(x))


def test_spatial_gate_sees_what_the_channel_gate_left() -> None:
    module, x = randomized(), torch.randn(2, 32, 5, 7)
    refined = module.ChannelGate(x)[:, :, None, None] * x
    alone = randomized(channel_gate=False)
    alone.load_state_dict(module.state_dict(), strict=False)
    torch.testing.assert_close(module(x), alone(refined))
    assert (alone(x) / x - alone(refined) / refined).abs().max() > 1e-3


def test_positions_do_not_matter_to_the_channel_gate() -> None:
    module, x = randomized(spatial_gate=False), torch.randn(2, 32, 5, 7)
    order = torch.randperm(35)

    def shuffled(features: Tensor) -> Tensor:
        return features.flatten(2)[:, :, order].unflatten(2, (5, 7))

    torch.testing.assert_close(module(shuffled(x)), shuffled(module(x)))


def test_order_of_channels_does_not_matter_to_the_spatial_gate() -> None:
    module, x = randomized(channel_gate=False), torch.randn(2, 32, 5, 7)
    order = torch.randperm(32)
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


def test_gradient_of_a_maximum_goes_to_one_position() -> None:
    """As max_pool2d's, also among the equal zeros of a ReLU; amax would share it."""
    module = randomized().double()
    x = torch.randn(2, 32, 5, 7, dtype=torch.float64).relu_()
    x[:, :3] = 0
    x = x.requires_grad_()
    module(x).square().sum().backward()

    y = x.detach().requires_grad_()
    mean, peak = F.avg_pool2d(y, (5, 7)), F.max_pool2d(y, (5, 7))
    mlp, spatial = module.ChannelGate.mlp, module.SpatialGate.spatial
    refined = y * (mlp(mean) + mlp(peak)).sigmoid()[:, :, None, None]
    maps = torch.cat([refined.max(1, keepdim=True)[0], refined.mean(1, keepdim=True)], 1)
    (refined * spatial(maps).sigmoid()).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-12)


def test_weights_of_timm_give_timms_output_as_they_are() -> None:
    torch.manual_seed(0)
    theirs = CbamModule(24).eval()  # 1.5 hidden channels: timm rounds up
    ours = CBAM(24, hidden_channels=2, mean_first=True, **CBAM.variants["timm"]).eval()
    names = {
        "ChannelGate.mlp.1.weight": "channel.fc1.weight",
        "ChannelGate.mlp.3.weight": "channel.fc2.weight",
        **{key: key.replace("SpatialGate.spatial", "spatial.conv") for key in CONV | BN},
    }
    state = theirs.state_dict()
    ours.load_state_dict(
        {key: state[name].reshape(ours.state_dict()[key].shape) for key, name in names.items()}
    )
    assert ours.SpatialGate.spatial.bn.weight == theirs.spatial.conv.bn.weight == 1
    assert ours.SpatialGate.spatial.bn.momentum == theirs.spatial.conv.bn.momentum
    x = torch.randn(2, 24, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_training_moves_the_norm_slowly() -> None:
    module = CBAM(32).train()
    module(torch.randn(2, 32, 5, 7))
    assert module.SpatialGate.spatial.bn.running_var.item() == pytest.approx(0.99, abs=0.1)
    assert module.SpatialGate.spatial.bn.num_batches_tracked == 1


def test_zeros_have_finite_gradients() -> None:
    """The first input of every block in a ResNet whose last norms start at zero."""
    module, x = randomized().train(), torch.zeros(2, 32, 5, 7, requires_grad=True)
    module(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in (*module.parameters(), x))


def test_sync_bn_conversion_keeps_the_names() -> None:
    module = CBAM(32)
    names = list(module.state_dict())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    assert isinstance(converted.SpatialGate.spatial.bn, nn.SyncBatchNorm)
    assert list(converted.state_dict()) == names


def test_frozen_stages_freeze_it() -> None:
    plugins = [{"cfg": {"type": "mmattn.CBAM"}, "position": "after_conv3"}]
    net = MMDetResNet(50, base_channels=8, frozen_stages=2, norm_eval=False, plugins=plugins)
    net.train()
    for name, parameter in net.named_parameters():
        if ".cbam." in name:
            assert parameter.requires_grad == (name[5] in "34"), name
    assert not net.layer2[0].cbam.training
    assert net.layer3[0].cbam.training


@pytest.mark.parametrize("resnet", [MMDetResNet, MMSegResNet])
def test_basic_blocks_and_two_at_one_place(resnet: type) -> None:
    """In ResNet-18, and both of two act: with each gate at 1/2, a quarter passes."""
    entries = [
        {"cfg": {"type": "mmattn.CBAM", **arguments, "postfix": postfix}, "position": "after_conv2"}
        for arguments, postfix in (
            (CBAM.variants["spatial"], "_a"),
            (CBAM.variants["spatial"], "_b"),
        )
    ]
    torch.manual_seed(0)
    net = resnet(18, base_channels=8, plugins=entries)
    net.eval()
    seen = {}
    block = net.layer3[1]
    block.bn2.register_forward_hook(lambda module, args, out: seen.update(before=out.clone()))
    block.cbam_b.register_forward_hook(lambda module, args, out: seen.update(after=out.clone()))
    net(torch.randn(1, 3, 64, 64))
    torch.testing.assert_close(seen["after"], seen["before"] / 4)


def test_training_keeps_the_input_and_no_other_map() -> None:
    """F' and F'' would be two more of its size; gates and pooled maps are two in C channels."""
    x = torch.randn(2, 64, 40, 48)
    kept = kept_for_backward(CBAM(64).train(), x)
    assert kept["input"] == x.nbytes
    assert kept["other"] < 0.1 * x.nbytes


def test_fewer_channels_than_the_reduction_keep_one() -> None:
    module = randomized(6)
    assert module.ChannelGate.mlp[1].out_features == 1
    assert module(torch.randn(2, 6, 3, 4)).shape == (2, 6, 3, 4)


def test_bad_arguments_are_named() -> None:
    for kwargs, message in (
        ({"reduction": 0}, "reduction must be at least 1"),
        ({"hidden_channels": 0}, "hidden_channels must be at least 1"),
        ({"kernel_size": 6}, "kernel_size must be odd, got 6"),
        ({"channel_gate": False, "spatial_gate": False}, "must not both be False"),
    ):
        with pytest.raises(ValueError, match=message):
            CBAM(32, **kwargs)
