"""Promise: area attention is the paper's, in both layouts, for any size, and a plugin."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import ConfigError
from mmattn.projects.yolov12 import ABlock, AreaAttention
from mmattn.projects.yolov12.area_attention import (
    area_attention,
    area_attention_weights,
    turbo_order,
)
from mmattn.testing.plugin import PluginTester


def roughen(module: nn.Module) -> None:
    """Weights for which attention matters; fresh ones are nearly silent."""
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            bound = 1.5 / math.sqrt(part.weight[0].numel())
            part.weight.data.uniform_(-bound, bound, generator=generator)
        elif isinstance(part, nn.modules.batchnorm._BatchNorm):
            for value in (part.weight.data, part.running_var):
                value.uniform_(0.5, 1.5, generator=generator)
            for value in (part.bias.data, part.running_mean):
                value.normal_(std=0.2, generator=generator)
        elif isinstance(part, nn.RMSNorm):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)


def plainly(module: AreaAttention, x: Tensor) -> Tensor:
    """The equations, one area and one head at a time, with softmax written out."""
    n, channels, height, width = x.shape
    d = channels // module.num_heads
    if module.layout == "turbo":
        qk = module.qk(x)
        q, k, v = qk[:, :channels], qk[:, channels:], module.v(x)
    else:
        qkv = module.qkv(x).view(n, module.num_heads, 3, d, height, width)
        q, k, v = (qkv[:, :, i].reshape(n, channels, height, width) for i in range(3))
    out = torch.zeros_like(v).flatten(2)
    length = math.ceil(height * width / module.areas)
    for start in range(0, height * width, length):
        area = slice(start, start + length)
        for head in range(module.num_heads):
            rows = slice(head * d, (head + 1) * d)
            qs, ks, vs = (t.flatten(2)[:, rows, area] for t in (q, k, v))
            if isinstance(module.q_norm, nn.RMSNorm):
                qs, ks = (
                    t / (t.square().mean(1, keepdim=True) + 1e-6).sqrt() * norm.weight[:, None]
                    for t, norm in ((qs, module.q_norm), (ks, module.k_norm))
                )
            logits = (qs.transpose(1, 2) @ ks / math.sqrt(d)).exp()  # (N, queries, keys)
            weights = logits / logits.sum(2, keepdim=True)
            out[:, rows, area] = vs @ weights.transpose(1, 2)
    return x + module.proj(out.view_as(v) + module.pe(v))


class TestTurbo(PluginTester):
    module = AreaAttention
    arguments = {"head_channels": 8, "areas": 4}
    state_keys = {
        f"{name}.{entry}"
        for name in ("qk", "v", "pe", "proj")
        for entry in (
            "conv.weight",
            "bn.weight",
            "bn.bias",
            "bn.running_mean",
            "bn.running_var",
            "bn.num_batches_tracked",
        )
    }
    parameters = staticmethod(lambda c: 4 * c**2 + 25 * c + 10 * c)
    reference = staticmethod(plainly)
    # A constant of each channel, which P's norm takes away; v's is none at the map's borders.
    parameters_without_gradient = frozenset({"pe.bn.bias"})

    def randomize_zero_init(self, module: nn.Module) -> None:
        roughen(module)


class TestPaperLayoutWithNormalisedQueries(PluginTester):
    module = AreaAttention
    arguments = {"head_channels": 8, "areas": 3, "layout": "v1.0", "qk_norm": True}
    state_keys = {
        f"{name}.{entry}"
        for name in ("qkv", "pe", "proj")
        for entry in (
            "conv.weight",
            "bn.weight",
            "bn.bias",
            "bn.running_mean",
            "bn.running_var",
            "bn.num_batches_tracked",
        )
    } | {"q_norm.weight", "k_norm.weight"}
    parameters = staticmethod(lambda c: 4 * c**2 + 49 * c + 10 * c + 2 * 8)
    reference = staticmethod(plainly)
    # A constant of each channel, which P's norm takes away; v's is none at the map's borders.
    parameters_without_gradient = frozenset({"pe.bn.bias"})

    def randomize_zero_init(self, module: nn.Module) -> None:
        roughen(module)


def make(layout: str = "turbo", channels: int = 64, **options) -> AreaAttention:
    torch.manual_seed(0)
    module = AreaAttention(channels, layout=layout, **options).eval()
    roughen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def silence_pe(module: AreaAttention) -> AreaAttention:
    module.pe = nn.Conv2d(1, 1, 1)
    module.pe.forward = torch.zeros_like  # type: ignore[method-assign]
    return module


def as_multihead(module: AreaAttention) -> nn.MultiheadAttention:
    """torch's module with the same weights, norms folded in."""
    mha = nn.MultiheadAttention(64, module.num_heads, batch_first=True)
    qk, v, proj = (getattr(module, name).folded() for name in ("qk", "v", "proj"))
    with torch.no_grad():
        mha.in_proj_weight.copy_(torch.cat([qk.weight, v.weight])[:, :, 0, 0])
        mha.in_proj_bias.copy_(torch.cat([qk.bias, v.bias]))
        mha.out_proj.weight.copy_(proj.weight[:, :, 0, 0])
        mha.out_proj.bias.copy_(proj.bias)
    return mha.eval()


