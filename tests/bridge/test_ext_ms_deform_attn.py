"""Multi-scale deformable attention: the op, mmcv's function for accelerators, and its module."""

from __future__ import annotations

import functools

import mmcv.ops
import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor
from torch.autograd import gradcheck as _gradcheck

from mmattn.ops import multi_scale_deformable_attention

gradcheck = functools.partial(_gradcheck, fast_mode=True)
SHAPES = torch.tensor([[4, 3], [2, 5], [1, 1]])
STARTS = torch.tensor([0, 12, 22])


def _inputs(batch: int = 2, queries: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    heads, channels, points = 2, 3, 4
    value = torch.randn(batch, 23, heads, channels, dtype=torch.float64)
    locations = torch.rand(batch, queries, heads, 3, points, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, 3, points, dtype=torch.float64)
    return value.requires_grad_(), locations.requires_grad_(), weights.requires_grad_()


def _mmcv(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return MultiScaleDeformableAttnFunction.apply(value, SHAPES, STARTS, locations, weights, 64)


def test_sums_weighted_bilinear_reads(read_zero_padded):
    value, locations, weights = _inputs()
    batch, queries, heads, levels, points = weights.shape
    expected = torch.zeros(batch, queries, heads, 3, dtype=torch.float64)
    for n, q, h, c in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        for level in range(levels):
            height, width = SHAPES[level].tolist()
            start = STARTS[level].item()
            plane = value[n, start : start + height * width, h, c].detach().view(height, width)
            for point in range(points):
                x, y = locations[n, q, h, level, point].tolist()
                read = read_zero_padded(plane, y * height - 0.5, x * width - 0.5)
                expected[n, q, h, c] += weights[n, q, h, level, point].item() * read
    expected = expected.flatten(2)
    torch.testing.assert_close(_mmcv(value, locations, weights), expected)
    op = multi_scale_deformable_attention(value, SHAPES.tolist(), locations, weights)
    torch.testing.assert_close(op, expected)


def test_gradients_are_derivatives():
    assert gradcheck(_mmcv, _inputs(batch=1, queries=3))


def test_levels_begin_where_the_caller_says():
    value, locations, weights = _inputs()
    padded = torch.cat((value[:, :12], torch.full_like(value[:, :2], 1e6), value[:, 12:]), dim=1)
    moved = multi_scale_deformable_attention(
        padded, SHAPES.tolist(), locations, weights, [0, 14, 24]
    )
    torch.testing.assert_close(moved, _mmcv(value, locations, weights))


@pytest.mark.parametrize(("batch", "queries"), [(0, 5), (2, 0)])
def test_nothing_to_attend(batch, queries):
    inputs = _inputs(batch, queries)
    output = _mmcv(*inputs)
    assert output.shape == (batch, queries, 6)
    grads = torch.autograd.grad(output.sum(), inputs)
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_round_once(dtype):
    inputs = [tensor.detach().to(dtype).requires_grad_() for tensor in _inputs()]
    exact = [tensor.detach().float().requires_grad_() for tensor in inputs]
    output, expected = _mmcv(*inputs), _mmcv(*exact)
    assert torch.equal(output, expected.to(dtype))
    grads = torch.autograd.grad(output.sum(), inputs)
    for grad, target in zip(grads, torch.autograd.grad(expected.sum(), exact), strict=True):
        assert torch.equal(grad, target.to(dtype))


def test_mmcv_module_trains_on_cpu():
    module = mmcv.ops.MultiScaleDeformableAttention(8, 2, 3, 4, dropout=0.0)
    query, value = torch.randn(5, 2, 8), torch.randn(23, 2, 8)
    output = module(
        query,
        value=value,
        spatial_shapes=SHAPES,
        level_start_index=STARTS,
        reference_points=torch.rand(2, 5, 3, 2),
    )
    assert output.shape == (5, 2, 8)
    output.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert module.value_proj.weight.grad.abs().sum() > 0
