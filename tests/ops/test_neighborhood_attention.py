"""Promise: every position attends to the k x k nearest ones, borders and dilations included."""

from __future__ import annotations

import itertools
import random
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import OPERATORS, neighborhood_attention_2d, use_backend
from mmattn.ops.neighborhood_attention import natten_backend
from mmattn.ops.neighborhood_attention.reference import neighbours
from mmattn.testing.op_tester import OpTester, Sample


def inputs(height, width, kernel=(3, 3), *, batch=2, heads=2, channels=3, bias=True, scale=1.0):
    """Random queries, keys, values and table. The maps are views of one, as of a projection."""
    torch.manual_seed(height * 100 + width)
    maps = torch.randn(batch, height, width, 3, heads, channels, dtype=torch.float64) * scale
    q, k, v = (t.permute(0, 3, 1, 2, 4) for t in maps.unbind(3))
    sides = [2 * side - 1 for side in kernel]
    return q, k, v, torch.randn(heads, *sides, dtype=torch.float64) if bias else None


def window(length: int, i: int, kernel: int, dilation: int) -> dict[int, int]:
    """Keys of position i, each with its entry of the table: by looking, not by formula."""
    alike = [j for j in range(length) if j % dilation == i % dilation]
    count = min(kernel, len(alike))
    place = alike.index(i)
    # Of all windows of this many neighbours that hold i, the one that it is most in the middle of.
    starts = [s for s in range(len(alike) - count + 1) if s <= place < s + count]
    start = min(starts, key=lambda s: (abs(2 * (place - s) - (kernel - 1)), -s))
    return {alike[m]: m - place + kernel - 1 for m in range(start, start + count)}


def dense(q, k, v, kernel, dilation, rpb) -> Tensor:
    """Attention to the whole map, with everything outside of the windows masked."""
    _, heads, height, width, channels = q.shape
    bias = torch.full((heads, height, width, height, width), -torch.inf, dtype=q.dtype)
    for i, j in itertools.product(range(height), range(width)):
        rows, columns = (
            window(height, i, kernel[0], dilation[0]),
            window(width, j, kernel[1], dilation[1]),
        )
        for (y, by), (x, bx) in itertools.product(rows.items(), columns.items()):
            bias[:, i, j, y, x] = 0 if rpb is None else rpb[:, by, bx]
    q, k, v = (t.flatten(2, 3) for t in (q, k, v))
    logits = q @ k.mT / channels**0.5 + bias.flatten(3).flatten(1, 2)
    return (logits.softmax(-1) @ v).unflatten(2, (height, width))


def sample(height: int, width: int, kernel=(3, 3), dilation=(1, 1), **options) -> Sample:
    """A call of the operator."""
    *maps, bias = inputs(height, width, kernel, **options)
    args = (*maps, kernel, dilation)
    return Sample(args if bias is None else (*args, bias))


