"""Promise: VSA is window attention over windows that each head moves and resizes, as published."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks import vsa
from mmattn.projects.blocks.vsa import VariedSizeWindowAttention
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester


def roughen(module: nn.Module) -> None:
    """Weights for which attention, shifts and scales matter; fresh ones are nearly silent."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            size = parameter[0].numel() if parameter.dim() > 1 else 10
            parameter.uniform_(-2, 2, generator=generator).div_(size**0.5)


def rough(channels: int = 8, **arguments) -> VariedSizeWindowAttention:
    arguments = {"num_heads": 2, "window_size": 3, **arguments}
    module = VariedSizeWindowAttention(channels, **arguments).double().eval()
    roughen(module)
    return module


def feature_maps(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def sample(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear samples of (d, H, W) at (y, x), each corner outside the image 0: (…, d)."""
    height, width = image.shape[1:]
    result = image.new_zeros(*y.shape, len(image))
    for dy in (0, 1):
        for dx in (0, 1):
            row, column = y.floor() + dy, x.floor() + dx
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            row, column = row.clamp(0, height - 1).long(), column.clamp(0, width - 1).long()
            values = image[:, row, column].movedim(0, -1)
            result = result + (weight * inside)[..., None] * values
    return result


def bias_of(module: VariedSizeWindowAttention, head: int, q: Tensor) -> Tensor:
    """B of one head for the queries (w w, d) of a window: (w w, w w)."""
    w = module.window_size
    bias = q.new_zeros(w * w, w * w)
    for i in range(w * w):
        for j in range(w * w):
            down, right = i // w - j // w + w - 1, i % w - j % w + w - 1
            if module.rel_pos == "table":
                bias[i, j] = module.relative_position_bias_table[down * (2 * w - 1) + right, head]
            else:
                bias[i, j] = q[i] @ (module.rel_pos_h[down] + module.rel_pos_w[right])
    return bias


def by_window(module: VariedSizeWindowAttention, x: Tensor) -> Tensor:
    """The formula, one window and head at a time, in pixels."""
    n, channels, height, width = x.shape
    w, heads = module.window_size, module.num_heads
    d = channels // heads
    rows, columns = math.ceil(height / w), math.ceil(width / w)
    full = (rows * w, columns * w)
    padding = (0, full[1] - width, 0, full[0] - height)
    qkv = F.pad(
        F.linear(x.movedim(1, 3), module.qkv.weight, module.qkv.bias).movedim(3, 1), padding
    )
    pooled = F.pad(x, padding).unfold(2, w, w).unfold(3, w, w).mean((4, 5))
    pooled = torch.where(pooled > 0, pooled, 0.01 * pooled)
    conv = module.transform[2]
    moves = torch.einsum("oc,nchw->nohw", conv.weight[:, :, 0, 0], pooled)
    moves = moves + conv.bias[:, None, None]
    out = x.new_zeros(n, *full, channels)
    steps = torch.arange(w, dtype=x.dtype) - (w - 1) / 2
    for image in range(n):
        for head in range(heads):
            part = slice(head * d, (head + 1) * d)
            q, k, v = (qkv[image, start:][:channels][part] for start in (0, channels, 2 * channels))
            for i in range(rows):
                for j in range(columns):
                    ox, oy, sx, sy = moves[image, 4 * head : 4 * head + 4, i, j]
                    y = i * w + (w - 1) / 2 + (1 + sy) * steps + oy * (full[0] - 1) / (2 * rows)
                    z = j * w + (w - 1) / 2 + (1 + sx) * steps + ox * (full[1] - 1) / (2 * columns)
                    y, z = (grid.flatten() for grid in torch.meshgrid(y, z, indexing="ij"))
                    window = (slice(i * w, i * w + w), slice(j * w, j * w + w))
                    queries = q[:, window[0], window[1]].flatten(1).T
                    logits = queries @ sample(k, y, z).T / d**0.5 + bias_of(module, head, queries)
                    found = logits.softmax(1) @ sample(v, y, z)
                    out[(image, *window, part)] = found.view(w, w, d)
    return module.proj(out[:, :height, :width]).movedim(3, 1)


NAMES = {
    f"{layer}.{part}" for layer in ("qkv", "proj", "transform.2") for part in ("weight", "bias")
}


class TestTable(MixerTester):
    module = VariedSizeWindowAttention
    in_channels = 8
    arguments = {"num_heads": 2, "window_size": 3}
    state_keys = NAMES | {"relative_position_bias_table", "relative_position_index"}
    reference = staticmethod(by_window)
    # Without the input's and the regressor's gradients: see the test with the penalty.
    goldens = {
        "G1 v1": Golden(
            (2, 32, 6, 9),
            "0.212766288 -0.174240761 0.248903887 -0.407684278 -0.175833203 0.249740784 "
            "-0.260883534 0.0372156645",
            (31.7304158, 667.931555, 0.227710275),
            gradients="relative_position_bias_table 7.3731294; qkv.weight 29273.5288; "
            "qkv.bias 2098.7793; proj.weight 4322.08273; proj.bias 659.222067",
            arguments={"num_heads": 4},
        )
    }
    # The last two of the formula's terms are not products of matrices here: 4 h C for each window
    # is a convolution, 6 h w^2, the affine map, is not counted.
    costs = [
        Cost(c, (56, 56), count, macs - 6 * heads * 49 * 64, {"num_heads": heads, "window_size": 7})
        for c, heads, count, macs in (
            (96, 3, 38_919, 145_239_168),
            (192, 6, 153_870, 521_836_800),
            (384, 12, 611_868, 1_969_107_456),
            (768, 24, 2_440_248, 7_639_950_336),
        )
    ]
    initial = {
        "qkv.weight": 0.02,
        "qkv.bias": "0",
        "proj.weight": 0.02,
        "proj.bias": "0",
        "relative_position_bias_table": 0.02,
        "transform.2.weight": "0",
        "transform.2.bias": "0",
    }

    def randomize_zero_init(self, module: nn.Module) -> None:
        roughen(module)


class TestDecomposed(TestTable):
    arguments = {"num_heads": 2, "window_size": 3, "rel_pos": "decomposed"}
    state_keys = NAMES | {"rel_pos_h", "rel_pos_w"}
    goldens = {
        "G1 v2": Golden(
            (2, 32, 6, 9),
            "0.212116524 -0.174993866 0.24501693 -0.38886905 -0.178705716 0.255073871 "
            "-0.255757936 0.0298452122",
            (31.2621361, 663.280171, 0.226174542),
            gradients="rel_pos_h 6.77759464; rel_pos_w 3.22005141; qkv.weight 28980.6255; "
            "qkv.bias 2074.00519; proj.weight 4262.66987; proj.bias 654.396591",
            arguments={"num_heads": 4},
        )
    }
    costs = [
        # The products with the tables, 2 w^2 w C for each window, are not in the formula.
        Cost(c, (56, 56), count, None, {"num_heads": heads, "window_size": 7})
        for c, heads, count in (
            (96, 3, 39_244),
            (192, 6, 153_688),
            (384, 12, 610_672),
            (768, 24, 2_437_024),
        )
    ]
    initial = {"rel_pos_h": "0", "rel_pos_w": "0", "transform.2.weight": "0"}


class _Penalty(torch.autograd.Function):
    """The gradient that the authors' code adds for coordinates outside the image: 10 x 20."""

    @staticmethod
    def forward(ctx, pixels: Tensor, length: int) -> Tensor:
        ctx.save_for_backward(pixels)
        ctx.length = length
        return pixels.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        (pixels,) = ctx.saved_tensors
        half = (ctx.length - 1) / 2
        place = pixels / half - 1
        outside = (place > 1.001).double() - (place < -1.001).double()
        samples = pixels.shape[4]  # of the window that share the coordinate
        return gradient + samples * 200 * outside / half, None


@pytest.mark.parametrize(
    ("rel_pos", "of_input", "gradients"),
    [
        (
            "table",
            (5581.97904, 25018.1638),
            "transform.2.weight 166633.685; transform.2.bias 14690.7885",
        ),
        (
            "decomposed",
            (5577.32729, 24990.1703),
            "transform.2.weight 166598.232; transform.2.bias 14688.6889",
        ),
    ],
)
def test_golden_gradients_with_the_authors_penalty(
    rel_pos: str, of_input: tuple, gradients: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their module adds a gradient by default that pulls samples back; their networks do not."""
    original = vsa.sample_positions

    def with_penalty(moves: Tensor, side: int) -> tuple[Tensor, ...]:
        lengths = (count * side for count in moves.shape[3:])
        places = zip(original(moves, side), lengths, strict=True)
        return tuple(_Penalty.apply(pixels, length) for pixels, length in places)

    monkeypatch.setattr(vsa, "sample_positions", with_penalty)
    golden = Golden((2, 32, 6, 9), "", (0, 0, 0), of_input, gradients)
    tester = TestTable() if rel_pos == "table" else TestDecomposed()
    tester.arguments = {**tester.arguments, "num_heads": 4}
    module = tester.golden_module(golden).double()
    x = torch.sin(0.01 * torch.arange(math.prod(golden.shape), dtype=torch.float64))
    x = x.float().double().view(golden.shape).requires_grad_()
    (module(x).square().sum() / 2).backward()
    golden.compare_gradients({k: p.grad for k, p in module.named_parameters()}, x.grad)


def fixed(module: VariedSizeWindowAttention, ox=0.0, oy=0.0, sx=0.0, sy=0.0) -> None:
    """Let the regressor say the same for all windows and heads."""
    conv = module.transform[2]
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([ox, oy, sx, sy]).repeat(module.num_heads))


def window_attention(
    module: VariedSizeWindowAttention, x: Tensor, change: Callable = lambda k_v: k_v
) -> Tensor:
    """Attention in fixed windows, with keys and values changed by ``change``; whole windows."""
    n, c, height, width = x.shape
    w, heads = module.window_size, module.num_heads
    qkv = F.linear(x.movedim(1, 3), module.qkv.weight, module.qkv.bias).movedim(3, 1)
    qkv = torch.cat([qkv[:, :c], change(qkv[:, c:])], 1)
    cut = qkv.view(n, 3, heads, c // heads, height // w, w, width // w, w)
    q, k, v = cut.permute(1, 0, 4, 6, 2, 5, 7, 3).flatten(5, 6)  # (N, nh, nw, heads, w w, d)
    bias = module.relative_position_bias_table[module.relative_position_index].permute(2, 0, 1)
    out = (q @ k.mT / (c // heads) ** 0.5 + bias).softmax(-1) @ v
    out = out.unflatten(4, (w, w)).permute(0, 1, 4, 2, 5, 3, 6).reshape(n, height, width, c)
    return module.proj(out).movedim(3, 1)


def test_a_silent_regressor_is_window_attention() -> None:
    module, x = rough(), feature_maps(2, 8, 6, 9)
    fixed(module)
    torch.testing.assert_close(module(x), window_attention(module, x))


def test_one_window_is_dense_attention() -> None:
    module, x = rough(window_size=5), feature_maps(1, 8, 5, 5)
    fixed(module)
    torch.testing.assert_close(module(x), window_attention(module, x))


def test_a_window_of_no_size_returns_the_value_in_its_middle() -> None:
    module, x = rough(), feature_maps(2, 8, 6, 9)
    fixed(module, sx=-1.0, sy=-1.0)
    v = F.linear(x.movedim(1, 3), module.qkv.weight[16:], module.qkv.bias[16:])
    middle = v[:, 1::3, 1::3].repeat_interleave(3, 1).repeat_interleave(3, 2)
    torch.testing.assert_close(module(x), module.proj(middle).movedim(3, 1))


def test_a_shift_takes_keys_and_values_from_the_right() -> None:
    module, x = rough(), feature_maps(2, 8, 6, 9)
    fixed(module, ox=2 * 3 * 2 / (9 - 1))  # two pixels, three windows in a row
    expected = window_attention(module, x, lambda k_v: F.pad(k_v, (0, 2))[..., 2:])
    torch.testing.assert_close(module(x), expected)


def test_outside_the_image_there_is_nothing() -> None:
    module, x = rough(), feature_maps(2, 8, 6, 9)
    fixed(module, ox=100.0)
    torch.testing.assert_close(module(x), module.proj.bias[:, None, None].expand_as(x))


def test_transposing_swaps_the_two_directions() -> None:
    module, x = rough(), feature_maps(2, 8, 6, 9)
    expected = module(x).mT
    conv, table = module.transform[2], module.relative_position_bias_table
    for parameter in conv.parameters():
        parameter.data = parameter.data.unflatten(0, (-1, 4))[:, [1, 0, 3, 2]].flatten(0, 1)
    table.data = table.data.unflatten(0, (5, 5)).transpose(0, 1).flatten(0, 1)
    torch.testing.assert_close(module(x.mT), expected)


def test_a_fresh_regressor_learns() -> None:
    module = VariedSizeWindowAttention(8, num_heads=2, window_size=3)
    assert not module.transform[2].weight.any()
    module(feature_maps(1, 8, 6, 6).float()).square().sum().backward()
    assert module.transform[2].weight.grad.abs().amax((1, 2, 3)).all()


def test_windows_of_one_pixel() -> None:
    """The authors' code divides by zero on a map of one row."""
    module, x = rough(window_size=1), feature_maps(2, 8, 1, 4)
    torch.testing.assert_close(module(x), by_window(module, x))


def test_a_size_without_padding_is_computed_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bitwise: zeros appended and cut off again change nothing."""
    module, x = rough().float(), feature_maps(1, 8, 6, 9).float()
    expected = module(x)

    def refuse(*arguments: object) -> Tensor:
        raise AssertionError("nothing is to be padded")

    with monkeypatch.context() as context:
        context.setattr(F, "pad", refuse)
        assert torch.equal(module(x), expected)


@pytest.mark.parametrize("rel_pos", ["table", "decomposed"])
def test_attention_maps_weigh_the_values(rel_pos: str) -> None:
    """The output at the queries is the weighted sum of the values, if a value is equal in heads."""
    module, x = rough(rel_pos=rel_pos), feature_maps(2, 8, 5, 7)
    positions = [(0, 0), (4, 6), (2, 3)]
    maps = module.attention_maps(x, positions)["samples"]
    assert maps.shape == (2, 3, 5, 7)
    torch.testing.assert_close(module.attention_maps(x)["samples"], maps[:, 2:])
    with torch.no_grad():  # all values are the mean of the heads' inputs
        module.qkv.weight[16:] = module.qkv.weight[16:17]
        module.qkv.bias[16:] = 0
        module.proj.weight.copy_(torch.full((8, 8), 1 / 8))
        module.proj.bias.zero_()
    value = torch.einsum("c,nchw->nhw", module.qkv.weight[16], x)
    expected = torch.einsum("nqhw,nhw->nq", maps, value)
    found = torch.stack([module(x)[:, 0, row, column] for row, column in positions], 1)
    torch.testing.assert_close(found, expected)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="rel_pos must be 'table' or 'decomposed', got 'v1'"):
        VariedSizeWindowAttention(8, rel_pos="v1")
    with pytest.raises(ValueError, match="window_size must be at least 1, got 0"):
        VariedSizeWindowAttention(8, window_size=0)


def test_two_regressors_are_woven_into_one() -> None:
    module, x = rough(rel_pos="decomposed", qkv_bias=False), feature_maps(1, 8, 6, 6)
    state = {f"layers.0.attn.{key}": value for key, value in module.state_dict().items()}
    theirs = convert_checkpoint(state, "vsa-official", reverse=True)
    assert theirs is not None
    offsets = theirs.state_dict["layers.0.attn.sampling_offsets.2.bias"]
    bias = module.transform[2].bias
    assert torch.equal(offsets, bias[[0, 1, 4, 5]])
    for weights in (theirs.state_dict, state):
        conversion = convert_checkpoint(weights)
        assert conversion is not None
        assert conversion.converter == ("vsa-qformer" if weights is state else "vsa-official")
        assert (
            "dict(type='mmattn.VariedSizeWindowAttention', num_heads=2, window_size=3, "
            "rel_pos='decomposed', qkv_bias=False)" in conversion.note
        )
        loaded = rough(rel_pos="decomposed", qkv_bias=False)
        nn.init.zeros_(loaded.transform[2].weight)
        ours = conversion.state_dict.items()
        loaded.load_state_dict({k.removeprefix("layers.0.attn."): v for k, v in ours}, strict=True)
        assert torch.equal(loaded(x), module(x))
