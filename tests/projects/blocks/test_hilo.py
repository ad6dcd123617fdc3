"""Promise: HiLo computes its equations, on the authors' weights, at any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.projects.blocks.hilo import HiLo
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester

HIGH = {f"h_{name}.{part}" for name in ("qkv", "proj") for part in ("weight", "bias")}
LOW = {f"l_{name}.{part}" for name in ("q", "kv", "proj") for part in ("weight", "bias")}


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Plain multi-head attention, head by head; all of shape (positions, channels)."""
    parts = [
        (a @ b.mT / a.shape[1] ** 0.5).softmax(-1) @ c
        for a, b, c in zip(*(t.chunk(heads, 1) for t in (q, k, v)), strict=True)
    ]
    return torch.cat(parts, 1)


def by_windows(module: HiLo, x: Tensor) -> Tensor:
    """The equations, one image and one window at a time; padded positions masked if so."""
    s, (height, width) = module.window_size, x.shape[2:]
    images = []
    for image in x:
        padded = F.pad(image, (0, -width % s, 0, -height % s)).permute(1, 2, 0)
        real = F.pad(torch.ones(height, width), (0, -width % s, 0, -height % s)) > 0
        if module.padding == "zero":
            real = torch.ones_like(real)
        windows = [
            (slice(top, top + s), slice(left, left + s))
            for top in range(0, height, s)
            for left in range(0, width, s)
        ]
        branches = []
        if module.high_heads:
            qkv = module.h_qkv(padded)
            high = torch.zeros_like(qkv.chunk(3, 2)[0])
            for window in windows:
                q, k, v = qkv[window][real[window]].chunk(3, 1)
                high[window][real[window]] = attend(q, k, v, module.high_heads)
            branches.append(module.h_proj(high))
        if module.low_heads:
            means = torch.stack([padded[w][real[w]].mean(0) for w in windows])
            k, v = module.l_kv(means).chunk(2, 1)
            low = attend(module.l_q(padded).flatten(0, 1), k, v, module.low_heads)
            branches.append(module.l_proj(low).unflatten(0, padded.shape[:2]))
        images.append(torch.cat(branches, 2)[:height, :width].permute(2, 0, 1))
    return torch.stack(images)


def strengthen(module: nn.Module) -> None:
    """Make the softmaxes choose."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4, generator=generator)


class TestHiLo(MixerTester):
    module = HiLo
    arguments = {"num_heads": 4}
    state_keys = HIGH | LOW
    reference = staticmethod(by_windows)
    # Two halves of C / 2 channels.
    parameters = staticmethod(lambda c: 3 * c**2 + 2 * (c // 2) ** 2 + 3 * c + c)
    goldens = {
        "windows of 2": Golden(
            shape=(2, 32, 6, 8),
            values="-0.691013649 -0.0550553618 -0.0462286222 0.559338318 -0.231636041 "
            "-0.0430285808 -0.565357728 -0.0431642317",
            sums=(102.178021, 1035.24849, 0.397533569),
            input_gradient=(-19.6955723, 1762.74864),
            gradients="l_q.weight 36.3451521; l_q.bias 1.53672002; l_kv.weight 25542.7536; "
            "l_kv.bias 951.018217; l_proj.weight 4860.23148; l_proj.bias 300.563731; "
            "h_qkv.weight 23001.9152; h_qkv.bias 612.382897; h_proj.weight 4488.15173; "
            "h_proj.bias 247.699529",
        )
    }
    costs = [
        Cost(384, size, parameters=count, macs=macs, arguments={"num_heads": 12, "alpha": alpha})
        for alpha, count, small, large in (
            (0.0, 591_360, 116_207_616, 2_428_502_016),
            (0.2, 550_400, 102_083_072, 2_644_508_672),
            (0.5, 517_632, 83_467_776, 3_277_848_576),
            (0.9, 550_400, 77_697_536, 4_179_623_936),
            (1.0, 591_360, 79_629_312, 4_731_174_912),
        )
        for size, macs in (((14, 14), small), ((64, 64), large))
    ] + [Cost(384, (14, 14), parameters=516_480, arguments={"num_heads": 12, "qkv_bias": False})]
    initial = {
        **{name: 0.02 for name in HIGH | LOW if name.endswith("weight")},
        **{name: "0" for name in HIGH | LOW if name.endswith("bias")},
    }

    def randomize_zero_init(self, module: nn.Module) -> None:
        strengthen(module)


def make(channels: int = 16, **options) -> HiLo:
    torch.manual_seed(0)
    module = HiLo(channels, **{"num_heads": 4, **options}).double().eval()
    strengthen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("padding", ["zero", "masked"])
@pytest.mark.parametrize("size", [(5, 7), (6, 6), (1, 1), (1, 7), (7, 4)])
def test_both_paddings_are_their_equations(
    padding: str, window: int, size: tuple[int, int]
) -> None:
    module = make(padding=padding, window_size=window)
    x = image(2, 16, *size)
    torch.testing.assert_close(module(x), by_windows(module, x))
    x.requires_grad_()
    module(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_padding_is_that_of_zeros_put_there_by_hand() -> None:
    module, x = make(), image(2, 16, 5, 7)
    explicit = module(F.pad(x, (0, 1, 0, 1)))[:, :, :5, :7]
    assert torch.equal(module(x), explicit)


def test_a_size_without_padding_takes_the_path_without() -> None:
    """Bit by bit, whichever padding is chosen."""
    zero, masked = make(), make(padding="masked")
    x = image(2, 16, 6, 8)
    assert torch.equal(zero(x), masked(x))
    assert not torch.allclose(zero(x[:, :, :5]), masked(x[:, :, :5]))


@pytest.mark.parametrize("whole", ["window 1", "one window"])
def test_one_window_or_windows_of_one_are_plain_attention(whole: str) -> None:
    """Over the whole map, as torch's own layer computes it."""
    options = {"window_size": 1} if whole == "window 1" else {"window_size": 4, "alpha": 0.0}
    module, x = make(**options), image(2, 16, 4, 4)
    assert set(module.state_dict()) == (LOW if whole == "window 1" else HIGH)
    mha = nn.MultiheadAttention(16, 4, batch_first=True).double()
    with torch.no_grad():
        for part in ("weight", "bias"):
            state = module.state_dict()
            if whole == "window 1":
                qkv = torch.cat([state[f"l_q.{part}"], state[f"l_kv.{part}"]])
            else:
                qkv = state[f"h_qkv.{part}"]
            getattr(mha, f"in_proj_{part}").copy_(qkv)
            branch = "l" if whole == "window 1" else "h"
            getattr(mha.out_proj, part).copy_(state[f"{branch}_proj.{part}"])
    tokens = x.flatten(2).mT
    expected = mha(tokens, tokens, tokens, need_weights=False)[0].mT.view_as(x)
    torch.testing.assert_close(module(x), expected)


