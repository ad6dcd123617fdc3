"""Properties of operators at odd shapes and layouts: each equals the plain formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmattn.ops import (
    apply_gates,
    criss_cross_attention,
    criss_cross_weights,
    deform_conv2d,
    depthwise_conv2d,
    gated_channel_pool,
    global_avg_max_pool,
    modulated_deform_conv2d,
    multi_scale_deformable_attention,
    neighborhood_attention_2d,
    row_column_means,
    use_backend,
    window_attention,
)
from mmattn.projects.yolov12.area_attention import area_attention, area_attention_weights
from tests.support.fuzzing import seeds

small = st.integers(1, 9)
sizes = st.integers(1, 17)
counts = st.integers(0, 3)

Draw = Callable[..., Tensor]


def drawing(seed: int) -> Draw:
    """A source of normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def laid_out(x: Tensor, layout: str) -> Tensor:
    """The same numbers in another layout in memory."""
    if layout == "channels-last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        return torch.stack([x, x], -1)[..., 0]
    if layout == "transposed":
        return x.transpose(2, 3).contiguous().transpose(2, 3)
    return x


layouts = st.sampled_from(["contiguous", "channels-last", "sliced", "transposed"])


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@given(seeds, counts, small, small, sizes, sizes, layouts)
def test_criss_cross_attention_is_a_softmax_over_row_and_column(seed, n, d, c, h, w, layout):
    draw = drawing(seed)
    q, k, v = (laid_out(draw(n, size, h, w), layout) for size in (d, d, c))
    logits = torch.einsum("ndyx,ndvu->nyxvu", q, k)
    y, x = torch.arange(h), torch.arange(w)
    seen = (y[:, None, None, None] == y[:, None]) | (x[:, None, None] == x)
    weights = logits.masked_fill(~seen, -math.inf).flatten(3).softmax(-1).view(logits.shape)
    close(criss_cross_attention(q, k, v), torch.einsum("nyxvu,ncvu->ncyx", weights, v))
    place = (seed % h, seed % w)
    close(criss_cross_weights(q, k, [place])[:, 0], weights[:, place[0], place[1]])


@given(seeds, counts, st.integers(1, 40), st.integers(1, 3), small, st.integers(1, 6))
def test_area_attention_is_its_weights_times_the_values(seed, n, positions, heads, d, areas):
    draw = drawing(seed)
    q, k, v = (draw(n, positions, heads, d) for _ in range(3))
    weights = area_attention_weights(q, k, areas)
    close(area_attention(q, k, v, areas), torch.einsum("nhqk,nkhd->nqhd", weights, v))
    close(weights.sum(-1), torch.ones(n, heads, positions, dtype=torch.float64))


@given(seeds, counts, small, sizes, sizes, layouts)
def test_row_and_column_means(seed, n, c, h, w, layout) -> None:
    x = laid_out(drawing(seed)(n, c, h, w), layout)
    rows, columns = row_column_means(x)
    close(rows, x.mean(3))
    close(columns, x.mean(2))


@given(seeds, counts, small, sizes, sizes, layouts)
def test_global_mean_and_maximum(seed, n, c, h, w, layout) -> None:
    x = laid_out(drawing(seed)(n, c, h, w), layout)
    mean, maximum = global_avg_max_pool(x)
    close(mean, x.mean((2, 3)))
    close(maximum, x.amax((2, 3)))


@given(seeds, counts, small, sizes, sizes, layouts, st.booleans())
def test_gated_maximum_and_mean_over_channels(seed, n, c, h, w, layout, gated: bool) -> None:
    draw = drawing(seed)
    x, gate = laid_out(draw(n, c, h, w), layout), draw(n, c)
    z = x * gate[:, :, None, None] if gated else x
    close(gated_channel_pool(x, gate if gated else None), torch.stack([z.amax(1), z.mean(1)], 1))


@given(
    *(seeds, counts, small, sizes, sizes, layouts),
    st.sets(st.sampled_from(["channel", "row", "column", "spatial"]), min_size=1),
    st.booleans(),
)
def test_gates_are_products(seed, n, c, h, w, layout, chosen: set[str], residual: bool) -> None:
    draw = drawing(seed)
    x = laid_out(draw(n, c, h, w), layout)
    shapes = {"channel": (n, c), "row": (n, c, h), "column": (n, c, w), "spatial": (n, 1, h, w)}
    gates = {name: draw(*shapes[name]) for name in sorted(chosen)}
    views = {"channel": (n, c, 1, 1), "row": (n, c, h, 1), "column": (n, c, 1, w)}
    product = torch.ones(())
    for name, gate in gates.items():
        product = product * gate.view(views.get(name, gate.shape))
    close(apply_gates(x, **gates, residual=residual), x * product + (x if residual else 0))