@pytest.mark.parametrize("areas", [1, 4])
def test_each_area_is_plain_multihead_attention(areas: int) -> None:
    """One area: over the whole map. Four: in each block of rows on its own."""
    module = silence_pe(make(areas=areas, shortcut=False))
    mha, x = as_multihead(module), image(2, 64, 8, 6)
    blocks = [rows.flatten(2).transpose(1, 2) for rows in x.chunk(areas, 2)]
    expected = torch.cat([mha(b, b, b, need_weights=False)[0] for b in blocks], 1)
    torch.testing.assert_close(module(x), expected.transpose(1, 2).view_as(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(8, 6), (6, 6), (38, 38)])
def test_areas_do_not_see_each_other(height: int, width: int) -> None:
    """At 6 x 6 and 38 x 38 four areas cut rows: they are of the flat map."""
    module = silence_pe(make(areas=4, shortcut=False))
    x = image(1, 64, height, width).requires_grad_()
    length = height * width // 4
    module(x).flatten(2)[..., :length].square().sum().backward()
    assert x.grad is not None
    grad = x.grad.flatten(2)
    assert grad[..., :length].abs().amin() > 0
    assert not grad[..., length:].any()


def test_pe_sees_the_whole_map() -> None:
    """It is applied before the map is cut: the next area's first rows reach the one before."""
    x = image(1, 64, 8, 6).requires_grad_()
    make(areas=4)(x)[:, :, :2].sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().amax((0, 1, 3)) > 0
    assert reached.tolist() == [True] * 4 + [False] * 4  # two rows more with a 5x5 kernel


