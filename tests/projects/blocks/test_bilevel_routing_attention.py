"""Promise: bi-level routing attention computes its equations, on the authors' weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.blocks import bilevel_routing_attention
from mmattn.projects.blocks.bilevel_routing_attention import BiLevelRoutingAttention
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester

KEYS = {f"{name}.{part}" for name in ("qkv.qkv", "wo", "lepe") for part in ("weight", "bias")}


def by_regions(
    module: BiLevelRoutingAttention, x: Tensor, fixed: list[list[list[int]]] | None = None
) -> Tensor:
    """The equations, one image, region and head at a time; padded positions masked if so.

    ``fixed`` holds the regions that each region of each image attends to, in place of the best.
    """
    height, width = x.shape[2:]
    rows, columns = module.region_size or (module.n_win, module.n_win)
    padding = (0, -width % columns, 0, -height % rows)
    channels, images = x.shape[1], []
    for number, image in enumerate(F.pad(x, padding)):
        h, w = module.region_size or (image.shape[1] // rows, image.shape[2] // columns)
        real = F.pad(torch.ones(height, width), padding) > 0
        if not module.masked:
            real = torch.ones_like(real)
        q, k, v = module.qkv.qkv(image.permute(1, 2, 0)).split(channels, 2)
        regions = [
            (slice(top, top + h), slice(left, left + w))
            for top in range(0, image.shape[1], h)
            for left in range(0, image.shape[2], w)
        ]
        filled = [r for r, region in enumerate(regions) if real[region].any()]
        out = torch.zeros_like(q)
        for r, region in enumerate(regions):
            if fixed is not None:
                chosen = fixed[number][r]
            elif r in filled:
                query = q[region][real[region]].mean(0)
                scores = [query @ k[regions[i]][real[regions[i]]].mean(0) for i in filled]
                best = torch.stack(scores).argsort(descending=True)[: module.topk]
                chosen = [filled[i] for i in best]
            else:
                continue  # padding alone, which is cut off
            keys, values = (
                torch.cat([t[regions[i]][real[regions[i]]] for i in chosen]) for t in (k, v)
            )
            for head in torch.arange(channels).chunk(module.num_heads):
                logits = q[region][..., head] @ keys[:, head].mT / channels**0.5
                out[region[0], region[1], head[0] : head[-1] + 1] = (
                    logits.softmax(-1) @ values[:, head]
                )
        out, v = (t.permute(2, 0, 1) for t in (out, v))
        if module.masked:
            out, v = out[:, :height, :width], v[:, :height, :width]
        side = module.lepe.weight.shape[-1]
        out = out + F.conv2d(
            v, module.lepe.weight, module.lepe.bias, padding=side // 2, groups=channels
        )
        y = F.linear(out.permute(1, 2, 0), module.wo.weight, module.wo.bias).permute(2, 0, 1)
        images.append(y[:, :height, :width])
    return torch.stack(images)


def strengthen(module: BiLevelRoutingAttention) -> None:
    """Make regions and positions differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            std = 0.2 if name.startswith("lepe") else 0.5
            parameter.normal_(std=std, generator=generator)