@st.composite
def convolutions(draw: Any) -> dict[str, Any]:
    """Kernel, stride, padding and dilation under which an image of 1 to 17 pixels has a result."""
    options = {
        "kernel": tuple(draw(st.integers(1, 5)) for _ in range(2)),
        "stride": tuple(draw(st.integers(1, 3)) for _ in range(2)),
        "dilation": tuple(draw(st.integers(1, 2)) for _ in range(2)),
    }
    reach = [d * (k - 1) for d, k in zip(options["dilation"], options["kernel"], strict=True)]
    options["size"] = tuple(draw(sizes) for _ in range(2))
    # Enough of it that the kernel fits.
    least = [max(0, (r + 2 - s) // 2) for r, s in zip(reach, options["size"], strict=True)]
    options["padding"] = tuple(low + draw(st.integers(0, 2)) for low in least)
    return options


@given(seeds, counts, small, convolutions(), st.booleans(), layouts)
def test_depthwise_convolution_is_torchs(seed, n, c, options: dict, bias: bool, layout) -> None:
    draw = drawing(seed)
    x = laid_out(draw(n, c, *options.pop("size")), layout)
    weight, added = draw(c, 1, *options.pop("kernel")), draw(c) if bias else None
    close(
        depthwise_conv2d(x, weight, added, **options),
        F.conv2d(x, weight, added, groups=c, **options),
    )


@given(seeds, counts, st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), convolutions())
def test_without_displacement_it_is_torchs_convolution(seed, n, groups, c, out, options) -> None:
    draw = drawing(seed)
    x = draw(n, groups * c, *options.pop("size"))
    kernel = options.pop("kernel")
    weight, bias = draw(groups * out, c, *kernel), draw(groups * out)
    expected = F.conv2d(x, weight, bias, groups=groups, **options)
    taps, place = math.prod(kernel), expected.shape[2:]
    still = torch.zeros(n, 2 * taps, *place, dtype=torch.float64)
    close(deform_conv2d(x, still, weight, bias, groups=groups, **options), expected)
    half = torch.full((n, taps, *place), 0.5, dtype=torch.float64)
    halved = modulated_deform_conv2d(x, still, half, weight, None, groups=groups, **options)
    close(halved, F.conv2d(x, weight, groups=groups, **options) / 2)


@given(
    seeds,
    counts,
    st.integers(1, 3),
    small,
    small,
    st.integers(1, 4),
    st.lists(st.tuples(sizes, sizes), min_size=1, max_size=3),
)
def test_deformable_attention_is_a_sum_of_bilinear_reads(seed, n, heads, d, queries, p, shapes):
    draw = drawing(seed)
    value = draw(n, sum(h * w for h, w in shapes), heads, d)
    places = 0.5 + 0.4 * draw(n, queries, heads, len(shapes), p, 2)
    weights = draw(n, queries, heads, len(shapes), p)
    expected = torch.zeros(n, queries, heads, d, dtype=torch.float64)
    start = 0
    for level, (h, w) in enumerate(shapes):
        part = value[:, start : start + h * w].permute(0, 2, 3, 1).reshape(n * heads, d, h, w)
        start += h * w
        grid = 2 * places[:, :, :, level].transpose(1, 2).reshape(n * heads, queries, p, 2) - 1
        if n:
            read = F.grid_sample(part, grid, align_corners=False)
            read = read.view(n, heads, d, queries, p).permute(0, 3, 1, 2, 4)
            expected += (read * weights[:, :, :, level, None]).sum(-1)
    actual = multi_scale_deformable_attention(value, shapes, places, weights)
    close(actual.view(expected.shape), expected)


@given(seeds, counts, st.integers(1, 3), small, sizes, sizes, st.integers(1, 5), st.integers(1, 5),
       st.booleans(), st.data())  # fmt: skip
def test_window_attention_is_its_reference(seed, n, heads, d, h, w, wh, ww, pad_first, data):
    draw = drawing(seed)
    width, tokens = heads * d, wh * ww
    args = draw(n, h, w, 3 * width), draw(heads, tokens, tokens), draw(3 * width)
    shift = (data.draw(st.integers(0, wh - 1)), data.draw(st.integers(0, ww - 1)))
    options = {"window_size": (wh, ww), "shift": shift, "pad_first": pad_first}
    with use_backend("reference"):
        expected = window_attention(*args, **options)
    close(window_attention(*args, **options), expected)


@given(seeds, counts, st.integers(1, 3), small, sizes, sizes, st.integers(0, 4), st.integers(0, 4),
       st.integers(1, 4), st.integers(1, 4))  # fmt: skip
def test_neighborhood_attention_is_its_reference(seed, n, heads, d, h, w, ky, kx, ey, ex):
    draw = drawing(seed)
    kernel = (2 * ky + 1, 2 * kx + 1)
    maps = [draw(n, heads, h, w, d) for _ in range(3)]
    table = draw(heads, 2 * kernel[0] - 1, 2 * kernel[1] - 1)
    with use_backend("reference"):
        expected = neighborhood_attention_2d(*maps, kernel, (ey, ex), table)
    close(neighborhood_attention_2d(*maps, kernel, (ey, ex), table), expected)