def test_paper_layout_is_turbo_with_other_channel_order() -> None:
    paper = make("v1.0", areas=4)
    turbo = AreaAttention(64, areas=4, pe_kernel_size=7).eval()
    order = turbo_order(paper.num_heads, 32)
    state = {}
    for key, value in paper.state_dict().items():
        if key.startswith("qkv.") and value.dim():
            state[key.replace("qkv", "qk")] = value[order][:128]
            state[key.replace("qkv", "v")] = value[order][128:]
        elif key.startswith("qkv."):
            state[key.replace("qkv", "qk")] = state[key.replace("qkv", "v")] = value
        else:
            state[key] = value
    turbo.load_state_dict(state, strict=True)
    x = image(2, 64, 8, 6)
    torch.testing.assert_close(turbo(x), paper(x), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(turbo(x), make(areas=4)(x), atol=0.1)


def test_a_block_is_attention_and_a_feed_forward_network() -> None:
    torch.manual_seed(0)
    block = ABlock(64, mlp_ratio=1.5).eval()
    roughen(block)
    x = image(2, 64, 4, 6)
    expand, reduce = block.mlp
    assert expand.conv.out_channels == 96
    y = plainly(block.attention, x)
    expected = y + reduce.bn(reduce.conv(F.silu(expand.bn(expand.conv(y)))))
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_channels_of_the_paper_layout_are_head_by_head() -> None:
    """Of two heads with one channel: q, k, v of the first, then those of the second."""
    assert turbo_order(2, 1).tolist() == [0, 3, 1, 4, 2, 5]
    assert turbo_order(1, 2).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("positions", [1, 3, 48, 50, 361])
@pytest.mark.parametrize("areas", [1, 3, 4])
def test_fused_attention_is_explicit_softmax(positions: int, areas: int) -> None:
    q, k, v = image(3, 2, positions, 2, 32).unbind(0)
    weights = area_attention_weights(q, k, areas)
    expected = torch.einsum("nhqk,nkhd->nqhd", weights, v)
    got = area_attention(q, k, v, areas)
    assert (got - expected).abs().max() <= 1e-5


def test_areas_of_a_size_that_they_do_not_divide() -> None:
    """ceil(10 / 4) = 3 positions each, as long as they last: 3, 3, 3, 1."""
    q, k, _ = image(3, 1, 10, 1, 8).unbind(0)
    together = area_attention_weights(q, k, 4)[0, 0] > 0
    area = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
    assert torch.equal(together, area[:, None] == area[None, :])


@pytest.mark.parametrize("positions", [3, 10])
def test_gradients_are_finite_and_right_where_areas_are_short(positions: int) -> None:
    """Padding is of no consequence, also where whole areas are padding."""
    q, k, v = (x.requires_grad_() for x in image(3, 2, positions, 2, 4).double().unbind(0))
    expected = torch.einsum("nhqk,nkhd->nqhd", area_attention_weights(q, k, 4), v)
    got = area_attention(q, k, v, 4)
    for a, b in zip(
        torch.autograd.grad(got.square().sum(), (q, k, v)),
        torch.autograd.grad(expected.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, ...]]:
    """What torch's attention is called with."""
    calls: list[tuple[Tensor, ...]] = []
    attend = F.scaled_dot_product_attention

    def record(*args: Tensor) -> Tensor:
        calls.append(args)
        return attend(*args)

    monkeypatch.setattr(F, "scaled_dot_product_attention", record)
    return calls


def test_channels_last_maps_are_not_copied(seen) -> None:
    module = make(areas=4).to(memory_format=torch.channels_last)
    maps: dict[str, Tensor] = {}
    for name in ("qk", "v"):
        module.get_submodule(name).register_forward_hook(
            lambda _, __, y, name=name: maps.setdefault(name, y)
        )
    x = image(2, 64, 8, 6).contiguous(memory_format=torch.channels_last)
    y = module(x)
    q, k, v, mask = seen[0]
    assert mask is None
    storages = {name: x.untyped_storage().data_ptr() for name, x in maps.items()}
    assert q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr() == storages["qk"]
    assert v.untyped_storage().data_ptr() == storages["v"]
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_torch_is_given_neighbouring_channels_in_every_layout(seen) -> None:
    """Its fused forms take no others."""
    x = image(1, 64, 8, 6)  # of several, the areas are copied anyway
    for layout in (torch.contiguous_format, torch.channels_last):
        make(areas=4).to(memory_format=layout)(x.contiguous(memory_format=layout))
    assert len(seen) == 2
    assert all(part.stride(-1) == 1 for parts in seen for part in parts[:3])


@pytest.mark.parametrize("qk_norm", [False, True])
def test_attention_runs_in_the_dtype_of_autocast(seen, qk_norm: bool) -> None:
    module = make(qk_norm=qk_norm)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(image(1, 64, 4, 4))
    assert {x.dtype for x in seen[0][:3]} == {torch.bfloat16}


def test_qk_norm_bounds_the_logits() -> None:
    module = make(qk_norm=True, areas=1)
    x = image(1, 64, 4, 4)
    calm = module.attention_maps(x)["area"]
    for bound in (module, make(areas=1)):
        bound.qk.bn.weight.data *= 1000
    normalised, plain = module.attention_maps(x)["area"], bound.attention_maps(x)["area"]
    assert plain.amax() > 0.999
    assert normalised.amax() < 0.999
    assert calm.amax() < 0.999


def test_initial_weights_are_the_authors() -> None:
    torch.manual_seed(0)
    block = ABlock(128)
    for name, module in block.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1), name
            assert module.bias is None
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-3, 0.03), name


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="in_channels must be a multiple of head_channels, got 48"):
        AreaAttention(48)
    with pytest.raises(ConfigError, match=r"'turbo', 'v1\.0', got 'v1'\. Did you mean 'v1\.0'"):
        AreaAttention(64, layout="v1")
    with pytest.raises(ValueError, match="areas must be at least 1, got -1"):
        AreaAttention(64, areas=-1)
    with pytest.raises(ValueError, match="pe_kernel_size must be odd, got 4"):
        AreaAttention(64, pe_kernel_size=4)