class TestNeighborhoodAttention(OpTester):
    op = "neighborhood_attention"
    function = staticmethod(neighborhood_attention_2d)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": sample(3, 4, channels=2, batch=1),
            "empty batch": sample(5, 7, batch=0),
            "one pixel": sample(1, 1, channels=5),
            "prime sizes": sample(13, 19, (3, 5), (2, 1), channels=5),
            "no table": sample(6, 5, bias=False),
            "smaller than the window": sample(4, 3, (7, 5), channels=4),
            "some residues smaller than the window": sample(5, 8, (3, 3), (2, 3)),
            "dilation beyond the map": sample(3, 4, (3, 3), (9, 2)),
            "one row": sample(1, 23, (3, 7), channels=16),
            "one column": sample(23, 1, (7, 3), channels=17),
            "the paper's": sample(9, 37, (7, 7), batch=1, channels=32),
            "blocks of rows": sample(41, 8, (5, 3), (1, 1), batch=1, heads=1, channels=33),
            "wide kernel": sample(19, 21, (17, 19), batch=1, channels=4),
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
        q, k, v, b = inputs(5, 7)
        return {
            "four dimensions": (Sample((q[0], k, v, 3)), ValueError),
            "another key": (Sample((q, k[..., 1:, :], v, 3)), ValueError),
            "another batch": (Sample((q, k, v[:1], 3)), ValueError),
            "an even kernel": (Sample((q, k, v, 4)), ValueError),
            "a huge kernel": (Sample((q, k, v, 65)), ValueError),
            "no kernel": (Sample((q, k, v, 0)), ValueError),
            "no dilation": (Sample((q, k, v, 3, 0)), ValueError),
            "another table": (Sample((q, k, v, 5, 1, b)), ValueError),
            "whole numbers": (Sample((q.long(), k.long(), v.long(), 3)), TypeError),
            "two dtypes": (Sample((q, k, v.float(), 3)), TypeError),
            "a coarser table": (Sample((q, k, v, 3, 1, b.float())), TypeError),
            "two devices": (Sample((q, k, v.to("meta"), 3)), ValueError),
            "no width": (Sample((q[..., :0, :], k[..., :0, :], v[..., :0, :], 3)), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        n, heads = rng.choice([0, 1, 2]), rng.choice([1, 2])
        h, w, d = rng.choice([0, 1, 3, 16]), rng.choice([1, 5, 19]), rng.choice([1, 3, 16, 19])
        kernel = (rng.choice([1, 3, 5]), rng.choice([1, 2, 3, 7]))
        dtype = rng.choice([torch.float32, torch.bfloat16, torch.float16])
        shapes = [[n, heads, h, w, d] for _ in range(3)]
        shapes.append([heads, *(2 * side - 1 for side in kernel)])
        if rng.random() < 0.3:
            spoilt = rng.choice(shapes)
            spoilt[rng.randrange(len(spoilt))] += 1
        tensors = [torch.randn(shape, dtype=dtype) for shape in shapes]
        if rng.random() < 0.1:
            tensors[rng.randrange(4)] = rng.choice([torch.zeros(2, 2), tensors[0].long()])
        if rng.random() < 0.5 and tensors[0].is_floating_point():
            tensors[0].requires_grad_()
        q, k, v, bias = tensors
        dilation = (rng.choice([1, 2, 30]), rng.choice([1, 3]))
        return Sample((q, k, v, kernel, dilation, bias if rng.random() < 0.7 else None))

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        n, heads = rng.choice([0, 1, 2]), rng.choice([1, 2])
        h, w, d = rng.choice([0, 1, 3, 16]), rng.choice([1, 5, 19]), rng.choice([1, 3, 16, 19])
        kernel = [rng.choice([1, 3, 5]), rng.choice([1, 2, 3, 7])]
        tensors: list[Tensor | None] = [torch.randn(n, h, w, heads, d) for _ in range(4)]
        tensors.append(torch.randn(heads, *(2 * side - 1 for side in kernel)))
        if rng.random() < 0.5:
            index = rng.randrange(5)
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
            tensors[4] = None
        rest = (kernel, [rng.choice([0, 1, 2, 1 << 40]), rng.choice([1, 3])], 0.5)
        if rng.random() < 0.5:
            return "forward", (*tensors[1:], *rest)
        return "backward", (*tensors, *rest)


@pytest.mark.gpu
class TestNeighborhoodAttentionOnGpu(TestNeighborhoodAttention):
    device = "cuda"


CASES = [
    ((5, 7), (3, 3), (1, 1)),
    ((6, 9), (3, 5), (2, 1)),
    ((7, 9), (3, 3), (2, 2)),
    ((4, 3), (7, 5), (1, 1)),
    ((5, 8), (3, 3), (2, 4)),
    ((1, 6), (3, 1), (1, 2)),
]


@pytest.mark.parametrize("backend", ["reference", "cpp"])
@pytest.mark.parametrize(("size", "kernel", "dilation"), CASES)
def test_equals_dense_attention_with_a_mask(size, kernel, dilation, backend) -> None:
    reason = OPERATORS["neighborhood_attention"].why_not(backend, "cpu", torch.float64)
    if reason is not None:
        pytest.skip(f"{backend} {reason}")
    args = [t.requires_grad_() for t in inputs(*size, kernel)]
    with use_backend(backend):
        got = neighborhood_attention_2d(*args[:3], kernel, dilation, args[3])
        signal = torch.randn_like(got)
        grads = torch.autograd.grad(got, args, signal, allow_unused=True)
    expected = dense(*args[:3], kernel, dilation, args[3])
    torch.testing.assert_close(got, expected)
    for ours, theirs in zip(
        grads, torch.autograd.grad(expected, args, signal, allow_unused=True), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_every_position_has_as_many_keys() -> None:
    """Also in corners; with dilation too, where each residue has at least k positions."""
    for length, kernel, dilation in itertools.product(range(1, 25), (1, 3, 5), (1, 2, 3)):
        keys, entries, exists = neighbours(length, kernel, dilation, torch.device("cpu"))
        for i in range(length):
            found = zip(keys[i][exists[i]].tolist(), entries[i][exists[i]].tolist(), strict=True)
            assert dict(found) == window(length, i, kernel, dilation)
        assert bool(exists.all()) == (kernel == 1 or length >= kernel * dilation)
        assert entries.min() >= 0
        assert entries.max() <= 2 * kernel - 2


def test_dilation_is_attention_on_each_grid_of_residues() -> None:
    q, k, v, b = inputs(11, 13)
    got = neighborhood_attention_2d(q, k, v, 3, (2, 3), b)
    for gy, gx in itertools.product(range(2), range(3)):
        grid = [t[:, :, gy::2, gx::3] for t in (q, k, v)]
        expected = neighborhood_attention_2d(*grid, 3, 1, b)
        torch.testing.assert_close(got[:, :, gy::2, gx::3], expected)


def test_whole_map_as_kernel_is_dense_attention() -> None:
    q, k, v, _ = inputs(5, 5)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(t.flatten(2, 3) for t in (q, k, v))
    )
    got = neighborhood_attention_2d(q, k, v, 5)
    torch.testing.assert_close(got, expected.unflatten(2, (5, 5)))


def test_kernel_of_one_is_the_value() -> None:
    q, k, v, _ = inputs(4, 6)
    torch.testing.assert_close(neighborhood_attention_2d(q, k, v, 1, 2), v)


def test_constant_values_stay_constant() -> None:
    q, k, v, b = inputs(7, 9)
    constant = v[:, :, :1, :1].expand_as(v)
    torch.testing.assert_close(neighborhood_attention_2d(q, k, constant, 3, 2, b), constant)


def test_shifted_input_gives_shifted_output_inside() -> None:
    q, k, v, b = inputs(10, 11)
    got = neighborhood_attention_2d(q, k, v, 3, 1, b)
    shifted = neighborhood_attention_2d(*(t.roll((1, 1), (2, 3)) for t in (q, k, v)), 3, 1, b)
    torch.testing.assert_close(shifted[:, :, 3:-2, 3:-2], got[:, :, 2:-3, 2:-3])


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_flipped_and_transposed_inputs_give_such_outputs(dilation: int) -> None:
    q, k, v, b = inputs(7, 10)
    got = neighborhood_attention_2d(q, k, v, 3, dilation, b)
    turned = [t.transpose(2, 3) for t in (q, k, v)]
    turned_bias = b.transpose(1, 2)
    torch.testing.assert_close(
        neighborhood_attention_2d(*turned, 3, dilation, turned_bias), got.transpose(2, 3)
    )
    flipped = [t.flip(3) for t in (q, k, v)]
    torch.testing.assert_close(
        neighborhood_attention_2d(*flipped, 3, dilation, b.flip(2)), got.flip(3)
    )


def test_only_the_inputs_are_kept_for_the_backward_pass() -> None:
    from mmattn.training_memory import saved_for_backward

    q, k, v, b = (t.contiguous().requires_grad_() for t in inputs(8, 9))
    kept = saved_for_backward(lambda: (neighborhood_attention_2d(q, k, v, 3, 1, b),))
    assert kept["other"] <= sum(t.nbytes for t in (q, k, v, b))


def test_operations_are_counted_as_torch_counts_them() -> None:
    q, k, v, b = (t.float().requires_grad_() for t in inputs(8, 9))
    with FlopCounterMode(display=False) as counter:
        neighborhood_attention_2d(q, k, v, 3, 1, b).sum().backward()
    assert counter.get_total_flops() == 14 * q.numel() * 9


def test_natten_is_called_where_it_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which needs a GPU: what it is asked, and when it is not."""
    calls = []

    def na2d(query, key, value, **options):
        calls.append(options)
        return value

    package, functional = ModuleType("natten"), ModuleType("natten.functional")
    package.__spec__ = SimpleNamespace(name="natten")  # pyright: ignore[reportAttributeAccessIssue]
    functional.na2d = na2d  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "natten", package)
    monkeypatch.setitem(sys.modules, "natten.functional", functional)
    natten_backend._function.cache_clear()
    q, k, v, b = (t.float() for t in inputs(6, 7))
    try:
        maps = [t.permute(0, 2, 3, 1, 4) for t in (q, k, v)]
        on_gpu = SimpleNamespace(is_cuda=True, dtype=torch.float32, shape=maps[0].shape)
        assert natten_backend.serves(on_gpu, (3, 3), (2, 1), None)
        assert not natten_backend.serves(on_gpu, (3, 3), (2, 1), b)  # it has no table
        assert not natten_backend.serves(on_gpu, (3, 3), (3, 1), None)  # a map below k e
        assert not natten_backend.serves(maps[0], (3, 3), (1, 1), None)  # no kernel for CPUs
        monkeypatch.setattr(natten_backend, "serves", lambda *facts: True)
        torch.testing.assert_close(neighborhood_attention_2d(q, k, v, 3, (2, 1), scale=0.5), v)
        assert calls == [{"kernel_size": (3, 3), "dilation": (2, 1), "scale": 0.5}]
        with use_backend("reference"):
            neighborhood_attention_2d(q, k, v, 3)
        assert len(calls) == 1
    finally:
        natten_backend._function.cache_clear()


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize(
    ("size", "dilation"), [((9, 21), (1, 1)), ((11, 40), (2, 3))], ids=["plain", "dilated"]
)
def test_what_is_outside_of_a_window_has_no_influence(size, dilation, backend, poison) -> None:
    """One key and value are bad: those who do not see them compute what they computed before."""
    if backend not in OPERATORS["neighborhood_attention"].available("cpu"):
        pytest.skip(f"{backend} is not built")
    kernel, bad = (3, 5), (size[0] // 2, size[1] // 2)
    rows, columns = (
        torch.tensor([[j in window(length, i, k, e) for j in range(length)] for i in range(length)])
        for length, k, e in zip(size, kernel, dilation, strict=True)
    )  # which query sees which key, for each axis
    blind = ~(rows[:, bad[0], None] & columns[:, bad[1]])
    # Keys that nobody sees who sees the bad one: the others' gradients are its victims.
    spared = (rows.T.double() @ (~blind).double() @ columns.double()) == 0
    assert blind.sum() > spared.sum() > blind.numel() // 2
    results = []
    for value in (1.0, poison):
        q, k, v, bias = (t.clone().requires_grad_() for t in inputs(*size, kernel))
        with torch.no_grad():
            k[:, :, bad[0], bad[1]] = v[:, :, bad[0], bad[1]] = value
        with use_backend(backend):
            out = neighborhood_attention_2d(q, k, v, kernel, dilation, bias)
            of_q, of_k, of_v = torch.autograd.grad(out.sum(), (q, k, v))
        results.append(
            [t[:, :, blind] for t in (out, of_q)] + [t[:, :, spared] for t in (of_k, of_v)]
        )
    for clean, poisoned in zip(*results, strict=True):
        torch.testing.assert_close(poisoned, clean, rtol=1e-9, atol=1e-12)
