"""Promise: the attention sees the paper's cross, its gates keep their bounds, and blocks behave."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmattn.projects.bevanet import EVABlock
from mmattn.projects.bevanet.attention import LSKA, SDLSKA, STRIPS, LargeKernelAttention, strips_of
from mmattn.projects.bevanet.kernel_selection import CKS
from mmattn.testing.plugin import PluginTester

SIDE = 41


class Sum(nn.Module):
    """In place of the kernel selection: the sum of the branches, without gates."""

    def forward(self, small, horizontal, vertical):
        return small + horizontal + vertical


def seen_by_the_centre(gate: nn.Module) -> torch.Tensor:
    """Return the positions that the centre of ``gate`` depends on. Shape (SIDE, SIDE)."""
    nn.init.zeros_(gate.mix.weight)
    nn.init.eye_(gate.mix.weight[:, :, 0, 0])
    for conv in gate.modules():
        if isinstance(conv, nn.Conv2d) and conv is not gate.mix:
            nn.init.ones_(conv.weight)
    u = torch.ones(1, 1, SIDE, SIDE, requires_grad=True)
    inside = gate(u) / u.detach()  # u multiplies the result; that path is not of interest
    middle = SIDE // 2
    (grad,) = torch.autograd.grad(inside[0, 0, middle, middle], u)
    grad[0, 0, middle, middle] = 1  # the product with u lives there alone
    return grad[0, 0] != 0


@pytest.mark.parametrize(("kernel", "pixels"), [(7, None), (11, None), (23, None), (35, 325)])
def test_sdlska_sees_a_cross(kernel: int, pixels: int | None) -> None:
    gate = SDLSKA(1, kernel)
    gate.select = Sum()
    seen = seen_by_the_centre(gate)
    wide, thick = kernel // 2, STRIPS[kernel].dense // 2
    away = (torch.arange(SIDE) - SIDE // 2).abs()
    row, column = away[:, None], away[None]
    long = ((row <= thick) & (column <= wide)) | ((row <= wide) & (column <= thick))
    assert torch.equal(seen, long)
    if pixels:
        assert seen.sum() == pixels


def test_lska_sees_the_square() -> None:
    seen = seen_by_the_centre(LSKA(1, 35))
    away = (torch.arange(SIDE) - SIDE // 2).abs()
    assert torch.equal(seen, (away[:, None] <= 17) & (away[None] <= 17))


def test_every_kernel_has_the_side_it_says() -> None:
    for side, (dense, taps, dilation) in STRIPS.items():
        assert dense + dilation * (taps - 1) == side


def test_unknown_kernel_is_named() -> None:
    with pytest.raises(ValueError, match=r"one of 7, 11, 23, 35, got 31"):
        strips_of(31)


def test_selection_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    select = CKS(24).eval()
    branches = torch.randn(3, 2, 24, 6, 9)
    total = branches.sum(0)

    def gate_layer(layer, x):
        """[1x1, 3x3 depthwise, norm, ReLU] on vectors: of the 3x3 only the centre counts."""
        x = x @ layer.pointwise.weight[:, :, 0, 0].T + layer.pointwise.bias
        x = x * layer.depthwise.weight[:, 0, 1, 1] + layer.depthwise.bias
        return F.relu(x / (1 + layer.norm.eps) ** 0.5)

    hidden = gate_layer(select.reduce, total.mean((2, 3)))
    assert hidden.shape == (2, 32), "at least 32 hidden channels"
    seen = torch.stack([total.mean(1), total.amax(1)], 1)
    position = F.conv2d(seen, select.spatial.weight, select.spatial.bias, padding=3).sigmoid()
    expected = 0
    for index, layer in enumerate(select.expand.values()):
        channel = gate_layer(layer, hidden).sigmoid()
        expected += branches[index] * channel[:, :, None, None] * position[:, index, None]
    torch.testing.assert_close(select(*branches), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_of_the_maximum_goes_to_one_of_equal_channels(dtype: torch.dtype) -> None:
    """As the authors' ``max(dim)`` has it; about one position in fifty has a tie in bfloat16."""
    torch.manual_seed(0)
    select = CKS(8).to(dtype).eval()
    nn.init.zeros_(select.spatial.weight)
    with torch.no_grad():
        select.spatial.weight[:, 1] = 1  # depends on the maximum alone
        for layer in select.expand.values():  # and the channel gates on nothing
            nn.init.zeros_(layer.pointwise.weight)
    x = torch.zeros(1, 8, 3, 3, dtype=dtype, requires_grad=True)
    ones = torch.ones(1, 8, 3, 3, dtype=dtype)
    select(ones.sub(x), ones, ones).sum().backward()
    # Through the products every channel gets the same; one channel gets that of the maximum too.
    unlike = x.grad[0] != x.grad[0].flatten(1).median(0, keepdim=True).values.view(1, 3, 3)
    assert (unlike.sum(0) == 1).all()
    with torch.no_grad():
        again = select(ones.sub(x), ones, ones)
    torch.testing.assert_close(again, select(ones.sub(x), ones, ones))


