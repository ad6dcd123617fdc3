"""Promise: criss-cross attention is one softmax over row and column, itself counted once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import criss_cross_attention

SIZES = [(5, 7), (1, 6), (6, 1), (1, 1), (9, 9)]


def inputs(height: int, width: int, *, batch=2, depth=3, channels=4, dtype=torch.float64, scale=1):
    """Random query, key and value."""
    torch.manual_seed(height * 100 + width)
    shape = (batch, depth, height, width)
    q, k = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
    return scale * q, scale * k, torch.randn(batch, channels, height, width, dtype=dtype)


def dense(q: Tensor, k: Tensor, v: Tensor, block: int = 1024) -> Tensor:
    """Attention of every position to every other one, those off row and column masked out."""
    height, width = q.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = y.flatten(), x.flatten()
    q, k, v = (t.flatten(2).transpose(1, 2) for t in (q, k, v))  # (N, HW, channels)
    rows = []
    for part in torch.arange(height * width).split(block):
        seen = (y[part, None] == y) | (x[part, None] == x)
        logits = (q[:, part] @ k.transpose(1, 2)).masked_fill(~seen, -torch.inf)
        rows.append(logits.softmax(-1) @ v)
    return torch.cat(rows, 1).transpose(1, 2).unflatten(2, (height, width))


def weights(q: Tensor, k: Tensor) -> Tensor:
    """The attention weights, read off by attending to unit vectors. Shape (N, HW, H, W)."""
    n, _, height, width = q.shape
    unit = torch.eye(height * width, dtype=q.dtype).unflatten(1, (height, width))
    return criss_cross_attention(q, k, unit.expand(n, -1, -1, -1))


@pytest.mark.parametrize("size", SIZES)
def test_equals_dense_masked_attention(size: tuple[int, int]) -> None:
    q, k, v = inputs(*size)
    torch.testing.assert_close(criss_cross_attention(q, k, v), dense(q, k, v))


def test_equals_dense_masked_attention_at_the_papers_size() -> None:
    q, k, v = inputs(97, 97, batch=1, depth=8, dtype=torch.float32)
    expected = dense(q, k, v)
    torch.testing.assert_close(criss_cross_attention(q, k, v), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 4), (1, 3), (3, 1), (1, 1)])
def test_first_and_second_derivatives(size: tuple[int, int]) -> None:
    args = [t.requires_grad_() for t in inputs(*size, depth=2, channels=2)]
    assert torch.autograd.gradcheck(criss_cross_attention, args)
    assert torch.autograd.gradgradcheck(criss_cross_attention, args)


def test_gradients_equal_those_of_dense_attention() -> None:
    args = [t.requires_grad_() for t in inputs(5, 7)]
    out = criss_cross_attention(*args)
    signal = torch.randn_like(out)
    got = torch.autograd.grad(out, args, signal)
    expected = torch.autograd.grad(dense(*args), args, signal)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("size", SIZES)
def test_a_position_sees_its_row_and_column_and_nothing_else(size: tuple[int, int]) -> None:
    height, width = size
    q, k, _ = inputs(*size, batch=1)
    w = weights(q, k).unflatten(1, size)[0]  # (key y, key x, query y, query x)
    for y in range(height):
        for x in range(width):
            seen = w[:, :, y, x] > 0
            assert seen.sum() == height + width - 1
            assert seen[y].all()
            assert seen[:, x].all()


@pytest.mark.parametrize("size", SIZES)
def test_equal_logits_share_the_weight_equally(size: tuple[int, int]) -> None:
    """Catches a position that counts itself twice, and two softmaxes instead of one."""
    w = weights(*(torch.zeros(1, 2, *size, dtype=torch.float64) for _ in range(2)))
    share = 1 / (sum(size) - 1)
    torch.testing.assert_close(w[w > 0], torch.full_like(w[w > 0], share))
    torch.testing.assert_close(w.sum(1), torch.ones_like(w[:, 0]))


def test_constant_values_stay_constant() -> None:
    q, k, _ = inputs(5, 7)
    v = torch.tensor([2.0, -3.0], dtype=q.dtype).view(1, 2, 1, 1).expand(2, 2, 5, 7)
    torch.testing.assert_close(criss_cross_attention(q, k, v), v)


def test_transposed_input_gives_transposed_output() -> None:
    q, k, v = inputs(5, 7)
    got = criss_cross_attention(*(t.transpose(2, 3) for t in (q, k, v)))
    torch.testing.assert_close(got, criss_cross_attention(q, k, v).transpose(2, 3))


def test_permuting_rows_and_columns_permutes_the_output() -> None:
    q, k, v = inputs(5, 7)
    rows, columns = torch.randperm(5), torch.randperm(7)

    def shuffled(t: Tensor) -> Tensor:
        return t[:, :, rows][:, :, :, columns]

    got = criss_cross_attention(*map(shuffled, (q, k, v)))
    torch.testing.assert_close(got, shuffled(criss_cross_attention(q, k, v)))


@pytest.mark.parametrize("size", SIZES)
def test_huge_logits_stay_finite(size: tuple[int, int]) -> None:
    q, k, v = (t.requires_grad_() for t in inputs(*size, dtype=torch.float32, scale=300))
    out = criss_cross_attention(q, k, v)
    assert out.isfinite().all()
    for grad in torch.autograd.grad(out.sum(), (q, k, v)):
        assert grad.isfinite().all()


def test_itself_may_be_the_largest_logit_by_far() -> None:
    """Where the column leaves itself out, nothing may overflow or lose the answer."""
    q, _, v = inputs(5, 7, dtype=torch.float32, scale=100)
    out = criss_cross_attention(q, q, v)
    expected = dense(q.double(), q.double(), v.double())
    torch.testing.assert_close(out.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_once(dtype: torch.dtype) -> None:
    """Logits of several thousand would overflow float16 products and ruin bfloat16 ones."""
    q, k, v = (t.to(dtype) for t in inputs(6, 5, depth=64, scale=16))
    out = criss_cross_attention(q, k, v)
    assert out.dtype == dtype
    truth = dense(q.double(), k.double(), v.double())
    error = (out.double() - truth).abs().max()
    assert error <= torch.finfo(dtype).eps * truth.abs().max()


def test_autocast_does_not_reach_the_logits() -> None:
    q, k, v = inputs(6, 5, depth=64, dtype=torch.float32, scale=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = criss_cross_attention(q, k, v)
    assert torch.equal(out, criss_cross_attention(q, k, v))


def test_float64_is_not_rounded_to_float32() -> None:
    q, k, v = inputs(5, 7)
    error = (criss_cross_attention(q, k, v) - dense(q, k, v)).abs().max()
    assert error < 1e-13


def test_strides_do_not_matter() -> None:
    q, k, v = inputs(5, 7)
    expected = criss_cross_attention(q, k, v)
    channels_last = [t.to(memory_format=torch.channels_last) for t in (q, k, v)]
    stepped = [torch.stack([t, t], -1)[..., 0] for t in (q, k, v)]
    sliced = [torch.cat([t, t], 1)[:, : t.shape[1]] for t in (q, k, v)]
    for same in (channels_last, stepped, sliced):
        torch.testing.assert_close(criss_cross_attention(*same), expected)


def test_empty_batch_has_gradients_too() -> None:
    q, k, v = (t[:0].requires_grad_() for t in inputs(5, 7))
    out = criss_cross_attention(q, k, v)
    assert out.shape == v.shape
    out.sum().backward()
    assert v.grad.shape == v.shape


def test_compiles_as_one_graph_with_its_gradient() -> None:
    compiled = torch.compile(criss_cross_attention, fullgraph=True, backend="aot_eager")
    args = [t.requires_grad_() for t in inputs(5, 7, dtype=torch.float32)]
    out, expected = compiled(*args), criss_cross_attention(*args)
    torch.testing.assert_close(out, expected)
    for a, b in zip(
        torch.autograd.grad(out.square().sum(), args),
        torch.autograd.grad(expected.square().sum(), args),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_results_repeat_bit_for_bit() -> None:
    args = inputs(9, 9, dtype=torch.float32)
    first = criss_cross_attention(*args)
    assert all(torch.equal(first, criss_cross_attention(*args)) for _ in range(20))


def test_cost_grows_with_h_plus_w() -> None:
    with FlopCounterMode(display=False) as counter:
        criss_cross_attention(*inputs(6, 10, batch=1, depth=2, channels=8))
    assert counter.get_total_flops() == 2 * 6 * 10 * (6 + 10) * (2 + 8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda q, k, v: (q[0], k, v), ValueError, "query must have 4 dimensions"),
        (lambda q, k, v: (q, k[..., 1:], v), ValueError, "query and key must have one shape"),
        (lambda q, k, v: (q, k, v[..., 1:]), ValueError, "value must agree with query in N, H"),
        (lambda q, k, v: (q, k, v[:1]), ValueError, "value must agree with query in N, H"),
        (lambda q, k, v: (q, k, v.float()), TypeError, "must have one dtype"),
        (lambda q, k, v: (q.long(), k, v), TypeError, "query must be a floating point"),
        (lambda *t: [x[:, :, :0] for x in t], ValueError, "H and W must be at least 1"),
        (lambda q, k, v: (q, k, v.to("meta")), ValueError, "must be on one device"),
    ],
)
def test_bad_input_is_named(change, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        criss_cross_attention(*change(*inputs(5, 7)))
