"""Promise: criss-cross attention is one softmax over row and column, itself counted once."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import OPERATORS, criss_cross_attention, criss_cross_weights, use_backend
from mmattn.testing.op_tester import OpTester, Sample

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


def sample(height: int, width: int, **options) -> Sample:
    """A call of the operator."""
    return Sample(inputs(height, width, **options))


class TestCrissCross(OpTester):
    op = "criss_cross"
    function = staticmethod(criss_cross_attention)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": sample(3, 4, depth=2),
            "empty batch": sample(5, 7, batch=0),
            "one pixel": sample(1, 1, channels=5),
            "prime sizes": sample(13, 19, depth=5, channels=37),
            "one row": sample(1, 23, depth=16, channels=16),
            "one column": sample(23, 1, depth=17, channels=33),
            "no value": sample(3, 4, channels=0),
            "no query": sample(3, 4, depth=0),
            "two blocks of queries": sample(2, 149, batch=1, depth=2, channels=3),
            "full panels": sample(64, 5, batch=1, depth=64, channels=128, scale=0.3),
        }

    def assert_close(self, actual, truth, tolerance: float) -> None:
        """A lone position has the weight 1, so query and key get no gradient but rounding."""
        pairs = list(zip(actual, truth, strict=True))
        zero = [b.numel() > 0 and b.detach().abs().max() < 1e-12 for _, b in pairs]
        for (a, b), nothing in zip(pairs, zero, strict=True):
            assert not nothing or (a - b).abs().max() <= tolerance
        rest = [pair for pair, nothing in zip(pairs, zero, strict=True) if not nothing]
        super().assert_close([a for a, _ in rest], [b for _, b in rest], tolerance)

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        q, k, v = inputs(5, 7)
        return {
            "three dimensions": (Sample((q[0], k, v)), ValueError),
            "another key": (Sample((q, k[..., 1:], v)), ValueError),
            "another batch": (Sample((q, k, v[:1])), ValueError),
            "whole numbers": (Sample((q.long(), k.long(), v.long())), TypeError),
            "two dtypes": (Sample((q, k, v.float())), TypeError),
            "two devices": (Sample((q, k, v.to("meta"))), ValueError),
            "no width": (Sample((q[..., :0], k[..., :0], v[..., :0])), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        n, d, c, h, w = (rng.choice(o) for o in ([0, 1, 2], *[[0, 1, 3, 16, 19]] * 4))
        dtype = rng.choice([torch.float32, torch.bfloat16, torch.float16])
        shapes = [[n, d, h, w], [n, d, h, w], [n, c, h, w]]
        if rng.random() < 0.3:
            shapes[rng.randrange(3)][rng.randrange(4)] += 1
        tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
        if rng.random() < 0.1:
            tensors[rng.randrange(3)] = rng.choice([torch.zeros(2, 2), tensors[0].long()])
        if rng.random() < 0.5 and tensors[2].is_floating_point():
            tensors[2].requires_grad_()
        return Sample(tuple(tensors))

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        n, d, c, h, w = (rng.choice(o) for o in ([0, 1, 2], *[[0, 1, 3, 16, 19]] * 4))
        wide, narrow = [n, c, h, w], [n, d, h, w]
        tensors = [torch.randn(s) for s in (wide, (n, h, w), narrow, narrow, wide, wide, (n, h, w))]
        if rng.random() < 0.5:
            index = rng.randrange(7)
            tensors[index] = rng.choice(
                [
                    torch.randn(3),
                    tensors[index].double(),
                    tensors[index].to(torch.int32),
                    tensors[index].unsqueeze(0),
                    torch.randn([size + 1 for size in tensors[index].shape]),
                    tensors[index].transpose(-1, -2),
                    torch.randn(n, d + 1, h, w),
                ]
            )
        if rng.random() < 0.3:
            tensors[1] = None
        if rng.random() < 0.5:
            return "forward", tuple(tensors[2:5])
        return "backward", tuple(tensors)


@pytest.mark.gpu
class TestCrissCrossOnGpu(TestCrissCross):
    device = "cuda"


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
    """Leaving a position out of its column neither overflows nor loses the answer."""
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


def test_backward_cost_is_that_of_recomputed_weights() -> None:
    args = [t.requires_grad_() for t in inputs(6, 10, batch=1, depth=2, channels=8)]
    out = criss_cross_attention(*args).sum()
    with FlopCounterMode(display=False) as counter:
        out.backward()
    assert counter.get_total_flops() == 2 * 6 * 10 * (6 + 10) * (3 * 2 + 2 * 8)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_no_attention_map_is_kept_for_the_backward_pass(layout: torch.memory_format) -> None:
    """Query, key, value, output and one number for each position, each of them once."""
    args = inputs(20, 30, depth=8, channels=16, dtype=torch.float32)
    args = [t.contiguous(memory_format=layout).requires_grad_() for t in args]
    kept = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = criss_cross_attention(*args)
    assert sum(kept.values()) == 4 * 2 * 20 * 30 * (8 + 8 + 16 + 16 + 1)
    out.sum().backward()


def kernels() -> list:
    """The backends that run on the CPU, those that are not there skipped with the reason."""
    reason = OPERATORS["criss_cross"].why_not("cpp", "cpu", torch.float64, 3)
    skip = pytest.mark.skipif(reason is not None, reason=f"criss_cross: cpp {reason}")
    return ["reference", pytest.param("cpp", marks=skip)]


@pytest.mark.parametrize("backend", kernels())
@pytest.mark.parametrize("size", SIZES)
def test_log_sum_exp_gives_the_weights(size: tuple[int, int], backend: str) -> None:
    q, k, v = inputs(*size)
    with use_backend(backend):
        out, lse = criss_cross_attention(q, k, v, return_lse=True)
    torch.testing.assert_close(out, dense(q, k, v))
    logits = torch.einsum("ndhw,ndyx->nyxhw", q, k)  # (N, key y, key x, query y, query x)
    w = weights(q, k).unflatten(1, size)
    torch.testing.assert_close(torch.where(w > 0, (logits - lse[:, None, None]).exp(), 0.0), w)


@pytest.mark.parametrize("backend", kernels())
def test_log_sum_exp_is_differentiable(backend: str) -> None:
    args = [t.requires_grad_() for t in inputs(3, 4)]
    with use_backend(backend):
        assert torch.autograd.gradcheck(
            lambda *t: criss_cross_attention(*t, return_lse=True), args, fast_mode=True
        )
        lse = criss_cross_attention(*args, return_lse=True)[1]
        grads = torch.autograd.grad(lse.sum(), args, materialize_grads=True)
    torch.testing.assert_close(grads[2], torch.zeros_like(args[2]))
    assert grads[0].abs().max() > 0.1


@pytest.mark.parametrize("backend", kernels())
def test_second_derivatives_also_of_the_log_sum_exp(backend: str) -> None:
    """Output and log-sum-exp meet in one loss, and the third derivative is there as well."""
    q, k, v = (t.requires_grad_() for t in inputs(2, 3, batch=1, depth=2, channels=2))

    def loss(*args: Tensor) -> Tensor:
        out, lse = criss_cross_attention(*args, return_lse=True)
        return (out * lse.unsqueeze(1)).square().sum()

    def gradient(*args: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss(*args), args, create_graph=True)

    with use_backend(backend):
        assert torch.autograd.gradcheck(gradient, (q, k, v))
        assert torch.autograd.gradgradcheck(gradient, (q, k, v), fast_mode=True, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_weights_of_chosen_positions(size: tuple[int, int]) -> None:
    height, width = size
    q, k, _ = inputs(*size)
    positions = [(0, 0), (height - 1, width - 1), (height // 2, width // 2)]
    actual = criss_cross_weights(q, k, positions)
    every = weights(q, k).unflatten(1, size)
    for index, (y, x) in enumerate(positions):
        torch.testing.assert_close(actual[:, index], every[:, :, :, y, x])
    assert criss_cross_weights(q.half(), k.half(), torch.tensor(positions)).dtype == torch.float32
    assert criss_cross_weights(q, k, torch.zeros(0, 2, dtype=torch.int64)).shape == (2, 0, *size)


@pytest.mark.parametrize(
    ("positions", "error", "message"),
    [
        ([(5, 0)], ValueError, r"position \(5, 0\) is outside the feature map of 5 x 7"),
        ([(0, -1)], ValueError, r"position \(0, -1\) is outside"),
        ([0, 1], ValueError, r"must be rows and columns of shape \(P, 2\)"),
        ([(0.5, 1.0)], TypeError, "must be whole numbers"),
    ],
)
def test_wrong_positions_are_named(positions, error: type[Exception], message: str) -> None:
    q, k, _ = inputs(5, 7)
    with pytest.raises(error, match=message):
        criss_cross_weights(q, k, positions)


@pytest.mark.skipif(
    OPERATORS["criss_cross"].why_not("cpp", "cpu", torch.float32, 3) is not None,
    reason="criss_cross: cpp is not built",
)
def test_infinite_and_undefined_numbers_stay_where_they_are_seen() -> None:
    """A NaN spoils its row and its column, no more and no less, in every backend alike."""
    q, k, v = inputs(5, 7, batch=1, dtype=torch.float32)
    v[0, :, 2, 3] = torch.nan
    masks = []
    for backend in ("reference", "cpp"):
        with use_backend(backend):
            masks.append(criss_cross_attention(q, k, v)[0, 0].isnan())
    assert torch.equal(*masks)
    assert masks[0].sum() == 5 + 7 - 1


@pytest.mark.slow
def test_more_than_two_to_the_31_numbers() -> None:
    """Offsets need 64 bits: the last row of a huge image is that of the row alone."""
    import psutil

    if psutil.virtual_memory().available < 14 * 2**30:
        pytest.skip("needs 14 GiB of free memory")
    shape = (2, 1, 3, 2**9)  # two images, so that the second starts far behind
    q, k = torch.randn(shape).bfloat16(), torch.randn(shape).bfloat16()
    v = torch.zeros(2, 2**20, 3, 2**9, dtype=torch.bfloat16).contiguous(
        memory_format=torch.channels_last
    )
    assert v.numel() > 2**31
    v[1, -7:] = torch.randn(7, 3, 2**9).bfloat16()
    with torch.no_grad():
        actual = criss_cross_attention(q[1:], k[1:], v[1:])[:, -7:]
        expected = criss_cross_attention(q[1:], k[1:], v[1:, -7:])
    assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda q, k, v: (q[0], k, v), ValueError, "query must have 4 dimensions"),
        (lambda q, k, v: (q, k[..., 1:], v), ValueError, "query and key must have the same shape"),
        (lambda q, k, v: (q, k, v[..., 1:]), ValueError, "value must agree with query in N, H"),
        (lambda q, k, v: (q, k, v[:1]), ValueError, "value must agree with query in N, H"),
        (lambda q, k, v: (q, k, v.float()), TypeError, "must have the same dtype"),
        (lambda q, k, v: (q.long(), k, v), TypeError, "query must be floating point"),
        (lambda *t: [x[:, :, :0] for x in t], ValueError, "H and W must be at least 1"),
        (lambda q, k, v: (q, k, v.to("meta")), ValueError, "must be on the same device"),
    ],
)
def test_bad_input_is_named(change, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        criss_cross_attention(*change(*inputs(5, 7)))