def test_windows_of_high_heads_and_positions_inside_may_change_places() -> None:
    module, x = make(alpha=0.0), image(1, 16, 4, 6)

    def windows(t: Tensor) -> Tensor:
        """Two rows of windows change places."""
        return t.roll(2, 2)

    def inside(t: Tensor) -> Tensor:
        """Both rows of each window change places."""
        return t.unflatten(2, (2, 2)).flip(3).flatten(2, 3)

    for move in (windows, inside):
        torch.testing.assert_close(module(move(x)), move(module(x)))


def test_low_heads_see_means_of_windows_alone() -> None:
    module, x = make(alpha=1.0), image(1, 16, 4, 6)
    changed = x.clone()
    pattern = image(16)[:, None, None] * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    changed[0, :, 2:, 4:] += pattern
    y, other = module(x), module(changed)
    same = torch.ones(4, 6, dtype=torch.bool)
    same[2:, 4:] = False
    torch.testing.assert_close(y[..., same], other[..., same])
    assert not torch.allclose(y[..., ~same], other[..., ~same])


def test_a_constant_map_passes_both_softmaxes() -> None:
    module = make()
    vector = image(16)
    y = module(vector[None, :, None, None].expand(1, -1, 4, 6))
    high = module.h_proj(module.h_qkv(vector)[16:])
    low = module.l_proj(module.l_kv(vector)[8:])
    expected = torch.cat([high, low])[None, :, None, None].expand_as(y)
    torch.testing.assert_close(y, expected)


def test_high_heads_see_their_window_and_low_heads_the_map() -> None:
    module = make()
    for channels, reached in ((slice(0, 8), 4), (slice(8, 16), 24)):
        x = image(1, 16, 4, 6).requires_grad_()
        module(x)[0, channels, 1, 3].sum().backward()
        assert x.grad is not None
        assert (x.grad.abs().amax((0, 1)) > 0).sum() == reached


def test_transposing_the_map_transposes_the_output() -> None:
    module, x = make(), image(2, 16, 5, 7)
    torch.testing.assert_close(module(x.mT), module(x).mT)


def test_number_of_low_heads_is_rounded_down() -> None:
    assert [
        HiLo(12 * heads, num_heads=heads, alpha=0.9).low_heads for heads in (3, 6, 12)
    ] == [2, 5, 10]  # fmt: skip


@pytest.mark.parametrize("padding", ["zero", "masked"])
def test_attention_maps_are_the_weights(padding: str) -> None:
    """Of one head in each branch: weights times values, projected, are the output."""
    module, x = make(padding=padding, num_heads=2), image(2, 16, 5, 7)
    positions = [(0, 0), (3, 3), (4, 6)]
    maps = module.attention_maps(x, positions)
    for branch, maps_ in (("high", maps["high"]), ("low", maps["low"])):
        assert maps_.shape == (2, 3, 5, 7)
        layer = module.h_qkv if branch == "high" else module.l_kv
        proj = module.h_proj if branch == "high" else module.l_proj
        values = layer(x.flatten(2).mT)[:, :, -8:].mT.unflatten(2, (5, 7))
        if padding == "zero":  # padding has the bias as its value
            values = values - layer.bias[-8:, None, None]
        mixed = torch.einsum("nphw,nchw->npc", maps_, values)
        if padding == "zero":
            mixed = mixed + layer.bias[-8:]
        else:
            torch.testing.assert_close(maps_.sum((2, 3)), torch.ones_like(maps_[..., 0, 0]))
        y = module(x)[:, :8] if branch == "high" else module(x)[:, 8:]
        expected = torch.stack([y[:, :, row, column] for row, column in positions], 1)
        torch.testing.assert_close(proj(mixed), expected)


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"alpha": 1.5}, {"window_size": 0}, {"padding": "reflect"}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            HiLo(16, **kwargs)