def test_channel_gates_stay_between_a_half_and_one() -> None:
    """With position gates of one the sum of equal branches lies between 3/2 and 3 times one."""
    torch.manual_seed(0)
    select = CKS(8).eval()
    nn.init.constant_(select.spatial.bias, 40.0)
    nn.init.zeros_(select.spatial.weight)
    for scale in (0.1, 1.0, 100.0):
        for layer in select.expand.values():
            nn.init.normal_(layer.pointwise.weight, std=scale)
        one = torch.rand(2, 8, 5, 5) + 0.1
        ratio = select(one, one, one) / one
        assert (ratio >= 1.5 - 1e-5).all()
        assert (ratio <= 3 + 1e-5).all()


def test_only_the_centre_of_the_gate_kernels_learns() -> None:
    select = CKS(8)
    select(*torch.randn(3, 4, 8, 6, 6)).square().sum().backward()
    grad = select.reduce.depthwise.weight.grad
    assert grad[:, :, 1, 1].any()
    grad[:, :, 1, 1] = 0
    assert not grad.any()


def test_attention_adds_its_normalised_input() -> None:
    torch.manual_seed(0)
    attention = LargeKernelAttention(8, SDLSKA(8, 11), layer_scale=0.7).eval()
    attention.norm.weight.data.uniform_(0.5, 2)
    nn.init.zeros_(attention.project_out.weight)
    nn.init.zeros_(attention.project_out.bias)
    x = torch.randn(1, 8, 9, 9)
    torch.testing.assert_close(attention(x), x + 0.7 * attention.norm(x))


def test_initial_weights_follow_the_fan_out() -> None:
    block = EVABlock(256, kernel_size=23)
    for name, conv in block.named_modules():
        if isinstance(conv, nn.Conv2d):
            assert not conv.bias.any(), name
            fan_out = conv.weight[0, 0].numel() * conv.out_channels / conv.groups
            spread = conv.weight.std() / (2 / fan_out) ** 0.5
            assert spread.item() == pytest.approx(1, abs=0.15), name
    assert (block.attention.scale == 0.01).all()
    assert (block.mlp.scale == 0.01).all()


def norm_of(module: str) -> set[str]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{module}.{part}" for part in parts}


def convs_of(module: str, *names: str) -> set[str]:
    return {f"{module}.{name}.{part}" for name in names for part in ("weight", "bias")}


class TestEVABlock(PluginTester):
    module = EVABlock
    arguments = {"kernel_size": 11}
    state_keys = (
        {"attention.scale", "mlp.scale"}
        | norm_of("attention.norm")
        | norm_of("mlp.norm")
        | convs_of("mlp", "expand", "depthwise", "reduce")
        | convs_of("attention", "project_in", "project_out")
        | convs_of("attention.gate", "small", "horizontal", "vertical", "mix", "select.spatial")
    ).union(
        *(
            convs_of(f"attention.gate.select.{layer}", "pointwise", "depthwise")
            | norm_of(f"attention.gate.select.{layer}.norm")
            for layer in ("reduce", "expand.small", "expand.horizontal", "expand.vertical")
        )
    )

    # A batch norm follows: it subtracts every constant.
    parameters_without_gradient = {
        f"attention.gate.select.{layer}.{conv}.bias"
        for layer in ("reduce", "expand.small", "expand.horizontal", "expand.vertical")
        for conv in ("pointwise", "depthwise")
    }

    @staticmethod
    def expected_at_init(module: EVABlock, x: torch.Tensor) -> torch.Tensor:
        """The equations with both scales at 0.01."""
        attention, mlp = module.attention, module.mlp
        z = attention.norm(x)
        gated = attention.gate(F.gelu(attention.project_in(z)))
        x = x + 0.01 * (z + attention.project_out(gated))
        hidden = mlp.depthwise(mlp.expand(mlp.norm(x)))
        return x + 0.01 * mlp.reduce(F.gelu(hidden))

    def randomize_zero_init(self, module: EVABlock) -> None:
        for part in (module.attention, module.mlp):
            nn.init.constant_(part.scale, 0.7)

    # Seconds, since the block has many parts.
    test_compiles_as_one_graph = pytest.mark.slow(PluginTester.test_compiles_as_one_graph)
    test_onnx_runs_at_sizes_it_was_not_traced_at = pytest.mark.slow(
        PluginTester.test_onnx_runs_at_sizes_it_was_not_traced_at
    )