class TestBiLevelRoutingAttention(MixerTester):
    module = BiLevelRoutingAttention
    arguments = {"num_heads": 4, "n_win": 2, "topk": 2}
    state_keys = KEYS
    reference = staticmethod(by_regions)
    parameters = staticmethod(lambda c: 4 * c**2 + 4 * c + 26 * c)
    goldens = {
        "released networks' form": Golden(
            shape=(2, 32, 6, 9),
            values="0.521479233 -0.360345283 0.0738219814 0.393227715 0.156307957 -0.461793833 "
            "0.766757094 -0.742410705",
            sums=(9.53783518, 1626.08145, 0.520950941),
            input_gradient=(-646.262638, 2816.80145),
            gradients="lepe.weight 28532.3551; lepe.bias 6947.26662; qkv.qkv.weight 161046.697; "
            "qkv.qkv.bias 11704.3159; wo.weight 24182.0809; wo.bias 1624.99945",
            arguments={"n_win": 3},
        )
    }
    costs = [
        Cost(
            channels,
            (side, side),
            parameters=parameters,
            macs=macs,
            arguments={"num_heads": channels // 32, "n_win": n_win, "topk": topk},
        )
        for channels, side, n_win, topk, parameters, macs in (
            (64, 56, 7, 1, 18_304, 82_241_600),
            (128, 28, 7, 4, 69_376, 67_041_408),
            (256, 14, 7, 16, 269_824, 59_671_808),
            (96, 128, 8, 4, None, 3_864_920_064),
        )
    ]
    initial = {
        "qkv.qkv.weight": 0.02,
        "qkv.qkv.bias": "0",
        "wo.weight": 0.02,
        "wo.bias": "0",
        "lepe.weight": (3 * 25) ** -0.5,
    }

    def randomize_zero_init(self, module: BiLevelRoutingAttention) -> None:
        strengthen(module)


def make(channels: int = 16, **options) -> BiLevelRoutingAttention:
    torch.manual_seed(0)
    options = {"num_heads": 4, "n_win": 2, "topk": 2, **options}
    module = BiLevelRoutingAttention(channels, **options).double().eval()
    strengthen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def silence_lepe(module: BiLevelRoutingAttention) -> BiLevelRoutingAttention:
    for parameter in module.lepe.parameters():
        torch.nn.init.zeros_(parameter)
    return module


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", [{"n_win": 3}, {"region_size": (2, 3)}])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 7), (7, 10), (6, 9)])
def test_any_size_is_the_equations(masked: bool, options: dict, size: tuple[int, int]) -> None:
    """At 1 x 1 of 3 x 3 regions only one has a real position."""
    module, x = make(masked=masked, **options), image(2, 16, *size).requires_grad_()
    y = module(x)
    torch.testing.assert_close(y, by_regions(module, x))
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_padding_is_that_of_zeros_put_there_by_hand() -> None:
    module, x = make(), image(2, 16, 5, 7)
    by_hand = module(F.pad(x, (0, 1, 0, 1)))[:, :, :5, :7]
    # Sums of the local convolution are in an order that depends on the size.
    torch.testing.assert_close(module(x), by_hand, rtol=1e-12, atol=1e-12)


def test_a_size_without_padding_takes_the_path_without() -> None:
    """Bit by bit, masked or not; with padding they differ."""
    plain, masked = make(), make(masked=True)
    x = image(2, 16, 6, 8)
    assert torch.equal(plain(x), masked(x))
    assert not torch.allclose(plain(x[:, :, :5]), masked(x[:, :, :5]))


@pytest.mark.parametrize("options", [{"topk": 4}, {"topk": 99}, {"n_win": 1, "topk": 1}])
def test_with_all_regions_it_is_dense_attention(options: dict) -> None:
    """With the scale of all channels, plus LePE; more regions than there are do not matter."""
    module, x = make(**options), image(2, 16, 4, 6)
    q, k, v = (
        t.unflatten(2, (4, 4)).transpose(1, 2) for t in module.qkv.qkv(x.flatten(2).mT).split(16, 2)
    )
    out = ((q @ k.mT / 16**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    local = module.lepe(v.transpose(2, 3).flatten(1, 2).unflatten(2, (4, 6))).flatten(2).mT
    torch.testing.assert_close(module(x), module.wo(out + local).mT.view_as(x))


def test_whole_regions_and_positions_inside_may_change_places() -> None:
    """The choice is by content alone."""
    module, x = silence_lepe(make()), image(1, 16, 4, 6)

    def regions(t: Tensor) -> Tensor:
        return t.roll((2, 3), (2, 3))

    def inside(t: Tensor) -> Tensor:
        return t.unflatten(2, (2, 2)).flip(3).flatten(2, 3)

    for move in (regions, inside):
        torch.testing.assert_close(module(move(x)), move(module(x)))


def test_a_region_that_nobody_chose_influences_itself_alone() -> None:
    module, x = silence_lepe(make(topk=1, n_win=3)), image(1, 16, 6, 6).requires_grad_()
    maps = module.attention_maps(x, [(row, column) for row in (0, 2, 4) for column in (0, 2, 4)])
    chosen = maps["regions"][0].unflatten(2, (3, 2)).unflatten(1, (3, 2))[:, :, 0, :, 0] > 0
    lonely = (~chosen.any(0)).nonzero()[0]
    region = slice(2 * lonely[0], 2 * lonely[0] + 2), slice(2 * lonely[1], 2 * lonely[1] + 2)
    others = torch.ones(6, 6, dtype=torch.bool)
    others[region] = False
    (grad,) = torch.autograd.grad(module(x)[..., others].square().sum(), x)
    assert not grad[..., region[0], region[1]].any()
    assert grad.any()


def test_no_gradient_flows_through_the_choice() -> None:
    module, x = make(n_win=3), image(2, 16, 6, 9).requires_grad_()
    with torch.no_grad():
        chosen = module._chosen(*module._regions(x)[::2])
    (grad,) = torch.autograd.grad(module(x).square().sum(), x)
    y = by_regions(module, x, chosen.tolist())
    torch.testing.assert_close(grad, torch.autograd.grad(y.square().sum(), x)[0])


def test_constant_values_pass_the_softmax() -> None:
    module, x = silence_lepe(make()), image(2, 16, 4, 6)
    torch.nn.init.zeros_(module.qkv.qkv.weight[32:])
    expected = module.wo(module.qkv.qkv.bias[32:])[:, None, None].expand_as(x)
    torch.testing.assert_close(module(x), expected)


def test_large_maps_are_attended_to_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that copies of keys and values stay small; the result is the same."""
    module, x = make(n_win=3), image(2, 16, 6, 9)
    expected = module(x)
    monkeypatch.setattr(bilevel_routing_attention, "_MANY", 5 * 2 * 6 * 32)
    calls = []
    attend = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: calls.append(a) or attend(*a, **k)
    )
    torch.testing.assert_close(module(x), expected, rtol=1e-12, atol=1e-12)
    assert [len(call[0]) for call in calls] == [5, 5, 5, 3]


@pytest.mark.parametrize("masked", [False, True])
def test_attention_maps_are_the_weights(masked: bool) -> None:
    """Of one head and without LePE: weights times values, projected, are the output."""
    module = silence_lepe(make(num_heads=1, n_win=3, masked=masked))
    x, positions = image(2, 16, 5, 7), [(0, 0), (2, 3), (4, 6)]
    maps = module.attention_maps(x, positions)["regions"]
    values = module.qkv.qkv(x.flatten(2).mT)[:, :, 32:].mT.unflatten(2, (5, 7))
    bias = module.qkv.qkv.bias[32:]  # the value of padding
    centred = values - bias[:, None, None]
    mixed = torch.einsum("nphw,nchw->npc", maps, centred) + bias
    if masked:
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones_like(maps[..., 0, 0]))
    expected = torch.stack([module(x)[:, :, row, column] for row, column in positions], 1)
    torch.testing.assert_close(module.wo(mixed), expected)


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"n_win": 0}, {"topk": 0}, {"lepe_kernel": 2}, {"region_size": (0, 2)}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            BiLevelRoutingAttention(16, **kwargs)
