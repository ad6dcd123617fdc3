"""Promise: window attention is Swin's, without a copy of the map that is padded, rolled or cut."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import OPERATORS, use_backend, window_attention
from mmattn.ops.window_attention import composition, reference
from mmattn.testing.op_tester import OpTester, Sample
from tests.support.golden_weights import golden_image, golden_value

WINDOWS = [((4, 4), (0, 0)), ((4, 4), (2, 2)), ((3, 5), (1, 2)), ((3, 5), (0, 2)), ((7, 7), (3, 3))]
SIZES = [(8, 12), (7, 9), (2, 3), (1, 1)]


def inputs(height, width, window=(4, 4), *, batch=2, heads=2, channels=3, pad=True, scale=1.0):
    """Random queries, keys and values, bias, and values of the padding."""
    torch.manual_seed(height * 100 + width)
    c, n = heads * channels, math.prod(window)
    qkv = scale * torch.randn(batch, height, width, 3 * c, dtype=torch.float64)
    bias = torch.randn(heads, n, n, dtype=torch.float64)
    return qkv, bias, torch.randn(3 * c, dtype=torch.float64) if pad else None


def position_by_position(qkv, bias, pad, window, shift, pad_first) -> Tensor:
    """Each query alone, with keys found by their place: no roll, no windows, no mask.

    On an axis that is rolled, the last window is made of the map's two ends, of which each sees
    the other through a bias of -100.
    """
    batch, height, width, channels = qkv.shape
    heads, n = bias.shape[0], math.prod(window)
    place = []  # of each axis: source of padded and rolled positions; None is padding
    for size, w, s in zip((height, width), window, shift, strict=True):
        padded = math.ceil(size / w) * w
        if pad_first:
            axis = [(i + s) % padded for i in range(padded)]
            place.append([i if i < size else None for i in axis])
        else:
            place.append([(i + s) % size if i < size else None for i in range(padded)])
    out = torch.zeros(batch, height, width, channels // 3, dtype=qkv.dtype)
    for wy, wx in itertools.product(
        range(len(place[0]) // window[0]), range(len(place[1]) // window[1])
    ):
        rows = [wy * window[0] + a for a in range(window[0])]
        columns = [wx * window[1] + b for b in range(window[1])]
        cells = list(itertools.product(rows, columns))
        tokens = []
        for i, j in cells:
            y, x = place[0][i], place[1][j]
            tokens.append(pad.expand(batch, -1) if y is None or x is None else qkv[:, y, x])
        stacked = torch.stack(tokens, 1).view(batch, n, 3, heads, -1)
        for index, (i, j) in enumerate(cells):
            y, x = place[0][i], place[1][j]
            if y is None or x is None:
                continue
            q = stacked[:, index, 0]  # (N, heads, d)
            logits = torch.einsum("nhd,nkhd->nhk", q, stacked[:, :, 1]) / q.shape[-1] ** 0.5
            logits = logits + bias[:, index]
            for k, (ki, kj) in enumerate(cells):
                ends = [len(place[0]) - shift[0], len(place[1]) - shift[1]]
                if (i >= ends[0]) != (ki >= ends[0]) or (j >= ends[1]) != (kj >= ends[1]):
                    logits[..., k] -= 100
            y_out = torch.einsum("nhk,nkhd->nhd", logits.softmax(-1), stacked[:, :, 2])
            out[:, y, x] = y_out.flatten(1)
    return out


def sample(height: int, width: int, window=(4, 4), shift=(0, 0), pad_first=True, **options):
    """A call of the operator."""
    return Sample(
        inputs(height, width, window, **options),
        {"window_size": window, "shift": shift, "pad_first": pad_first},
    )


class TestWindowAttention(OpTester):
    op = "window_attention"
    function = staticmethod(window_attention)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": sample(3, 5, (2, 3), (1, 1), channels=2),
            "empty batch": sample(5, 7, batch=0),
            "one pixel": sample(1, 1, channels=5),
            "prime sizes": sample(13, 19, (3, 5), (1, 2), channels=5),
            "whole windows": sample(8, 12, pad=False),
            "rolled after padding": sample(9, 10, (7, 7), (3, 3), channels=8),
            "rolled before padding": sample(9, 10, (7, 7), (3, 3), False, channels=8),
            "one axis rolled": sample(7, 9, (3, 4), (0, 2), False, channels=17),
            "Swin's heads": sample(15, 14, (7, 7), (3, 3), batch=1, channels=32),
            "wide heads": sample(5, 5, (3, 3), (1, 1), batch=1, heads=1, channels=70, scale=0.5),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        qkv, bias, pad = inputs(5, 7)

        def call(*args, window_size=4, **more) -> Sample:
            return Sample(args, {"window_size": window_size, **more})

        return {
            "three dimensions": (call(qkv[0], bias, pad), ValueError),
            "no width": (call(qkv[:, :, :0], bias, pad), ValueError),
            "no pad": (call(qkv, bias), ValueError),
            "short pad": (call(qkv, bias, pad[1:]), ValueError),
            "shift of a window": (call(qkv, bias, pad, shift=4), ValueError),
            "negative shift": (call(qkv, bias, pad, shift=-1), ValueError),
            "another window": (call(qkv, bias, pad, window_size=3), ValueError),
            "no window": (call(qkv, bias, pad, window_size=0), ValueError),
            "heads that do not divide": (call(qkv[..., :-3], bias, pad[:-3]), ValueError),
            "no heads": (call(qkv, bias[:0], pad), ValueError),
            "whole numbers": (call(qkv.long(), bias, pad), TypeError),
            "two dtypes": (call(qkv, bias, pad.float()), TypeError),
            "a coarser bias": (call(qkv, bias.float(), pad), TypeError),
            "two devices": (call(qkv, bias.to("meta"), pad), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        window = (rng.choice([1, 2, 4]), rng.choice([1, 3, 5]))
        n, h, w = rng.choice([0, 1, 2]), rng.choice([0, 1, 3, 8]), rng.choice([1, 5, 11])
        heads, channels = rng.choice([1, 2]), rng.choice([1, 3, 16, 19])
        dtype = rng.choice([torch.float32, torch.bfloat16, torch.float16])
        tokens = math.prod(window)
        shapes = [[n, h, w, 3 * heads * channels], [heads, tokens, tokens], [3 * heads * channels]]
        if rng.random() < 0.3:
            spoilt = rng.choice(shapes)
            spoilt[rng.randrange(len(spoilt))] += 1
        tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
        if rng.random() < 0.1:
            tensors[rng.randrange(3)] = rng.choice([torch.zeros(2, 2), tensors[0].long()])
        if rng.random() < 0.5 and tensors[0].is_floating_point():
            tensors[0].requires_grad_()
        if rng.random() < 0.2:
            tensors.pop()
        shift = (rng.choice([0, 0, 1]), rng.choice([0, 1, 2]))
        return Sample(tuple(tensors), {"window_size": window, "shift": shift})

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        window = [rng.choice([1, 2, 4]), rng.choice([1, 3, 5])]
        n, h, w = rng.choice([0, 1, 2]), rng.choice([0, 1, 3, 8]), rng.choice([1, 5, 11])
        heads, channels = rng.choice([1, 2]), rng.choice([1, 3, 16, 19])
        tokens, width = math.prod(window), heads * channels
        shapes = [(n, h, w, width), (n, h, w, 3 * width), (heads, tokens, tokens), (3 * width,)]
        tensors: list[Tensor | None] = [torch.randn(shape) for shape in shapes]
        if rng.random() < 0.5:
            index = rng.randrange(4)
            tensor = tensors[index]
            assert tensor is not None
            tensors[index] = rng.choice(
                [
                    torch.randn(3),
                    tensor.double(),
                    tensor.to(torch.int32),
                    tensor.unsqueeze(0),
                    torch.randn([size + 1 for size in tensor.shape]),
                    tensor.transpose(-1, 0),
                ]
            )
        if rng.random() < 0.3:
            tensors[3] = None
        shift = [rng.choice([0, 0, 1, 7, -1]), rng.choice([0, 0, 1, 2])]
        rest = (window, shift, rng.random() < 0.5, 0.5)
        if rng.random() < 0.5:
            return "forward", (*tensors[1:], *rest)
        return "backward", (*tensors, *rest)


@pytest.mark.gpu
class TestWindowAttentionOnGpu(TestWindowAttention):
    device = "cuda"


@pytest.mark.parametrize("backend", ["reference", "cpp"])
@pytest.mark.parametrize("pad_first", [True, False])
@pytest.mark.parametrize(("window", "shift"), WINDOWS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_attention_of_each_position_alone(size, window, shift, pad_first, backend) -> None:
    if (reason := OPERATORS["window_attention"].why_not(backend, "cpu", torch.float64)) is not None:
        pytest.skip(f"{backend} {reason}")
    args = inputs(*size, window)
    with use_backend(backend):
        got = window_attention(*args, window_size=window, shift=shift, pad_first=pad_first)
    torch.testing.assert_close(got, position_by_position(*args, window, shift, pad_first))


@pytest.mark.parametrize("pad_first", [True, False])
@pytest.mark.parametrize(("window", "shift"), WINDOWS)
def test_composition_of_torchs_attention_gives_the_same(window, shift, pad_first) -> None:
    args = [t.requires_grad_() for t in inputs(7, 9, window)]
    rest = (window, shift, pad_first, 0.5)
    results = [form.forward(*args, *rest) for form in (composition, reference)]
    signal = torch.randn_like(results[0])
    grads = [torch.autograd.grad(result, args, signal) for result in results]
    torch.testing.assert_close(results[0], results[1])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_composition_runs_where_there_is_no_kernel(monkeypatch) -> None:
    operator = OPERATORS["window_attention"]
    monkeypatch.setattr(operator, "choose", lambda *facts: "reference")
    calls = []
    original = composition.forward
    monkeypatch.setattr(composition, "forward", lambda *a: calls.append(a) or original(*a))
    args = inputs(7, 9)
    got = window_attention(*args, window_size=4, shift=2)
    assert calls
    with use_backend("reference"):
        expected = window_attention(*args, window_size=4, shift=2)
    torch.testing.assert_close(got, expected)


def test_mask_does_not_grow_with_the_batch(monkeypatch) -> None:
    masks = []

    def attend(q, k, v, attn_mask, scale):
        masks.append(attn_mask.untyped_storage().nbytes())
        return v

    monkeypatch.setattr(F, "scaled_dot_product_attention", attend)
    for batch in (1, 3):
        for shift in ((0, 0), (2, 2)):
            composition.forward(*inputs(7, 9, batch=batch), (4, 4), shift, True, 1.0)
    assert masks[:2] == masks[2:]
    assert masks[0] == 2 * 16 * 16 * 8  # heads, n, n, bytes
    assert masks[1] == 6 * masks[0]  # windows


def test_only_the_inputs_are_kept_for_the_backward_pass() -> None:
    from mmattn.training_memory import saved_for_backward

    leaves = [t.requires_grad_() for t in inputs(8, 12)]
    with use_backend("reference"):
        kept = saved_for_backward(lambda: (window_attention(*leaves, window_size=4, shift=2),))
    assert kept["other"] <= sum(t.nbytes for t in leaves)


def test_regions_do_not_mix() -> None:
    """The gradient of an output reaches its own window and region, up to exp(-100)."""
    qkv, bias, _ = inputs(8, 8, batch=1)
    qkv.requires_grad_()
    out = window_attention(qkv, bias, window_size=4, shift=2)
    (grad,) = torch.autograd.grad(out[0, 0, 0].sum(), qkv)
    seen = grad[0].abs().amax(-1) > 1e-30
    assert seen[:2, :2].all() and seen.sum() == 4


def test_weights_of_a_large_bias_stay_finite_in_half_precision() -> None:
    qkv, bias, pad = inputs(7, 9)
    bias[0, 0, 0] = 30
    expected = window_attention(qkv, bias, pad, window_size=4, shift=2)
    half = window_attention(qkv.half(), bias.half(), pad.half(), window_size=4, shift=2)
    assert half.isfinite().all()
    torch.testing.assert_close(half.double(), expected, rtol=2e-2, atol=2e-2)


def test_operations_are_counted_as_torch_counts_them() -> None:
    qkv, bias, _ = (t if t is None else t.float() for t in inputs(8, 12, pad=False))
    qkv.requires_grad_()
    with use_backend("reference"), FlopCounterMode(display=False) as counter:
        window_attention(qkv, bias, window_size=4).sum().backward()
    pairs = 2 * 6 * 16 * 16
    assert counter.get_total_flops() == 4 * pairs * 6 + 10 * pairs * 6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("shift", "at", "total", "magnitude", "spread", "of_input", "of_weights"),
    [
        (
            0,
            [0.187687559, -0.224747125, 0.325219137, -0.474867203,
             -0.295831244, 0.357341543, -0.310009414, -0.0130157554],
            88.8943113, 1548.35789, 0.29015358, (68.7471314, 2400.64485),
            (6.07670437, 102192.008, 5555.18712, 6389.22137, 1548.29899),
        ),
        (
            2,
            [0.183811999, -0.216467898, 0.336946839, -0.483985852,
             -0.278060051, 0.343918923, -0.312633743, -0.0166359997],
            88.9570936, 1549.39724, 0.290313355, (68.7549407, 2404.24952),
            (4.24847604, 102255.362, 5557.5492, 6404.31925, 1549.16318),
        ),
    ],
)  # fmt: skip
def test_golden_values(shift, at, total, magnitude, spread, of_input, of_weights, dtype) -> None:
    """Values of the authors' layer, for computed weights: window 4, 32 channels, 4 heads."""
    shapes = {
        "relative_position_bias_table": (49, 4), "qkv.weight": (96, 32), "qkv.bias": (96,),
        "proj.weight": (32, 32), "proj.bias": (32,),
    }  # fmt: skip
    weights = {k: golden_value(k, shape).to(dtype).requires_grad_() for k, shape in shapes.items()}
    x = golden_image(2, 32, 8, 12).to(dtype).requires_grad_()
    tokens = torch.tensor(list(itertools.product(range(4), range(4))))
    apart = tokens[:, None] - tokens[None] + 3  # query minus key
    table = weights["relative_position_bias_table"]
    bias = table[7 * apart[..., 0] + apart[..., 1]].permute(2, 0, 1)
    qkv = F.linear(x.permute(0, 2, 3, 1), weights["qkv.weight"], weights["qkv.bias"])
    y = window_attention(qkv, bias, window_size=4, shift=shift)
    y = F.linear(y, weights["proj.weight"], weights["proj.bias"]).permute(0, 3, 1, 2).contiguous()
    grads = torch.autograd.grad(y.square().sum() / 2, [x, *weights.values()])
    exact = dtype == torch.float64
    close = {"rel": 1e-8, "abs": 1e-8} if exact else {"rel": 2e-4, "abs": 2e-5}
    flat = y.detach().flatten()
    places = [i * (flat.numel() - 1) // 7 for i in range(8)]
    assert flat[places].tolist() == pytest.approx(at, **close)
    found = [flat.double().sum(), flat.double().abs().sum(), flat.double().std()]
    assert found == pytest.approx([total, magnitude, spread], rel=close["rel"])
    of_x = [grads[0].double().sum(), grads[0].double().abs().sum()]
    assert of_x == pytest.approx(of_input, rel=close["rel"])
    sums = [g.double().abs().sum().item() for g in grads[1:]]
    assert sums == pytest.approx(of_weights, rel=close["rel"])
